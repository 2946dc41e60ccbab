"""What is loaded on top of a pipeline's folders: recorded by its file, and loaded again."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from generators import recorded
from generators.rebuild.plan import Plan
from generators.rebuild.replay import Workshop
from registry.core.digests import sha256_hex
from registry.core.generation import Generation
from registry.errors import MaterialError

from . import pipelines
from .conftest import Memory, job, replay_afresh

TAUGHT = f"a {pipelines.SPECIAL} mug on a blue table"
FILE = "learned_embeds.safetensors"
Load = Callable[..., Any]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("additions")
    for kind in ("txt2img", "ip-adapter"):
        pipelines.save(kind, place / kind)
    shutil.copytree(place / "ip-adapter" / "image_encoder", place / "models" / "image_encoder")
    pipe = pipelines.load("ip-adapter", place / "ip-adapter")
    for number in range(2):
        pipelines.ip_adapter_file(pipe, place / "models" / f"{number}.safetensors", number)
    return place


def shoot(pipe: Any, memory: Memory, **options: Any) -> Generation:
    pipe(**pipelines.arguments("txt2img", **{"prompt": TAUGHT, "seed": 3} | options))
    return memory.last


def replay(request: SimpleNamespace) -> list[str]:
    """Replay with a pipeline that is put together for this alone; return the digests."""
    outputs, _ = Workshop().replay(Plan.of(request), request.workdir)
    return [sha256_hex(output.data) for output in outputs]


def digests(generation: Generation) -> list[str]:
    return [sha256_hex(output.data) for output in generation.outputs]


# Textual inversions.


@pytest.fixture
def taught(folder: Path, memory: Memory, tmp_path: Path) -> Any:
    """A wrapped pipeline that was taught a token through the wrapper."""
    pipe = recorded(pipelines.load("txt2img", folder / "txt2img"), memory)
    pipe.load_textual_inversion(str(pipelines.embedding_file(tmp_path / FILE)))
    return pipe


def test_an_inversion_is_a_material_and_is_replayed_to_the_byte_in_a_fresh_process(
    taught: Any, folder: Path, memory: Memory, tmp_path: Path
) -> None:
    generation = shoot(taught, memory)
    again = shoot(taught, memory)
    assert generation.reasons == again.reasons == ()
    assert generation.external["embeddings"] == [
        {
            "tokens": [pipelines.SPECIAL, f"{pipelines.SPECIAL}_1"],
            "tokenizer": "tokenizer",
            "text_encoder": "text_encoder",
            "ref": "embedding/<brand>",
        }
    ]
    (material,) = [m for m in generation.materials if m.name == "embedding/<brand>"]
    content = (tmp_path / FILE).read_bytes()
    assert (material.kind, material.storage) == ("embedding", "vaulted")
    assert material.sha256 == sha256_hex(content)
    assert memory.contents[material.sha256] == content
    (found,) = replay_afresh([job(memory, generation, tmp_path / "job")], tmp_path)
    assert found == digests(generation)
    request = job(memory, shoot(fresh(folder, memory), memory), tmp_path / "plain")
    assert replay(request) != found
    assert "embeddings" not in memory.last.external


def fresh(folder: Path, memory: Memory, kind: str = "txt2img") -> Any:
    return recorded(pipelines.load(kind, folder / kind), memory)


def second_encoder(folder: Path, memory: Memory, tmp_path: Path) -> Any:
    pipelines.save("sdxl", folder / "sdxl")
    pipe = fresh(folder, memory, "sdxl")
    other = {"tokenizer": pipe.tokenizer_2, "text_encoder": pipe.text_encoder_2}
    for number, options in enumerate(({}, other)):
        file = pipelines.embedding_file(tmp_path / f"{number}.safetensors", number)
        pipe.load_textual_inversion(file, token="<mark>", **options)
    return pipe


def two_at_once(folder: Path, memory: Memory, tmp_path: Path) -> Any:
    pipe = fresh(folder, memory)
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        pipelines.embedding_file(tmp_path / str(number) / FILE, number)
    pipe.load_textual_inversion(
        [str(tmp_path / "0"), str(tmp_path / "1")], token=["<mark>", "<other>"]
    )
    pipe.load_lora_weights(
        pipelines.lora_file(
            "txt2img", pipelines.load("txt2img", folder / "txt2img"), tmp_path / "lora.safetensors"
        ),
        adapter_name="made",
    )
    return pipe


def loaded_again(folder: Path, memory: Memory, tmp_path: Path) -> Any:
    pipe = fresh(folder, memory)
    file = pipelines.embedding_file(tmp_path / "old.safetensors", 1)
    pipe.load_textual_inversion(file, token="<mark>")
    pipe.unload_textual_inversion()
    pipe.text_encoder.eval()  # the loader leaves a new layer in training mode
    file = pipelines.embedding_file(tmp_path / "new.safetensors", 2)
    pipe.load_textual_inversion(file, token="<mark>")
    return pipe


@pytest.mark.parametrize(
    ("dress", "refs"),
    [
        (second_encoder, ["embedding/<mark>", "embedding/<mark>/text_encoder_2"]),
        (two_at_once, ["embedding/<mark>", "embedding/<other>"]),
        (loaded_again, ["embedding/<mark>"]),
    ],
)
def test_several_inversions_are_each_loaded_again(
    folder: Path, memory: Memory, tmp_path: Path, dress: Load, refs: list[str]
) -> None:
    generation = shoot(dress(folder, memory, tmp_path), memory, prompt="a <mark> <other> mug")
    assert generation.reasons == ()
    assert [entry["ref"] for entry in generation.external["embeddings"]] == refs
    assert replay(job(memory, generation, tmp_path)) == digests(generation)


def past_the_wrapper(pipe: Any, file: Path) -> None:
    pipe.unwrapped.load_textual_inversion(str(file))


def from_memory(pipe: Any, file: Path) -> None:
    pipe.load_textual_inversion(load_file(file))


def from_a_pickle(pipe: Any, file: Path) -> None:
    torch.save(load_file(file), file.with_suffix(".pt"))
    pipe.load_textual_inversion(str(file.with_suffix(".pt")))


def file_written_afterwards(pipe: Any, file: Path) -> None:
    pipe.load_textual_inversion(str(file))
    pipelines.embedding_file(file, seed=2)


def row_written_afterwards(pipe: Any, file: Path) -> None:
    pipe.load_textual_inversion(str(file))
    pipe.text_encoder.get_input_embeddings().weight.data[-1] *= 1.01


UNKNOWN = "embedding/<brand> of text_encoder was not loaded from a file that is known"
DIFFERS = "weights of text_encoder differ from those in its folder"


@pytest.mark.parametrize(
    ("teach", "reasons"),
    [
        (past_the_wrapper, {DIFFERS, "tokenizer differs from the one in its folder"}),
        (from_memory, {UNKNOWN, DIFFERS, "tokenizer differs from the one in its folder"}),
        (from_a_pickle, {UNKNOWN, DIFFERS, "tokenizer differs from the one in its folder"}),
        (file_written_afterwards, {"the file of embedding/<brand> was changed after loading"}),
        (row_written_afterwards, {DIFFERS}),
    ],
)
def test_an_inversion_that_its_file_does_not_give_is_a_reason(
    folder: Path, memory: Memory, tmp_path: Path, teach: Load, reasons: set[str]
) -> None:
    pipe = fresh(folder, memory)
    teach(pipe, pipelines.embedding_file(tmp_path / FILE))
    assert reasons <= set(shoot(pipe, memory).reasons)


def altered(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 0x40
    file.write_bytes(data)


def shorter(file: Path) -> None:
    (vectors,) = load_file(file).values()
    save_file({pipelines.SPECIAL: vectors[:1].clone()}, file)


def truncated(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-9])


@pytest.mark.parametrize("damage", [altered, shorter, truncated, Path.unlink])
def test_a_changed_file_is_refused_by_name(
    taught: Any, memory: Memory, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    request = job(memory, shoot(taught, memory), tmp_path / "job")
    damage(request.materials["embedding/<brand>"])
    with pytest.raises(MaterialError) as caught:
        replay(request)
    assert "embedding/<brand>" in caught.value.message


def test_a_replaced_file_is_not_held_against_the_record(
    taught: Any, memory: Memory, tmp_path: Path
) -> None:
    ref = "embedding/<brand>"
    request = job(memory, shoot(taught, memory), tmp_path / "job", {"replaced": [ref]})
    pipelines.embedding_file(request.materials[ref], seed=2)
    assert replay(request) != digests(memory.last)


# IP-adapters.


def look(pipe: Any, memory: Memory, **options: Any) -> Generation:
    pipe(**pipelines.arguments("ip-adapter", seed=3, **options))
    return memory.last


def with_eyes(folder: Path, memory: Memory) -> Any:
    """One adapter, for a pipeline that has an image encoder in its folder."""
    pipe = fresh(folder, memory, "ip-adapter")
    pipe.load_ip_adapter(str(folder), subfolder="models", weight_name="0.safetensors")
    pipe.set_ip_adapter_scale(0.6)
    return pipe


def with_all_that_is_needed(folder: Path, memory: Memory) -> Any:
    """One adapter, for a pipeline that gets image encoder and feature extractor along with it."""
    pipe = fresh(folder, memory)
    pipe.load_ip_adapter(folder, subfolder="models", weight_name="1.safetensors")
    return pipe


def with_two_and_a_lora(folder: Path, memory: Memory) -> Any:
    pipe = fresh(folder, memory, "ip-adapter")
    lora = folder / "lora.safetensors"
    if not lora.exists():
        pipelines.lora_file("txt2img", pipelines.load("txt2img", folder / "txt2img"), lora)
    pipe.load_lora_weights(lora, adapter_name="made")
    files = ["0.safetensors", "1.safetensors"]
    pipe.load_ip_adapter(str(folder / "models"), subfolder="", weight_name=files)
    pipe.set_ip_adapter_scale([0.6, {"up": {"block_0": [0.0, 0.5]}}])
    return pipe


BOTH = {"ip_adapter_image": [pipelines.picture(1), pipelines.picture(2)]}


def test_ip_adapters_are_materials_and_are_replayed_to_the_byte_in_a_fresh_process(
    folder: Path, memory: Memory, tmp_path: Path
) -> None:
    shots = [
        look(with_eyes(folder, memory), memory),
        look(with_all_that_is_needed(folder, memory), memory),
        look(with_two_and_a_lora(folder, memory), memory, **BOTH),
    ]
    assert [shot.reasons for shot in shots] == [(), (), ()]
    used = [[m.name for m in shot.materials if m.kind == "model"] for shot in shots]
    assert used == [
        ["model/base", "model/ip-adapter"],
        ["model/base", "model/image_encoder", "model/ip-adapter"],
        ["model/base", "model/ip-adapter-0", "model/ip-adapter-1"],
    ]
    assert shots[0].external["ip_adapters"] == [
        {"ref": "model/ip-adapter", "component": "unet", "scale": 0.6}
    ]
    jobs = [job(memory, shot, tmp_path / str(n)) for n, shot in enumerate(shots)]
    assert replay_afresh(jobs, tmp_path) == [digests(shot) for shot in shots]


def test_the_scale_of_an_ip_adapter_is_recorded_and_changes_the_picture(
    folder: Path, memory: Memory, tmp_path: Path
) -> None:
    pipe = with_eyes(folder, memory)
    first = look(pipe, memory)
    pipe.set_ip_adapter_scale(0.2)
    second = look(pipe, memory)
    assert second.external["ip_adapters"][0]["scale"] == 0.2
    assert digests(second) != digests(first)
    assert replay(job(memory, second, tmp_path)) == digests(second)


def unknown_adapter(folder: Path, memory: Memory) -> Any:
    pipe = fresh(folder, memory, "ip-adapter")
    pipe.unwrapped.load_ip_adapter(str(folder), subfolder="models", weight_name="0.safetensors")
    return pipe


def adapter_from_memory(folder: Path, memory: Memory) -> Any:
    pipe = fresh(folder, memory, "ip-adapter")
    tensors: dict[str, dict[str, Any]] = {"image_proj": {}, "ip_adapter": {}}
    for name, tensor in load_file(folder / "models" / "0.safetensors").items():
        group, _, rest = name.partition(".")
        tensors[group][rest] = tensor
    pipe.load_ip_adapter(tensors, subfolder="", weight_name="0.safetensors")
    return pipe


def adapter_written(folder: Path, memory: Memory) -> Any:
    pipe = with_eyes(folder, memory)
    pipe.unet.encoder_hid_proj.image_projection_layers[0].norm.weight.data *= 1.01
    return pipe


def extractor_changed(folder: Path, memory: Memory) -> Any:
    pipe = with_all_that_is_needed(folder, memory)
    pipe.feature_extractor.do_normalize = False
    return pipe


def encoder_written(folder: Path, memory: Memory) -> Any:
    pipe = with_all_that_is_needed(folder, memory)
    pipe.image_encoder.visual_projection.weight.data *= 1.01
    return pipe


@pytest.mark.parametrize(
    ("dress", "reason"),
    [
        (unknown_adapter, "unet has other layers than its folder gives"),
        (adapter_from_memory, "IP-adapter of unet was not loaded from a known file"),
        (adapter_from_memory, "unet has other layers than its folder gives"),
        (adapter_written, "weights of unet differ from those in its folder"),
        (extractor_changed, "feature_extractor differs from the one that was made for it"),
        (encoder_written, "weights of image_encoder differ from those in its folder"),
    ],
)
def test_an_ip_adapter_that_its_file_does_not_give_is_a_reason(
    folder: Path, memory: Memory, dress: Load, reason: str
) -> None:
    assert reason in look(dress(folder, memory), memory).reasons


@pytest.mark.parametrize("damage", [altered, truncated, Path.unlink])
def test_a_changed_ip_adapter_is_refused_by_name(
    folder: Path, memory: Memory, tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    request = job(memory, look(with_eyes(folder, memory), memory), tmp_path)
    damage(request.materials["model/ip-adapter"])
    with pytest.raises(MaterialError) as caught:
        replay(request)
    assert "model/ip-adapter" in caught.value.message


def test_a_pipeline_whose_adapter_was_unloaded_has_none(folder: Path, memory: Memory) -> None:
    pipe = with_eyes(folder, memory)
    pipe.unload_ip_adapter()
    pipe(**pipelines.arguments("txt2img", seed=3))
    assert "ip_adapters" not in memory.last.external


# Pipelines from single files.


def from_single_file(folder: Path) -> tuple[Any, Path]:
    """Load a pipeline whose UNet is in one file; return it, and the file."""
    import diffusers

    base = folder / "txt2img"
    file = folder / "single.safetensors"
    shutil.copyfile(base / "unet" / "diffusion_pytorch_model.safetensors", file)
    options = {"config": str(base), "local_files_only": True}
    unet = diffusers.UNet2DConditionModel.from_single_file(str(file), subfolder="unet", **options)
    return pipelines.load("txt2img", base, unet=unet.eval()), file


@pytest.mark.parametrize("material", ["model/base", "model/unet"])
def test_a_single_file_is_named_and_is_a_reason(
    folder: Path, memory: Memory, material: str
) -> None:
    pipe, file = from_single_file(folder)
    generation = shoot(recorded(pipe, memory, materials={material: file}), memory)
    (named,) = [one for one in generation.materials if one.name == material]
    assert named.sha256 == sha256_hex(file.read_bytes())
    assert generation.reasons == (
        f"unet was loaded from a single file, {material}: save the pipeline and declare its folder",
    )


def test_a_folder_that_was_saved_from_a_single_file_is_replayed(
    folder: Path, memory: Memory, tmp_path: Path
) -> None:
    pipe, _ = from_single_file(folder)
    pipe.save_pretrained(tmp_path / "saved")
    saved = {"model/base": tmp_path / "saved"}
    generation = shoot(recorded(pipe, memory, materials=saved), memory)
    assert generation.reasons == ()
    assert replay(job(memory, generation, tmp_path)) == digests(generation)
