"""What a check of the log finds, and its report."""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_FINDINGS = 100
"""Most findings that are kept; a log that was rewritten has one for every record."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that does not fit: at a record, or in the log's own data (`index` None).

    `what` is one of missing, extra, entry, envelope, payload, statement, schema, trust, time,
    invocation, trust-index, tile, frontier, checkpoint, head.
    """

    index: int | None
    what: str
    detail: str

    def __str__(self) -> str:
        place = "log" if self.index is None else f"record {self.index}"
        return f"{place}: {self.what}: {self.detail}"


@dataclass(frozen=True, slots=True)
class CheckReport:
    """The outcome: origin, number of records, the root derived from the entries (hex)."""

    origin: str
    size: int
    root: str
    findings: tuple[Finding, ...]

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
    """Collects findings, the first `MAX_FINDINGS` of them."""

    items: list[Finding] = field(default_factory=list)

    def add(self, index: int | None, what: str, detail: str) -> None:
        """Note something that does not fit."""
        if len(self.items) < MAX_FINDINGS:
            self.items.append(Finding(index, what, detail))
