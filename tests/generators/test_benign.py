"""Ordinary uses of pipelines are recorded without a reason: a flag that cries wolf is no flag."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from generators import recorded

from . import pipelines
from .conftest import Memory

SEED = 3
Use = Callable[[Any], Any]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def give(kind: str) -> Path:
        if kind not in made:
            made[kind] = pipelines.save(kind, tmp_path_factory.mktemp("pipelines") / kind)
        return made[kind]

    return give


@pytest.fixture(scope="module")
def loaded(folders: Callable[[str], Path]) -> Callable[[str], Any]:
    known: dict[str, Any] = {}

    def give(kind: str) -> Any:
        if kind not in known:
            known[kind] = pipelines.load(kind, folders(kind))
        return copy.deepcopy(known[kind])

    return give


def shoot(pipe: Any, memory: Memory, kind: str = "txt2img", **options: Any) -> None:
    """Call twice, since what a first call leaves behind must not count against the second."""
    proxy = recorded(pipe, memory)
    for _ in range(2):
        proxy(**pipelines.arguments(kind, seed=SEED, **options))
        assert memory.last.reasons == ()


SCHEDULERS = (
    "DDPMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
    "LCMScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
)


@pytest.mark.parametrize("name", SCHEDULERS)
def test_a_scheduler_of_the_library(
    loaded: Callable[[str], Any], memory: Memory, name: str
) -> None:
    import diffusers

    pipe = loaded("txt2img")
    pipe.scheduler = getattr(diffusers, name).from_config(pipe.scheduler.config)
    shoot(pipe, memory, num_inference_steps=5)


def karras(pipe: Any) -> None:
    from diffusers import DPMSolverMultistepScheduler

    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        pipe.scheduler.config, use_karras_sigmas=True, algorithm_type="sde-dpmsolver++"
    )


def offload_by_accelerate(pipe: Any) -> None:
    from accelerate import cpu_offload

    for name in ("unet", "vae", "text_encoder"):
        cpu_offload(getattr(pipe, name), torch.device("cpu"))


def offload_in_groups(pipe: Any) -> None:
    from diffusers.hooks import apply_group_offloading

    apply_group_offloading(pipe.unet, onload_device=torch.device("cpu"), offload_type="leaf_level")


def default_processors(pipe: Any) -> None:
    from diffusers.models.attention_processor import AttnProcessor

    pipe.unet.set_attn_processor(AttnProcessor())
    pipe.unet.set_default_attn_processor()


def bare_call_before(pipe: Any) -> None:
    pipe(**pipelines.arguments("txt2img", generator=torch.Generator().manual_seed(1)))


def tokenized(pipe: Any) -> None:
    pipe.tokenizer("some text", padding="max_length", max_length=16, truncation=True)


def counted_hook_removed(pipe: Any) -> None:
    pipe.unet.register_forward_hook(lambda module, args, output: output).remove()


def patched_and_restored(pipe: Any) -> None:
    original = torch.nn.functional.silu
    torch.nn.functional.silu = torch.nn.functional.relu
    torch.nn.functional.silu = original


def own_attribute(pipe: Any) -> None:
    pipe.campaign_of_mine = "mugs"


USES: tuple[Use, ...] = (
    karras,
    offload_by_accelerate,
    offload_in_groups,
    default_processors,
    bare_call_before,
    tokenized,
    counted_hook_removed,
    patched_and_restored,
    own_attribute,
)
SIMPLE: dict[str, Use] = {
    "untouched": lambda pipe: None,
    "attention slicing": lambda pipe: pipe.enable_attention_slicing(1),
    "vae slicing": lambda pipe: pipe.vae.enable_slicing(),
    "vae tiling": lambda pipe: pipe.vae.enable_tiling(),
    "free lunch": lambda pipe: pipe.enable_freeu(s1=0.9, s2=0.2, b1=1.2, b2=1.4),
    "channels last": lambda pipe: pipe.unet.to(memory_format=torch.channels_last),
    "evaluation": lambda pipe: pipe.unet.eval().requires_grad_(False),
    "to the device": lambda pipe: pipe.to("cpu"),
    "cast": lambda pipe: pipe.to(torch.bfloat16),
    "other switches": lambda pipe: pipe.set_progress_bar_config(disable=True, leave=False),
}


@pytest.mark.parametrize("use", USES, ids=lambda use: use.__name__)
def test_an_ordinary_use(loaded: Callable[[str], Any], memory: Memory, use: Use) -> None:
    pipe = loaded("txt2img")
    use(pipe)
    shoot(pipe, memory)


@pytest.mark.parametrize("name", SIMPLE)
def test_an_ordinary_switch(loaded: Callable[[str], Any], memory: Memory, name: str) -> None:
    pipe = loaded("txt2img")
    SIMPLE[name](pipe)
    shoot(pipe, memory)


@pytest.mark.parametrize("kind", [kind for kind in pipelines.KINDS if kind != "ip-adapter"])
def test_an_ordinary_load(folders: Callable[[str], Path], memory: Memory, kind: str) -> None:
    shoot(pipelines.load(kind, folders(kind)), memory, kind)


@pytest.mark.parametrize("kind", ["txt2img", "flux"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_a_load_in_half_precision(
    folders: Callable[[str], Path], memory: Memory, kind: str, dtype: torch.dtype
) -> None:
    shoot(pipelines.load(kind, folders(kind), dtype=dtype), memory, kind)


@pytest.mark.parametrize("kind", ["txt2img", "sdxl", "flux"])
def test_loras_with_weights(
    loaded: Callable[[str], Any], memory: Memory, tmp_path: Path, kind: str
) -> None:
    pipe = loaded(kind)
    proxy = recorded(pipe, memory)
    for number, name in enumerate(("one", "two"), 1):
        file = pipelines.lora_file(kind, loaded(kind), tmp_path / f"{name}.safetensors", number)
        proxy.load_lora_weights(str(file), adapter_name=name)
    proxy.set_adapters(["one", "two"], [0.8, -0.3])
    shoot(proxy, memory, kind)
    proxy.disable_lora()
    shoot(proxy, memory, kind)
    proxy.unload_lora_weights()
    shoot(proxy, memory, kind)


def test_pipelines_made_of_one_anothers_parts(loaded: Callable[[str], Any], memory: Memory) -> None:
    from diffusers import AutoPipelineForImage2Image

    pipe = AutoPipelineForImage2Image.from_pipe(loaded("txt2img"))
    pipe.set_progress_bar_config(disable=True)
    shoot(pipe, memory, "img2img")


@pytest.mark.parametrize(
    "options",
    [
        {"negative_prompt": "grey", "guidance_scale": 3.5},
        {"num_images_per_prompt": 2},
        {"prompt": ["a mug", "a lamp"], "seed": [1, 2]},
        {"output_type": "latent"},
        {"output_type": "np"},
        {"eta": 0.5},
        {"guidance_rescale": 0.7},
    ],
    ids="+".join,
)
def test_ordinary_arguments(
    loaded: Callable[[str], Any], memory: Memory, options: dict[str, Any]
) -> None:
    recorded(loaded("txt2img"), memory)(**pipelines.arguments("txt2img", seed=SEED) | options)
    assert memory.last.reasons == ()
