"""c2sp.org/tlog-proof@v1: a leaf's index, its inclusion proof and a checkpoint, in one text."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from registry.core import checkpoints, merkle
from registry.core.checkpoints import Checkpoint
from registry.core.notes import MAX_NOTE_BYTES, VerifierKey
from registry.errors import FormatError

HEADER = "c2sp.org/tlog-proof@v1"
MAX_HASHES = 64
"""Longest inclusion proof; a tree of 2^53 leaves needs 53."""
MAX_EXTRA_BYTES = 64 * 1024
MAX_PROOF_BYTES = MAX_NOTE_BYTES + 2 * MAX_EXTRA_BYTES

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,15})")


@dataclass(frozen=True, slots=True)
class TlogProof:
    """Index of a leaf, its audit path (leaf's sibling first), the checkpoint's note verbatim.

    `extra` is opaque data that nothing authenticates; None if there is none.
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: bytes
    extra: bytes | None = None

    @classmethod
    def parse(cls, data: bytes) -> TlogProof:
        """Read a proof; raises FormatError (`proof.format`). Says nothing about its truth."""
        if len(data) > MAX_PROOF_BYTES:
            raise _invalid("it is too long")
        head, found, checkpoint = data.partition(b"\n\n")
        try:
            lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise _invalid("it is not ASCII before the checkpoint") from None
        if not found or not checkpoint or lines.pop(0) != HEADER:
            raise _invalid(f"it does not start with {HEADER} or has no checkpoint")
        extra = None
        if lines and lines[0].startswith("extra "):
            extra = _unbase64(lines.pop(0).removeprefix("extra "))
        match = _INDEX.fullmatch(lines[0]) if lines else None
        if match is None:
            raise _invalid("it has no index")
        return cls(int(match[1]), tuple(map(_unbase64, lines[1:])), checkpoint, extra).checked()

    def checked(self) -> TlogProof:
        """Return the proof itself, or raise FormatError (`proof.format`) when a limit is passed."""
        if not 0 <= self.index < merkle.MAX_TREE_SIZE or len(self.hashes) > MAX_HASHES:
            raise _invalid("its index or its number of hashes is out of range")
        if any(len(item) != merkle.HASH_BYTES for item in self.hashes):
            raise _invalid(f"a hash does not have {merkle.HASH_BYTES} bytes")
        if self.extra is not None and not 1 <= len(self.extra) <= MAX_EXTRA_BYTES:
            raise _invalid("its extra data is empty or too long")
        return self

    def to_bytes(self) -> bytes:
        """Return the proof's text; raises FormatError (`proof.format`) when a limit is passed."""
        self.checked()
        lines = [HEADER]
        if self.extra is not None:
            lines.append(f"extra {_base64(self.extra)}")
        lines.append(f"index {self.index}")
        lines.extend(map(_base64, self.hashes))
        return "\n".join(lines).encode("ascii") + b"\n\n" + self.checkpoint

    def verify(self, leaf: bytes, vkey: str | VerifierKey) -> Checkpoint:
        """Return the checkpoint after checking its signature and that it commits to `leaf`.

        `leaf` is the leaf hash. Raises FormatError for a malformed note and IntegrityError when
        the key did not sign it or the path does not lead to its root.
        """
        checkpoint = checkpoints.verify(self.checkpoint, vkey)
        merkle.verify_inclusion(leaf, self.index, checkpoint.size, self.hashes, checkpoint.root)
        return checkpoint


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _unbase64(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if not raw or _base64(raw) != text:
        raise _invalid("a line is not standard padded base64")
    return raw


def _invalid(why: str) -> FormatError:
    return FormatError(f"not a tlog-proof: {why}", code="proof.format")
