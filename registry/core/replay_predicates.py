"""Builder of what an audit says: how many outputs were replayed, and how they compared.

Pure, like the other builders. What each replay found stands in a reproduction of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.core.predicates import Head, Predicate
from registry.core.statements import MAX_LIST_ITEMS
from registry.core.times import format_time

VERDICTS = (
    "identical",
    "identical-pixels",
    "equivalent",
    "different",
    "not-reproducible",
    "erased",
)
FAILED = "failed"
"""Counted beside the verdicts: an output that could not be judged."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """What an audit found.

    `selection` is {treeSize, matching, chosen, project?, campaign?, since?, sample?}; times are
    epoch milliseconds. `counts` are by verdict, `failures` are {record, output, code} and
    `reproductions` the records of the verdicts. `results_sha256` names the table's blob.
    """

    selection: Mapping[str, Any]
    started_ms: int
    finished_ms: int
    executor: str
    jobs: int
    counts: Mapping[str, int]
    results_sha256: str
    failures: Sequence[Mapping[str, str]] = field(default_factory=tuple)
    reproductions: Sequence[str] = field(default_factory=tuple)


def audit(head: Head, record: AuditRecord) -> Predicate:
    """Sum up an audit; lists that are too long for a statement are left to the results."""
    counts = {name: record.counts.get(name, 0) for name in (*VERDICTS, FAILED)}
    predicate = head.fields() | {
        "selection": dict(record.selection),
        "startedOn": format_time(record.started_ms),
        "finishedOn": format_time(record.finished_ms),
        "executor": {"name": record.executor, "jobs": record.jobs},
        "counts": counts,
        "failures": [dict(item) for item in record.failures[:MAX_LIST_ITEMS]],
        "results": {"sha256": record.results_sha256, "count": sum(counts.values())},
    }
    if 0 < len(record.reproductions) <= MAX_LIST_ITEMS:
        predicate["reproductions"] = list(record.reproductions)
    return predicate
