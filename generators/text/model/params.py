"""The parameters of the copy model's training, read from `params.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from generators.parameters import read_section

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class CopyParams:
    """Data, architecture and schedule; `rate` is the peak learning rate."""

    recipe: str
    seed: int
    vocabulary: int
    tokenizer_samples: int
    width: int
    layers: int
    heads: int
    inner: int
    positions: int
    steps: int
    batch: int
    rate: float


def load_params(path: Path) -> CopyParams:
    """Read section `copy_model`; `InputError` when a key is missing or unknown."""
    return read_section(CopyParams, path, "copy_model")
