"""What witnesses said of this log: cosignatures, verified against the log before they are kept.

Which witnesses count is the caller's business.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Engine, func, select, tuple_

from registry.core import checkpoints, cosignatures
from registry.core.cosignatures import Cosignature, CosignerKey
from registry.core.notes import NoteSignature, SignedNote
from registry.log.reader import LogReader
from registry.store.bulk import insert_missing
from registry.store.sidecar_tables import CosignatureRow
from registry.store.transaction import write
from registry.store.types import table_of

_COSIGNATURES = table_of(CosignatureRow)
_KEY = tuple_(_COSIGNATURES.c.name, _COSIGNATURES.c.key_id)


def keep(
    reader: LogReader, note: SignedNote, witnesses: Sequence[CosignerKey]
) -> tuple[Cosignature, ...]:
    """Keep a checkpoint's cosignatures by these witnesses; return all that verify.

    Of each witness the first on a tree is kept. The log's own key must have signed the note.
    Raises FormatError, IntegrityError (`note.*`, `checkpoint.origin`), and RollbackError when this
    log is not, or no longer, the one that was cosigned (`log.rolled-back`, `log.forked`).
    """
    checkpoint = checkpoints.verify(note.to_bytes(), reader.vkey)
    reader.refuse_other(checkpoint)
    found = cosignatures.verified(note, witnesses)
    by_log = (reader.vkey.name, reader.vkey.key_id)
    own = tuple(s for s in note.signatures if (s.name, s.key_id) == by_log)
    _insert(reader.engine, checkpoint.size, SignedNote(note.text, own).to_bytes(), found)
    return found


def kept(
    conn: Connection, size: int, witnesses: Sequence[CosignerKey]
) -> tuple[SignedNote, tuple[Cosignature, ...]] | None:
    """Return the checkpoint of `size` records and its cosignatures by these witnesses, verified.

    None when no cosignature of that checkpoint was ever kept.
    """
    query = select(_COSIGNATURES).where(_COSIGNATURES.c.size == size)
    rows = conn.execute(query.order_by(_COSIGNATURES.c.name, _COSIGNATURES.c.key_id)).mappings()
    found = list(rows)
    if not found:
        return None
    note = SignedNote.parse(found[0]["note"])
    lines = (NoteSignature(row["name"], row["key_id"], row["signature"]) for row in found)
    whole = SignedNote(note.text, (*note.signatures, *lines))
    return note, cosignatures.verified(whole, witnesses)


def sizes(conn: Connection, witnesses: Sequence[CosignerKey], at_least: int = 1) -> list[int]:
    """Return the sizes with `at_least` cosignatures under these witnesses' names, largest first.

    What `kept` verifies of them may be less.
    """
    names = [(key.name, key.key_id) for key in witnesses]
    query = select(_COSIGNATURES.c.size).where(_KEY.in_(names)).group_by(_COSIGNATURES.c.size)
    query = query.having(func.count() >= at_least).order_by(_COSIGNATURES.c.size.desc())
    return list(conn.scalars(query))


def newest_of(conn: Connection, key: CosignerKey) -> tuple[int, int] | None:
    """Return the largest size that a witness cosigned and the POSIX time, None for none."""
    query = select(_COSIGNATURES.c.size, _COSIGNATURES.c.time_s)
    query = query.where(_COSIGNATURES.c.name == key.name, _COSIGNATURES.c.key_id == key.key_id)
    row = conn.execute(query.order_by(_COSIGNATURES.c.size.desc()).limit(1)).one_or_none()
    return None if row is None else (row[0], row[1])


def _insert(engine: Engine, size: int, note: bytes, found: Sequence[Cosignature]) -> None:
    with write(engine) as conn:
        query = select(_COSIGNATURES.c.name, _COSIGNATURES.c.key_id)
        there = {
            (row[0], row[1]) for row in conn.execute(query.where(_COSIGNATURES.c.size == size))
        }
        rows = [
            {
                "size": size,
                "name": one.key.name,
                "key_id": one.key.key_id,
                "time_s": one.time_s,
                "signature": one.line.sig,
                "note": note,
            }
            for one in found
            if (one.key.name, one.key.key_id) not in there
        ]
        insert_missing(conn, _COSIGNATURES, rows)
