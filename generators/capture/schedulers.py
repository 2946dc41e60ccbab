"""A scheduler as class and configuration, and whether its tables still are what those give.

A scheduler is made anew from its configuration at a replay; nothing is read from a folder.
"""

from __future__ import annotations

import dis
import inspect
import math
from types import FunctionType
from typing import Any

import numpy as np
import torch

from generators.capture.modules import config_of, is_plain, plain
from generators.capture.trusted import innermost, qualified

FIXED_TABLES = frozenset(
    {
        "betas",
        "alphas",
        "alphas_cumprod",
        "final_alpha_cumprod",
        "initial_alpha_cumprod",
        "alpha_t",
        "sigma_t",
        "lambda_t",
    }
)
"""Tensors that the configuration alone decides, though a call may move them to another device."""
SETTERS = frozenset({"__init__", "set_shift", "register_to_config"})
"""Methods that no pipeline calls on its own: what they alone set stays what a caller made it."""


class SchedulerWatch:
    """Describes schedulers; keeps a fresh twin of each to compare with, by its place."""

    def __init__(self) -> None:
        self._twins: dict[str, tuple[dict[str, Any], Any]] = {}
        self._moving: dict[type, frozenset[str]] = {}

    def describe(self, name: str, scheduler: Any) -> tuple[dict[str, Any], list[str]]:
        """Return ({class, config}, reasons)."""
        described = {"class": qualified(type(scheduler)), "config": _config(scheduler)}
        if not is_plain(described["config"]):
            return described, [f"{name} has a configuration that JSON cannot hold"]
        twin = self._twin_of(name, scheduler, described)
        mine, its = vars(scheduler), vars(twin)
        names = (mine.keys() | its.keys()) - self._moving_of(scheduler) - _NOT_STATE
        names = {name for name in names if not isinstance(mine.get(name), list)}  # histories
        patched = [one for one in sorted(names) if not _same(mine.get(one), its.get(one))]
        return described, [f"{name}.{one} was changed in memory" for one in patched]

    def _moving_of(self, scheduler: Any) -> frozenset[str]:
        cls = type(scheduler)
        if cls not in self._moving:
            self._moving[cls] = _moving(cls)
        return self._moving[cls]

    def _twin_of(self, name: str, scheduler: Any, described: dict[str, Any]) -> Any:
        known = self._twins.get(name)
        key = described | {"default": torch.get_default_dtype()}
        if known is None or known[0] != key:
            twin = type(scheduler).from_config(described["config"])
            known = self._twins[name] = key, twin
        return known[1]


_NOT_STATE = frozenset({"_internal_dict"})


def _config(scheduler: Any) -> dict[str, Any]:
    """Return the configuration as JSON, without infinities that are what the class sets anyhow."""
    parameters = inspect.signature(type(scheduler).__init__).parameters
    return {
        name: plain(value)
        for name, value in config_of(scheduler).items()
        if not (isinstance(value, float) and math.isinf(value))
        or name not in parameters
        or parameters[name].default != value
    }


def _moving(cls: type) -> frozenset[str]:
    """Return the attributes that a call may set: those that any method but a setter assigns."""
    functions = [
        inner
        for base in cls.__mro__
        for name, value in vars(base).items()
        if name not in SETTERS and isinstance(inner := innermost(value), FunctionType)
    ]
    assigned = {
        instruction.argval
        for function in functions
        for instruction in dis.get_instructions(function)
        if instruction.opname == "STORE_ATTR"
    }
    return frozenset(assigned - FIXED_TABLES)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one.cpu(), other.cpu())
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        return one.dtype == other.dtype and np.array_equal(one, other)
    return bool(plain(one) == plain(other))
