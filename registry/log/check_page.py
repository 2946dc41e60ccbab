"""Judging one page of the log: a pure function of its rows and of the trust before it.

Reads nothing by itself, so that pages are judged on all cores at once. What takes more than one
page (the tree, time that goes back) is put together by the caller.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.core.digests import sha256_hex
from registry.core.disclosures import sealed_pointers
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.merkle import leaf_hash
from registry.core.notes import VerifierKey
from registry.core.schemas import SchemaSet
from registry.core.statements import (
    PREDICATE_DECISION,
    PREDICATE_GENERATION,
    Statement,
    invocation_id,
    predicate_uri,
)
from registry.core.trust import is_trust
from registry.errors import GenopsError
from registry.log.findings import Finding
from registry.log.trust_state import TrustHistory, TrustRecord

Value = Any
"""What a column held: whoever alters a database may change a value's type as well."""

_SEALED_FIELD = re.compile(rb'\{"sealed":\{"sha-256":"[A-Za-z0-9_-]{43}"\}\}')
_ERASURE = predicate_uri("erasure")
FOLDER = "modelset-v1"
_HAVE_BLOBS = {PREDICATE_GENERATION, predicate_uri("ingest"), predicate_uri("ingest", 2)}
"""Predicates whose subjects are bytes in the vault."""


@dataclass(frozen=True, slots=True)
class Row:
    """A record as it is stored.

    `data` is the envelope; `key_id`, as text or its bytes, names the key of its sealed texts, the
    `ciphertext`.
    """

    entry: Value
    leaf_hash: Value
    payload_sha256: Value
    envelope_sha256: Value
    data: Value
    key_id: Value = None
    ciphertext: Value = None


@dataclass(frozen=True, slots=True)
class Page:
    """The rows from `start` to before `end` by index, and the trust records before `start`.

    `beside` asks for what the records say of blobs and texts.
    """

    start: int
    end: int
    rows: Mapping[int, Row]
    trust: TrustHistory
    beside: bool = False


@dataclass(slots=True)
class Judged:
    """What was found in a page, and what the caller needs of it.

    `leaves` and `times_ms` are of the records that are there and can be read; `invocations` give
    the index by id. By index, and if asked for: `blobs` are the hex digests that the vault must
    hold, `folders` those of them that list a model folder's files; `texts` the digests of sealed
    fields by pointer; `erased` the payload whose key was destroyed.
    """

    found: list[Finding] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    times_ms: dict[int, int] = field(default_factory=dict)
    invocations: dict[str, int] = field(default_factory=dict)
    trust: tuple[TrustRecord, ...] = ()
    blobs: dict[int, tuple[str, ...]] = field(default_factory=dict)
    folders: dict[int, tuple[str, ...]] = field(default_factory=dict)
    texts: dict[int, dict[str, str]] = field(default_factory=dict)
    erased: dict[int, str] = field(default_factory=dict)


class PageJudge:
    """Judges pages of one log."""

    def __init__(self, vkey: VerifierKey, schemas: SchemaSet) -> None:
        self._vkey = vkey
        self._schemas = schemas

    def judge(self, page: Page) -> Judged:
        """Judge every record of a page, in order."""
        return _Judging(self._vkey, self._schemas, page).run()


class _Judging:
    """One page being judged."""

    def __init__(self, vkey: VerifierKey, schemas: SchemaSet, page: Page) -> None:
        self._vkey = vkey
        self._schemas = schemas
        self._page = page
        self._trust = page.trust
        self._out = Judged()

    def run(self) -> Judged:
        for index in range(self._page.start, self._page.end):
            row = self._page.rows.get(index)
            if row is None:
                self._add(index, "missing", "the log has no entry there")
            elif not isinstance(row.entry, bytes):
                self._add(index, "entry", "it is not bytes")
            else:
                self._out.leaves.append(leaf_hash(row.entry))
                self._record(index, row)
        before = len(self._page.trust.records)
        self._out.trust = self._trust.records[before:]
        return self._out

    def _add(self, index: int, what: str, detail: str) -> None:
        self._out.found.append(Finding(index, what, detail))

    def _record(self, index: int, row: Row) -> None:
        try:
            entry = LogEntry.parse(row.entry)
        except GenopsError as error:
            self._add(index, "entry", error.message)
            return
        self._out.times_ms[index] = entry.time_ms
        self._entry(index, row, entry)
        if row.data is None:
            self._add(index, "envelope", "it is missing")
        elif not isinstance(row.data, bytes) or sha256_hex(row.data) != entry.envelope_sha256:
            self._add(index, "envelope", "its digest is not that in the entry")
        else:
            self._content(index, row, entry)

    def _entry(self, index: int, row: Row, entry: LogEntry) -> None:
        stored = row.leaf_hash, row.payload_sha256, row.envelope_sha256
        named = bytes.fromhex(entry.payload_sha256), bytes.fromhex(entry.envelope_sha256)
        if stored != (self._out.leaves[-1], *named):
            self._add(index, "entry", "it does not have the digests stored beside it")

    def _content(self, index: int, row: Row, entry: LogEntry) -> None:
        """Check what the envelope says, up to the first thing that does not fit."""
        step = "envelope"
        try:
            envelope = Envelope.parse(row.data)
            if envelope.payload_sha256 != entry.payload_sha256:
                self._add(index, "payload", "its digest is not that in the entry")
                return
            step = "statement"
            statement = Statement.parse(envelope.payload)
            name = invocation_id(statement)
            step = "schema"
            self._schemas.check_statement(statement.document)
            step = "trust"
            self._judge(index, entry, statement, envelope)
        except GenopsError as error:
            self._add(index, step, error.message)
            return
        self._out.invocations[name] = index
        self._sealed(index, row.key_id, entry, envelope.payload, statement)
        if self._page.beside:
            self._beside(index, statement)

    def _judge(self, index: int, entry: LogEntry, statement: Statement, envelope: Envelope) -> None:
        """Judge the signer by the trust records before this one; raises TrustError."""
        state = self._trust.newest
        if state is not None:
            state.authorize(envelope, statement.predicate_type, entry.time_ms)
        if state is None or is_trust(statement.predicate_type):
            self._trust = self._trust.extended(index, entry, statement, envelope, self._vkey)

    def _sealed(
        self, index: int, key_id: Value, entry: LogEntry, payload: bytes, statement: Statement
    ) -> None:
        """Check that sealed texts, where there are any, are those of this record."""
        if key_id is None:
            return
        if key_id not in {entry.payload_sha256, entry.payload_sha256.encode()}:
            self._add(index, "sealed", "its texts lie under a key that is not its own")
        elif not _SEALED_FIELD.search(payload) and not sealed_pointers(dict(statement.document)):
            self._add(index, "sealed", "it has texts, and no sealed field")

    def _beside(self, index: int, statement: Statement) -> None:
        if blobs := tuple(dict.fromkeys(vaulted(statement))):
            self._out.blobs[index] = blobs
        if folders := tuple(m["digest"]["sha256"] for m in _vaulted_materials(statement, FOLDER)):
            self._out.folders[index] = folders
        if pointers := sealed_pointers(dict(statement.document)):
            self._out.texts[index] = pointers
        if statement.predicate_type == _ERASURE:
            self._out.erased[index] = statement.predicate["payload"]["sha256"]


def vaulted(statement: Statement) -> Iterator[str]:
    """Yield the hex SHA-256 of every blob that a record, which fits its schema, has in the vault.

    Those are outputs, ingested files, materials that are not just referenced, and a decision's
    facts. The files of a model folder stand in its manifest.
    """
    if statement.predicate_type in _HAVE_BLOBS:
        yield from (subject.sha256 for subject in statement.subjects)
    yield from (material["digest"]["sha256"] for material in _vaulted_materials(statement))
    if statement.predicate_type == PREDICATE_DECISION:
        yield statement.predicate["genops_facts"]["sha256"]


def _vaulted_materials(statement: Statement, digest: str = "") -> Iterator[Mapping[str, Any]]:
    """Yield the materials that the vault has, of all kinds of digest or of one."""
    if statement.predicate_type != PREDICATE_GENERATION:
        return
    for material in statement.predicate["buildDefinition"]["resolvedDependencies"]:
        notes = material["annotations"]
        if notes["genops_storage"] == "vaulted" and digest in {"", notes["genops_digest"]}:
            yield material
