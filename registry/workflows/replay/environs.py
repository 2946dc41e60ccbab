"""The variables that a replay process starts with, and how two environments differ.

Numeric libraries read theirs once, when they start: they can only be set for a fresh process.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from registry.core.answers import Difference
from registry.settings import child_environ
from registry.workflows.replaying import Numerics

OURS = "GENOPS_"
"""Passphrase, token and home are no business of a replay."""
NUMERIC = (
    "ATEN_",
    "CUBLAS_",
    "DNNL_",
    "KMP_",
    "MKL_",
    "NVIDIA_TF32_",
    "OMP_",
    "ONEDNN_",
    "TOKENIZERS_",
)
SAID_BY_ABSENCE = ("libraries", "variables", "torch.cuda")
"""Parts in which what is not named is not there; elsewhere an older record did not ask."""


def replay_environ(statement: Mapping[str, Any], numerics: Numerics = "recorded") -> dict[str, str]:
    """Return this process's environment for a replay, without secrets.

    The numeric variables are those of the record, or this process's own (`present`).
    """
    if numerics == "present":
        return child_environ(without=(OURS,), extra={})
    recorded = recorded_environment(statement).get("variables", {})
    chosen = {k: str(v) for k, v in recorded.items() if k.startswith(NUMERIC) and v is not None}
    return child_environ(without=(*NUMERIC, OURS), extra=chosen)


def recorded_environment(statement: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the environment that a generation statement names, as far as it does."""
    internal = statement["predicate"]["buildDefinition"]["internalParameters"]
    found: Mapping[str, Any] = internal.get("environment", {})
    return found


def differences(recorded: Any, found: Any, where: str = "") -> Iterator[Difference]:
    """Yield the leaves in which two environments differ, by dotted path, in key order."""
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        for key in sorted({*recorded, *found}):
            inner = f"{where}.{key}" if where else str(key)
            if key in recorded or inner.startswith(SAID_BY_ABSENCE):
                yield from differences(recorded.get(key), found.get(key), inner)
    elif recorded != found:
        yield Difference(where, recorded, found)
