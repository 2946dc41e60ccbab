"""A scheduler as class and configuration, and whether its tables still are what those give.

A scheduler is made anew from its configuration at a replay; nothing is read from a folder.
"""

from __future__ import annotations

from typing import Any

import torch

from generators.capture.modules import config_of, is_plain, plain
from generators.capture.trusted import qualified

FIXED_TABLES = (
    "betas",
    "alphas",
    "alphas_cumprod",
    "final_alpha_cumprod",
    "initial_alpha_cumprod",
    "alpha_t",
    "sigma_t",
    "lambda_t",
)
"""Tensors that the configuration alone decides; others change with the number of steps."""


class SchedulerWatch:
    """Describes schedulers; keeps a fresh twin of the last one to compare tables with."""

    def __init__(self) -> None:
        self._twin: tuple[dict[str, Any], Any] | None = None

    def describe(self, scheduler: Any) -> tuple[dict[str, Any], list[str]]:
        """Return ({class, config}, reasons)."""
        described = {"class": qualified(type(scheduler)), "config": plain(config_of(scheduler))}
        if not is_plain(described["config"]):
            return described, ["scheduler has a configuration that JSON cannot hold"]
        twin = self._twin_of(scheduler, described)
        patched = [name for name in FIXED_TABLES if not _same(scheduler, twin, name)]
        return described, [f"scheduler.{name} was changed in memory" for name in patched]

    def _twin_of(self, scheduler: Any, described: dict[str, Any]) -> Any:
        if self._twin is None or self._twin[0] != described:
            self._twin = described, type(scheduler).from_config(described["config"])
        return self._twin[1]


def _same(one: Any, other: Any, name: str) -> bool:
    mine, its = vars(one).get(name), vars(other).get(name)
    if not isinstance(mine, torch.Tensor) or not isinstance(its, torch.Tensor):
        return type(mine) is type(its)
    return mine.dtype == its.dtype and torch.equal(mine.cpu(), its.cpu())
