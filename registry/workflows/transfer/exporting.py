"""Write everything that makes a registry, in open formats, consistent at one checkpoint.

Tiles and entry bundles as in C2SP tlog-tiles, envelopes and blobs by digest, texts encrypted as
they lie. No keys, no keyring: those are for `backup`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy import Connection, Table, select

from registry.core import checkpoints, exports
from registry.core.checkpoints import Checkpoint
from registry.core.digests import sha256_hex
from registry.core.exports import Manifest
from registry.core.generation import Blob
from registry.core.merkle import leaf_hash
from registry.core.tiles import TILE_WIDTH, Tile, encode_bundle, tile_path, tiles_of
from registry.core.transfers import ExportReport
from registry.errors import IntegrityError
from registry.log.head import StoredHead, read_head
from registry.log.tree import TreeHashes
from registry.store.log_tables import EnvelopeRow, LogEntryRow
from registry.store.sidecar_tables import BlobRow, SealedRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.services import Services
from registry.workflows.transfer import sidecars
from registry.workflows.transfer.sinks import FolderSink, Package, tar_sink
from registry.workflows.transfer.staging import staged_file, staged_folder

Steps = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""

TAR_SUFFIX = ".tar"

_BLOBS = table_of(BlobRow)
_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_SEALED = table_of(SealedRow)


def no_steps(what: str, done: int, total: int) -> None:
    """Report nothing."""


def export(
    services: Services,
    target: str | Path,
    *,
    blobs: bool = True,
    texts: bool = True,
    steps: Steps = no_steps,
) -> ExportReport:
    """Write the registry into a new folder, or into one file when `target` ends in `.tar`.

    Beside any writer: what was recorded after the export began is not in it. Without `blobs`,
    they are listed and left out, and so are thumbnails; without `texts`, the encrypted texts are.
    Equal registries give equal bytes. Raises InputError (`transfer.exists`), IntegrityError
    (`log.altered`, `vault.altered`), MaterialError (`material.missing`); then nothing is
    left behind.
    """
    path = Path(target).expanduser().absolute()
    if path.suffix != TAR_SUFFIX:
        with staged_folder(path) as stage:
            package = Package(FolderSink(stage))
            manifest = write_export(services, package, blobs=blobs, texts=texts, steps=steps)
    else:
        with staged_file(path) as stage, stage.open("wb") as file, tar_sink(file) as sink:
            package = Package(sink)
            manifest = write_export(services, package, blobs=blobs, texts=texts, steps=steps)
    return report(path, manifest, package, encrypted=False)


def write_export(
    services: Services,
    package: Package,
    *,
    blobs: bool,
    texts: bool,
    steps: Steps,
    more: Callable[[], None] | None = None,
) -> Manifest:
    """Write all files and the manifest; `more` adds the secrets of a backup, after the log.

    A record's key is in the keyring before the record is in the log: taken after it, the keyring
    holds the key of every text that was taken.
    """
    with read(services.engine) as conn:
        checkpoint = _write_log(services, conn, package, steps)
        if texts:
            _write_texts(conn, package)
        _write_tables(conn, package, sidecars.PUBLIC)
        for name, data in sidecars.dump_thumbnails(conn) if blobs else ():
            package.add(exports.sidecar_path(name), data)
        package.add(exports.sidecar_path(sidecars.OUTBOX), sidecars.dump_outbox(conn))
        stored = [_blob(row) for row in conn.execute(select(_BLOBS).order_by(_BLOBS.c.sha256))]
        if more is not None:
            _write_tables(conn, package, sidecars.OF_THE_HOME)
    if more is not None:
        more()
    if blobs:
        _write_blobs(services, package, stored, steps)
    parts = {"log": True, "texts": texts, "blobs": blobs, "home": more is not None}
    return finish(services, package, checkpoint, [part for part, held in parts.items() if held])


def finish(
    services: Services, package: Package, checkpoint: Checkpoint, parts: list[str]
) -> Manifest:
    """Write the list of digests and the manifest."""
    settings = services.settings
    manifest = Manifest(
        name=settings.name,
        uuid=settings.uuid,
        project=settings.project,
        policy=settings.policy,
        parts=tuple(sorted(parts)),
        size=checkpoint.size,
        root=checkpoint.root.hex(),
        files=len(package.sums),
        sums_sha256=sha256_hex(exports.encode_sums(package.sums)),
    )
    package.finish(manifest)
    return manifest


def report(path: Path, manifest: Manifest, package: Package, *, encrypted: bool) -> ExportReport:
    """Say what was written."""
    return ExportReport(
        path=str(path),
        origin=manifest.origin,
        size=manifest.size,
        root=manifest.root,
        parts=manifest.parts,
        files=manifest.files,
        bytes=package.bytes,
        encrypted=encrypted,
    )


def signed_head(services: Services, conn: Connection) -> tuple[StoredHead, Checkpoint]:
    """Return the head of this snapshot after checking that the log signed it."""
    stored = read_head(conn)
    checkpoint = checkpoints.verify(stored.note, services.reader.vkey)
    if (checkpoint.size, checkpoint.root) != (stored.size, stored.frontier.root()):
        raise _altered(f"the stored head of {stored.size} records is not what the log signed")
    return stored, checkpoint


def _write_log(services: Services, conn: Connection, package: Package, steps: Steps) -> Checkpoint:
    stored, checkpoint = signed_head(services, conn)
    package.add(exports.CHECKPOINT, stored.note)
    package.add(exports.VKEY, f"{services.reader.vkey}\n".encode("ascii"))
    for start in range(0, stored.size, TILE_WIDTH):
        end = min(start + TILE_WIDTH, stored.size)
        _write_bundle(conn, package, start, end)
        steps("records", end, stored.size)
    hashes = TreeHashes(conn)
    for tile in tiles_of(stored.size):
        package.add(tile.path, tile_bytes(hashes, tile))
    return checkpoint


def tile_bytes(hashes: TreeHashes, tile: Tile) -> bytes:
    """Return a tile of hashes."""
    return b"".join(hashes.row(tile.level or 0, tile.index * TILE_WIDTH, tile.width))


def _write_bundle(conn: Connection, package: Package, start: int, end: int) -> None:
    """Write up to 256 records, after checking that each is what its tree and entry say."""
    rows = conn.execute(
        select(_ENTRIES, _ENVELOPES.c.data)
        .join(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
        .where(_ENTRIES.c.idx.between(start, end - 1))
        .order_by(_ENTRIES.c.idx)
    ).all()
    if [row.idx for row in rows] != list(range(start, end)):
        raise _altered(f"a record between {start} and {end - 1} is missing")
    for row in rows:
        digest = sha256_hex(row.data)
        if leaf_hash(row.entry) != row.leaf_hash or digest != row.envelope_sha256.hex():
            raise _altered(f"record {row.idx} does not have the digests stored for it")
        package.add(exports.envelope_path(digest), row.data)
    bundle = tile_path(None, start // TILE_WIDTH, end - start)
    package.add(bundle, encode_bundle([row.entry for row in rows]))


def _write_texts(conn: Connection, package: Package) -> None:
    query = select(_SEALED.c.record_idx, _SEALED.c.ciphertext).order_by(_SEALED.c.record_idx)
    query = query.execution_options(yield_per=TILE_WIDTH)
    for index, ciphertext in conn.execute(query):
        package.add(exports.sealed_path(index), ciphertext)


def _write_tables(conn: Connection, package: Package, tables: Mapping[str, Table]) -> None:
    for name, table in tables.items():
        package.add(exports.sidecar_path(name), sidecars.dump(conn, table))


def _write_blobs(services: Services, package: Package, stored: list[Blob], steps: Steps) -> None:
    """Write blobs by SHA-256. They are only ever added, so that no snapshot needs to be held."""
    for number, blob in enumerate(stored, start=1):
        where = services.vault.path(blob)
        if not where.is_file():
            services.vault.verify(blob)  # says that it is missing, and what to do
        package.add_file(exports.blob_path(blob.sha256), where, sha256=blob.sha256)
        steps("blobs", number, len(stored))


def _blob(row: object) -> Blob:
    return Blob(row.sha256.hex(), row.md5.hex(), row.size)  # type: ignore[attr-defined]


def _altered(why: str) -> IntegrityError:
    return IntegrityError(why, code="log.altered", hint="run `genops log check`")
