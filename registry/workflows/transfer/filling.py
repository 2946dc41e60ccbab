"""Put what an export holds into a new home: blobs into the vault, the rest into its database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

from sqlalchemy import Connection, select

from registry.catalog.projector import project
from registry.core import exports
from registry.core.entries import LogEntry
from registry.core.generation import Blob
from registry.core.notes import VerifierKey
from registry.core.tiles import TILE_WIDTH, decode_bundle, tile_path, tiles_of
from registry.errors import IntegrityError
from registry.log.replay import Record, Replay, Takeover
from registry.log.tree import TreeHashes
from registry.settings import Settings
from registry.store.bulk import insert_rows
from registry.store.log_tables import LogEntryRow
from registry.store.sidecar_tables import SealedRow
from registry.store.types import table_of
from registry.vault.store import Vault
from registry.workflows.transfer import sidecars
from registry.workflows.transfer.exporting import Steps, tile_bytes
from registry.workflows.transfer.sources import ExportReader

_WRITERS = 8
_ENTRIES = table_of(LogEntryRow)
_SEALED = table_of(SealedRow)


def exported_records(export: ExportReader) -> Iterator[Record]:
    """Yield every record of an export in order, each file checked against its digest.

    Raises IntegrityError (`export.altered`), FormatError.
    """
    size = export.manifest.size
    for start in range(0, size, TILE_WIDTH):
        width = min(TILE_WIDTH, size - start)
        path = tile_path(None, start // TILE_WIDTH, width)
        entries = decode_bundle(export.read(path))
        if len(entries) != width:
            raise IntegrityError(
                f"{path} of the export has {len(entries)} entries, not {width}",
                code="export.altered",
            )
        for entry in entries:
            envelope = exports.envelope_path(LogEntry.parse(entry).envelope_sha256)
            yield entry, export.read(envelope)


class Filler:
    """Fills one new home from one export. `stored` and `listed` count blobs."""

    def __init__(
        self, settings: Settings, vkey: VerifierKey, export: ExportReader, steps: Steps
    ) -> None:
        self._settings = settings
        self._vkey = vkey
        self._export = export
        self._steps = steps
        self.stored = self.listed = self.fingerprints = 0

    def blobs(self) -> None:
        """Put the blobs into the vault.

        Raises IntegrityError (`export.altered`) for one that is not what its name or the list of
        blobs says, or that is missing.
        """
        data = self._export.read(exports.sidecar_path("blobs"))
        listed = {row["sha256"].hex(): row for row in sidecars.parse("blobs", data)}
        paths = self._export.under("blobs/")
        there = {exports.blob_of(path) for path in paths}
        self.listed, self.stored = len(listed), len(there)
        if self._export.manifest.has("blobs") and there != listed.keys():
            raise exports.invalid("its blobs are not those on its list of blobs")
        for number, (path, blob) in enumerate(self._put_all(paths), start=1):
            row = listed.get(blob.sha256, {})
            found = exports.blob_path(blob.sha256), bytes.fromhex(blob.md5), blob.size
            if found != (path, row.get("md5"), row.get("size")):
                raise IntegrityError(
                    f"{path} of the export does not have the digests listed for it",
                    code="export.altered",
                    hint="take another copy of it",
                )
            self._export.done_with(path)
            self._steps("blobs", number, len(paths))

    def _put_all(self, paths: Sequence[str]) -> Iterator[tuple[str, Blob]]:
        """Put files into the vault, several at a time: they mostly wait for the disk."""
        vault = Vault(self._settings.home.vault, max_bytes=self._settings.limits.blob_bytes)
        with ThreadPoolExecutor(_WRITERS) as pool:
            try:
                for start in range(0, len(paths), TILE_WIDTH):
                    some = paths[start : start + TILE_WIDTH]
                    put = pool.map(vault.put_file, map(self._export.path, some))
                    yield from zip(some, put, strict=True)
            finally:
                pool.shutdown(cancel_futures=True)

    def fill(self, conn: Connection) -> None:
        """Take over log, catalog and sidecars, in the caller's transaction."""
        self._log(conn)
        self._tiles(conn)
        self._texts(conn)
        self._sidecars(conn)

    def _log(self, conn: Connection) -> None:
        takeover, replay = Takeover(conn), Replay(self._vkey)
        source, size = exported_records(self._export), self._export.manifest.size
        while chunk := list(islice(source, TILE_WIDTH)):
            accepted = [replay.accept(record) for record in chunk]
            takeover.extend(accepted, [envelope for _, envelope in chunk])
            project(conn, accepted)
            self._steps("records", takeover.frontier.size, size)
        takeover.finish(self._export.read(exports.CHECKPOINT), self._vkey)
        if takeover.frontier.root().hex() != self._export.manifest.root:
            raise exports.invalid("its manifest names another root than its checkpoint")

    def _tiles(self, conn: Connection) -> None:
        """Compare the exported tiles with the tree derived from the entries."""
        size, hashes = self._export.manifest.size, TreeHashes(conn)
        bundles = -(-size // TILE_WIDTH)
        tiles = list(tiles_of(size))
        if len(self._export.under("tile/")) != bundles + len(tiles):
            raise exports.invalid("it has tiles beyond its checkpoint")
        if len(self._export.under("envelopes/")) != size:
            raise exports.invalid("it has envelopes that no entry names")
        for tile in tiles:
            if self._export.read(tile.path) != tile_bytes(hashes, tile):
                raise IntegrityError(
                    f"{tile.path} of the export is not what its entries give",
                    code="export.altered",
                    hint="take another copy of it",
                )

    def _texts(self, conn: Connection) -> None:
        paths = self._export.under("sealed/")
        for start in range(0, len(paths), TILE_WIDTH):
            chunk = {exports.sealed_index(path): path for path in paths[start : start + TILE_WIDTH]}
            query = select(_ENTRIES.c.idx, _ENTRIES.c.payload_sha256)
            found = conn.execute(query.where(_ENTRIES.c.idx.in_(chunk))).all()
            if len(found) != len(chunk):
                raise exports.invalid(f"texts near {paths[start]} belong to no record of it")
            rows = [
                {"record_idx": i, "key_id": key.hex(), "ciphertext": self._export.read(chunk[i])}
                for i, key in found
            ]
            insert_rows(conn, _SEALED, rows)

    def _sidecars(self, conn: Connection) -> None:
        tables = {**sidecars.PUBLIC, **sidecars.OF_THE_HOME}
        for name in tables:
            path = exports.sidecar_path(name)
            if name in sidecars.PUBLIC or self._export.has(path):
                count = sidecars.load(conn, name, self._export.read(path))
                self.fingerprints += count if name == "fingerprints" else 0
        for path in self._export.under(f"sidecars/{sidecars.THUMBNAILS}-"):
            sidecars.load(conn, sidecars.THUMBNAILS, self._export.read(path))
        due = {sidecars.VAULT_TARGET} | (set() if self._settings.mlflow_uri else {"mlflow"})
        outbox = self._export.read(exports.sidecar_path(sidecars.OUTBOX))
        sidecars.load_outbox(conn, outbox, self._export.manifest.size, due)
