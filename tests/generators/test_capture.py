"""What a pipeline is made of reaches the record, or the record says why it does not."""

from __future__ import annotations

import shutil
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch.nn import Module

from generators import recorded
from generators.demo_model import lora_file
from registry.core.generation import Generation, Sealed
from registry.errors import CaptureError, InputError, MaterialError

from .conftest import Memory

PROMPT = "a red mug on a blue table, studio light"
Change = Callable[[Any], Any]


def shoot(pipe: Any, memory: Memory, **options: Any) -> Generation:
    pipe(PROMPT, num_inference_steps=1, height=64, width=64, seed=7, **options)
    return memory.last


def made_of(generation: Generation) -> tuple[Any, Any, Any]:
    """Return the parts of a record that name what made a picture."""
    return generation.external, generation.internal["components"], generation.materials


def models_of(generation: Generation) -> list[str]:
    """Name the materials of a record but its environment's lock."""
    return [m.name for m in generation.materials if m.kind != "environment"]


def write_weights(pipe: Any) -> None:
    with torch.no_grad():
        pipe.unet.conv_in.weight.add_(1e-4)


# LoRAs.


def with_lora(pipe: Any, memory: Memory, name: str = "brand") -> Any:
    proxy = recorded(pipe, memory)
    proxy.load_lora_weights(lora_file(name), adapter_name=name)
    return proxy


def change_scale(pipe: Any) -> None:
    pipe.set_adapters(["brand"], [0.79])


def change_one_layer(pipe: Any) -> None:
    pipe.unet.conv_in.set_scale("brand", 0.5)


def write_lora(pipe: Any) -> None:
    pipe.unet.conv_in.lora_B["brand"].weight.data.mul_(1.01)


def fuse(pipe: Any) -> None:
    pipe.fuse_lora()


def fuse_one_component(pipe: Any) -> None:
    pipe.unet.fuse_lora()


def fuse_and_unfuse(pipe: Any) -> None:
    pipe.fuse_lora(lora_scale=0.7)
    pipe.unfuse_lora()


def live_dropout(pipe: Any) -> None:
    pipe.unet.conv_in.lora_dropout["brand"] = torch.nn.Dropout(0.1)


@pytest.mark.parametrize(
    ("change", "replayable"),
    [
        (change_scale, True),
        (change_one_layer, True),
        (write_lora, False),
        (fuse, False),
        (fuse_one_component, False),
        (fuse_and_unfuse, False),
        (live_dropout, False),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_change_of_a_lora_shows_in_the_next_record(
    pipe: Any, memory: Memory, change: Change, replayable: bool
) -> None:
    proxy = with_lora(pipe, memory)
    proxy.set_adapters(["brand"], [0.8])
    before = shoot(proxy, memory)
    assert before.reasons == ()
    assert before.external["loras"] == [{"adapter": "brand", "scale": 0.8, "ref": "lora/brand"}]
    change(pipe)
    after = shoot(proxy, memory)
    assert made_of(after) != made_of(before) or after.reasons
    assert bool(after.reasons) is not replayable


def test_a_lora_that_is_off_is_no_material(pipe: Any, memory: Memory) -> None:
    proxy = with_lora(pipe, memory)
    proxy.load_lora_weights(lora_file("noir"), adapter_name="noir")
    proxy.set_adapters(["noir"], [0.5])
    assert models_of(shoot(proxy, memory)) == ["model/base", "lora/noir"]
    proxy.disable_lora()
    assert models_of(shoot(proxy, memory)) == ["model/base"]
    assert memory.last.reasons == ()


def test_a_lora_loaded_past_the_wrapper_is_not_guessed(pipe: Any, memory: Memory) -> None:
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    generation = shoot(recorded(pipe, memory), memory)
    assert generation.reasons == ("lora/brand was not loaded from a file that is known",)


def test_a_declared_lora_file_is_checked_against_what_is_loaded(pipe: Any, memory: Memory) -> None:
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    right = {"lora/brand": lora_file("brand")}
    assert shoot(recorded(pipe, memory, materials=right), memory).reasons == ()


def test_a_wrongly_declared_lora_file_is_a_reason(pipe: Any, memory: Memory) -> None:
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    wrong = {"lora/brand": lora_file("noir")}
    reasons = shoot(recorded(pipe, memory, materials=wrong), memory).reasons
    assert reasons == ("lora/brand is not what the declared file holds",)


def test_a_lora_from_memory_is_a_reason(pipe: Any, memory: Memory) -> None:
    from safetensors.torch import load_file

    proxy = recorded(pipe, memory)
    proxy.load_lora_weights(load_file(lora_file("noir")), adapter_name="noir")
    assert shoot(proxy, memory).reasons == ("lora/noir was not loaded from a file that is known",)


def test_a_lora_file_that_changed_after_loading_is_a_reason(
    pipe: Any, memory: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "style.safetensors"
    shutil.copyfile(lora_file("brand"), file)
    proxy = recorded(pipe, memory)
    proxy.load_lora_weights(str(tmp_path), weight_name=file.name, adapter_name="style")
    assert shoot(proxy, memory).reasons == ()
    shutil.copyfile(lora_file("noir"), file)
    assert shoot(proxy, memory).reasons == ("the file of lora/style was changed after loading",)


def test_pipelines_that_share_a_component_share_what_is_known_of_its_loras(
    pipe: Any, memory: Memory
) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    proxy = with_lora(pipe, memory)
    other = recorded(StableDiffusionImg2ImgPipeline(**proxy.components), memory)
    other(PROMPT, image=Image.new("RGB", (64, 64)), num_inference_steps=2, seed=1)
    assert memory.last.reasons == ()
    assert models_of(memory.last) == ["model/base", "lora/brand", "input/image"]


@pytest.mark.parametrize("weight", [0.1, 0.7, 0.8, 1 / 3, 1.0, 0.0, -0.35])
@pytest.mark.parametrize(("rank", "alpha"), [(8, 8), (4, 1), (12, 7), (3, 10)])
def test_the_recorded_weight_is_the_one_that_was_set(weight: float, rank: int, alpha: int) -> None:
    from generators.capture.loras import weight_of

    layer = types.SimpleNamespace(r={"a": rank}, lora_alpha={"a": alpha}, use_rslora={})
    layer.scaling = {"a": weight * alpha / rank}
    again = weight_of(layer, "a")
    assert again * alpha / rank == layer.scaling["a"]
    assert again == pytest.approx(weight, abs=1e-12)


# What is harmless stays unflagged.


@pytest.mark.parametrize(
    "use",
    [
        lambda pipe: pipe.set_progress_bar_config(disable=True),
        lambda pipe: pipe.to("cpu"),
        lambda pipe: pipe.unet.eval(),
        lambda pipe: pipe.unet.requires_grad_(False),
        lambda pipe: pipe.tokenizer("some text", padding="max_length", max_length=16),
        lambda pipe: pipe.unet.to(torch.float32),
        lambda pipe: pipe.scheduler.set_timesteps(7),
    ],
    ids=["progress", "to", "eval", "grad", "tokenize", "cast", "timesteps"],
)
def test_a_harmless_use_is_neither_flagged_nor_recorded(
    pipe: Any, memory: Memory, use: Change
) -> None:
    proxy = recorded(pipe, memory)
    before = shoot(proxy, memory)
    use(pipe)
    after = shoot(proxy, memory)
    assert after.reasons == ()
    assert made_of(after) == made_of(before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("cast", [False, True], ids=["loaded", "cast"])
def test_a_pipeline_in_any_precision_is_reproducible(
    load: Callable[..., Any], memory: Memory, dtype: torch.dtype, cast: bool
) -> None:
    pipe = load().to(dtype) if cast else load(dtype=dtype)
    assert shoot(recorded(pipe, memory), memory).reasons == ()
    assert memory.last.internal["components"]["unet"]["dtype"] == str(dtype).partition(".")[2]


# Arguments.


@dataclass
class Opaque:
    value: int = 0


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"callback_on_step_end": lambda *a: a[3]}, "callback_on_step_end"),
        ({"cross_attention_kwargs": {"scale": Opaque()}}, "cross_attention_kwargs"),
    ],
    ids=["callback", "object"],
)
def test_an_opaque_argument_is_a_reason(
    pipe: Any, memory: Memory, options: dict[str, Any], word: str
) -> None:
    try:
        shoot(recorded(pipe, memory), memory, **options)
    except TypeError:  # diffusers may refuse it, too: then nothing is recorded
        assert memory.generations == []
        return
    assert any(word in reason for reason in memory.last.reasons)


def test_prompt_embeddings_are_a_reason_and_leave_no_digest(pipe: Any, memory: Memory) -> None:
    embeddings, negative = pipe.encode_prompt(PROMPT, "cpu", 1, True)
    proxy = recorded(pipe, memory)
    options = {"prompt_embeds": embeddings, "negative_prompt_embeds": negative}
    proxy(num_inference_steps=1, seed=1, **options)
    generation = memory.last
    assert len(generation.reasons) == 2
    assert generation.external["arguments"]["prompt_embeds"] == {
        "opaque": "Tensor",
        "shape": list(embeddings.shape),
        "dtype": "torch.float32",
    }
    assert models_of(generation) == ["model/base"]


def test_global_randomness_is_a_reason(pipe: Any, memory: Memory) -> None:
    from diffusers import DDIMScheduler

    class Drawing(DDIMScheduler):
        def step(self, *args: Any, **options: Any) -> Any:
            torch.rand(1)
            return super().step(*args, **options)

    pipe.scheduler = Drawing.from_config(pipe.scheduler.config)
    reasons = shoot(recorded(pipe, memory), memory).reasons
    assert "torch's global random state moved during the call" in reasons
    assert any("Drawing is outside" in reason for reason in reasons)


def test_texts_are_sealed_and_defaults_are_plain(pipe: Any, memory: Memory) -> None:
    generation = shoot(recorded(pipe, memory), memory, negative_prompt="blurry")
    arguments = generation.external["arguments"]
    assert arguments["prompt"] == Sealed(PROMPT)
    assert arguments["negative_prompt"] == Sealed("blurry")
    assert arguments["guidance_scale"] == 7.5
    assert arguments["output_type"] == "pil"
    assert PROMPT not in repr(_without_sealed(generation))


def _without_sealed(value: Any) -> Any:
    if isinstance(value, Sealed):
        return None
    if isinstance(value, dict):
        return {key: _without_sealed(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_sealed(item) for item in value]
    if isinstance(value, Generation):
        return [_without_sealed(getattr(value, n)) for n in ("external", "internal", "materials")]
    return value


def test_no_path_of_this_machine_is_plain(pipe: Any, memory: Memory, base: Path) -> None:
    generation = shoot(with_lora(pipe, memory), memory)
    notes = [_without_sealed(m.annotations) for m in generation.materials]
    bare = [replace(m, annotations={}) for m in generation.materials]
    plain = repr((_without_sealed(generation.external), generation.internal, bare, notes))
    assert str(base.parent) not in plain
    assert str(lora_file("brand").parent) not in plain


@pytest.mark.parametrize("text", ["a \ud800 mug", "\udfff"])
@pytest.mark.parametrize("where", ["prompt", "negative_prompt"])
def test_a_lone_surrogate_is_refused_before_anything_runs(
    pipe: Any, memory: Memory, text: str, where: str
) -> None:
    with pytest.raises(InputError) as caught:
        recorded(pipe, memory)(**{"prompt": PROMPT, where: text}, num_inference_steps=1)
    assert caught.value.code == "input.text"
    assert memory.generations == []


@pytest.mark.parametrize(
    "text", ["", "\x00 mug", "a\u0301 \u00e1", "\U0001d510ug \U0001fad6", "x" * 5000]
)
def test_any_other_text_is_recorded_as_it_is(pipe: Any, memory: Memory, text: str) -> None:
    recorded(pipe, memory)(text, num_inference_steps=1, seed=1)
    assert memory.last.external["arguments"]["prompt"] == Sealed(text)


def test_arguments_that_do_not_fit_are_refused(pipe: Any, memory: Memory) -> None:
    with pytest.raises(InputError) as caught:
        recorded(pipe, memory)(PROMPT, prompt=PROMPT)
    assert caught.value.code == "input.argument"


# Origins.


def test_a_pipeline_built_in_memory_has_no_known_origin(pipe: Any, memory: Memory) -> None:
    for component in (pipe.unet, pipe.vae):
        component.register_to_config(_name_or_path="")
    pipe.text_encoder.name_or_path = pipe.tokenizer.name_or_path = ""
    pipe.text_encoder.config._name_or_path = ""
    pipe.register_to_config(_name_or_path="")
    reasons = shoot(recorded(pipe, memory), memory).reasons
    assert "unet was not loaded from a folder that is known" in reasons
    assert models_of(memory.last) == []


def test_a_declared_model_folder_is_checked_against_what_is_loaded(
    load: Callable[..., Any], memory: Memory, base: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(base, tmp_path / "copy")
    declared = {"model/base": copy}
    assert shoot(recorded(load(), memory, materials=declared), memory).reasons == ()
    pipe = load()
    write_weights(pipe)
    reasons = shoot(recorded(pipe, memory, materials=declared), memory).reasons
    assert reasons == ("weights of unet differ from those in its folder",)


def test_a_component_from_another_folder_is_a_material_of_its_own(
    load: Callable[..., Any], memory: Memory, base: Path, tmp_path: Path
) -> None:
    from diffusers import AutoencoderKL

    folder = shutil.copytree(base / "vae", tmp_path / "finer-vae")
    pipe = load(vae=AutoencoderKL.from_pretrained(folder))
    generation = shoot(recorded(pipe, memory), memory)
    assert generation.reasons == ()
    assert {m.name: m.kind for m in generation.materials if m.kind != "environment"} == {
        "model/base": "model",
        "vae/vae": "vae",
    }
    assert generation.external["components"]["vae"] == {"ref": "vae/vae", "subfolder": ""}


def test_a_model_folder_that_changed_after_loading_is_a_reason(
    load: Callable[..., Any], memory: Memory, base: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(base, tmp_path / "model")
    proxy = recorded(load(folder=folder), memory)
    assert shoot(proxy, memory).reasons == ()
    other = load()
    write_weights(other)
    other.unet.save_pretrained(folder / "unet")
    assert shoot(proxy, memory).reasons == ("weights of unet differ from those in its folder",)


def test_a_model_folder_that_is_gone_is_a_reason(
    load: Callable[..., Any], memory: Memory, base: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(base, tmp_path / "model")
    proxy = recorded(load(folder=folder), memory)
    shutil.rmtree(folder)
    assert "unet was not loaded from a folder that is known" in shoot(proxy, memory).reasons


def test_pickled_weights_are_a_reason(
    load: Callable[..., Any], memory: Memory, base: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(base, tmp_path / "model")
    pipe = load(folder=folder)
    (folder / "unet/diffusion_pytorch_model.safetensors").rename(folder / "unet/model.bin")
    reasons = shoot(recorded(pipe, memory), memory).reasons
    assert reasons == ("unet has no safetensors weights in its folder",)


def test_a_hub_snapshot_is_named_by_repository_and_commit() -> None:
    from generators.capture.origins import hub_uri

    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = Path(f"/cache/models--acme--tiny-sd/snapshots/{commit}")
    assert hub_uri(folder) == f"pkg:huggingface/acme/tiny-sd@{commit}"
    assert hub_uri(Path("/models/tiny-sd")) == ""


def test_a_small_model_is_vaulted_and_a_large_one_referenced(
    pipe: Any, memory: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generators import files

    assert shoot(recorded(pipe, memory), memory).materials[0].storage == "vaulted"
    monkeypatch.setattr(files, "VAULT_LIMIT_BYTES", 1_000_000)
    assert shoot(recorded(pipe, memory), memory).materials[0].storage == "referenced"
    assert memory.handed[1] == 0


def test_extra_materials_are_recorded_and_handed_over(
    pipe: Any, memory: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "template.txt"
    file.write_text("a {color} mug")
    extra = {"prompt-template/mug": file}
    generation = shoot(recorded(pipe, memory, materials=extra), memory)
    material = generation.materials[-2]
    assert (material.name, material.kind) == ("prompt-template/mug", "prompt-template")
    assert memory.contents[material.sha256] == b"a {color} mug"


def test_an_extra_material_that_cannot_be_read_stops_the_call(
    pipe: Any, memory: Memory, tmp_path: Path
) -> None:
    proxy = recorded(pipe, memory, materials={"dataset/shoot": tmp_path / "missing.csv"})
    with pytest.raises(MaterialError) as caught:
        shoot(proxy, memory)
    assert caught.value.code == "material.unreadable"


# Code.


@pytest.fixture
def patched_attention() -> Iterator[None]:
    from diffusers.models.attention_processor import Attention

    original = Attention.forward
    Attention.forward = lambda self, *args, **options: original(self, *args, **options) * 1.0
    yield
    Attention.forward = original


def test_a_patched_library_class_is_a_reason(
    pipe: Any, memory: Memory, patched_attention: None
) -> None:
    reasons = shoot(recorded(pipe, memory), memory).reasons
    assert reasons == ("Attention.forward was replaced by code outside the recorded libraries",)


def test_a_global_hook_is_a_reason(pipe: Any, memory: Memory) -> None:
    handle = torch.nn.modules.module.register_module_forward_hook(lambda m, a, o: None)
    try:
        assert shoot(recorded(pipe, memory), memory).reasons == ("global forward hooks are set",)
    finally:
        handle.remove()
    assert shoot(recorded(pipe, memory), memory).reasons == ()


def test_a_strict_pipeline_refuses_before_it_runs(pipe: Any, memory: Memory) -> None:
    ran: list[Module] = []
    pipe.unet.register_forward_hook(lambda module, args, output: ran.append(module))
    with pytest.raises(CaptureError) as caught:
        shoot(recorded(pipe, memory, strict=True), memory)
    assert "unet has 1 forward hooks" in caught.value.message
    assert ran == []
    assert memory.generations == []
