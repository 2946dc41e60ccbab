"""Checking a whole log: everything is derived again from entries and envelopes, and compared.

Trusts the log's public key and nothing in the database. Names every record that does not fit, and
what about it: the same in the same order, whatever the number of processes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from pathlib import Path

from registry.core.cosignatures import CosignerKey
from registry.core.schemas import SchemaSet
from registry.core.tiles import TILE_WIDTH
from registry.errors import IntegrityError
from registry.log import check_read
from registry.log.check_heads import Opening, cosignature_problem
from registry.log.check_page import Judged, Page, PageJudge
from registry.log.check_pool import Judges, open_judges, result_of
from registry.log.check_state import CheckState, StateFile
from registry.log.check_tree import DerivedTree
from registry.log.findings import CheckReport, Finding, Findings, in_order
from registry.log.reader import LogReader
from registry.log.trust_state import TrustHistory
from registry.store.transaction import read

Progress = Callable[[int, int], None]
"""Called with the number of records that were checked, and of all."""
Beside = Callable[[Page, Judged], Sequence[Finding]]
"""Checks what lies beside the log for the records of a page: texts and blobs."""

PAGE = TILE_WIDTH
_SAVE_EVERY = 32
"""Pages between two savings of the state: the work of a second or so."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """How a log is checked.

    `jobs` is the number of processes; `witnesses` are those whose cosignatures can be verified;
    `outside` is the checkpoint file; `beside` checks texts and blobs. An interrupted check goes on
    from `state`, if it began at `oldest_ms` or later; `now_ms` is when this one begins.
    """

    jobs: int = 1
    witnesses: Sequence[CosignerKey] = ()
    outside: Path | None = None
    beside: Beside | None = None
    state: StateFile | None = None
    now_ms: int = 0
    oldest_ms: int = 0


def check_log(
    reader: LogReader,
    schemas: SchemaSet,
    *,
    progress: Progress | None = None,
    options: CheckOptions | None = None,
) -> CheckReport:
    """Check every record, the tree, the head and the checkpoints of a log.

    Reads in pages beside any writer, and covers what the log held when it was begun. What does
    not fit is found and never raised; raises UnavailableError when it cannot read, or when a
    process ended before its time. However it ends, what it came to is kept in `options.state`,
    which the caller clears. More than one process are spawned: a script that asks for them guards
    its own start with `if __name__ == "__main__"`.
    """
    check = _Check(reader, schemas, options or CheckOptions())
    judges = open_judges(reader.vkey, schemas, check.options.jobs, check.size - check.at)
    try:
        check.run(judges, progress)
        return check.finish()
    finally:
        check.save()
        judges.close()


@dataclass(slots=True)
class _Pending:
    """A page that was handed in."""

    page: Page
    answer: Future[Judged]
    unreadable: list[Finding] = field(default_factory=list)


class _Check:
    """One run: what was stored when it was begun, and what was derived so far."""

    def __init__(self, reader: LogReader, schemas: SchemaSet, options: CheckOptions) -> None:
        self.options = options
        self._reader = reader
        self._opening = Opening(reader, options.outside)
        self.size = self._opening.size
        state = self._resumed()
        self.at = state.at
        self._resumed_at = state.at or None
        self._began_ms = state.began_ms
        self._found = state.findings
        self._tree = DerivedTree(self._found, state.frontier)
        self._time_ms = state.time_ms
        self._blob = state.blob
        judge = PageJudge(reader.vkey, schemas)
        self._trust = self._folded(judge, TrustHistory(), state.trust)
        # Pages are handed in early by the trust records that the database's own index lists. The
        # answer counts only if the trust before the page came out as it was guessed.
        ahead = [index for index in self._opening.trust if self.at <= index < self.size]
        self._guess = self._folded(judge, self._trust, ahead)
        self._guessing = True

    def run(self, judges: Judges, progress: Progress | None) -> None:
        """Check every page in order, and hand in pages ahead where that saves time."""
        pending: deque[_Pending] = deque()
        handed_in, taken = self.at, 0
        while self.at < self.size:
            while handed_in < self.size and len(pending) < self._depth(judges):
                pending.append(self._hand_in(judges, handed_in))
                handed_in = pending[-1].page.end
            first = pending.popleft()
            if first.page.trust.records != self._trust.records:
                self._guessing = False
                pending.clear()
                handed_in = self.at
                continue
            self._take(first)
            taken += 1
            if taken % _SAVE_EVERY == 0:
                self.save()
            if progress is not None:
                progress(self.at, self.size)

    def finish(self) -> CheckReport:
        """Compare the whole with the head, and report, records in order first."""
        whole = Findings()
        whole.extend(self._opening.found)
        if self._opening.head is not None:
            tree = DerivedTree(whole, self._tree.frontier)
            tree.finish(self._opening.head, self._reader.vkey, self._time_ms)
        listed = set(self._opening.trust)
        for index in sorted(listed ^ set(self._trust.indices)):
            wrong = "not listed" if index not in listed else "listed, and is none"
            whole.add(index, "trust-index", f"as a trust record it is {wrong}")
        return CheckReport(
            self._reader.origin,
            self.size,
            self._tree.frontier.root().hex(),
            in_order([*self._found.items, *whole.items]),
            self._found.count + whole.count,
            self._resumed_at,
        )

    def save(self) -> None:
        """Keep what was derived so far."""
        if self.options.state is None or self.at == 0:
            return
        state = CheckState(
            self.at,
            self._tree.frontier,
            self._time_ms,
            self._trust.indices,
            tuple(self._found.items),
            self._found.count,
            self._began_ms,
            self._blob,
        )
        self.options.state.save(state)

    def _resumed(self) -> CheckState:
        """Return where to begin: where an interrupted check stopped, or at the first record."""
        file = self.options.state
        state = None if file is None else file.load(self.options.oldest_ms)
        if state is None or state.at > self.size:
            return CheckState.fresh(self.options.now_ms)
        return state if state.at == self.size else replace(state, blob="")

    def _depth(self, judges: Judges) -> int:
        return judges.depth if self._guessing else 1

    def _hand_in(self, judges: Judges, start: int) -> _Pending:
        end = min(start - start % PAGE + PAGE, self.size)
        beside = self.options.beside is not None
        rows, unreadable = check_read.read_rows(self._reader.engine, start, end, texts=beside)
        page = Page(start, end, rows, self._trust_before(start), beside=beside)
        return _Pending(page, judges.hand_in(page), unreadable)

    def _trust_before(self, start: int) -> TrustHistory:
        if start == self.at:
            return self._trust
        records = self._guess.records
        return TrustHistory(start, records[: bisect_left(records, start, key=lambda r: r.index)])

    def _take(self, pending: _Pending) -> None:
        """Put a page's answer together with those before it."""
        page, judged = pending.page, result_of(pending.answer)
        unreadable = {one.index for one in pending.unreadable}
        self._found.extend(pending.unreadable)
        self._found.extend(one for one in judged.found if one.index not in unreadable)
        for index, time_ms in judged.times_ms.items():
            if time_ms < self._time_ms:
                self._found.add(index, "time", "it is before that of the record before")
            self._time_ms = max(self._time_ms, time_ms)
        try:
            self._compare(page, judged)
        except IntegrityError as error:
            self._found.add(None, "database", error.message)
            self._tree.grow(judged.leaves, lambda _level, _index: None)
        if self.options.beside is not None:
            self._found.extend(self.options.beside(page, judged))
        self._trust = TrustHistory(page.end, (*self._trust.records, *judged.trust))
        self.at = page.end

    def _compare(self, page: Page, judged: Judged) -> None:
        """Compare what a page gives with what other tables hold."""
        with read(self._reader.engine) as conn:
            invocations = check_read.stored_invocations(conn, judged.invocations)
            size = self._tree.frontier.size  # less than the page's start where entries are gone
            tiles = check_read.stored_tiles(conn, size, size + len(judged.leaves))
            cosigned = check_read.cosigned(conn, page.start, page.end)
        for name, index in judged.invocations.items():
            if invocations.get(name) != index:
                self._found.add(index, "invocation", f"{name} does not lead to it")
        for row in cosigned:
            tree = self._tree.frontier.extend(judged.leaves[: int(row.size) - page.start])
            keys = self._reader.vkey, self.options.witnesses
            if problem := cosignature_problem(row, tree, *keys):
                where = f"by {row.name} on {row.size} records"
                self._found.add(None, "cosignature", f"{where}: {problem}")
        self._tree.grow(judged.leaves, tiles)

    def _folded(
        self, judge: PageJudge, history: TrustHistory, indices: Sequence[int]
    ) -> TrustHistory:
        """Return the history with the trust records at these places, as far as they are any."""
        for index in indices:
            rows, _ = check_read.read_rows(self._reader.engine, index, index + 1, texts=False)
            judged = judge.judge(Page(index, index + 1, rows, history))
            history = TrustHistory(index + 1, (*history.records, *judged.trust))
        return history


__all__ = ["CheckOptions", "CheckReport", "Finding", "Progress", "check_log"]
