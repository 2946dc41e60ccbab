"""Check the vault against the log: every blob that a record or the vault's index names.

First, page by page: does the index know what the records name? Then, blob by blob: does the vault
hold it, with the digests that it goes by? Each blob is read once, however many records name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from sqlalchemy import func, select

from registry.catalog.drafts import expired
from registry.core.generation import Blob
from registry.core.modelsets import parse_modelset
from registry.errors import GenopsError, UnavailableError
from registry.log.check_page import Judged, Page
from registry.log.check_state import StateFile
from registry.log.findings import Finding, Findings
from registry.store.sidecar_tables import BlobRow
from registry.store.transaction import read
from registry.store.types import as_stored, table_of
from registry.workflows.services import Services

Progress = Callable[[int, int], None]

_BLOBS = table_of(BlobRow)
_BATCH = 64
"""Blobs that are looked at between two savings."""


class BlobsCheck:
    """One run of the check; `page` is called for every page of the log, then `run` once."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._folders: dict[str, tuple[str, ...]] = {}

    def page(self, _page: Page, judged: Judged) -> list[Finding]:
        """Return the blobs that a page's records name and the vault was never given."""
        named = dict(judged.blobs)
        for index, folders in judged.folders.items():
            files = (file for folder in folders for file in self._files(folder))
            named[index] = tuple(dict.fromkeys((*named[index], *files)))
        known = set(self._services.blobs.get_many(d for found in named.values() for d in found))
        known |= self._expired(d for found in named.values() for d in found if d not in known)
        return [
            Finding(index, "blob", f"the vault was never given sha256:{digest}")
            for index, digests in named.items()
            for digest in digests
            if digest not in known
        ]

    def run(
        self, state: StateFile | None, jobs: int, progress: Progress | None
    ) -> tuple[Finding, ...]:
        """Look at every blob, several at once; return what is missing or altered.

        Goes on after the last blob that `state` names, and keeps there how far it has come.
        """
        kept = None if state is None else state.load(0)
        after = b"" if kept is None else bytes.fromhex(kept.blob)
        total, done = self._count(), self._count(after)
        bad: dict[str, Finding] = {}
        with ThreadPoolExecutor(jobs) as pool:  # hashing leaves Python's lock to the others
            while rows := self._rows(after):
                for row, problem in zip(rows, pool.map(self.problem, rows), strict=True):
                    if problem:
                        bad[_shown(row[0])] = Finding(None, "blob", problem)
                after, done = rows[-1][0], done + len(rows)
                if state is not None and kept is not None:
                    collected = Findings(list(kept.found), kept.count)
                    collected.extend(bad.values())
                    found, count = tuple(collected.items), collected.count
                    state.save(replace(kept, blob=after.hex(), found=found, count=count))
                if progress is not None:
                    progress(done, total)
        return tuple(self._with_owners(bad))

    def problem(self, row: Sequence[Any]) -> str:
        """Say what is wrong with a row of the index and the blob that it names."""
        if not isinstance(row[1], bytes) or not isinstance(row[2], int) or len(row[0]) != 32:
            return f"the vault's index of sha256:{_shown(row[0])} is altered"
        wanted = Blob(row[0].hex(), row[1].hex(), row[2])
        try:
            found = self._services.vault.found_at(wanted)
        except UnavailableError:
            raise
        except GenopsError as error:
            return error.message
        if found == wanted:
            return ""
        return (
            f"the vault's copy of sha256:{wanted.sha256} was altered: it has {found.size} bytes,"
            f" sha256:{found.sha256} and md5 {found.md5}, not {wanted.size} bytes"
            f" and md5 {wanted.md5}"
        )

    def _expired(self, digests: Iterable[str]) -> set[str]:
        """Return which of the digests are of drafts that the log let go."""
        with read(self._services.engine) as conn:
            return {digest.hex() for digest in expired(conn, map(bytes.fromhex, digests))}

    def _files(self, folder: str) -> tuple[str, ...]:
        """Return the digests that a model folder's manifest lists; none if it cannot be read."""
        if folder not in self._folders:
            blob = self._services.blobs.get(folder)
            try:
                data = b"" if blob is None else self._services.vault.read(blob)
                files = tuple(file.sha256 for file in parse_modelset(data)) if data else ()
            except GenopsError:  # it is found as a blob of its own
                files = ()
            self._folders[folder] = files
        return self._folders[folder]

    def _rows(self, after: bytes) -> Sequence[Sequence[Any]]:
        """Return the next rows of the index: SHA-256, MD5 and size, as they are stored."""
        columns = (as_stored(column) for column in (_BLOBS.c.sha256, _BLOBS.c.md5, _BLOBS.c.size))
        query = select(*columns).where(_BLOBS.c.sha256 > after)
        with read(self._services.engine) as conn:
            return conn.execute(query.order_by(_BLOBS.c.sha256).limit(_BATCH)).all()

    def _count(self, upto: bytes | None = None) -> int:
        query = select(func.count()).select_from(_BLOBS)
        if upto is not None:
            query = query.where(_BLOBS.c.sha256 <= upto)
        with read(self._services.engine) as conn:
            return conn.scalar(query) or 0

    def _with_owners(self, bad: dict[str, Finding]) -> Iterator[Finding]:
        """Yield each finding with the first record that names the blob, if any does."""
        left = dict(bad)
        records = self._services.reader.records() if left else iter(())
        try:
            for index, _, envelope in records:
                for digest in [d for d in left if d.encode() in envelope.payload]:
                    yield replace(left.pop(digest), index=index)
                if not left:
                    break
        except GenopsError:  # a record that cannot be read was found before
            pass
        yield from left.values()


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)[:80]
