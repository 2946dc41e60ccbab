"""A small registry of records of many kinds, and ways to flip single bits of what it keeps."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from PIL import Image
from sqlalchemy import Connection, Engine, StaticPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from registry.core import predicates
from registry.core.cosignatures import CosignerKey
from registry.core.digests import sha256_hex
from registry.core.exports import MANIFEST, SUMS
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.notes import SignedNote
from registry.core.statements import Subject, predicate_uri
from registry.errors import GenopsError
from registry.factory import create_registry, import_registry, open_home
from registry.log.check import CheckOptions, check_log
from registry.log.check_texts import TextsCheck
from registry.log.findings import Finding
from registry.log.reader import LogReader
from registry.log.tree import TreeHashes
from registry.log.trust_state import TrustHistory
from registry.resources import schema_set
from registry.sdk import Registry
from registry.settings import Home
from registry.store.bulk import insert_rows
from registry.store.sidecar_tables import CosignatureRow
from registry.store.transaction import write
from registry.store.types import table_of
from registry.vault.blobs import BlobIndex
from registry.workflows.check_blobs import BlobsCheck
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.transfer.exporting import export
from registry.workflows.transfer.sources import ExportReader
from tests.conftest import BUILD_TYPE, START_MS, encode

WEIGHTS = b"weights"
TABLES = {
    "log_entries": ("idx", "entry", "leaf_hash", "payload_sha256", "envelope_sha256"),
    "envelopes": ("sha256", "data"),
    "tile_hashes": ("level", "idx", "hash"),
    "log_head": ("id", "size", "frontier", "checkpoint", "time_ms"),
    "invocations": ("invocation_id", "idx"),
    "trust_records": ("idx",),
    "sealed": ("record_idx", "key_id", "ciphertext"),
    "blobs": ("sha256", "md5", "size"),
    "cosignatures": ("size", "name", "key_id", "time_s", "signature", "note"),
}
"""What a check answers for, and its columns. The projection is compared by `catalog check`."""

Value = bytes | int | str


def flipped(data: bytes, bit: int) -> bytes:
    """Return bytes with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def flips(value: Any) -> Iterator[Any]:
    """Yield a value with each of its bits changed in turn; an integer has 64, two's complement."""
    if isinstance(value, int):
        yield from (value ^ 1 << bit for bit in range(63))
        yield value - 2**63 if value >= 0 else value + 2**63
    else:
        yield from (flipped(value, bit) for bit in range(len(value) * 8))


def picture(shade: int) -> bytes:
    """Return a picture of few bytes."""
    return encode(Image.new("RGB", (4, 4), (shade, 0, 0)))


def generation(seed: int, prompt: str, *materials: Material) -> Generation:
    output = Output(picture(seed), "image/png", seed=str(seed), width=4, height=4)
    return Generation(
        build_type=BUILD_TYPE,
        external={"prompt": Sealed(prompt)},
        internal={},
        materials=materials,
        outputs=(output,),
        started_ms=START_MS,
        finished_ms=START_MS,
        builder_id="https://example.com/worker",
    )


@dataclass
class Small:
    """The registry, its parts, and the witness that cosigned its fifth checkpoint."""

    home: Home
    services: Services
    witness: CosignerKey

    @property
    def reader(self) -> LogReader:
        return self.services.reader

    @property
    def size(self) -> int:
        return self.reader.head().size

    @property
    def cache(self) -> Path:
        return self.home.vault / ".dvc" / "cache" / "files" / "md5"

    def rows(self) -> dict[str, list[tuple[Any, ...]]]:
        """Return every row that a check answers for, by table."""
        conn = sqlite3.connect(self.home.database)
        found = content(conn, TABLES)
        conn.close()
        return found

    def trust_before(self, index: int) -> TrustHistory:
        """Return the trust records before an index."""
        history = self.reader._history()
        return TrustHistory(index, tuple(r for r in history.records if r.index < index))

    def root_at(self, conn: Connection, size: int) -> bytes:
        return TreeHashes(conn).root(size)

    def everything(self, services: Services | None = None) -> tuple[Finding, ...]:
        """Check all there is: log, checkpoint file, cosignatures, texts and blobs."""
        chosen = services or self.services
        texts, blobs = TextsCheck(chosen.keyring), BlobsCheck(chosen)
        options = CheckOptions(
            witnesses=[self.witness],
            outside=self.home.checkpoint,
            beside=lambda page, judged: [*texts.page(page, judged), *blobs.page(page, judged)],
        )
        report = check_log(chosen.reader, schema_set(), options=options)
        assert not texts.locked
        return (*report.findings, *blobs.run(None, 1, None))

    def flip_everywhere(self, step: int, first: int = 0) -> Counter[str]:
        """Flip every `step`th bit of all columns in a copy in memory; count them by table.

        Raises AssertionError for one that the whole check does not find. A flip that the database
        itself refuses, such as a second row of one index, cannot come about this way.
        """
        conn, engine = in_memory(self.home.database)
        reader = LogReader(engine, self.reader.origin, self.reader.vkey)
        services = replace(self.services, engine=engine, reader=reader, blobs=BlobIndex(engine))
        assert self.everything(services) == ()
        tried: Counter[str] = Counter()
        for number, cell in enumerate(cells(conn)):
            if number % step == first and cell.flip(conn):
                assert self.everything(services), cell
                cell.restore(conn)
                tried[cell.table] += 1
        assert self.everything(services) == ()
        engine.dispose()
        return tried


@dataclass(frozen=True)
class Cell:
    """A value in a row, and what it is to be changed to; a text is given by its bytes."""

    table: str
    column: str
    rowid: int
    value: bytes | int
    changed: bytes | int
    is_text: bool

    def flip(self, conn: sqlite3.Connection) -> bool:
        """Change the value; tell whether the database took it."""
        try:
            self._put(conn, self.rowid, self.changed)
        except sqlite3.IntegrityError:
            return False
        return True

    def restore(self, conn: sqlite3.Connection) -> None:
        rowid = self.changed if (self.table, self.column) in ROWIDS else self.rowid
        self._put(conn, rowid, self.value)

    def _put(self, conn: sqlite3.Connection, rowid: Any, value: bytes | int) -> None:
        given = "CAST(? AS TEXT)" if self.is_text else "?"
        done = conn.execute(
            f"UPDATE {self.table} SET {self.column} = {given} WHERE rowid = ?", (value, rowid)
        )
        assert done.rowcount == 1, self


ROWIDS = {
    ("log_entries", "idx"),
    ("log_head", "id"),
    ("trust_records", "idx"),
    ("sealed", "record_idx"),
}
"""Columns that are SQLite's own row id: who changes one moves the row."""


def cells(conn: sqlite3.Connection) -> Iterator[Cell]:
    """Yield every bit of every value that a check answers for."""
    for table, columns in TABLES.items():
        rows = conn.execute(f"SELECT rowid, {', '.join(columns)} FROM {table}").fetchall()
        for rowid, *values in rows:
            for column, value in zip(columns, values, strict=True):
                raw = value.encode() if isinstance(value, str) else value
                for changed in flips(raw):
                    yield Cell(table, column, rowid, raw, changed, isinstance(value, str))


def content(conn: sqlite3.Connection, tables: dict[str, tuple[str, ...]]) -> dict[str, list[Any]]:
    """Return all rows by table, in an order of their own."""
    return {
        table: sorted(conn.execute(f"SELECT {', '.join(columns)} FROM {table}"), key=repr)
        for table, columns in tables.items()
    }


def in_memory(path: Path) -> tuple[sqlite3.Connection, Engine]:
    """Return a copy of a database in memory, without its guards, and an engine on it."""
    conn = sqlite3.connect(":memory:", isolation_level=None, check_same_thread=False)
    source = sqlite3.connect(path)
    source.backup(conn)
    source.close()
    for (name,) in conn.execute("SELECT name FROM sqlite_master WHERE type='trigger'").fetchall():
        conn.execute(f"DROP TRIGGER {name}")
    engine = create_engine("sqlite://", creator=lambda: conn, poolclass=StaticPool)
    event.listen(engine, "begin", lambda begun: begun.exec_driver_sql("BEGIN"))
    return conn, engine


class RawFile:
    """A copy of the home whose database file is written anew with one bit changed."""

    def __init__(self, small: Small, root: Path) -> None:
        shutil.copytree(small.home.root, root)
        self.root = root
        self._path = Home(root).database
        self._remove_logs()
        conn = sqlite3.connect(self._path)
        conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._tables = everything_in(conn)
        conn.close()
        self._remove_logs()
        self._data = self._path.read_bytes()
        self._before = self._content()
        self.bits = len(self._data) * 8

    def is_found(self, bit: int) -> bool:
        """Tell whether opening or checking refuses the flip; else it changed nothing that counts.

        Raises AssertionError for a flip that changes what is stored and is not found. What lies in
        the projection is found by the catalog's check.
        """
        self._path.write_bytes(flipped(self._data, bit))
        if not self._holds(lambda registry: registry.check_log(blobs=True).ok):
            return True
        if self._content() == self._before:
            return False
        caught = not self._holds(lambda registry: not registry.check_catalog())
        assert caught, f"bit {bit} of the database file"
        return True

    def _holds(self, check: Callable[[Registry], bool]) -> bool:
        try:
            with open_home(self.root) as registry:
                return check(registry)
        except (GenopsError, DBAPIError):
            return False
        finally:
            self._remove_logs()

    def _content(self) -> dict[str, list[Any]]:
        conn = sqlite3.connect(self._path)
        conn.text_factory = bytes
        try:
            return content(conn, self._tables)
        except sqlite3.Error:  # the schema itself was changed: that is no equal content
            return {}
        finally:
            conn.close()
            self._remove_logs()

    def _remove_logs(self) -> None:
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                self._path.with_name(self._path.name + suffix).unlink()


UNCHECKED = {
    "fingerprint_blocks",
    "fingerprint_removals",
    "fingerprints",
    "mirror_state",
    "outbox",
    "saved_searches",
    "thumbnails",
    "witnessed_logs",
}
"""Sidecars that nothing on the log speaks of: losing them costs look-ups and copies."""


def everything_in(conn: sqlite3.Connection) -> dict[str, tuple[str, ...]]:
    """Return every table of a database but the unchecked ones, and its columns."""
    names = [r[0] for r in conn.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return {
        name: tuple(row[1] for row in conn.execute(f"PRAGMA table_info({name})"))
        for name in names
        if name not in UNCHECKED and not name.startswith("sqlite_")
    }


UNSIGNED = {"project", "policy"}
"""Settings of a home that an export carries along; nothing on the log speaks of them."""
_SLOWER = 16
"""Opening an export takes so many times as long as reading one of its files, importing it more."""


def flip_export(small: Small, folder: Path, step: int) -> int:
    """Flip a bit in every `step`th byte of an export; return how many were tried by importing.

    Its list of digests covers every file, the manifest the list, the checkpoint the log. Raises
    AssertionError for a flip that is not refused.
    """
    root = folder / "export"
    export(small.services, root)
    reader = ExportReader(root, ours=False)
    for path in reader.sums:
        for place in flipped_bytes(root / path, step):
            assert refused(lambda path=path: reader.check(path)), (path, place)
        reader.check(path)
    for place in flipped_bytes(root / SUMS, step * _SLOWER):
        assert refused(lambda: ExportReader(root, ours=False)), place
    manifest, imported = asdict(reader.manifest), 0
    for place in flipped_bytes(root / MANIFEST, 1):
        try:
            changed = asdict(ExportReader(root, ours=False).manifest)
        except GenopsError:
            continue
        unlike = {name for name in manifest if changed[name] != manifest[name]}
        if not unlike <= UNSIGNED and place % step == 0:
            assert refused(lambda: import_registry(root, folder / "imported")), place
            imported += 1
    return imported


def refused(step: Callable[[], object]) -> bool:
    try:
        step()
    except GenopsError:
        return True
    return False


def flipped_bytes(path: Path, step: int) -> Iterator[int]:
    """Change one bit of every `step`th byte of a file, each another bit, one after the other."""
    data = path.read_bytes()
    with path.open("r+b", buffering=0) as file:
        for place in range(0, len(data), step):
            file.seek(place)
            file.write(bytes([data[place] ^ 1 << place // step % 8]))
            yield place
            file.seek(place)
            file.write(data[place : place + 1])


@contextmanager
def make_small(root: Path) -> Iterator[Small]:
    """Make the registry: trust twice, generations, an ingested file, a taint, an erasure."""
    with create_registry(root, name="small", project="brand") as registry:
        services = registry._services
        weights = Material("lora/w", "lora", hashlib.sha256(WEIGHTS).hexdigest(), storage="vaulted")
        registry.record(generation(1, "a red mug", weights), blobs=[WEIGHTS])
        erased = registry.record(generation(2, "to be erased"))
        file = root / "ingested.png"
        file.write_bytes(picture(3))
        parent = registry.record(generation(4, "a parent")).assets[0]
        registry.ingest(file, parents=[parent])
        note = registry.log.checkpoint()
        size = registry.log.head().size
        renew_trust(services)
        registry.taint(parent, severity="high", reason="a complaint")
        registry.erase(erased.assets[0], reason="a request")
        witness = cosign(services, note, size)
        yield Small(Home(root), services, witness)


def renew_trust(services: Services) -> None:
    """Put a second trust record on the log, which says what the first one says."""
    state = services.reader.trust()
    first = services.reader._history().records[-1].record
    predicate = predicates.trust(
        services.head(),
        origin=services.reader.origin,
        log_vkey=state.log_vkey,
        keys=list(state.keys.values()),
        supersedes=first,
    )
    subject = Subject("out/0", sha256_hex(b"trust"))
    declare(services, [subject], predicate_uri("trust"), predicate, role="admin")


def cosign(services: Services, note: bytes, size: int) -> CosignerKey:
    """Keep a witness's cosignature on an earlier checkpoint."""
    private = Ed25519PrivateKey.generate()
    key = CosignerKey("witness.example/1", private.public_key().public_bytes_raw())
    line = key.cosign(SignedNote.parse(note).text, 1_700_000_000, private.sign)
    row = {"size": size, "name": key.name, "key_id": key.key_id, "time_s": 1_700_000_000}
    with write(services.engine) as conn:
        table = table_of(CosignatureRow)
        insert_rows(conn, table, [row | {"signature": line.sig, "note": note}])
    return key
