"""The vault as a mirror: one segment for each run of records, and a check of them all.

What a record needs to be restored goes into its segment. A record whose blobs are damaged is
named and left out, and the others go on.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from registry.catalog import drafts
from registry.catalog.projector import ASSET_KINDS
from registry.core import checkpoints
from registry.core.digests import sha256_hex
from registry.core.generation import Blob
from registry.core.modelsets import parse_modelset
from registry.core.recovery_answers import shown_ranges
from registry.core.statements import PREDICATE_GENERATION, Statement
from registry.errors import GenopsError, IntegrityError
from registry.mirrors.contract import MirrorRecord
from registry.store.log_tables import LogEntryRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.vault.segments import write_segment
from registry.vault.shelf import Shelf, read_shelf
from registry.workflows.services import Services
from registry.workflows.texts import SEALED

_ENTRIES = table_of(LogEntryRow)
_PAGE = 500
_FORMAT = "012d"

Difference = tuple[int | None, str]
"""A record that differs, by its index, or None for a segment as a whole; and what is wrong."""


@dataclass(frozen=True, slots=True)
class _Members:
    """What segments hold of one record: for good, and until drafts expire."""

    lasting: Mapping[str, Blob]
    drafts: Mapping[str, Blob]


class SegmentMirror:
    """Writes vault segments, so that `dvc push` carries what was recorded. A `Mirror`."""

    target = "vault"

    def __init__(self, services: Services) -> None:
        self._services = services
        self._written: set[int] = set()

    def send(self, batch: Sequence[MirrorRecord]) -> None:
        """Put a manifest of everything that the records need; idempotent.

        Raises the first refusal after all records that can be stored are: sent again alone, those
        are not written twice.
        """
        sealed = self._sealed([record.index for record in batch])
        members: dict[int, _Members] = {}
        refused: list[GenopsError] = []
        for record in batch:
            try:
                if record.index not in self._written:
                    members[record.index] = self._sorted(record, self._members(record, sealed))
            except GenopsError as error:
                refused.append(_named(record, error))
        for run in _runs(sorted(members)):
            self._write(run, members)
        for refusal in refused:
            raise refusal

    def _write(self, run: range, members: Mapping[int, _Members]) -> None:
        note = self._services.reader.checkpoint()
        vault, lasting = self._services.vault, _merged(members[index].lasting for index in run)
        if passing := _merged(members[index].drafts for index in run):
            write_segment(vault, run[0], run[-1], passing, checkpoint=note, drafts=True)
        write_segment(vault, run[0], run[-1], lasting, checkpoint=note)
        self._written.update(run)

    def _sorted(self, record: MirrorRecord, found: Iterable[tuple[str, Blob]]) -> _Members:
        """Part what a record needs from what goes when nobody keeps it.

        What a draft made or used of other drafts lies beside the records until it expires. What
        makes it last is a record of its own, which carries it then: another generation, or the
        record that keeps it.
        """
        blobs = dict(found)
        digests = {blob.sha256 for blob in blobs.values()}
        with read(self._services.engine) as conn:
            known = drafts.marked(conn, digests, before=record.index + 1)
            gone = drafts.expired(conn, map(bytes.fromhex, known))
        passing = {path: blob for path, blob in blobs.items() if blob.sha256 in known}
        if _carries_drafts(record.statement):
            passing = {}
        lasting = {path: blob for path, blob in blobs.items() if path not in passing}
        if not drafts.is_draft(record.statement):
            passing = {}  # what is only said of a draft does not carry it
        there = {p: b for p, b in passing.items() if bytes.fromhex(b.sha256) not in gone}
        for blob in (*lasting.values(), *there.values()):
            if not self._services.vault.path(blob).is_file():
                self._services.vault.verify(blob)  # says that it is missing: never name it
        return _Members(lasting, there)

    def _sealed(self, indices: Sequence[int]) -> Mapping[int, bytes]:
        query = select(SEALED.c.record_idx, SEALED.c.ciphertext)
        with read(self._services.engine) as conn:
            rows = conn.execute(query.where(SEALED.c.record_idx.in_(indices))).all()
        return {row.record_idx: row.ciphertext for row in rows}

    def _members(
        self, record: MirrorRecord, sealed: Mapping[int, bytes]
    ) -> Iterator[tuple[str, Blob]]:
        """Yield what a segment holds of one record: path in the segment, and the blob."""
        number, vault = format(record.index, _FORMAT), self._services.vault
        yield f"entries/{number}.json", vault.put(record.entry)
        yield f"envelopes/{number}.json", vault.put(record.envelope)
        if record.index in sealed:
            yield f"sealed/{number}.bin", vault.put(sealed[record.index])
        yield from self._blobs(record, number)

    def _blobs(self, record: MirrorRecord, number: str) -> Iterator[tuple[str, Blob]]:
        subjects = record.statement.subjects
        known = self._services.blobs.get_many(subject.sha256 for subject in subjects)
        for position, subject in enumerate(subjects):
            if subject.sha256 in known:
                suffix = mimetypes.guess_extension(subject.media_type or "") or ""
                yield f"outputs/{number}-{position}{suffix}", known[subject.sha256]
        yield from _materials(self._services, record.statement)


def differences(services: Services, waiting: frozenset[int]) -> Iterator[Difference]:
    """Compare the vault's segments with the log; records that still wait are left out.

    Every file that a segment names is read.
    """
    shelf = read_shelf(services.vault, strict=False)
    for error in shelf.unreadable:
        yield None, error.message
    for index, why in sorted(shelf.disagreements.items()):
        yield index, f"record {index} is held twice: {why}"
    for name, note in shelf.checkpoints:
        try:
            services.reader.refuse_other(checkpoints.verify(note, services.reader.vkey))
        except GenopsError as error:
            yield None, f"segment {name}: its checkpoint is not this log's: {error.message}"
    missing: list[int] = []
    for row in _rows(services):
        if row.idx in waiting:
            continue
        held = shelf.records.get(row.idx)
        if held is None or not held.whole:
            missing.append(row.idx)
            yield row.idx, ""
            continue
        wanted = sha256_hex(row.entry), row.envelope_sha256.hex()
        if (held.entry and held.entry.sha256, held.envelope and held.envelope.sha256) != wanted:
            yield row.idx, f"record {row.idx}: the vault holds another record"
    if missing:
        yield None, f"records {shown_ranges(missing, 20)} are in no segment"
    yield from _altered(services, shelf)


def _rows(services: Services) -> Iterator[Any]:
    query = select(_ENTRIES.c.idx, _ENTRIES.c.entry, _ENTRIES.c.envelope_sha256)
    with read(services.engine) as conn:
        yield from conn.execute(query.order_by(_ENTRIES.c.idx).execution_options(yield_per=_PAGE))


def _altered(services: Services, shelf: Shelf) -> Iterator[Difference]:
    """Read every file that a segment names, once."""
    owners: dict[Blob, tuple[str, str]] = {}
    for pointer, segment in shelf.segments:
        for path, blob in segment.members.items():
            owners.setdefault(blob, (pointer.name, path))
    for blob, (segment_name, path) in owners.items():
        try:
            services.vault.verify(blob)
        except GenopsError as error:
            yield _index_of(path), f"segment {segment_name}, {path}: {error.message}"


def _index_of(path: str) -> int | None:
    digits = path.rpartition("/")[2][:12]
    return int(digits) if digits.isdecimal() and not path.startswith("materials/") else None


def _merged(parts: Iterable[Mapping[str, Blob]]) -> dict[str, Blob]:
    return {path: blob for part in parts for path, blob in part.items()}


def _carries_drafts(statement: Statement) -> bool:
    """Tell whether a record makes the drafts that it names last."""
    if statement.predicate_type == drafts.PREDICATE_DRAFT:
        return bool(statement.predicate["action"] == "keep")
    making = statement.predicate_type in ASSET_KINDS
    return making and not drafts.is_draft(statement)


def _runs(indices: Iterable[int]) -> Iterator[range]:
    """Yield ascending numbers as ranges without holes: a segment says what it covers."""
    first = last = None
    for index in indices:
        if first is not None and last is not None and index != last + 1:
            yield range(first, last + 1)
            first = index
        first = index if first is None else first
        last = index
    if first is not None and last is not None:
        yield range(first, last + 1)


def _named(record: MirrorRecord, error: GenopsError) -> GenopsError:
    return IntegrityError(
        f"record {record.index} ({record.record_id[:20]}…): {error.message}",
        code=error.code,
        hint=error.hint,
    )


def _materials(services: Services, statement: Statement) -> Iterator[tuple[str, Blob]]:
    """Yield the vaulted materials of a record by digest: files, and the files of model folders."""
    if statement.predicate_type != PREDICATE_GENERATION:
        facts = statement.predicate.get("genops_facts", {}).get("sha256")
        if facts and (blob := services.blobs.get(facts)):
            yield f"facts/{facts}.json", blob
        return
    for dep in statement.predicate["buildDefinition"].get("resolvedDependencies", ()):
        blob = services.blobs.get(dep["digest"]["sha256"])
        if blob is None:
            continue
        yield f"materials/{blob.sha256}", blob
        if dep.get("annotations", {}).get("genops_digest") == "modelset-v1":
            files = parse_modelset(services.vault.read(blob))
            parts = services.blobs.get_many(file.sha256 for file in files)
            yield from ((f"materials/{part.sha256}", part) for part in parts.values())
