"""Torch's switches are read, set again, and never taken on trust."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch

from generators import environment, switches
from generators.rebuild import devices
from registry.errors import InputError


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Leave the process as it was, CUDA's switches too, which `state` tells only where it is."""
    before, cuda = switches.state(), switches._cuda_switches()
    yield
    switches.apply(before | {"cuda": cuda})


def test_a_state_that_was_set_is_read_again() -> None:
    wanted = {
        "threads": 2,
        "default_dtype": "float64",
        "deterministic": True,
        "deterministic_warn_only": True,
        "matmul_precision": "high",
        "mkldnn": False,
        "attention": {"flash": False, "efficient": True, "math": True, "cudnn": False},
    }
    before = switches.state()
    assert not wanted.items() <= before.items()
    switches.apply(wanted)
    assert wanted.items() <= switches.state().items()
    switches.apply(before)
    assert switches.state() == before


def test_what_a_record_does_not_name_stays_as_it_is() -> None:
    before = switches.state()
    switches.apply({"git": "another", "capability": "another"})
    assert switches.state() == before


def test_cuda_is_settled_and_says_what_was_set() -> None:
    said = switches.settle("cuda:1")
    assert said == switches.STEADY
    found = switches.state()
    assert torch.are_deterministic_algorithms_enabled()
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert torch.backends.cudnn.deterministic
    assert not torch.backends.cudnn.benchmark
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32
    assert [name for name, on in found["attention"].items() if on] == ["math"]
    assert switches._cuda_switches() == said["cuda"]


def test_nothing_is_changed_for_a_processor() -> None:
    before = switches.state()
    assert switches.settle("cpu") == {}
    assert switches.state() == before


SCRIPT = """
import json, os, sys
from generators import environment, switches
stable = environment.prepare(sys.argv[1])
print(json.dumps([stable, os.environ.get("CUBLAS_WORKSPACE_CONFIG"), switches.mkl_cbwr()]))
"""


def prepared(device: str, **variables: str) -> list[object]:
    """Prepare a fresh process; return what it says of itself."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("MKL_", "CUBLAS_"))}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, device],
        env=kept | variables,
        capture_output=True,
        check=True,
    )
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_a_fresh_process_is_stable_and_cuda_gets_a_workspace_of_fixed_size() -> None:
    stable, workspace, held = prepared("cuda")
    assert (stable, workspace) == (True, ":4096:8")
    assert held in {"AUTO,STRICT", None}


def test_what_mkl_holds_to_is_asked_and_not_read_off_the_variable() -> None:
    stable, workspace, held = prepared("cpu", MKL_CBWR="COMPATIBLE")
    assert (stable, workspace) == (True, None)  # what the user set stays
    assert held in {"COMPATIBLE", None}


@pytest.mark.parametrize("device", ["cuda", "cuda:3", "mps", "xpu", "banana"])
def test_a_device_that_is_not_here_is_named(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(InputError) as caught:
        devices.check(device, "the replay")
    assert caught.value.code == "replay.device"
    assert device in caught.value.message


def test_a_device_counts_only_up_to_those_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [devices.check(one, "x") for one in ("cpu", "cuda", "cuda:1")] == [
        "cpu",
        "cuda",
        "cuda:1",
    ]
    with pytest.raises(InputError):
        devices.check("cuda:2", "x")


def test_the_environment_says_what_mkl_holds_to() -> None:
    assert environment.capture()["torch"]["mkl_cbwr"] == switches.mkl_cbwr()
