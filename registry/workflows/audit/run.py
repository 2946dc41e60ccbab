"""A bulk audit: replay what is chosen in warm workers, judge and sign here, sum up at the end.

Workers replay; this process alone reads the log and writes to it.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from sqlalchemy import RowMapping

from registry.catalog import queries
from registry.core.answers import Reproduction
from registry.core.digests import asset_id
from registry.core.replay_answers import AuditFinding, AuditReport
from registry.core.replay_predicates import FAILED, VERDICTS, AuditRecord
from registry.core.replay_predicates import audit as audit_predicate
from registry.core.statements import Subject
from registry.core.times import format_time
from registry.errors import GenopsError
from registry.store.transaction import read
from registry.workflows.audit.executors import Done, Executor, work
from registry.workflows.audit.keeping import PREDICATE_AUDIT, Running, running
from registry.workflows.audit.places import executor_for
from registry.workflows.audit.selection import Chosen, Selection, Wanted, by_model, choose
from registry.workflows.audit.station import replay_station
from registry.workflows.leftovers import replay_folder, sweep
from registry.workflows.materialize import Shelf, materialize, shelf_for
from registry.workflows.replay.worker import Replayed, Request
from registry.workflows.reproduce import How, Replay, Target, compare, log_outcome, target_of
from registry.workflows.services import Services
from registry.workflows.submit import declare

Progress = Callable[[int, int], None]
"""Called with the outputs that are done and those there are in all."""
CAME_BACK = ("identical", "identical-pixels", "equivalent")
COLUMNS = ("asset", "record", "output", "verdict", "reproduction", "code")


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one output: a verdict and its record, or the error that prevented one."""

    one: Chosen
    asset: str
    verdict: str
    reproduction: str | None = None
    error: GenopsError | None = None


def audit(
    services: Services,
    wanted: Wanted,
    *,
    executor: str = "processes",
    jobs: int = 1,
    progress: Progress | None = None,
) -> AuditReport:
    """Replay every output that is wanted and log what was found, with a signed summary.

    Goes on where the same audit was interrupted. An output that cannot be judged (a material is
    gone, a replay dies) is counted as failed, and tried again when the audit is run again.
    Raises InputError (`audit.empty`, `audit.executor`, `audit.jobs`), ConflictError
    (`audit.running`), MissingExtraError without Ray or Dask.
    """
    sweep(services)
    with running(services, wanted) as run:
        kept = run.kept
        selection = choose(services, wanted, kept.size, kept.seed)
        ledger = _Ledger(services, run, len(selection.chosen), progress)
        left = ledger.open(selection)
        if left:
            place = executor_for(executor, replay_station(services.settings.limits.replay_s), jobs)
            with place, shelf_for(services) as shelf:
                _replayed(place, _Bench(services, ledger, shelf), left)
        report = _summed_up(services, run, wanted, selection, ledger, (executor, jobs))
        run.finish()
        return report


def _replayed(place: Executor, bench: _Bench, left: Sequence[Chosen]) -> None:
    """Have all that is left replayed and judged; whatever happens, nothing stays open."""
    with closing(bench), closing(work(place, bench.requests(left))) as outcomes:
        for done in outcomes:
            bench.judge(done)


class _Ledger:
    """What is known of each output so far."""

    def __init__(
        self, services: Services, run: Running, total: int, progress: Progress | None
    ) -> None:
        self._services = services
        self._run = run
        self._total = total
        self._progress = progress
        self.results: dict[tuple[int, int], Result] = {}
        self.resumed = 0

    def open(self, selection: Selection) -> list[Chosen]:
        """Take over what an earlier run found; return what is left to do."""
        earlier = self._run.earlier(self._services)
        left = []
        for one in selection.chosen:
            known = earlier.get(self._run.kept.invocation_of(one))
            if known is None:
                left.append(one)
            else:
                asset = _asset(self._services, one)
                self.results[one.index, one.position] = Result(
                    one, asset, known.verdict, known.record
                )
        self.resumed = len(self.results)
        self._tell()
        return left

    def judged(self, one: Chosen, target: Target, outcome: Reproduction) -> None:
        """Log the verdict on one output, under an id that follows from the audit's."""
        invocation = self._run.kept.invocation_of(one)
        logged = log_outcome(self._services, target, outcome, invocation)
        self._add(Result(one, logged.id, logged.verdict, logged.record))

    def failed(self, one: Chosen, error: GenopsError) -> None:
        """Note that one output could not be judged."""
        self._add(Result(one, _asset(self._services, one), FAILED, error=error))

    def _add(self, result: Result) -> None:
        self.results[result.one.index, result.one.position] = result
        self._tell()

    def _tell(self) -> None:
        if self._progress is not None:
            self._progress(len(self.results), self._total)


@dataclass(slots=True)
class _Open:
    """A record that is being replayed: its chosen outputs, and the folder that is held for it."""

    group: Sequence[Chosen]
    targets: Sequence[Target]
    held: ExitStack


@dataclass(slots=True)
class _Bench:
    """Lays materials out for workers, and takes back what they made."""

    services: Services
    ledger: _Ledger
    shelf: Shelf
    _open: dict[Path, _Open] = field(default_factory=dict)

    def requests(self, left: Sequence[Chosen]) -> Iterator[Request]:
        """Yield a request for each record with outputs that are left; judge what needs none."""
        for group in by_model(self.services, left):
            try:
                rows = _rows(self.services, group)
                targets = [target_of(self.services, rows[one.node]) for one in group]
                if not self._refused(group, targets):
                    yield self._request(group, targets)
            except GenopsError as error:
                self._failed(group, error)

    def judge(self, done: Done[Request]) -> None:
        """Judge every chosen output of a record that was replayed."""
        opened = self._open.pop(done.task.workdir)
        with opened.held:
            try:
                if done.error is not None:
                    raise done.error
                replayed: Replayed = done.value.get()
            except GenopsError as error:
                self._failed(opened.group, error)
                return
            for one, target in zip(opened.group, opened.targets, strict=True):
                try:
                    outcome = compare(self.services, target, How(), _replay(replayed, one))
                    self.ledger.judged(one, target, outcome)
                except GenopsError as error:
                    self.ledger.failed(one, error)

    def close(self) -> None:
        """Let go of the folders of what will not be judged any more."""
        while self._open:
            self._open.popitem()[1].held.close()

    def _refused(self, group: Sequence[Chosen], targets: Sequence[Target]) -> bool:
        """Log the verdict on what cannot be replayed at all; tell whether that is so."""
        for one, target in zip(group, targets, strict=True):
            if target.refused is not None:
                self.ledger.judged(one, target, target.refused)
        return targets[0].refused is not None

    def _request(self, group: Sequence[Chosen], targets: Sequence[Target]) -> Request:
        document = targets[0].document
        with ExitStack() as stack:
            folder = stack.enter_context(replay_folder(self.services, group[0].leaf_hash))
            workdir = folder / "outputs"
            workdir.mkdir()
            materials = materialize(self.services, document, folder / "materials", self.shelf)
            self._open[workdir] = _Open(group, targets, stack.pop_all())
        return Request(statement=document, materials=materials, workdir=workdir)

    def _failed(self, group: Sequence[Chosen], error: GenopsError) -> None:
        for one in group:
            if (one.index, one.position) not in self.ledger.results:
                self.ledger.failed(one, error)


def _replay(replayed: Replayed, one: Chosen) -> Replay:
    output = replayed.output(one.position)
    data = output.file.read_bytes()
    return Replay(data, output.pixels, replayed.environment, replayed.seconds)


def _rows(services: Services, group: Sequence[Chosen]) -> Mapping[int, RowMapping]:
    with read(services.engine) as conn:
        return {row["node_id"]: row for row in queries.list_nodes(conn, [o.node for o in group])}


def _asset(services: Services, one: Chosen) -> str:
    row = _rows(services, [one])[one.node]
    return asset_id(row["sha256"].hex())


def _summed_up(
    services: Services,
    run: Running,
    wanted: Wanted,
    selection: Selection,
    ledger: _Ledger,
    by: tuple[str, int],
) -> AuditReport:
    results = [ledger.results[one.index, one.position] for one in selection.chosen]
    table = services.vault.put(_table(results))
    counts = Counter(result.verdict for result in results)
    kept, finished_ms = run.kept, services.now()
    record = AuditRecord(
        selection=_said(wanted, selection, kept.size, kept.seed),
        started_ms=kept.started_ms,
        finished_ms=finished_ms,
        executor=by[0],
        jobs=by[1],
        counts=counts,
        results_sha256=table.sha256,
        failures=[
            {"record": r.one.record, "output": r.one.output, "code": r.error.code}
            for r in results
            if r.error is not None
        ],
        reproductions=[r.reproduction for r in results if r.reproduction is not None],
    )
    receipt = declare(
        services,
        [Subject("out/0", table.sha256, "text/csv")],
        PREDICATE_AUDIT,
        audit_predicate(run.head, record),
        role="generator",
        blobs=[table],
    )
    return AuditReport(
        record=receipt.record,
        ok=not counts["different"] and not counts[FAILED],
        counts={name: counts[name] for name in (*VERDICTS, FAILED)},
        matching=selection.matching,
        chosen=len(selection.chosen),
        resumed=ledger.resumed,
        tree_size=kept.size,
        sample_seed=kept.seed if wanted.sample is not None else None,
        executor=by[0],
        jobs=by[1],
        started=format_time(kept.started_ms),
        finished=format_time(finished_ms),
        results=asset_id(table.sha256),
        findings=tuple(_finding(r) for r in results if r.verdict not in CAME_BACK),
    )


def _said(wanted: Wanted, selection: Selection, size: int, seed: str) -> dict[str, object]:
    """Return the selection as the summary states it."""
    said: dict[str, object] = {
        "treeSize": size,
        "matching": selection.matching,
        "chosen": len(selection.chosen),
    }
    asked = wanted.document()
    said |= {name: asked[name] for name in ("project", "campaign", "since") if name in asked}
    if wanted.sample is not None:
        said["sample"] = {"size": wanted.sample, "seed": seed}
    return said


def _finding(result: Result) -> AuditFinding:
    error = result.error
    return AuditFinding(
        id=result.asset,
        of_record=result.one.record,
        verdict=result.verdict,
        reproduction=result.reproduction,
        code=error.code if error else None,
        message=error.message if error else None,
    )


def _table(results: Sequence[Result]) -> bytes:
    """Return all results as CSV, in log order."""
    text = io.StringIO(newline="")
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for r in results:
        code = r.error.code if r.error else ""
        rows.writerow([r.asset, r.one.record, r.one.output, r.verdict, r.reproduction or "", code])
    return text.getvalue().encode("utf-8")
