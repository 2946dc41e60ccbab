"""The numeric settings that a calibration varies: same inputs, other arithmetic.

What a change of machine comes down to, and can be had on any one: instruction sets, threads,
batch size. And one real change, another seed, that bounds must keep out.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.workflows.inspect import ARGUMENTS
from registry.workflows.reproduce import Target

BASE = "recorded"
CONTRAST = "another seed"
COPIES = "num_images_per_prompt"
"""The argument by which pipelines make several pictures in one batch."""
_SEEDS = 2**64
_PROCESSES: Mapping[str, Mapping[str, str]] = {
    "ATen without vectors": {"ATEN_CPU_CAPABILITY": "default"},
    "ATen AVX2": {"ATEN_CPU_CAPABILITY": "avx2"},
    "oneDNN AVX2": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    "two threads": {
        "OMP_NUM_THREADS": "2",
        "MKL_NUM_THREADS": "2",
        "OMP_WAIT_POLICY": "PASSIVE",
    },
}
_THREADS = {"two threads": 2}


@dataclass(frozen=True, slots=True)
class Varied:
    """One way to replay an output; those with the same `process` can share one."""

    name: str
    process: str
    document: Mapping[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)


def variants(target: Target) -> Iterator[Varied]:
    """Yield the ways to replay an output: as recorded, with another seed, with other settings."""
    document, seed = target.document, target.row["seed"]
    yield Varied(BASE, BASE, document)
    yield Varied(CONTRAST, BASE, document, {"seed": str((int(seed) + 1) % _SEEDS)})
    if _is_single(document):
        yield Varied("batch of two", BASE, document, {COPIES: 2, "seed": seed})
    for name, variables in _PROCESSES.items():
        changed = _with(document, variables, _THREADS.get(name))
        if changed is not None:
            yield Varied(name, name, changed)


def _is_single(document: Mapping[str, Any]) -> bool:
    """Tell whether a record is of one picture whose generator is no more than its seed."""
    external = document["predicate"]["buildDefinition"]["externalParameters"]
    asked = external.get(ARGUMENTS)
    if not isinstance(asked, Mapping) or len(document["subject"]) != 1:
        return False
    return asked.get(COPIES) == 1 and isinstance(asked.get("prompt"), str)


def _with(
    document: Mapping[str, Any], variables: Mapping[str, str], threads: int | None
) -> Mapping[str, Any] | None:
    """Return a statement whose environment has other variables; None when it has them already."""
    changed: dict[str, Any] = copy.deepcopy(dict(document))
    internal = changed["predicate"]["buildDefinition"]["internalParameters"]
    environment = internal.setdefault("environment", {})
    recorded = environment.setdefault("variables", {})
    if variables.items() <= recorded.items():
        return None
    recorded.update(variables)
    if threads is not None and "torch" in environment:
        environment["torch"]["threads"] = threads
    return changed
