"""The parameters of both trainings, read from `params.yaml`.

Knows the file's shape and nothing of what the numbers do.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, TypeVar

from registry.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

P = TypeVar("P", "BaseParams", "LoraParams")


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


def load_base(path: Path) -> BaseParams:
    """Read section `demo_model.base`; `InputError` when a key is missing or unknown."""
    return _section(BaseParams, path, "base")


def load_lora(path: Path, style: str) -> LoraParams:
    """Read section `demo_model.lora.<style>`; `InputError` when a key is missing or unknown."""
    return _section(LoraParams, path, "lora", style)


def _section(kind: type[P], path: Path, *keys: str) -> P:
    import yaml

    where = ".".join(("demo_model", *keys))
    section: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in where.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    known = {field.name for field in fields(kind)}
    if not isinstance(section, dict) or set(section) != known:
        odd = sorted(known ^ set(section if isinstance(section, dict) else ()))
        raise InputError(
            f"{path}: section {where} does not fit: {', '.join(odd)}",
            code="input.params",
            hint="Each parameter has to be there, and no other.",
        )
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
    return kind(**values)
