"""A replay under other arithmetic: `identical` for equal bytes alone, else the cause is named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from generators import recorded
from registry.core.answers import Reproduction
from registry.factory import create_registry
from registry.sdk import Registry
from registry.workflows.replay.worker import ReplayWorker
from registry.workflows.reproduce import How, Workplace, reproduce

PLAIN = {"ATEN_CPU_CAPABILITY": "default"}
"""Torch's own loops without vector instructions."""
CAUSES = {"variables.ATEN_CPU_CAPABILITY", "torch.capability"}
FEWEST, MOST_SEEDS = 4, 24
"""At least so many are judged, and no more are made to find one whose bits differ."""
STEPS = 6
TIMEOUT_S = 300.0


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with create_registry(tmp_path / "home", name="test", project="brand") as made:
        yield made


def judged(registry: Registry, make: Callable[[int], str]) -> Iterator[Reproduction]:
    """Yield the judgement of one seed after the other, replayed with plain arithmetic."""
    how = How(numerics="present")
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker:
        for seed in range(MOST_SEEDS):
            asset = make(seed)
            with pytest.MonkeyPatch.context() as patch:
                for name, value in PLAIN.items():
                    patch.setenv(name, value)  # for the process of replays: torch is loaded here
                place = Workplace(worker)
                done = reproduce(registry._services, asset, how=how, place=place, record=False)
            yield done


def by_hand(registry: Registry, asset: str, out: Path) -> tuple[int, dict[str, Any]]:
    """Reproduce through the command line; return its exit code and its answer."""
    home = str(registry.settings.home.root)
    words = ["reproduce", asset, "--here", "--out", str(out), "--home", home, "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "registry.cli", *words],
        env=os.environ | PLAIN,
        capture_output=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    return done.returncode, json.loads(done.stdout)


def test_another_instruction_set_is_equivalent_with_its_name_and_identical_by_bytes_alone(
    registry: Registry, load: Callable[..., Any], tmp_path: Path
) -> None:
    if torch.backends.cpu.get_cpu_capability() in {"DEFAULT", "NO AVX"}:
        pytest.skip("this processor has no instruction set above the plain one")
    pipe = recorded(load(), registry, strict=True)

    def make(seed: int) -> str:
        done = pipe("a red mug on a blue table", num_inference_steps=STEPS, seed=seed)
        return str(done.receipt.assets[0])

    seen: list[Reproduction] = []
    for done in judged(registry, make):
        seen.append(done)
        assert (done.verdict == "identical") == (done.reproduced == done.original)
        assert {one.where for one in done.environment} == CAUSES
        if done.verdict != "identical":
            assert {f"{cause} differs" for cause in CAUSES} <= set(done.reasons)
        if len(seen) >= FEWEST and done.verdict == "equivalent":
            break
    assert {"equivalent"} <= {one.verdict for one in seen} <= {"identical", "equivalent"}
    code, answer = by_hand(registry, seen[-1].original, tmp_path / "out")
    assert (code, answer["verdict"]) == (0, "equivalent")
    assert {f"{cause} differs" for cause in CAUSES} <= set(answer["reasons"])
    assert answer["reproduced"] == seen[-1].reproduced != answer["original"]
    assert 0 < answer["pixels"]["max_level"] <= answer["bounds"]["max_level"]
