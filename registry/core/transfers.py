"""The answers of export, backup, import and upgrade."""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.answers import Answer


@dataclass(frozen=True, slots=True)
class ExportReport(Answer):
    """What was written where: the log's size and root (hex) that it holds, files, bytes in all.

    `parts` are `blobs`, `home` (keys and settings, in a backup), `log` and `texts` (encrypted).
    """

    path: str
    origin: str
    size: int
    root: str
    parts: tuple[str, ...]
    files: int
    bytes: int
    encrypted: bool


@dataclass(frozen=True, slots=True)
class ImportReport(Answer):
    """A home that was made: its log, and how many blobs and texts came with it.

    `texts` counts records with sealed texts that open, `locked` those whose key is not here,
    `erased` those that an erasure on the log covers. `erased_again` counts keys that the backup
    still held and that were destroyed. `can_sign` is False without keys.
    """

    home: str
    origin: str
    log_key: str
    database: str
    size: int
    root: str
    blobs: int
    missing_blobs: int
    fingerprints: int
    texts: int
    locked: int
    erased: int
    erased_again: int
    can_sign: bool


@dataclass(frozen=True, slots=True)
class UpgradeReport(Answer):
    """A home brought to this version: schema before and after, and the copy made before.

    `backup` is None where nothing had to be done, or no copy was wanted. `records` counts those
    that the catalog was rebuilt from. `guards_restored` says that triggers were missing.
    `unfingerprinted` counts pictures that lack fingerprints of this version.
    """

    home: str
    before: str
    after: str
    guards_restored: bool
    backup: str | None
    records: int
    unfingerprinted: int
