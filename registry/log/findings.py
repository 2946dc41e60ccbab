"""What a check of the log finds, and its report."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MAX_FINDINGS = 100
"""Most findings that are kept; a log that was rewritten has one for every record."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit: at a record, or in the log's own data (`index` None).

    `what` is one of missing, extra, unreadable, entry, envelope, payload, statement, schema, trust,
    time, invocation, trust-index, tile, frontier, checkpoint, checkpoint-file, cosignature, head,
    database, sealed, text, erasure, blob, keyring.
    """

    index: int | None
    what: str
    detail: str

    def __str__(self) -> str:
        place = "log" if self.index is None else f"record {self.index}"
        return f"{place}: {self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome: origin, number of records, the root derived from the entries (hex).

    `findings` are in the order of their records, those of the log itself last; `found` counts also
    those that were not kept. `resumed_at` is the record where an interrupted check went on.
    """

    origin: str
    size: int
    root: str
    findings: tuple[Finding, ...]
    found: int = 0
    resumed_at: int | None = None

    @property
    def ok(self) -> bool:
        """True when nothing was found."""
        return not self.findings

    @property
    def problems(self) -> tuple[str, ...]:
        """The findings as lines of text."""
        return tuple(map(str, self.findings))

    @property
    def first_bad(self) -> int | None:
        """The lowest index of a record that does not fit."""
        return min((f.index for f in self.findings if f.index is not None), default=None)


@dataclass(slots=True)
class Findings:
    """Collects findings: the first `MAX_FINDINGS`, and later ones only of an earlier record."""

    items: list[Finding] = field(default_factory=list)
    count: int = 0

    def add(self, index: int | None, what: str, detail: str) -> None:
        """Note something that does not fit."""
        self.count += 1
        if len(self.items) < MAX_FINDINGS or self._is_first(index):
            self.items.append(Finding(index, what, detail))

    def extend(self, found: Iterable[Finding]) -> None:
        """Note several."""
        for one in found:
            self.add(one.index, one.what, one.detail)

    def _is_first(self, index: int | None) -> bool:
        kept = [item.index for item in self.items if item.index is not None]
        return index is not None and index < min(kept, default=index + 1)


def in_order(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return findings by record, those of the log itself last."""
    return tuple(sorted(found, key=lambda one: (one.index is None, one.index or 0)))
