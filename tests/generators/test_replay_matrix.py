"""Replays are exact for every kind of pipeline, in fresh processes and in ones that did much else.

A sample of `tests/torture/test_matrix_long.py`. All outputs are taken out of the vault first, so
that nothing can be copied.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from registry.factory import create_registry
from registry.sdk import Registry
from registry.workflows.materialize import shelf_for
from registry.workflows.replay.worker import ReplayWorker
from registry.workflows.reproduce import How, Workplace

from . import matrix

OTHERS_FIRST = 15
TIMEOUT_S = 300.0
AFRESH = "flux"
"""A transformer; `test_replay` does so with U-Nets. A fresh process costs seconds."""
OTHERWISE = ("inpaint", AFRESH)
"""A U-Net and a transformer, under other arithmetic."""
_SHOTS = dict.fromkeys(("txt2img", AFRESH), 2)
"""Of the others, one shot is replayed: the fullest."""


@dataclass(frozen=True, slots=True)
class Studio:
    """A home with the recorded shots by kind; none of their outputs is left in its vault."""

    registry: Registry
    shots: Mapping[str, Sequence[matrix.Shot]]


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("matrix")
    with create_registry(folder / "home", name="test", project="brand") as registry:
        shots = {
            kind: list(matrix.shoot(registry, kind, folder, matrix.SOME[-_SHOTS.get(kind, 1) :]))
            for kind in matrix.KINDS
        }
        matrix.forget(registry, [shot for some in shots.values() for shot in some])
        yield Studio(registry, shots)


def test_a_kind_is_replayed_to_the_byte_in_a_fresh_process_with_the_recorded_settings(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "default")  # of this session, not of the record
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker, shelf_for(studio.registry._services) as shelf:
        outcomes = matrix.replay(studio.registry, studio.shots[AFRESH], Workplace(worker, shelf))
    matrix.forget(studio.registry, studio.shots[AFRESH])  # what was identical was put back
    assert len(outcomes) == 3
    assert {name: done.verdict for name, done in outcomes.items()} == dict.fromkeys(
        outcomes, "identical"
    )
    assert all(not done.environment for done in outcomes.values())


def test_every_kind_is_replayed_to_the_byte_after_many_others(
    studio: Studio, tmp_path: Path
) -> None:
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker, shelf_for(studio.registry._services) as shelf:
        first = studio.shots["txt2img"][0]
        assert matrix.wear(studio.registry, first, worker, OTHERS_FIRST, tmp_path) == OTHERS_FIRST
        shots = [shots[-1] for shots in studio.shots.values()]
        outcomes = matrix.replay(studio.registry, shots, Workplace(worker, shelf))
    assert {name: done.verdict for name, done in outcomes.items()} == dict.fromkeys(
        outcomes, "identical"
    )


def test_other_arithmetic_is_never_called_identical_when_it_is_not(
    studio: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    shots = [studio.shots[kind][-1] for kind in OTHERWISE]
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker:
        how = How(numerics="present")
        outcomes = matrix.replay(studio.registry, shots, Workplace(worker), how)
    for name, done in outcomes.items():
        assert (done.verdict == "identical") == (done.reproduced == done.original), name
        assert {d.where for d in done.environment} >= {f"variables.{one}" for one in settings}
        if done.verdict in {"equivalent", "different"}:
            assert any(name in reason for name in settings for reason in done.reasons)
