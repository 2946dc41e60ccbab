"""One picture from one request: load the model, wrap it, run it, return the receipt.

What `genops generate` and campaigns share. A pipeline is loaded afresh for each call, so that
nothing of an earlier one (a LoRA left on, a swapped scheduler) can leak into the next.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from generators.demo_model import BASE, STYLES, lora_file
from registry.errors import InputError, MissingExtraError, NotFoundError

if TYPE_CHECKING:
    from registry.core.answers import Receipt
    from registry.sdk import Registry


@dataclass(frozen=True, slots=True)
class Request:
    """What to generate. `loras` maps a file, or a style of the demo model, to its scale.

    With `image` (an asset id or a file) the picture starts from it, and `strength` (0 to 1) says
    how far it may leave it. `seed` is 0 to 2^64-1, or None for a fresh one.
    """

    prompt: str
    negative_prompt: str = ""
    seed: int | None = None
    model: Path | None = None
    loras: Mapping[str, float] = field(default_factory=dict)
    image: str | None = None
    strength: float = 0.6
    steps: int = 20
    guidance_scale: float = 3.0


def shoot(
    registry: Registry,
    request: Request,
    *,
    project: str | None = None,
    campaign: str | None = None,
    draft: bool = False,
    out: Path | None = None,
) -> Receipt:
    """Generate and record one picture; with `out`, also write it there.

    Raises InputError or MaterialError for a model, LoRA or image that cannot be used, and
    MissingExtraError without diffusers; nothing is recorded then.
    """
    from generators import recorded
    from generators.seeds import check_seed

    if request.seed is not None:
        check_seed(request.seed)
    image = None if request.image is None else _open_image(registry, request.image)
    pipe = recorded(
        load_pipeline(request.model, "img2img" if image is not None else "text"),
        registry,
        project=project,
        campaign=campaign,
        draft=draft,
    )
    load_loras(pipe, request.loras)
    result = pipe(
        request.prompt,
        negative_prompt=request.negative_prompt,
        num_inference_steps=request.steps,
        guidance_scale=request.guidance_scale,
        **_chance(request),
        **({} if image is None else {"image": image, "strength": request.strength}),
    )
    if out is not None:
        out.write_bytes(registry.blob(result.receipt.assets[0]).read_bytes())
    receipt: Receipt = result.receipt
    return receipt


def load_pipeline(model: Path | None, task: Literal["text", "img2img", "inpaint"]) -> Any:
    """Load a model folder, the demo model where none is given, as a pipeline for a task.

    Raises InputError (`model.unusable`), and MissingExtraError without diffusers.
    """
    try:
        import torch

        hush()
        from diffusers import DiffusionPipeline
    except ImportError as error:
        raise MissingExtraError(
            "generating needs diffusers and torch, which are not installed",
            hint="pip install 'genops-registry[generate]'",
        ) from error
    folder = model or BASE
    if not (folder / "model_index.json").is_file():
        raise InputError(
            f"{folder} is not a diffusers model folder",
            code="model.unusable",
            hint="it must hold a model_index.json, as `save_pretrained` writes it",
        )
    with readable("model", folder):
        pipe = DiffusionPipeline.from_pretrained(
            folder,
            dtype=torch.float32,  # a folder saved in half precision would mix the two
            local_files_only=True,
        )
    with readable("model", folder):
        return for_task(pipe, task)


def for_task(pipe: Any, task: Literal["text", "img2img", "inpaint"]) -> Any:
    """Return a pipeline for a task with the same components, without a progress bar."""
    if task != "text":
        from diffusers import AutoPipelineForImage2Image, AutoPipelineForInpainting

        kinds = {"img2img": AutoPipelineForImage2Image, "inpaint": AutoPipelineForInpainting}
        pipe = kinds[task].from_pipe(pipe)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@contextmanager
def readable(what: str, path: Path) -> Iterator[None]:
    """Turn what a loader says of a file into our words; the libraries raise almost anything."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        reason = str(error).strip().splitlines()[:1] or [type(error).__name__]
        raise InputError(
            f"{what} {path} cannot be loaded: {reason[0]}",
            code="model.unusable",
            hint="a file is missing, truncated or renamed, or made for another model",
        ) from error


def hush() -> None:
    """Keep the libraries' progress bars and advice out of a command's output."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    for log in (of_diffusers, of_transformers):
        log.set_verbosity_error()
        log.disable_progress_bar()


def load_loras(pipe: Any, loras: Mapping[str, float]) -> None:
    """Load LoRAs, files or styles of the demo model, each at its scale.

    Raises InputError: `input.lora` for one that is not there, `model.unusable`.
    """
    names = []
    for number, source in enumerate(loras):
        path = lora_file(source) if source in STYLES else Path(source)
        if not path.is_file():
            raise InputError(
                f"no LoRA at {path}",
                code="input.lora",
                hint=f"give a safetensors file, or one of {', '.join(STYLES)}",
            )
        name = source if source in STYLES else f"lora{number}"
        with readable("LoRA", path):
            pipe.load_lora_weights(path, adapter_name=name)
        names.append(name)
    if names:
        pipe.set_adapters(names, list(loras.values()))


def _chance(request: Request) -> dict[str, Any]:
    """Return the generator of a chosen seed; without one the wrapper draws and records a seed."""
    import torch

    if request.seed is None:
        return {}
    return {"generator": torch.Generator().manual_seed(request.seed)}


def _open_image(registry: Registry, ref: str) -> Any:
    from registry.similarity.decode import open_image

    try:
        path = registry.blob(ref)
    except NotFoundError:
        path = Path(ref)
        if not path.is_file():
            raise
    return open_image(path, registry.settings.limits).convert("RGB")
