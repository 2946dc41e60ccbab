"""The training itself: a model folder, pictures and captions in, the bytes of a LoRA out.

Deterministic while it lasts, and leaves the process as it found it. Imports torch at once, so that
the environment has to be prepared before; knows nothing of records.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps

from generators import environment
from generators.demo_model import lora, training
from generators.studio import hush, readable
from generators.train_lora.settings import TARGETS, LoraSettings
from registry.errors import InputError

ADAPTER = "trained"
POINTS = 100
"""Most points of a loss curve."""
LARGEST_AT_ONCE = 64 * 64 * 64
"""Pixels that the autoencoder sees at once."""

Report = Callable[[int, int], None]
"""Called with the steps done and the steps in all."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A LoRA: its file's bytes, how the loss fell, and what it ran in.

    `losses` are the means of `every` steps each.
    """

    data: bytes
    every: int
    losses: tuple[float, ...]
    layers: int
    environment: Mapping[str, Any]


@dataclass(slots=True)
class _Curve:
    """Takes the loss of each step; InputError (`train.diverged`) for one that is no number."""

    steps: int
    report: Report | None
    losses: list[float] = field(default_factory=list)

    @property
    def every(self) -> int:
        return math.ceil(self.steps / POINTS)

    def add(self, loss: float) -> None:
        self.losses.append(loss)
        if not math.isfinite(loss):
            raise InputError(
                f"the training diverged at step {len(self.losses)}",
                code="train.diverged",
                hint="train with a lower rate",
            )
        if self.report is not None:
            self.report(len(self.losses), self.steps)

    def points(self) -> tuple[float, ...]:
        parts = [self.losses[at : at + self.every] for at in range(0, len(self.losses), self.every)]
        return tuple(round(sum(part) / len(part), 6) for part in parts)


class Trainer:
    """A model that can be taught, loaded from its folder in full precision.

    Raises InputError: `model.unusable` for a folder that does not load, `train.model` for a model
    of another make than Stable Diffusion's.
    """

    def __init__(self, folder: Path) -> None:
        from diffusers import DDPMScheduler, DiffusionPipeline

        hush()
        if not (folder / "model_index.json").is_file():
            raise InputError(
                f"{folder} is not a diffusers model folder",
                code="model.unusable",
                hint="it must hold a model_index.json, as `save_pretrained` writes it",
            )
        with readable("model", folder):
            self.pipe = DiffusionPipeline.from_pretrained(
                folder, dtype=torch.float32, local_files_only=True
            )
        _check_make(self.pipe, folder)
        self.scheduler = DDPMScheduler.from_config(self.pipe.scheduler.config)
        for part in (self.pipe.unet, self.pipe.vae, self.pipe.text_encoder):
            part.requires_grad_(False)

    def side(self, wanted: int | None) -> int:
        """Return the side of training pictures, in pixels; InputError (`train.side`) for others."""
        vae, unet = self.pipe.vae.config, self.pipe.unet.config
        shrink = 2 ** (len(vae.block_out_channels) - 1)
        unit = shrink * 2 ** (len(unet.block_out_channels) - 1)
        side: int = unet.sample_size * shrink if wanted is None else wanted
        if side % unit:
            raise InputError(
                f"pictures of side {side} do not fit the model",
                code="train.side",
                hint=f"give a multiple of {unit}",
            )
        return side

    def train(
        self,
        pictures: Sequence[Image.Image],
        captions: Sequence[str],
        settings: LoraSettings,
        *,
        report: Report | None = None,
        under: Mapping[str, Any] | None = None,
    ) -> Trained:
        """Train on pictures of one size, with their captions; one training for one trainer.

        `under` is a recorded environment whose threads and switches to take on; else the present
        ones, with deterministic kernels.
        """
        curve = _Curve(settings.steps, report)
        switches = {"torch": {"deterministic": True}} if under is None else under
        with environment.matching(switches), torch.random.fork_rng(devices=[]):
            torch.manual_seed(settings.seed)
            config = lora.adapter_config(settings.rank, TARGETS[settings.layers])
            latents, prompts, blank = self._lessons(pictures, captions)
            self.pipe.unet.add_adapter(config, adapter_name=ADAPTER)
            source = torch.Generator().manual_seed(settings.seed)
            noising = training.Noising(latents, self.scheduler, settings.batch, source)
            lora.fit(self.pipe.unet, noising, (prompts, blank), settings, curve.add)
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "lora.safetensors"
                lora.save(self.pipe.unet, config, ADAPTER, file)
                data = file.read_bytes()
            layers = sum(hasattr(one, "base_layer") for one in self.pipe.unet.modules())
            return Trained(data, curve.every, curve.points(), layers, environment.capture())

    def _lessons(
        self, pictures: Sequence[Image.Image], captions: Sequence[str]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return scaled latents, the captions' embeddings, and the empty caption's."""
        pipe = self.pipe
        pixels = training.pictures_to_bytes(pictures)
        chunk = max(1, LARGEST_AT_ONCE // (pixels.shape[-1] * pixels.shape[-2]))
        latents = training.latents_of(pipe.vae, pixels, chunk) * pipe.vae.config.scaling_factor
        with torch.no_grad():
            ids = training.token_ids(pipe.tokenizer, captions)
            parts = [pipe.text_encoder(some)[0] for some in torch.split(ids, 64)]
            blank = pipe.text_encoder(training.token_ids(pipe.tokenizer, [""]))[0][0]
        return latents, torch.cat(parts), blank


def fitted(picture: Image.Image, side: int) -> Image.Image:
    """Return the middle of a picture as an RGB square; what is transparent becomes white."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        picture = Image.new("RGBA", whole.size, "white")
        picture.alpha_composite(whole)
    return ImageOps.fit(picture.convert("RGB"), (side, side), Image.Resampling.LANCZOS)


def _check_make(pipe: Any, folder: Path) -> None:
    """Refuse a model whose denoiser this training would not feed as it was fed before."""
    wanted = {"unet", "vae", "text_encoder", "tokenizer", "scheduler"}
    one_text = wanted <= pipe.components.keys() and "text_encoder_2" not in pipe.components
    if not (
        one_text
        and pipe.unet.config.in_channels == pipe.vae.config.latent_channels
        and pipe.unet.config.get("addition_embed_type") is None
        and pipe.scheduler.config.get("prediction_type") in {"epsilon", "v_prediction"}
    ):
        raise InputError(
            f"{folder} holds a {type(pipe).__name__} that cannot be taught here",
            code="train.model",
            hint="give a model of Stable Diffusion's make: one text encoder, a UNet, text to image",
        )
