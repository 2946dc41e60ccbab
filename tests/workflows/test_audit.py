"""Bulk audits: what is chosen, what is found, what is signed, and that nothing is done twice."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generators import recorded_callable
from registry.core.predicates import seal_statement
from registry.core.replay_predicates import FAILED, AuditRecord, audit
from registry.core.statements import Statement, Subject, predicate_uri
from registry.errors import ConflictError, InputError
from registry.factory import create_registry, open_home
from registry.sdk import Registry

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True, scope="module")
def importable() -> Iterator[None]:
    """Let this process and its workers import the functions that were recorded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        yield


def fill(registry: Registry) -> None:
    """Record five pictures of a campaign, a pair and a text of another, and a file."""
    import auditing

    paint = recorded_callable(auditing.paint, registry, campaign="mugs")
    for seed in range(5):
        paint("red", seed=seed)
    recorded_callable(auditing.pair, registry, campaign="pairs")("blue", seed=7)
    recorded_callable(auditing.write, registry, campaign="pairs")("lamp", seed=7)


@pytest.fixture
def filled(tmp_path: Path) -> Iterator[Registry]:
    with create_registry(tmp_path / "home", name="test", project="brand") as registry:
        fill(registry)
        yield registry


def statement(registry: Registry, record: str) -> dict[str, Any]:
    from registry.core.digests import parse_ref
    from registry.workflows.view import RecordView

    services = registry._services
    size = registry.log.head().size
    views = (RecordView(services, index) for index in range(size))
    (found,) = [v for v in views if v.entry.record_id == record]
    assert parse_ref(record).scope == "record"
    return dict(found.statement.document)


def reproductions(registry: Registry) -> list[str]:
    """Return which outputs have a reproduction on the log, one line each."""
    size = registry.log.head().size
    from registry.workflows.view import RecordView

    views = [RecordView(registry._services, index) for index in range(size)]
    return [
        f"{v.statement.predicate['record']} {v.statement.predicate['original']['sha256']}"
        for v in views
        if v.statement.predicate_type.endswith("/reproduction/v1")
    ]


def test_an_audit_judges_every_output_and_signs_a_summary_of_all(filled: Registry) -> None:
    seen: list[tuple[int, int]] = []
    report = filled.replays.audit(jobs=2, progress=lambda *now: seen.append(now))
    assert report.counts == {**dict.fromkeys(report.counts, 0), "identical": 8}
    assert (report.ok, report.chosen, report.findings) == (True, 8, ())
    assert seen == [(done, 8) for done in range(9)]
    said = statement(filled, report.record)
    filled._services.schemas.check_statement(said)
    assert said["predicate"]["counts"]["identical"] == 8
    assert len(said["predicate"]["reproductions"]) == 8
    blob = filled._services.blobs.get(report.results.removeprefix("sha256:"))
    assert blob is not None
    rows = list(csv.DictReader(io.StringIO(filled._services.vault.read(blob).decode())))
    assert [row["reproduction"] for row in rows] == said["predicate"]["reproductions"]
    assert {row["output"] for row in rows} == {"out/0", "out/1"}
    assert filled.check_log().ok


def test_a_campaign_and_a_time_choose(filled: Registry) -> None:
    chosen = filled.replays.audit(campaign="pairs")
    assert (chosen.matching, chosen.chosen) == (3, 3)
    with pytest.raises(InputError) as caught:
        filled.replays.audit(campaign="no such")
    assert caught.value.code == "audit.empty"
    with pytest.raises(InputError) as caught:
        filled.replays.audit(since="2999-01-01")
    assert caught.value.code == "audit.empty"


def test_a_sample_follows_from_its_seed_and_the_log(filled: Registry) -> None:
    from registry.workflows.audit.selection import Wanted, choose

    def drawn(size: int, seed: str) -> list[tuple[int, int]]:
        found = choose(filled._services, Wanted(sample=size), filled.log.head().size, seed)
        assert found.matching == 8
        return [(one.index, one.position) for one in found.chosen]

    assert drawn(3, "7") == drawn(3, "7")
    assert len({tuple(drawn(3, str(seed))) for seed in range(20)}) > 5
    assert set(drawn(3, "7")) < set(drawn(5, "7")), "a larger sample keeps the smaller one"
    report = filled.replays.audit(sample=2, sample_seed=7)
    said = statement(filled, report.record)["predicate"]["selection"]
    assert (said["sample"], said["chosen"]) == ({"size": 2, "seed": "7"}, 2)


def test_what_comes_out_otherwise_or_not_at_all_is_found(
    filled: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    import auditing

    monkeypatch.setenv("TEST_OTHER_CODE", "yes")
    recorded_callable(auditing.fragile, filled, campaign="mugs")("grey", seed=1)
    monkeypatch.setenv("TEST_KILL", "yes")
    monkeypatch.setenv("TEST_OTHER_CODE", "")
    report = filled.replays.audit(campaign="mugs")
    assert not report.ok
    assert (report.counts["identical"], report.counts[FAILED]) == (5, 1)
    (finding,) = report.findings
    assert (finding.verdict, finding.code) == (FAILED, "reproduce.died")
    monkeypatch.delenv("TEST_KILL")
    again = filled.replays.audit(campaign="mugs")
    assert (again.counts["identical"], again.counts["different"]) == (5, 1)
    assert again.findings[0].reproduction is not None
    assert not again.ok


KILLED = """
import os, signal, sys
from registry.factory import open_home

def cut(done, total):
    if done == 3:
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    with open_home(sys.argv[1]) as registry:
        registry.replays.audit(progress=cut)
"""


def test_a_killed_audit_goes_on_and_makes_nothing_twice(filled: Registry) -> None:
    home = str(filled.settings.home.root)
    done = subprocess.run([sys.executable, "-c", KILLED, home], check=False, timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert len(reproductions(filled)) == 3
    import auditing

    recorded_callable(auditing.paint, filled, campaign="mugs")("late", seed=1)
    other = filled.replays.audit(campaign="pairs")
    assert other.resumed == 0, "another selection is another audit"
    report = filled.replays.audit()
    assert (report.resumed, report.counts["identical"]) == (3, 8), "without what came later"
    whole = reproductions(filled)
    assert len(whole) == 8 + 3
    assert len(set(whole)) == 8
    assert len(statement(filled, report.record)["predicate"]["reproductions"]) == 8
    assert filled.replays.audit(campaign="pairs").resumed == 0, "what was summed up is over"
    left = [path.name for path in filled.settings.home.work.iterdir()]
    assert all(name.endswith(".lock") for name in left), "the killed one left something"


@pytest.mark.parametrize("executor", ["ray", "dask"])
def test_another_executor_finds_the_same(filled: Registry, executor: str) -> None:
    pytest.importorskip("distributed" if executor == "dask" else executor)
    report = filled.replays.audit(campaign="pairs", executor=executor, jobs=1)
    assert (report.ok, report.counts["identical"], report.executor) == (True, 3, executor)


def test_a_summary_of_many_outputs_fits_a_statement(registry: Registry) -> None:
    record = f"rec:{'ab' * 32}"
    failure = {"record": record, "output": "out/0", "code": "material.missing"}
    counts = {"identical": 300, FAILED: 300}
    many = AuditRecord(
        {"treeSize": 9, "matching": 600, "chosen": 600}, 1, 2, "ray", 64, counts, "ab" * 32,
        failures=[failure] * 300, reproductions=[record] * 300,
    )  # fmt: skip
    predicate = audit(registry._services.head(), many)
    assert "reproductions" not in predicate
    assert (len(predicate["failures"]), predicate["results"]["count"]) == (256, 600)
    subject = [Subject("out/0", "ab" * 32, "text/csv")]
    sealed = seal_statement(subject, predicate_uri("audit"), predicate, registry._services.salt)
    registry._services.schemas.check_statement(Statement.parse(sealed.payload).document)


def test_the_same_audit_runs_once_at_a_time(filled: Registry) -> None:
    def again(done: int, total: int) -> None:
        with open_home(filled.settings.home.root) as other:
            other.replays.audit()

    with pytest.raises(ConflictError) as caught:
        filled.replays.audit(progress=again)
    assert caught.value.code == "audit.running"


def test_a_sample_that_cannot_be_drawn_is_refused(filled: Registry) -> None:
    with pytest.raises(InputError, match="sample of 0"):
        filled.replays.audit(sample=0)
    with pytest.raises(InputError, match="needs a sample"):
        filled.replays.audit(sample_seed=3)
