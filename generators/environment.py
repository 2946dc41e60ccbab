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


def prepare() -> bool:
    """Ask for bit-stable arithmetic; return False when torch was imported too early for it.

    MKL picks code paths by memory alignment unless told otherwise, and memory-mapped weights are
    aligned at random: `AUTO,STRICT` makes results repeat at no cost in speed. One OpenMP thread
    where nothing else was asked for. What the user set stays.
    """
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
    variables = recorded.get("variables", {})
    os.environ.update({"MKL_CBWR": STABLE_MKL} | {k: v for k, v in variables.items() if _counts(k)})
    return True


def capture() -> dict[str, Any]:
    """Return the environment as JSON: versions, processor, variables, threads, torch's switches.

    Equal documents mean that equal inputs are expected to give equal bits.
    """
    document = {
        "python": platform.python_version(),
        "libraries": library_versions(),
        "processor": dict(_processor()),
        "variables": {name: value for name, value in sorted(os.environ.items()) if _counts(name)},
    }
    if "torch" in sys.modules:
        document["torch"] = _torch_state()
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
    import torch

    before = _torch_state()
    try:
        _apply(torch, recorded.get("torch", {}))
        yield
    finally:
        _apply(torch, before)


def _counts(variable: str) -> bool:
    return variable in VARIABLES or variable.startswith(VARIABLE_HEADS)


def _apply(torch: Any, state: Mapping[str, Any]) -> None:
    if state.get("threads", torch.get_num_threads()) != torch.get_num_threads():
        torch.set_num_threads(state["threads"])
    if "matmul_precision" in state:
        torch.set_float32_matmul_precision(state["matmul_precision"])
    if "deterministic" in state:
        torch.use_deterministic_algorithms(
            state["deterministic"], warn_only=state.get("deterministic_warn_only", False)
        )
    if "mkldnn" in state:
        torch.backends.mkldnn.enabled = state["mkldnn"]


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


def _torch_state() -> dict[str, Any]:
    import torch

    kernels: Any = torch.backends.cuda
    state: dict[str, Any] = {
        "git": torch.version.git_version,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "deterministic_warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "attention": {
            "flash": kernels.flash_sdp_enabled(),
            "efficient": kernels.mem_efficient_sdp_enabled(),
            "math": kernels.math_sdp_enabled(),
        },
    }
    if torch.cuda.is_available():
        state["cuda"] = _cuda_state(torch)
    return state


def _cuda_state(torch: Any) -> dict[str, Any]:
    return {
        "version": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "device": torch.cuda.get_device_name(),
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
    }
