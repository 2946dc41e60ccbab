"""C2SP tlog-checkpoints: the log's signed tree head."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from registry.core.merkle import HASH_BYTES, MAX_TREE_SIZE
from registry.core.notes import SignedNote, SignFn, VerifierKey
from registry.core.notes import verify as verify_note
from registry.errors import FormatError, IntegrityError

_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Origin, number of leaves, root hash (32 bytes) and extension lines of a tree head."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if any(not line or "\n" in line for line in lines):
            raise FormatError("checkpoint lines are not empty", code="checkpoint.invalid")
        if not 0 <= self.size <= MAX_TREE_SIZE or len(self.root) != HASH_BYTES:
            raise FormatError("checkpoint has no such size or root", code="checkpoint.invalid")

    @classmethod
    def parse_text(cls, text: str) -> Checkpoint:
        """Read the note text of a checkpoint; raises FormatError (`checkpoint.invalid`).

        Says nothing about who signed it: use `verify`.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() or not all(lines):
            raise FormatError("checkpoint has too few lines", code="checkpoint.invalid")
        origin, size, root, *extensions = lines
        if _SIZE.fullmatch(size) is None:
            raise FormatError("checkpoint's size is not a number", code="checkpoint.invalid")
        return cls(origin, int(size), _root(root), tuple(extensions))

    def to_text(self) -> str:
        """Return the note text: origin, size, root in base64, extensions, one a line."""
        root = base64.b64encode(self.root).decode("ascii")
        return "\n".join((self.origin, str(self.size), root, *self.extensions)) + "\n"


def sign(checkpoint: Checkpoint, vkey: str | VerifierKey, sign_fn: SignFn) -> bytes:
    """Return the checkpoint as a note signed by the log's Ed25519 key.

    The verifier key gives the signature line its name and key id. Raises FormatError when the
    key's name is not the checkpoint's origin.
    """
    key = _key(vkey)
    if key.name != checkpoint.origin:
        raise FormatError(
            f"key {key.name} does not sign for origin {checkpoint.origin}",
            code="checkpoint.invalid",
        )
    text = checkpoint.to_text()
    return SignedNote(text, (key.sign(text, sign_fn),)).to_bytes()


def verify(note: bytes, vkey: str | VerifierKey) -> Checkpoint:
    """Return the checkpoint in a note signed by the log with this key.

    Raises FormatError for a malformed note, IntegrityError when the key did not sign it or the
    origin is not the key's name (`checkpoint.origin`).
    """
    key = _key(vkey)
    signed = SignedNote.parse(note)
    verify_note(signed, key)
    checkpoint = Checkpoint.parse_text(signed.text)
    if checkpoint.origin != key.name:
        raise IntegrityError(
            f"checkpoint is of {checkpoint.origin}, not of {key.name}", code="checkpoint.origin"
        )
    return checkpoint


def _key(vkey: str | VerifierKey) -> VerifierKey:
    return VerifierKey.parse(vkey) if isinstance(vkey, str) else vkey


def _root(text: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != HASH_BYTES or base64.b64encode(raw).decode("ascii") != text:
        raise FormatError("checkpoint's root is not 32 bytes of base64", code="checkpoint.invalid")
    return raw
