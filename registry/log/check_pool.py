"""Where pages are judged: in this process, or in several, with the same answers in the same order.

Knows nothing of databases: a page goes in with its rows, what was found in it comes out.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol

from registry.core.notes import VerifierKey
from registry.core.schemas import SchemaSet
from registry.errors import UnavailableError
from registry.log.check_page import Judged, Page, PageJudge

FEWEST_RECORDS = 8192
"""With fewer records than this, starting processes takes longer than what they save."""
_AHEAD = 2
"""Pages that wait for each process, so that none stands still while rows are read."""


class Judges(Protocol):
    """Judges pages that are handed in; every page's answer is asked for once, in any order."""

    depth: int
    """Most pages that are worth handing in before an answer is asked for."""

    def hand_in(self, page: Page) -> Future[Judged]:
        """Return the answer to come; `result_of` reads it."""

    def close(self) -> None:
        """Stop, whatever is still being judged."""


def open_judges(vkey: VerifierKey, schemas: SchemaSet, jobs: int, records: int) -> Judges:
    """Return judges on `jobs` processes; this one alone where `records` are few."""
    if jobs == 1 or records < FEWEST_RECORDS:
        return _Here(PageJudge(vkey, schemas))
    return _Processes(vkey, schemas, jobs)


def result_of(answer: Future[Judged]) -> Judged:
    """Wait for an answer; raises UnavailableError (`check.process`) when its process died."""
    try:
        return answer.result()
    except BrokenProcessPool as error:
        raise UnavailableError(
            "a process of the check ended before its time",
            code="check.process",
            hint="check free memory, then go on with fewer --jobs",
        ) from error


class _Here:
    """Judges each page as it is handed in."""

    depth = 1

    def __init__(self, judge: PageJudge) -> None:
        self._judge = judge

    def hand_in(self, page: Page) -> Future[Judged]:
        done: Future[Judged] = Future()
        done.set_result(self._judge.judge(page))
        return done

    def close(self) -> None:
        """Nothing is open."""


class _Processes:
    """Spawned, not forked: a fork would inherit locks of threads that do not exist in it."""

    def __init__(self, vkey: VerifierKey, schemas: SchemaSet, jobs: int) -> None:
        from multiprocessing import get_context  # noqa: PLC0415  # a small log needs none

        self.depth = jobs * _AHEAD
        self._pool = ProcessPoolExecutor(
            jobs,
            mp_context=get_context("spawn"),
            initializer=_begin,
            initargs=(vkey, dict(schemas.documents)),
        )

    def hand_in(self, page: Page) -> Future[Judged]:
        return self._pool.submit(_judge, page)

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)


_judge_of_process: list[PageJudge] = []


def _begin(vkey: VerifierKey, documents: Mapping[str, Any]) -> None:
    follow_parent()
    _judge_of_process[:] = [PageJudge(vkey, SchemaSet(documents))]


def follow_parent() -> None:
    """Prepare a spawned process: leave Ctrl-C to its parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    import os  # noqa: PLC0415  # in a spawned process only
    from multiprocessing import parent_process  # noqa: PLC0415

    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _judge(page: Page) -> Judged:
    return _judge_of_process[0].judge(page)
