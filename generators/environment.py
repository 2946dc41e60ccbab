"""The runtime that decides bits: prepared before torch starts, captured with each generation.

Reads the process environment and library versions; records neither host nor user names.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import sys
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import switches

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LIBRARIES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "safetensors",
    "tokenizers",
    "numpy",
    "pillow",
)
VARIABLES = (
    "MKL_CBWR",
    "MKL_NUM_THREADS",
    "OMP_NUM_THREADS",
    "ATEN_CPU_CAPABILITY",
    "CUBLAS_WORKSPACE_CONFIG",
    "NVIDIA_TF32_OVERRIDE",
)
VARIABLE_HEADS = ("ONEDNN_", "DNNL_")
STABLE_MKL = "AUTO,STRICT"


def prepare(device: str = "cpu") -> bool:
    """Ask for bit-stable arithmetic; return False when torch was imported too early for it.

    MKL picks code paths by memory alignment unless told otherwise, and memory-mapped weights are
    aligned at random: `AUTO,STRICT` makes results repeat at no cost in speed. One OpenMP thread
    where nothing else was asked for. For a `cuda` device cuBLAS gets a workspace of a fixed size;
    `generators.switches.settle` does the rest once torch is there. What the user set stays.
    """
    if device.startswith("cuda"):
        # Read when CUDA starts, which may be long after torch was imported.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", switches.CUBLAS_WORKSPACE)
    if "torch" in sys.modules:
        return os.environ.get("MKL_CBWR", "").upper().endswith("STRICT")
    os.environ.setdefault("MKL_CBWR", STABLE_MKL)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return True


def prepare_like(recorded: Mapping[str, Any]) -> bool:
    """Take on the variables of a recorded environment; False when torch was imported too early.

    Where MKL was not asked for stability, it is now: the recorded bits may not come back then
    whatever one does, but the replay's will.
    """
    if "torch" in sys.modules:
        return False
    os.environ.update({k: v for k, v in recorded.get("variables", {}).items() if _counts(k)})
    os.environ.setdefault("MKL_CBWR", STABLE_MKL)
    return True


def capture() -> dict[str, Any]:
    """Return the environment as JSON: versions, processor, variables, threads, torch's switches.

    Equal documents mean that equal inputs are expected to give equal bits. `torch.mkl_cbwr` is what
    MKL holds to, whatever its variable says.
    """
    document = {
        "python": platform.python_version(),
        "libraries": library_versions(),
        "processor": dict(_processor()),
        "variables": {name: value for name, value in sorted(os.environ.items()) if _counts(name)},
    }
    if "torch" in sys.modules:
        document["torch"] = switches.state()
    return document


def library_versions() -> dict[str, str]:
    """Return the versions of the installed libraries that take part in a generation."""
    return dict(_versions())


@contextmanager
def matching(recorded: Mapping[str, Any]) -> Iterator[None]:
    """Give torch the recorded thread count and switches, and put the present ones back.

    Process-wide while it lasts. What only a fresh process can change (versions, variables, the
    processor) stays as it is: compare `capture()` for that.
    """
    before = switches.state()
    try:
        switches.apply(recorded.get("torch", {}))
        yield
    finally:
        switches.apply(before)


def _counts(variable: str) -> bool:
    return variable in VARIABLES or variable.startswith(VARIABLE_HEADS)


@functools.cache
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in LIBRARIES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)


@functools.cache
def _processor() -> tuple[tuple[str, str], ...]:
    """Machine, model name, and a digest of the instruction-set flags (they are some 1 KB)."""
    facts = {"machine": platform.machine(), "system": platform.system()}
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return tuple(facts.items())
    table = dict(line.split(":", 1) for line in reversed(lines) if ":" in line)
    fields = {name.strip(): value.strip() for name, value in table.items()}
    facts["model"] = fields.get("model name", "")
    flags = " ".join(sorted(fields.get("flags", fields.get("Features", "")).split()))
    facts["flags_sha256"] = hashlib.sha256(flags.encode()).hexdigest()
    return tuple(facts.items())
