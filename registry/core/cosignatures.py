"""C2SP tlog-cosignature: a witness's timestamped Ed25519 signature on a log's checkpoint.

It says that, at that time, this was the largest tree of the log that the witness had seen, and that
it goes on from every smaller one. Whom to believe is not known here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from registry.core.notes import NoteKey, NoteSignature, SignedNote, SignFn
from registry.errors import FormatError

ED25519_COSIGNATURE = 0x04
"""Signature type of timestamped Ed25519 cosignatures."""
MAX_TIME_S = 2**63 - 1

_HEADER = "cosignature/v1"
_TIME_BYTES = 8
_SIGNATURE_BYTES = 64


@dataclass(frozen=True, slots=True)
class CosignerKey(NoteKey):
    """A witness's key: it signs a header, the time and then the checkpoint's text."""

    TYPE: ClassVar[int] = ED25519_COSIGNATURE

    def verify(self, text: str, sig: bytes) -> bool:
        """Tell whether `sig` (time and signature) by this key covers the checkpoint's text."""
        try:
            time_s = time_of(sig)
        except FormatError:
            return False
        return self.covers(_message(text, time_s), sig[_TIME_BYTES:])

    def cosign(self, text: str, time_s: int, sign_fn: SignFn) -> NoteSignature:
        """Return this key's line for a checkpoint's text at a POSIX time, made by `sign_fn`.

        Raises FormatError (`cosignature.invalid`) for a time before 1970 or past 2^63 - 1.
        """
        if not 0 <= time_s <= MAX_TIME_S:
            raise FormatError(f"{time_s} is no POSIX time", code="cosignature.invalid")
        stamp = time_s.to_bytes(_TIME_BYTES, "big")
        return NoteSignature(self.name, self.key_id, stamp + sign_fn(_message(text, time_s)))


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified cosignature: by whom, when (POSIX seconds), and its line."""

    key: CosignerKey
    time_s: int
    line: NoteSignature


def time_of(sig: bytes) -> int:
    """Return the POSIX time in a cosignature (72 bytes: time, then Ed25519).

    Raises FormatError (`cosignature.invalid`) for another length, or a time past 2^63 - 1.
    """
    time_s = int.from_bytes(sig[:_TIME_BYTES], "big")
    if len(sig) != _TIME_BYTES + _SIGNATURE_BYTES or time_s > MAX_TIME_S:
        raise FormatError("not a timestamped Ed25519 cosignature", code="cosignature.invalid")
    return time_s


def verified(note: SignedNote, keys: Iterable[CosignerKey]) -> tuple[Cosignature, ...]:
    """Return the note's cosignatures by these keys, each key's newest, in the order of the note.

    Whatever does not verify is left out, as if it were not there: one witness must not be able to
    spoil what the others said.
    """
    known = {(key.name, key.key_id): key for key in keys}
    found: dict[CosignerKey, Cosignature] = {}
    for line in note.signatures:
        key = known.get((line.name, line.key_id))
        if key is None or not key.verify(note.text, line.sig):
            continue
        time_s = time_of(line.sig)
        if key not in found or found[key].time_s < time_s:
            found[key] = Cosignature(key, time_s, line)
    return tuple(found.values())


def _message(text: str, time_s: int) -> bytes:
    return f"{_HEADER}\ntime {time_s}\n{text}".encode()
