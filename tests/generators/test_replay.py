"""A replay in a fresh process gives the recorded bytes, or says why it cannot."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from generators import recorded
from generators.demo_model import lora_file, scenes
from generators.diffusers import adapter
from registry.core.digests import sha256_hex
from registry.errors import InputError, MaterialError

from .conftest import STEPS, Memory, job, replay_afresh

PROMPT = "a red mug on a blue table, studio light"
SCENE = scenes.Scene("mug", "red", "blue", "studio")
Shot = Callable[[Callable[..., Any], Memory], None]


def shoot(pipe: Any, *args: Any, **options: Any) -> Any:
    return pipe(*args, num_inference_steps=STEPS, height=64, width=64, **options)


def plain(load: Callable[..., Any], memory: Memory) -> None:
    shoot(recorded(load(), memory), PROMPT, seed=7)


def unseeded(load: Callable[..., Any], memory: Memory) -> None:
    shoot(recorded(load(), memory), PROMPT)


def one_lora(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    shoot(pipe, PROMPT, seed=7, negative_prompt="blurry")


def two_loras(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    noir = lora_file("noir")
    pipe.load_lora_weights(str(noir.parent), weight_name=noir.name, adapter_name="noir")
    pipe.set_adapters(["noir", "brand"], [0.3, 0.8])
    shoot(pipe, PROMPT, seed=7)


def layer_weights(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    pipe.unet.conv_in.set_scale("brand", 0.3)
    shoot(pipe, PROMPT, seed=7)


def batch(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    prompts = [PROMPT, "an empty blue table, night light"]
    shoot(pipe, prompts, num_images_per_prompt=2, seed=[3, 1, 4, 1])


def one_generator_for_a_batch(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    generator = torch.Generator().manual_seed(5)
    shoot(pipe, PROMPT, num_images_per_prompt=3, generator=generator)


def used_generator(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    shoot(pipe, [PROMPT, PROMPT], generator=[generator, generator])


def image_to_image(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    pipe(PROMPT, image=scenes.render(SCENE), strength=0.6, num_inference_steps=4, seed=7)


def inpainting(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load("StableDiffusionInpaintPipeline"), memory)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    pipe.set_adapters("brand", 0.6)
    mask = Image.new("L", (64, 64), 0)
    mask.paste(255, (16, 16, 48, 48))
    options = {"mask_image": mask, "strength": 0.9, "num_inference_steps": 3, "seed": 7}
    pipe(PROMPT, image=scenes.render(SCENE), height=64, width=64, **options)


def arrays(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    picture = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    pipe(PROMPT, image=picture, num_inference_steps=4, seed=7, output_type="np")


def given_latents(load: Callable[..., Any], memory: Memory) -> None:
    latents = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(2))
    shoot(recorded(load(), memory), PROMPT, latents=latents, seed=7)


def tensors(load: Callable[..., Any], memory: Memory) -> None:
    shoot(recorded(load(), memory), [PROMPT, PROMPT], seed=[7, 8], output_type="pt")


def latents(load: Callable[..., Any], memory: Memory) -> None:
    shoot(recorded(load(), memory), PROMPT, seed=7, output_type="latent")


def a_generator_each(load: Callable[..., Any], memory: Memory) -> None:
    random = [torch.Generator().manual_seed(seed) for seed in (3, 9)]
    shoot(recorded(load(), memory), [PROMPT, "an empty blue table, night light"], generator=random)


def globally_seeded(load: Callable[..., Any], memory: Memory) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        shoot(recorded(load(), memory), PROMPT, num_images_per_prompt=2)


def other_scheduler(load: Callable[..., Any], memory: Memory) -> None:
    from diffusers import EulerAncestralDiscreteScheduler

    pipe = recorded(load(), memory)
    pipe.scheduler = EulerAncestralDiscreteScheduler.from_config(pipe.scheduler.config)
    shoot(pipe, PROMPT, seed=7)


def switches(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    pipe.vae.enable_tiling()
    pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4)
    pipe.enable_attention_slicing(1)
    shoot(pipe, PROMPT, seed=7)


def channels_last(load: Callable[..., Any], memory: Memory) -> None:
    pipe = recorded(load(), memory)
    pipe.unet.to(memory_format=torch.channels_last)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    shoot(pipe, PROMPT, seed=7)


def half_precision(load: Callable[..., Any], memory: Memory) -> None:
    shoot(recorded(load(dtype=torch.float16), memory), PROMPT, seed=7)


SHOTS = (
    plain,
    unseeded,
    one_lora,
    two_loras,
    layer_weights,
    batch,
    one_generator_for_a_batch,
    used_generator,
    image_to_image,
    inpainting,
    arrays,
    given_latents,
    tensors,
    latents,
    a_generator_each,
    globally_seeded,
    other_scheduler,
    switches,
    channels_last,
    half_precision,
)


@pytest.fixture(scope="module")
def replayed(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[Any, list[str]]]:
    """Every shot, generated here and replayed in one other process: (generation, digests)."""
    from generators.demo_model import BASE

    folder = tmp_path_factory.mktemp("replays")
    base = shutil.copytree(BASE, folder / "base")
    memory = Memory()
    for shot in SHOTS:
        shot(_loader(base), memory)
    jobs = [job(memory, g, folder / str(n)) for n, g in enumerate(memory.generations)]
    shutil.rmtree(base)
    digests = replay_afresh(jobs, folder)
    names = [shot.__name__ for shot in SHOTS]
    return dict(zip(names, zip(memory.generations, digests, strict=True), strict=True))


def _loader(base: Path) -> Callable[..., Any]:
    import diffusers

    def load(kind: str = "StableDiffusionPipeline", **options: Any) -> Any:
        options.setdefault("dtype", torch.float32)
        pipe = getattr(diffusers, kind).from_pretrained(base, local_files_only=True, **options)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    return load


@pytest.mark.parametrize("shot", [shot.__name__ for shot in SHOTS])
def test_replay_in_a_fresh_process_gives_the_recorded_bytes(
    replayed: Mapping[str, Any], shot: str
) -> None:
    generation, digests = replayed[shot]
    assert generation.reasons == ()
    assert digests == [sha256_hex(output.data) for output in generation.outputs]


def one_shot(load: Callable[..., Any], memory: Memory, folder: Path, **overrides: Any) -> Any:
    one_lora(load, memory)
    return job(memory, memory.last, folder, overrides)


def test_another_seed_gives_what_that_seed_gives(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    request = one_shot(load, memory, tmp_path, seed="8")
    pipe = recorded(load(), memory)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    shoot(pipe, PROMPT, seed=8, negative_prompt="blurry")
    (output,) = adapter.replay(request)
    assert output.data == memory.last.outputs[0].data
    assert output.seed == "8"


def test_leaving_out_a_lora_gives_the_picture_without_it(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    request = one_shot(load, memory, tmp_path, loras={"lora/brand": None})
    shoot(recorded(load(), memory), PROMPT, seed=7, negative_prompt="blurry")
    (output,) = adapter.replay(request)
    assert output.data == memory.last.outputs[0].data


def test_another_weight_of_a_lora_gives_what_that_weight_gives(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    request = one_shot(load, memory, tmp_path, loras={"lora/brand": 0.79})
    pipe = recorded(load(), memory)
    pipe.load_lora_weights(lora_file("brand"), adapter_name="brand")
    pipe.set_adapters("brand", 0.79)
    shoot(pipe, PROMPT, seed=7, negative_prompt="blurry")
    (output,) = adapter.replay(request)
    assert output.data == memory.last.outputs[0].data


def test_another_prompt_gives_another_picture(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    request = one_shot(load, memory, tmp_path, prompt="a yellow lamp on a pink table, night light")
    (output,) = adapter.replay(request)
    assert output.data != memory.last.outputs[0].data


@pytest.mark.parametrize(
    "overrides", [{"colour": "red"}, {"loras": {"lora/other": 1.0}}], ids=["argument", "lora"]
)
def test_an_override_of_what_is_not_there_is_refused(
    load: Callable[..., Any], memory: Memory, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        adapter.replay(one_shot(load, memory, tmp_path, **overrides))
    assert caught.value.code == "replay.override"


UNET = "unet/diffusion_pytorch_model.safetensors"


def damaged(request: SimpleNamespace, name: str, damage: str) -> SimpleNamespace:
    path = request.materials[name] / UNET if name == "model/base" else request.materials[name]
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "renamed":
        path.rename(path.with_name("weights.bin"))
    else:
        data = bytearray(path.read_bytes())
        data[-1] ^= 0x40
        path.write_bytes(data)
    return request


@pytest.mark.parametrize("damage", ["missing", "truncated", "renamed", "altered"])
@pytest.mark.parametrize("name", ["model/base", "lora/brand"])
def test_a_damaged_material_is_refused_by_name(
    load: Callable[..., Any], memory: Memory, tmp_path: Path, name: str, damage: str
) -> None:
    request = damaged(one_shot(load, memory, tmp_path, seed=str(len(damage))), name, damage)
    request.statement["predicate"]["buildDefinition"]["internalParameters"]["nonce"] = str(tmp_path)
    with pytest.raises(MaterialError) as caught:
        _fresh_adapter_replay(request)
    assert name in caught.value.message


def _fresh_adapter_replay(request: SimpleNamespace) -> Any:
    """Replay without the pipeline that an earlier test left in the workshop."""
    from generators.rebuild.plan import Plan
    from generators.rebuild.replay import Workshop

    return Workshop().replay(Plan.of(request), request.workdir)


def test_a_replaced_material_is_not_held_against_the_record(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    request = one_shot(load, memory, tmp_path, replaced=["lora/brand"])
    damaged(request, "lora/brand", "altered")
    (output,) = _fresh_adapter_replay(request)[0]
    assert output.data != memory.last.outputs[0].data


def test_a_record_cannot_name_classes_of_other_packages(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    request = one_shot(load, memory, tmp_path)
    external = request.statement["predicate"]["buildDefinition"]["externalParameters"]
    external["pipeline"]["class"] = "subprocess.Popen"
    with pytest.raises(InputError) as caught:
        _fresh_adapter_replay(request)
    assert caught.value.code == "replay.class"


def test_an_argument_that_was_not_captured_is_refused(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    pipe = recorded(load(), memory)
    shoot(pipe, PROMPT, seed=7, callback_on_step_end=lambda *a: a[3])
    with pytest.raises(InputError) as caught:
        adapter.replay(job(memory, memory.last, tmp_path))
    assert caught.value.code == "replay.argument"


def test_replay_reports_the_environment_that_it_ran_in(
    load: Callable[..., Any], memory: Memory, tmp_path: Path
) -> None:
    torch.set_float32_matmul_precision("high")
    try:
        one_lora(load, memory)
    finally:
        torch.set_float32_matmul_precision("highest")
    adapter.replay(job(memory, memory.last, tmp_path))
    assert adapter.environment() == memory.last.internal["environment"]
    assert torch.get_float32_matmul_precision() == "highest"
