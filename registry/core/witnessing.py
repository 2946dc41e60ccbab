"""C2SP tlog-witness: what a log sends to a witness, and when a witness may cosign.

Only values: who keeps the last checkpoint, and who carries the request, is not known here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass

from registry.core import merkle
from registry.core.checkpoints import Checkpoint
from registry.core.notes import MAX_NOTE_BYTES
from registry.errors import FormatError, IntegrityError

MAX_PROOF_HASHES = 63
"""Most lines of a consistency proof in one request."""
SIZE_MEDIA_TYPE = "text/x.tlog.size"
"""Media type of the answer that names the size that the witness cosigned last."""

_MAX_HEAD_BYTES = 32 + 64 * MAX_PROOF_HASHES
_OLD = re.compile(r"old (0|[1-9][0-9]{0,15})")
_SIZE = re.compile(rb"(0|[1-9][0-9]{0,15})\n")


@dataclass(frozen=True, slots=True)
class AddCheckpoint:
    """A request to cosign: size cosigned last, consistency proof from there, checkpoint's note."""

    old: int
    proof: tuple[bytes, ...]
    note: bytes

    @classmethod
    def parse(cls, data: bytes) -> AddCheckpoint:
        """Read a request's body; raises FormatError (`witness.request`). Checks no signature."""
        head, found, note = data.partition(b"\n\n")
        if not found or len(head) > _MAX_HEAD_BYTES or not 0 < len(note) <= MAX_NOTE_BYTES:
            raise _invalid("it is not an old size, a proof, an empty line and a checkpoint")
        try:
            first, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise _invalid("it is not ASCII before the checkpoint") from None
        match = _OLD.fullmatch(first)
        if match is None:
            raise _invalid("it names no old size")
        if len(lines) > MAX_PROOF_HASHES:
            raise _invalid(f"its proof has more than {MAX_PROOF_HASHES} lines")
        return cls(int(match[1]), tuple(map(_hash, lines)), note)

    def to_bytes(self) -> bytes:
        """Return the request's body."""
        lines = [f"old {self.old}", *(base64.b64encode(h).decode("ascii") for h in self.proof)]
        return "\n".join(lines).encode("ascii") + b"\n\n" + self.note


def parse_size(data: bytes) -> int:
    """Read a witness's answer that names a size; raises FormatError (`witness.request`)."""
    match = _SIZE.fullmatch(data)
    if match is None:
        raise _invalid("the answer is not a size")
    return int(match[1])


def check_growth(
    last: Checkpoint | None, checkpoint: Checkpoint, proof: Sequence[bytes] = ()
) -> None:
    """Check that a log's checkpoint goes on from the last one that was cosigned.

    `last` is None when there was none. Raises IntegrityError: `witness.rolled-back` for a smaller
    tree, `witness.forked` for another tree of the same size, `proof.invalid` for a proof that does
    not lead from one to the other (which may be the fault of whoever made it, not of the log).
    """
    old = 0 if last is None else last.size
    if checkpoint.size < old:
        raise IntegrityError(
            f"the log went back from {old} to {checkpoint.size} records",
            code="witness.rolled-back",
        )
    if last is not None and checkpoint.size == old:
        if checkpoint.root != last.root or proof:
            raise IntegrityError(
                f"the log has two trees of {old} records, or the proof is not empty",
                code="witness.forked" if checkpoint.root != last.root else "proof.invalid",
            )
        return
    if last is None or old == 0:
        if proof or (checkpoint.size == 0 and checkpoint.root != merkle.EMPTY_ROOT):
            raise IntegrityError("nothing can be proved of an empty tree", code="proof.invalid")
        return
    merkle.verify_consistency(old, checkpoint.size, proof, last.root, checkpoint.root)


def _hash(line: str) -> bytes:
    try:
        raw = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != merkle.HASH_BYTES or base64.b64encode(raw).decode("ascii") != line:
        raise _invalid("a line of its proof is not 32 bytes of base64")
    return raw


def _invalid(why: str) -> FormatError:
    return FormatError(f"not a request to a witness: {why}", code="witness.request")
