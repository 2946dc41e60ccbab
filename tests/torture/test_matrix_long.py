"""All of the matrix that `tests/generators/test_replay_matrix.py` samples.

Every kind of pipeline with no, one and two LoRAs, single and batched: each in a fresh process of
its own, all in a process that made many others first, and all under other arithmetic.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from generators import environment

environment.prepare()

from registry.core.answers import Reproduction
from registry.factory import create_registry
from registry.sdk import Registry
from registry.workflows.materialize import Shelf, shelf_for
from registry.workflows.replay.worker import ReplayWorker
from registry.workflows.reproduce import How, Workplace

from ..generators import matrix

OTHERS_FIRST = 200
TIMEOUT_S = 600.0
Studio = tuple[Registry, Sequence[matrix.Shot], Shelf]
OTHER_SETTINGS = (
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"MKL_CBWR": "COMPATIBLE"},
    {"OMP_NUM_THREADS": "2"},
)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("matrix")
    with create_registry(folder / "home", name="test", project="brand") as registry:
        shots = [s for kind in matrix.KINDS for s in matrix.shoot(registry, kind, folder)]
        matrix.forget(registry, shots)
        with shelf_for(registry._services) as shelf:
            yield registry, shots, shelf


def test_every_call_is_replayed_to_the_byte_in_a_process_of_its_own(studio: Studio) -> None:
    registry, shots, shelf = studio
    outcomes: dict[str, Reproduction] = {}
    for shot in shots:
        with ReplayWorker(timeout_s=TIMEOUT_S) as worker:
            outcomes |= matrix.replay(registry, [shot], Workplace(worker, shelf))
    print(f"{len(shots)} fresh processes: {_tally(outcomes)}")
    matrix.forget(registry, shots)
    assert _tally(outcomes) == {"identical": len(outcomes)}
    assert not any(done.environment for done in outcomes.values())


def test_every_call_is_replayed_to_the_byte_after_many_others(
    studio: Studio, tmp_path: Path
) -> None:
    registry, shots, shelf = studio
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker:
        others = matrix.wear(registry, shots[0], worker, OTHERS_FIRST, tmp_path)
        outcomes = matrix.replay(registry, shots, Workplace(worker, shelf))
    print(f"after {others} others: {_tally(outcomes)}")
    assert others == OTHERS_FIRST
    assert _tally(outcomes) == {"identical": len(outcomes)}


@pytest.mark.parametrize("settings", OTHER_SETTINGS, ids=lambda one: "=".join(*one.items()))
def test_other_arithmetic_is_never_called_identical_when_it_is_not(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str]
) -> None:
    # The recorded pictures lie in the vault again, put there by the replays before, or there
    # would be no distance to judge by.
    registry, shots, shelf = studio
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    # The rest stays as it was recorded, so that one setting is the cause.
    monkeypatch.setenv("MKL_CBWR", settings.get("MKL_CBWR", "AUTO,STRICT"))
    monkeypatch.setenv("OMP_NUM_THREADS", settings.get("OMP_NUM_THREADS", "1"))
    how = How(numerics="present")
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker:
        outcomes = matrix.replay(registry, shots, Workplace(worker, shelf), how)
    print(f"{settings}: {_tally(outcomes)}")
    same = {name for name, done in outcomes.items() if done.reproduced == done.original}
    assert {name for name, done in outcomes.items() if done.verdict == "identical"} == same
    for name, done in outcomes.items():
        assert {d.where for d in done.environment} >= {f"variables.{one}" for one in settings}
        if name not in same and done.verdict != "identical-pixels":
            assert any(one in reason for one in settings for reason in done.reasons), name


def _tally(outcomes: dict[str, Reproduction]) -> dict[str, int]:
    return dict(Counter(str(done.verdict) for done in outcomes.values()))
