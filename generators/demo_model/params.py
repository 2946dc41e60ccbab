"""The parameters of all trainings, read from `params.yaml`.

Knows the file's shape and nothing of what the numbers do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.parameters import read_section

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class BaseParams:
    """The base model: data, architecture and schedule. Rates are peak learning rates."""

    recipe: str
    seed: int
    side: int
    scenes: int
    styled_share: float
    vocabulary: int
    tokens: int
    text_width: int
    vae_channels: tuple[int, ...]
    vae_steps: int
    vae_batch: tuple[int, int]
    vae_rate: float
    unet_channels: tuple[int, ...]
    unet_steps: int
    unet_batch: int
    unet_rate: float
    caption_dropout: float


@dataclass(frozen=True, slots=True)
class LoraParams:
    """One LoRA on top of the base model."""

    recipe: str
    seed: int
    side: int
    scenes: int
    rank: int
    steps: int
    batch: int
    rate: float
    caption_dropout: float


@dataclass(frozen=True, slots=True)
class UpscalerParams:
    """The network that doubles a picture's sides; `side` is that of the small pictures."""

    recipe: str
    seed: int
    side: int
    scenes: int
    rebuilt_share: float
    channels: int
    blocks: int
    steps: int
    batch: int
    rate: float


@dataclass(frozen=True, slots=True)
class ControlParams:
    """The ControlNet that follows outlines; `channels` are those of the outlines' encoder."""

    recipe: str
    seed: int
    side: int
    scenes: int
    channels: tuple[int, ...]
    steps: int
    batch: int
    rate: float
    caption_dropout: float


def load_base(path: Path) -> BaseParams:
    """Read section `demo_model.base`; `InputError` when a key is missing or unknown."""
    return read_section(BaseParams, path, "demo_model.base")


def load_lora(path: Path, style: str) -> LoraParams:
    """Read section `demo_model.lora.<style>`; `InputError` when a key is missing or unknown."""
    return read_section(LoraParams, path, f"demo_model.lora.{style}")


def load_upscaler(path: Path) -> UpscalerParams:
    """Read section `demo_model.upscaler`; `InputError` when a key is missing or unknown."""
    return read_section(UpscalerParams, path, "demo_model.upscaler")


def load_controlnet(path: Path) -> ControlParams:
    """Read section `demo_model.controlnet`; `InputError` when a key is missing or unknown."""
    return read_section(ControlParams, path, "demo_model.controlnet")
