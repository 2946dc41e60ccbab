"""Reading and proving: entries, envelopes, tiles, proofs, and the state of trust.

Never writes, and needs the log's public key only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, Engine, Select, or_, select

from registry.core import checkpoints, merkle
from registry.core.checkpoints import Checkpoint
from registry.core.dsse import Envelope
from registry.core.notes import VerifierKey
from registry.core.proofs import TlogProof
from registry.core.tiles import TILE_HEIGHT, TILE_WIDTH, Tile, encode_bundle
from registry.core.trust import TrustState
from registry.errors import IntegrityError, NotFoundError, RollbackError
from registry.log.head import StoredHead, read_head
from registry.log.outside import CheckpointFile
from registry.log.tree import TreeHashes
from registry.log.trust_state import TrustCache, TrustHistory
from registry.store.log_tables import EnvelopeRow, LogEntryRow
from registry.store.transaction import read
from registry.store.types import table_of

_ENTRIES = table_of(LogEntryRow)
_ENVELOPES = table_of(EnvelopeRow)
_PAGE = 256
_KEPT_NOTES = 64


@dataclass(frozen=True, slots=True)
class Head:
    """The log's tree head: origin, number of records, root hash (32 bytes), its signed note."""

    origin: str
    size: int
    root: bytes
    note: bytes


class LogReader:
    """Reads one log. Safe for threads; every call sees one snapshot of the database.

    Methods that take an index raise NotFoundError (`log.no-index`) past the end.
    """

    def __init__(self, engine: Engine, origin: str, vkey: VerifierKey) -> None:
        self.engine = engine
        self.origin = origin
        self.vkey = vkey
        self._trust = TrustCache(vkey)
        self._outside: CheckpointFile | None = None
        self._notes: OrderedDict[int, bytes] = OrderedDict()

    def head(self) -> Head:
        """Return the newest tree head, as stored; raises NotFoundError (`log.empty`)."""
        with read(self.engine) as conn:
            return self._head(conn)

    def verified_head(self) -> Head:
        """Return the newest tree head after checking its signature and what it covers.

        Compared with the checkpoint file too, once `refuse_rollback` has named it. Raises
        IntegrityError (`note.*`, `checkpoint.origin`, `log.head-altered`), RollbackError.
        """
        outside = None if self._outside is None else self._outside.read()  # before the snapshot
        with read(self.engine) as conn:
            stored = read_head(conn)
            head = self._head(conn)
            if self._outside is not None:
                root_at = TreeHashes(conn).root
                self._outside.refuse_rollback(outside, head.size, root_at, stored.time_ms)
        checkpoint = checkpoints.verify(head.note, self.vkey)
        if (checkpoint.size, checkpoint.root) != (stored.size, stored.frontier.root()):
            raise IntegrityError(
                f"the stored head of {stored.size} records is not what its checkpoint signs",
                code="log.head-altered",
                hint="run `genops log check`",
            )
        return head

    def refuse_rollback(self, path: Path) -> None:
        """Check that the database goes on from the checkpoint file at `path`.

        Raises RollbackError (`log.rolled-back`, `log.forked`), IntegrityError
        (`log.checkpoint-file`) for a file that this log did not sign.
        """
        file = CheckpointFile(path, self.vkey)
        outside = file.read()  # before the snapshot: a writer may add to both in between
        with read(self.engine) as conn:
            head = read_head(conn)
            file.refuse_rollback(outside, head.size, TreeHashes(conn).root, head.time_ms)
        self._outside = file

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint as a signed note; raises NotFoundError (`log.empty`)."""
        return self.head().note

    def entry(self, index: int) -> bytes:
        """Return an entry's bytes, as hashed into the tree."""
        with read(self.engine) as conn:
            found: bytes | None = conn.scalar(
                select(_ENTRIES.c.entry).where(_ENTRIES.c.idx == index)
            )
        if found is None:
            raise _no_index(index)
        return found

    def envelope_bytes(self, which: int | str) -> bytes:
        """Return an envelope's bytes, as submitted, by index or by hex SHA-256."""
        query = select(_ENVELOPES.c.data)
        if isinstance(which, str):
            query = query.where(_ENVELOPES.c.sha256 == bytes.fromhex(which))
        else:
            query = query.join(_ENTRIES, _ENTRIES.c.envelope_sha256 == _ENVELOPES.c.sha256).where(
                _ENTRIES.c.idx == which
            )
        with read(self.engine) as conn:
            found: bytes | None = conn.scalar(query)
        if found is None:
            raise _no_index(which)
        return found

    def envelope(self, which: int | str) -> Envelope:
        """Return an envelope, parsed, by index or by hex SHA-256."""
        return Envelope.parse(self.envelope_bytes(which))

    def index_of(self, digest: bytes) -> int:
        """Return the index of a record by its leaf hash or payload SHA-256 (32 bytes)."""
        columns = (_ENTRIES.c.leaf_hash, _ENTRIES.c.payload_sha256)
        query = select(_ENTRIES.c.idx).where(or_(*(column == digest for column in columns)))
        with read(self.engine) as conn:
            found: int | None = conn.scalar(query)
        if found is None:
            raise NotFoundError(f"the log has no record rec:{digest.hex()}", code="log.no-index")
        return found

    def records(self, first: int = 0) -> Iterator[tuple[int, bytes, Envelope]]:
        """Yield index, entry bytes and envelope of every record from `first`, in log order.

        Ends where the log ended when it was begun.
        """
        with read(self.engine) as conn:
            size = read_head(conn).size
        for start in range(first, size, _PAGE):
            with read(self.engine) as conn:
                rows = conn.execute(_records(start, min(start + _PAGE, size))).all()
            for index, entry, data in rows:
                yield index, entry, Envelope.parse(data)

    def inclusion(self, index: int, size: int | None = None) -> TlogProof:
        """Return the proof that a record is under the newest checkpoint.

        `size` asks for the checkpoint of an earlier `head()` of this reader, so that several
        proofs share one. Raises NotFoundError (`log.no-checkpoint`) when it is not known any more.
        """
        with read(self.engine) as conn:
            head = self._head(conn)
            size, note = (head.size, head.note) if size is None else (size, self._note(size))
            if not 0 <= index < size:
                raise _no_index(index)
            hashes = merkle.inclusion_proof(index, size, TreeHashes(conn).node)
        return TlogProof(index, tuple(hashes), note)

    def consistency(self, old: int, new: int | None = None) -> list[bytes]:
        """Return the proof that the log of `new` records (now) goes on from that of `old`.

        Raises InputError (`proof.range`) for 0, and NotFoundError past the end.
        """
        with read(self.engine) as conn:
            size = read_head(conn).size
            end = size if new is None else new
            if end > size:
                raise _no_index(end - 1)
            return merkle.consistency_proof(old, end, TreeHashes(conn).node)

    def root(self, size: int) -> bytes:
        """Return the root of the first `size` records; NotFoundError past the end."""
        with read(self.engine) as conn:
            if size > read_head(conn).size:
                raise _no_index(size - 1)
            return TreeHashes(conn).root(size)

    def refuse_other(self, checkpoint: Checkpoint) -> None:
        """Check that the log still holds the tree of a checkpoint that its key signed.

        Raises RollbackError (`log.rolled-back`, `log.forked`).
        """
        with read(self.engine) as conn:
            size = read_head(conn).size
            root = TreeHashes(conn).root(checkpoint.size) if checkpoint.size <= size else None
        if root is None:
            raise RollbackError(
                f"the log holds {size} records, and it signed a checkpoint of {checkpoint.size}",
                hint="restore the newest database: this one has forgotten records",
            )
        if root != checkpoint.root:
            raise RollbackError(
                f"the log signed another tree of {checkpoint.size} records than the one it holds",
                code="log.forked",
                hint="keep both and run `genops log check`",
            )

    def tile(self, level: int, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return a tile of hashes (C2SP tlog-tiles); raises NotFoundError when there is none."""
        tile = Tile(level, index, width)
        with read(self.engine) as conn:
            available = read_head(conn).size >> (TILE_HEIGHT * level)
            self._check_tile(tile, available)
            return b"".join(TreeHashes(conn).row(level, index * TILE_WIDTH, width))

    def bundle(self, index: int, width: int = TILE_WIDTH) -> bytes:
        """Return a bundle of entries (C2SP tlog-tiles); raises NotFoundError when there is none."""
        tile = Tile(None, index, width)
        start = index * TILE_WIDTH
        query = select(_ENTRIES.c.entry).order_by(_ENTRIES.c.idx)
        query = query.where(_ENTRIES.c.idx.between(start, start + width - 1))
        with read(self.engine) as conn:
            self._check_tile(tile, read_head(conn).size)
            return encode_bundle(list(conn.scalars(query)))

    def trust(self, before: int | None = None) -> TrustState:
        """Return the newest trust state, or the one that judges the record at index `before`.

        Raises NotFoundError (`log.empty`).
        """
        history = self._history()
        state = history.newest if before is None else history.before(before)
        if state is None:
            raise _empty()
        return state

    def trust_history(self) -> TrustHistory:
        """Return every trust record, oldest first."""
        return self._history()

    def trust_indices(self) -> tuple[int, ...]:
        """Return where the trust records lie, the first at 0."""
        return self._history().indices

    def _history(self) -> TrustHistory:
        with read(self.engine) as conn:
            return self._trust.refresh(conn, read_head(conn).size)

    def _head(self, conn: Connection) -> Head:
        stored = read_head(conn)
        if stored.size == 0:
            raise _empty()
        self._remember(stored)
        return Head(self.origin, stored.size, stored.frontier.root(), stored.note)

    def _remember(self, stored: StoredHead) -> None:
        self._notes[stored.size] = stored.note
        while len(self._notes) > _KEPT_NOTES:
            self._notes.popitem(last=False)

    def _note(self, size: int) -> bytes:
        try:
            return self._notes[size]
        except KeyError:
            raise NotFoundError(
                f"no checkpoint of {size} records is at hand", code="log.no-checkpoint"
            ) from None

    @staticmethod
    def _check_tile(tile: Tile, available: int) -> None:
        if tile.index * TILE_WIDTH + tile.width > available:
            raise NotFoundError(f"the log does not reach {tile.path} yet", code="tile.unknown")


def _records(start: int, end: int) -> Select[int, bytes, bytes]:
    return (
        select(_ENTRIES.c.idx, _ENTRIES.c.entry, _ENVELOPES.c.data)
        .join(_ENVELOPES, _ENVELOPES.c.sha256 == _ENTRIES.c.envelope_sha256)
        .where(_ENTRIES.c.idx >= start, _ENTRIES.c.idx < end)
        .order_by(_ENTRIES.c.idx)
    )


def _no_index(index: int | str) -> NotFoundError:
    return NotFoundError(f"the log has no record {index}", code="log.no-index")


def _empty() -> NotFoundError:
    return NotFoundError(
        "the log is empty", code="log.empty", hint="make the registry with `genops init`"
    )
