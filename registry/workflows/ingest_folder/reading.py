"""The costly half of taking a file in: read, know again, decode, fingerprint, store durably.

Runs in worker processes as well as in the one that logs; knows nothing of records to come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Engine

from registry.core.digests import asset_id, sha256_hex
from registry.core.generation import Blob, Output
from registry.core.ingest_answers import FileOutcome
from registry.core.provenance import output_subject
from registry.errors import InputError, IntegrityError
from registry.settings import Settings
from registry.similarity.media import media_type_of
from registry.store.transaction import read
from registry.vault.store import Vault
from registry.workflows.ingest import Taken, plain_file, read_all, read_output
from registry.workflows.ingest_folder.known import record_of
from registry.workflows.ingest_folder.walking import Found, shown

STORING = 4
"""Pictures that a reader is storing while it decodes the next: a disk syncs several at once."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is asked of every file; can be pickled.

    `project` is whose assets are known; with `again` none is. Without `keep` nothing is stored.
    """

    settings: Settings
    project: str
    all_files: bool
    again: bool
    keep: bool


@dataclass(frozen=True, slots=True)
class Ready:
    """A file that is in the vault, and lacks its record only."""

    found: Found
    taken: Taken


Read = FileOutcome | Ready
_T = TypeVar("_T")


class Reader:
    """Reads files one after the other, and stores up to `STORING` of them meanwhile.

    Holds no more than `STORING` + 1 files in memory, one of them decoded. For one thread.
    """

    def __init__(self, task: Task, engine: Engine, vault: Vault) -> None:
        self._task = task
        self._engine = engine
        self._vault = vault
        self._storing = ThreadPoolExecutor(STORING, thread_name_prefix="ingest-store")

    def close(self) -> None:
        """Wait for what is being stored."""
        self._storing.shutdown(wait=True)

    def read(self, batch: Sequence[Found]) -> list[Read]:
        """Return what became of each file; what is `Ready` is durably in the vault.

        Raises UnavailableError, MaterialError or HomeError when nothing can be stored or asked.
        """
        parts: list[Read | Future[Read]] = []
        for number, found in enumerate(batch):
            if number >= STORING:
                parts[number - STORING] = _settled(parts[number - STORING])
            parts.append(self._one(found))
        return [_settled(part) for part in parts]

    def _one(self, found: Found) -> Read | Future[Read]:
        outcome = _guarded(found, lambda: self._looked_at(found))
        if isinstance(outcome, FileOutcome):
            return outcome
        if not self._task.keep:
            return _ready(found, outcome, _blob_of(outcome.data))
        return self._storing.submit(_guarded, found, lambda: self._stored(found, outcome))

    def _looked_at(self, found: Found) -> FileOutcome | Output:
        path = Path(found.path)
        with plain_file(path) as opened:
            kind = media_type_of(opened.peek(), path.name)
            if not (self._task.all_files or kind.startswith("image/")):
                return FileOutcome(shown(found.path), "left-out", media_type=kind, reason=kind)
            data = read_all(opened, self._task.settings.limits)
        sha256 = sha256_hex(data)
        if (record := self._known(sha256)) is not None:
            return FileOutcome(
                shown(found.path), "known", asset_id(sha256), record, kind, len(data)
            )
        try:
            return read_output(data, path, self._task.settings.limits, sha256=sha256)
        except (InputError, IntegrityError):
            raise
        except Exception as error:  # a decoder's own, or no memory left for this picture
            raise InputError(
                f"cannot be decoded: {type(error).__name__}: {error}", code="image.unreadable"
            ) from error

    def _known(self, sha256: str) -> str | None:
        if self._task.again:
            return None
        with read(self._engine) as conn:
            return record_of(conn, sha256, self._task.project)

    def _stored(self, found: Found, output: Output) -> Ready:
        return _ready(found, output, self._vault.put(output.data))


def failed(path: str, code: str, reason: str) -> FileOutcome:
    """Return the outcome of a file that cannot be taken in."""
    return FileOutcome(shown(path), "failed", code=code, reason=reason)


def _guarded(found: Found, work: Callable[[], _T]) -> _T | FileOutcome:
    """Turn what is wrong with a file into its outcome; raise what is wrong with the registry."""
    try:
        return work()
    except (InputError, IntegrityError) as error:
        return failed(found.path, error.code, error.message.replace(f"{found.path} ", ""))


def _settled(part: Read | Future[Read]) -> Read:
    return part.result() if isinstance(part, Future) else part


def _ready(found: Found, output: Output, blob: Blob) -> Ready:
    subject = output_subject(0, output, blob.sha256, blob.size)
    small = () if output.thumbnail is None else (output.thumbnail,)
    return Ready(found, Taken(blob, subject, output.fingerprints or (), small))


def _blob_of(data: bytes) -> Blob:
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    return Blob(sha256_hex(data), md5, len(data))
