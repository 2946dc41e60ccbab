"""The answers of restore, recover and of the look at how fresh a registry is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Answer

LogState = Literal["sound", "behind", "forked"]


@dataclass(frozen=True, slots=True)
class KnownHead(Answer):
    """A checkpoint that this log signed, and where it was found.

    `root` is hex. `time` is when its newest record was logged, as far as that is known there.
    """

    where: str
    size: int
    root: str
    time: str | None = None


@dataclass(frozen=True, slots=True)
class RestoreReport(Answer):
    """A home that was made from a vault.

    `lost` counts the records that the log is known to have signed and that were given up; what was
    recorded after the last `mirror sync` and the keys' backup is not known here. `blobs` counts
    files of all kinds, `fingerprints` the pictures that can be found. For `texts`, `locked`,
    `erased`, `erased_again` and `can_sign` see `ImportReport`.
    """

    home: str
    origin: str
    log_key: str
    database: str
    size: int
    root: str
    lost: int
    segments: int
    blobs: int
    fingerprints: int
    texts: int
    locked: int
    erased: int
    erased_again: int
    can_sign: bool


@dataclass(frozen=True, slots=True)
class Sourced(Answer):
    """Where the records `ranges` of a gap were found: `vault`, `mlflow`, or an export's path."""

    where: str
    ranges: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RecoverReport(Answer):
    """What the log lacks, where it was found, and whether it was put back.

    `state` is what was found at first: `sound`, `behind` or `forked`. `database` and `newest` are
    the two checkpoints; `newest` is None where nothing newer is known. `missing` are the ranges of
    indices that the database lacked, `found` says where each is, `not_found` which are nowhere;
    `without_texts` counts records whose texts came back nowhere. `forked_at` is the first record
    in which database and vault differ. `notes` tell what else was seen. `ok` says that the log is
    whole now, or would be without `dry_run`.
    """

    ok: bool
    state: LogState
    dry_run: bool
    database: KnownHead
    newest: KnownHead | None
    missing: tuple[str, ...]
    since: str | None
    found: tuple[Sourced, ...]
    not_found: tuple[str, ...]
    without_texts: int
    recovered: int
    forked_at: int | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetryReport(Answer):
    """What was asked of one mirror again: records queued anew, sent, refused and still waiting."""

    target: str
    again: int
    sent: int
    failed: int
    pending: int
    error: str


def ranges(indices: Iterable[int]) -> tuple[str, ...]:
    """Return ascending numbers as runs: `5`, `7-9`."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and runs[-1][1] + 1 == index:
            runs[-1][1] = index
        else:
            runs.append([index, index])
    return tuple(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def shown_ranges(indices: Iterable[int], most: int = 8) -> str:
    """Return ascending numbers as text, the first `most` runs of them."""
    runs = ranges(indices)
    more = f" and {len(runs) - most} more ranges" if len(runs) > most else ""
    return ", ".join(runs[:most]) + more
