"""What one chooses about a training. Plain values; knows neither pictures nor torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self, get_args

from generators.demo_model.lora import TARGETS as EVERY_LAYER
from generators.seeds import check_seed, parse_seed
from registry.errors import InputError

Layers = Literal["all", "attention"]

ATTENTION = ("to_k", "to_out.0", "to_q", "to_v")
TARGETS: Mapping[Layers, tuple[str, ...]] = {"all": EVERY_LAYER, "attention": ATTENTION}
"""The endings of the names of the layers that are adapted."""
_AT_MOST = {"rank": 256, "steps": 1_000_000, "batch": 1024, "side": 4096}


@dataclass(frozen=True, slots=True)
class LoraSettings:
    """How a LoRA is trained.

    `rate` is the peak of a one-cycle schedule, `side` the pictures' side in pixels (None for the
    model's own), `caption_dropout` the share of steps without a caption, `layers` whether
    convolutions and feed-forward layers are adapted beside the attention. Raises InputError
    (`train.settings`, `input.seed`).
    """

    seed: int
    rank: int = 8
    steps: int = 400
    batch: int = 8
    rate: float = 0.002
    caption_dropout: float = 0.1
    side: int | None = None
    layers: Layers = "all"

    def __post_init__(self) -> None:
        check_seed(self.seed)
        for name, most in _AT_MOST.items():
            value = getattr(self, name)
            if value is not None and not (_whole(value) and 1 <= value <= most):
                raise _unfit(name, value, f"a whole number from 1 to {most}")
        if not (math.isfinite(self.rate) and 0 < self.rate <= 1):
            raise _unfit("rate", self.rate, "above 0, 1 at the most")
        if not (math.isfinite(self.caption_dropout) and 0 <= self.caption_dropout <= 1):
            raise _unfit("caption_dropout", self.caption_dropout, "from 0 to 1")
        if self.layers not in get_args(Layers):
            raise _unfit("layers", self.layers, " or ".join(get_args(Layers)))

    def to_document(self) -> dict[str, Any]:
        """Return the settings as a record holds them: the seed as a decimal string."""
        document: dict[str, Any] = {one.name: getattr(self, one.name) for one in fields(self)}
        return document | {"seed": str(self.seed)}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read what `to_document` gives; InputError (`replay.record`) for anything else."""
        known = {one.name for one in fields(cls)}
        if unknown := document.keys() - known:
            raise InputError(
                f"a training has no setting {', '.join(sorted(unknown))}", code="replay.override"
            )
        try:
            return cls(**{**document, "seed": parse_seed(document["seed"])})
        except (KeyError, TypeError) as error:
            raise InputError(
                f"the record has no usable settings: {error}", code="replay.record"
            ) from None


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _unfit(name: str, value: object, hint: str) -> InputError:
    return InputError(f"{name} cannot be {value!r}", code="train.settings", hint=f"give {hint}")
