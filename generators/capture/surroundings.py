"""What surrounds a call in its thread and process, and would change what the same call computes.

What `generators.environment` records and a replay takes on is not looked at here.
"""

from __future__ import annotations

import random
import sys
from typing import Any

import numpy as np
import torch
from torch.overrides import _get_current_function_mode_stack
from torch.utils._python_dispatch import _get_current_dispatch_mode_stack

DENORMAL = 1e-40
"""A float32 below the normal ones: a processor told to flush those makes it zero."""


def describe() -> tuple[dict[str, Any], list[str]]:
    """Return (what a record keeps, reasons).

    A replay runs in torch's ordinary state: what is not that is a reason. The inference mode is
    kept alone, as it changes no bits.
    """
    casts = {name: kind for name in ("cpu", "cuda", "mps") if (kind := _autocast(name))}
    functions = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    modes = [type(mode).__qualname__ for mode in functions]
    dispatches = [type(mode).__qualname__ for mode in _get_current_dispatch_mode_stack()]
    backend = _attention_backend()
    kept = {
        "autocast": casts,
        "inference_mode": torch.is_inference_mode_enabled(),
        "attention_backend": backend,
    }
    checks = (
        (casts, f"the call runs under autocast ({', '.join(casts)})"),
        (modes, f"the call runs under a torch function mode ({', '.join(modes)})"),
        (dispatches, f"the call runs under a torch dispatch mode ({', '.join(dispatches)})"),
        (_flushes_denormals(), "the processor flushes denormal numbers"),
        (backend not in {None, "native"}, f"diffusers' attention backend is {backend}"),
    )
    return kept, [reason for wrong, reason in checks if wrong]


class RandomStates:
    """The global random states before a call, to see whether it drew from one."""

    def __init__(self) -> None:
        self._before = _states()

    def reasons(self) -> list[str]:
        """Return a line for each state that moved since."""
        return [
            f"{name}'s global random state moved during the call"
            for name, state in _states().items()
            if state != self._before[name]
        ]


def _states() -> dict[str, Any]:
    _, keys, *position = np.random.get_state()  # noqa: NPY002 (the global state is looked at)
    return {
        "torch": torch.get_rng_state().numpy().tobytes(),
        "numpy": (np.asarray(keys).tobytes(), position),
        "python": random.getstate(),
    }


def _autocast(device: str) -> str:
    if not torch.is_autocast_enabled(device):
        return ""
    return str(torch.get_autocast_dtype(device)).removeprefix("torch.")


def _flushes_denormals() -> bool:
    return bool((torch.tensor([DENORMAL]) * 1.0).item() == 0.0)


def _attention_backend() -> str | None:
    """Return the process-wide backend of diffusers' newer models; None where they are not used."""
    module = sys.modules.get("diffusers.models.attention_dispatch")
    registry = getattr(module, "_AttentionBackendRegistry", None)
    active = getattr(registry, "_active_backend", None)
    return None if active is None else str(getattr(active, "value", active))
