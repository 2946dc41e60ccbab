"""Torch's own switches that decide bits: read for a record, set again for a replay.

Process-wide all of them. Nothing is guessed about a device that is not there: its switches are
read only where it is.
"""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

CUBLAS_WORKSPACE = ":4096:8"
"""A fixed workspace, in the place of one that grows: cuBLAS gives the same bits then."""
STEADY: Mapping[str, Any] = {
    "deterministic": True,
    "deterministic_warn_only": True,
    "attention": {"flash": False, "efficient": False, "math": True, "cudnn": False},
    "cuda": {
        "cudnn_deterministic": True,
        "cudnn_benchmark": False,
        "tf32_matmul": False,
        "tf32_cudnn": False,
    },
}
"""What makes CUDA repeat itself, as far as its libraries promise.

Operations without a deterministic form warn instead of failing: a warning is better than no
picture, and the verdict of a replay tells.
"""
_ATTENTION = {
    "flash": ("flash_sdp_enabled", "enable_flash_sdp"),
    "efficient": ("mem_efficient_sdp_enabled", "enable_mem_efficient_sdp"),
    "math": ("math_sdp_enabled", "enable_math_sdp"),
    "cudnn": ("cudnn_sdp_enabled", "enable_cudnn_sdp"),
}
_CBWR = {1: "OFF", 2: "AUTO", 3: "COMPATIBLE"}
_STRICT = 0x10000
_ALL_SETTINGS = -1


def state() -> dict[str, Any]:
    """Return the switches as JSON, with the build of torch and the instruction set it chose."""
    import torch

    kernels = torch.backends.cuda
    found: dict[str, Any] = {
        "git": torch.version.git_version,
        "capability": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "deterministic_warn_only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "matmul_precision": torch.get_float32_matmul_precision(),
        "mkldnn": torch.backends.mkldnn.enabled,
        "mkl_cbwr": mkl_cbwr(),
        "attention": {name: getattr(kernels, read)() for name, (read, _) in _ATTENTION.items()},
    }
    if torch.cuda.is_available():
        found["cuda"] = _about_cuda() | _cuda_switches()
    return found


def apply(state: Mapping[str, Any]) -> None:
    """Set the switches that a state names; what it does not name stays, and so does the build."""
    import torch

    if state.get("threads", torch.get_num_threads()) != torch.get_num_threads():
        torch.set_num_threads(state["threads"])
    if "default_dtype" in state:
        torch.set_default_dtype(getattr(torch, state["default_dtype"]))
    if "matmul_precision" in state:
        torch.set_float32_matmul_precision(state["matmul_precision"])
    if "deterministic" in state:
        torch.use_deterministic_algorithms(
            state["deterministic"], warn_only=state.get("deterministic_warn_only", False)
        )
    if "mkldnn" in state:
        torch.backends.mkldnn.enabled = state["mkldnn"]
    for name, (_, switch) in _ATTENTION.items():
        if name in state.get("attention", {}):
            getattr(torch.backends.cuda, switch)(state["attention"][name])
    _apply_cuda(state.get("cuda", {}))


def settle(device: str) -> dict[str, Any]:
    """Make a device repeat itself as well as it can; return the switches that were set.

    Nothing for the processor, which does so without. `CUBLAS_WORKSPACE_CONFIG` has to be set
    before, in the environment: see `generators.environment.prepare`.
    """
    if not device.startswith("cuda"):
        return {}
    apply(STEADY)
    return {name: dict(v) if isinstance(v, dict) else v for name, v in STEADY.items()}


def mkl_cbwr() -> str | None:
    """Return what MKL really holds to of `MKL_CBWR`, such as `AUTO,STRICT`; None without MKL.

    The variable alone does not tell: MKL reads it once, and not after its first use.
    """
    ask = _mkl_question()
    if ask is None:
        return None
    answer = ask(_ALL_SETTINGS)
    branch = answer & ~_STRICT
    return _CBWR.get(branch, str(branch)) + (",STRICT" if answer & _STRICT else "")


def _mkl_question() -> Any:
    import torch

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not torch.backends.mkl.is_available() or not library.is_file():  # type: ignore[no-untyped-call]
        return None
    return getattr(ctypes.CDLL(str(library)), "mkl_serv_cbwr_get", None)


def _about_cuda() -> dict[str, Any]:
    import torch

    return {
        "version": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
        "device": torch.cuda.get_device_name(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
    }


def _cuda_switches() -> dict[str, Any]:
    import torch

    return {
        "cudnn_deterministic": torch.backends.cudnn.deterministic,
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
        "tf32_matmul": torch.backends.cuda.matmul.allow_tf32,
        "tf32_cudnn": torch.backends.cudnn.allow_tf32,
    }


def _apply_cuda(switches: Mapping[str, Any]) -> None:
    import torch

    if "cudnn_deterministic" in switches:
        torch.backends.cudnn.deterministic = switches["cudnn_deterministic"]
    if "cudnn_benchmark" in switches:
        torch.backends.cudnn.benchmark = switches["cudnn_benchmark"]
    if "tf32_matmul" in switches:
        torch.backends.cuda.matmul.allow_tf32 = switches["tf32_matmul"]
    if "tf32_cudnn" in switches:
        torch.backends.cudnn.allow_tf32 = switches["tf32_cudnn"]
