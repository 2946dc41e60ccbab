"""What the registry answers on drafts: frozen values, as in `answers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Answer

DraftState = Literal["draft", "kept", "expired"]


@dataclass(frozen=True, slots=True)
class DraftView(Answer):
    """An output that was recorded as a draft: what became of it, and by which record."""

    id: str
    record: str
    index: int
    time: str
    project: str
    campaign: str | None
    media_type: str | None
    size: int | None
    state: DraftState
    changed_by: str | None = None


@dataclass(frozen=True, slots=True)
class KeptReport(Answer):
    """What was kept; `again` are those whose bytes were gone, and were made again.

    `record` says so on the log, None where all had been kept before.
    """

    record: str | None
    kept: tuple[str, ...]
    again: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DueDraft(Answer):
    """A draft that is old enough to expire; `stays` says why it does not, None when it does."""

    id: str
    record: str
    time: str
    project: str
    campaign: str | None
    size: int | None
    stays: str | None = None


@dataclass(frozen=True, slots=True)
class ExpiryReport(Answer):
    """What an expiry does, or did: `dry_run` tells which.

    `older_than_hours` counts from `as_of`, in log time. `records` say it on the log; `blobs` and
    `freed` (bytes) are what left the vault, of an expiry that was cut short before, too.
    """

    dry_run: bool
    as_of: str
    older_than_hours: int
    due: tuple[DueDraft, ...]
    records: tuple[str, ...] = ()
    blobs: int = 0
    freed: int = 0

    @property
    def expired(self) -> tuple[DueDraft, ...]:
        """Those that expire."""
        return tuple(draft for draft in self.due if draft.stays is None)

    @property
    def staying(self) -> tuple[DueDraft, ...]:
        """Those that something keeps."""
        return tuple(draft for draft in self.due if draft.stays is not None)
