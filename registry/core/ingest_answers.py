"""What is answered when a library is taken in: each file, and the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Answer

FileState = Literal["new", "known", "duplicate", "left-out", "failed"]


@dataclass(frozen=True, slots=True)
class FileOutcome(Answer):
    r"""What became of one file.

    `new`: registered as `asset` by `record` (in a dry run, would be). `known`: it was an asset of
    the project before. `duplicate`: another file of this run, `same_as`, has the same bytes.
    `left-out`: no picture, hidden or excluded, as `reason` says. `failed`: `code` and `reason`
    say why. `findable` tells whether a look-up finds changed copies of it, or the same bytes only.
    Bytes of a path that are no UTF-8 are written as `\xff`.
    """

    path: str
    state: FileState
    asset: str | None = None
    record: str | None = None
    media_type: str | None = None
    size: int | None = None
    findable: bool | None = None
    same_as: str | None = None
    code: str | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class IngestReport(Answer):
    """What became of a library; `ok` when no file failed.

    `files` were looked at: `new` ones were registered (in a dry run: would be), of `size` bytes,
    `exact_only` of them without a fingerprint. `left_out` counts files by the reason. `skipped`
    folders, links and the like are among `failed`. `seconds` is wall-clock time, with `jobs`
    processes.
    """

    ok: bool
    dry_run: bool
    project: str
    campaign: str | None
    files: int
    new: int
    known: int
    size: int
    exact_only: int
    left_out: dict[str, int]
    duplicates: tuple[FileOutcome, ...]
    failed: tuple[FileOutcome, ...]
    jobs: int
    seconds: float
