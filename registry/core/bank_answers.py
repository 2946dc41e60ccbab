"""What the registry answers on banks of fingerprints and on verdicts: frozen values, as `answers`.

Ids of entries are `sha256:<hex>` of the picture, or of its fingerprints where it is `hash_only`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Answer
from registry.core.banks import BankKind


@dataclass(frozen=True, slots=True)
class BankView(Answer):
    """A bank: what it is for, who owns it, and how many of its entries stand.

    `expired` of them match nothing any more. `description` is None where none was given, or it
    cannot be read; `record` is the newest that declared the bank, None of one that no record did.
    """

    name: str
    kind: BankKind
    owner: str
    description: str | None
    entries: int
    expired: int
    record: str | None


@dataclass(frozen=True, slots=True)
class BankEntryView(Answer):
    """An entry that stands in a bank, by the record that put it there last.

    `fingerprints` are their names; `reason` is None where it cannot be read. `verifiable` where a
    thumbnail is kept, by which matches of a part are verified.
    """

    id: str
    bank: str
    owner: str
    source: str
    reason: str | None
    expires: str | None
    expired: bool
    hash_only: bool
    fingerprints: tuple[str, ...]
    verifiable: bool
    record: str
    index: int
    time: str


@dataclass(frozen=True, slots=True)
class BankPage(Answer):
    """A bank and a page of its entries, the newest first."""

    bank: BankView
    entries: tuple[BankEntryView, ...]


@dataclass(frozen=True, slots=True)
class BankAdded(Answer):
    """What was put into a bank: ids of new entries, of changed ones, and of those there before.

    `notes` say what a user should know of single entries.
    """

    bank: str
    records: tuple[str, ...]
    added: tuple[str, ...]
    changed: tuple[str, ...]
    present: tuple[str, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class BankRemoved(Answer):
    """What was taken out of a bank, and how many thumbnails went with it."""

    bank: str
    records: tuple[str, ...]
    removed: tuple[str, ...]
    thumbnails: int = 0


@dataclass(frozen=True, slots=True)
class BadLineView(Answer):
    """A line of a list that was passed over, and why."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class BankImport(Answer):
    """What an import of a list did, or would do: `dry_run` tells which.

    Of `read` entries, `added` are new, `changed` replace one of other terms, `present` stood as
    they are, and `repeated` came again within the list. `bad` lines were passed over; `problems`
    are the first of them.
    """

    bank: str
    format: str
    dry_run: bool
    records: tuple[str, ...]
    read: int
    added: int
    changed: int
    present: int
    repeated: int
    bad: int
    problems: tuple[BadLineView, ...] = ()


@dataclass(frozen=True, slots=True)
class BankExport(Answer):
    """A list that was written: how many entries, and how many the form could not carry.

    `path` is None where it went to the standard output.
    """

    bank: str
    format: str
    path: str | None
    entries: int
    left_out: int


@dataclass(frozen=True, slots=True)
class MatchVerdictView(Answer):
    """A verdict on a match, as it was recorded: `record` says so on the log.

    `reason` is None where it cannot be read.
    """

    record: str
    index: int
    time: str
    query: str
    candidate: str
    bank: str
    kind: str
    distance: float | None
    verdict: Literal["confirmed", "refuted"]
    reason: str | None
