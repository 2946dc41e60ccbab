"""C2SP signed notes: text signed by one or more Ed25519 keys, and the keys' text form."""

from __future__ import annotations

import base64
import binascii
import functools
import hashlib
import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Self, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from registry.errors import FormatError, IntegrityError

MAX_NOTE_BYTES = 256 * 1024
"""Largest note; leaves room for 16 post-quantum signatures."""
MAX_NOTE_SIGNATURES = 64
KEY_ID_BYTES = 4
ED25519 = 0x01
"""Signature type of plain Ed25519 (C2SP signed-note)."""

_PUBLIC_BYTES = 32
_FIELD = 2**255 - 19
_SMALL_ORDER = {
    0,
    1,
    _FIELD - 1,
    2707385501144840649318225287225658788936804267575313519463743609750303402022,
    55188659117513257062467267217118295137698188065244968500265048394206261417927,
}
"""The y of the eight points of small order: under such a key, one signature covers any text."""
_DASH = "\u2014 "
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")
_VKEY = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]+={0,2})")

SignFn = Callable[[bytes], bytes]
"""Signs bytes with Ed25519; returns 64 bytes."""


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """A signature line: key name, key id (4 bytes) and the signature itself."""

    name: str
    key_id: bytes
    sig: bytes

    def __str__(self) -> str:
        """Return the line as it stands in a note, newline and all."""
        encoded = base64.b64encode(self.key_id + self.sig).decode("ascii")
        return f"{_DASH}{self.name} {encoded}\n"


@dataclass(frozen=True, slots=True)
class SignedNote:
    """Text ending in a newline, and its signatures; trust neither before verifying."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> SignedNote:
        """Read a note; raises FormatError (`note.invalid`)."""
        text = _decode(data)
        body, found, block = text.rpartition("\n\n")
        if not found or not body:
            raise _invalid("it is not a text, an empty line and signature lines")
        return cls(body + "\n", _signatures(block))

    def to_bytes(self) -> bytes:
        """Return the note's bytes; raises FormatError when the text is unfit for a note."""
        if not self.text.endswith("\n") or not self.signatures:
            raise _invalid("its text does not end in a newline, or nothing signs it")
        data = (self.text + "\n" + "".join(map(str, self.signatures))).encode("utf-8")
        _decode(data)
        return data


@dataclass(frozen=True, slots=True)
class NoteKey(ABC):
    """A public Ed25519 key under a name, as in `<name>+<hex id>+<base64 of type ‖ key>`.

    A subclass is one type of signature: the byte `TYPE`, and what it is that the key signs.
    """

    TYPE: ClassVar[int]

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _is_key_name(self.name) or len(self.public) != _PUBLIC_BYTES:
            raise FormatError(
                "a note key has a name without spaces or plus signs, and 32 bytes",
                code="vkey.invalid",
            )
        y = int.from_bytes(self.public, "little") & ~(1 << 255)
        if y >= _FIELD or y in _SMALL_ORDER:
            raise FormatError("not a sound Ed25519 public key", code="vkey.invalid")

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a vkey line; raises FormatError (`vkey.invalid`) for other types or a wrong id."""
        match = _VKEY.fullmatch(text.strip("\n"))
        if match is None:
            raise FormatError("not a verifier key", code="vkey.invalid")
        raw = _unbase64(match["key"], "vkey.invalid")
        if len(raw) != 1 + _PUBLIC_BYTES or raw[0] != cls.TYPE:
            raise FormatError(
                f"verifier key is not Ed25519 of type 0x{cls.TYPE:02x}", code="vkey.invalid"
            )
        key = cls(match["name"], raw[1:])
        if key.key_id.hex() != match["id"]:
            raise FormatError("verifier key's id does not fit its key", code="vkey.invalid")
        return key

    def __str__(self) -> str:
        encoded = base64.b64encode(bytes([self.TYPE]) + self.public).decode("ascii")
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @property
    def key_id(self) -> bytes:
        """First 4 bytes of SHA-256(name ‖ newline ‖ type ‖ key)."""
        body = self.name.encode("utf-8") + b"\n" + bytes([self.TYPE]) + self.public
        return hashlib.sha256(body).digest()[:KEY_ID_BYTES]

    @abstractmethod
    def verify(self, text: str, sig: bytes) -> bool:
        """Tell whether `sig` by this key covers the note text."""

    def covers(self, message: bytes, sig: bytes) -> bool:
        """Tell whether `sig` is the plain Ed25519 signature over `message`."""
        try:
            _ed25519(self.public).verify(sig, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class VerifierKey(NoteKey):
    """A key that signs the note's text itself, as logs do."""

    TYPE: ClassVar[int] = ED25519

    def verify(self, text: str, sig: bytes) -> bool:
        """Tell whether `sig` by this key covers the text."""
        return self.covers(text.encode("utf-8"), sig)

    def sign(self, text: str, sign_fn: SignFn) -> NoteSignature:
        """Return this key's signature line for the text, made by `sign_fn`."""
        return NoteSignature(self.name, self.key_id, sign_fn(text.encode("utf-8")))


Key = TypeVar("Key", bound=NoteKey)


def verify(note: SignedNote, *keys: Key) -> tuple[Key, ...]:
    """Return the keys that signed the note; signatures by other keys are ignored.

    Raises IntegrityError: `note.unsigned` when none of the keys signed it, `note.bad-signature`
    when a signature that claims to be by one of them does not verify.
    """
    known = {(key.name, key.key_id): key for key in keys}
    signed: list[Key] = []
    for signature in note.signatures:
        key = known.get((signature.name, signature.key_id))
        if key is None:
            continue
        if not key.verify(note.text, signature.sig):
            raise IntegrityError(
                f"signature by {key.name} does not cover the note", code="note.bad-signature"
            )
        signed.append(key)
    if not signed:
        raise IntegrityError("note is not signed by a known key", code="note.unsigned")
    return tuple(dict.fromkeys(signed))


def parse_signatures(data: bytes) -> tuple[NoteSignature, ...]:
    """Read signature lines without their note, as a witness answers; FormatError as for a note."""
    return _signatures(_decode(data))


@functools.lru_cache(maxsize=64)
def _ed25519(public: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public)


def _decode(data: bytes) -> str:
    if len(data) > MAX_NOTE_BYTES:
        raise _invalid(f"it has {len(data)} bytes, over {MAX_NOTE_BYTES}")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _invalid(f"it is not UTF-8: {error}") from None
    if _CONTROL.search(text):
        raise _invalid("it holds control characters")
    return text


def _signatures(block: str) -> tuple[NoteSignature, ...]:
    lines = block.split("\n")
    if lines.pop() or not 1 <= len(lines) <= MAX_NOTE_SIGNATURES:
        raise _invalid("its signature lines are missing, too many or cut short")
    return tuple(map(_parse_line, lines))


def _parse_line(line: str) -> NoteSignature:
    name, _, encoded = line.removeprefix(_DASH).partition(" ")
    if not line.startswith(_DASH) or not _is_key_name(name):
        raise _invalid("a signature line is malformed")
    raw = _unbase64(encoded, "note.invalid")
    if len(raw) <= KEY_ID_BYTES:
        raise _invalid("a signature is too short")
    return NoteSignature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(map(_is_odd, name))


def _is_odd(char: str) -> bool:
    """Tell spaces, control characters, and halves of surrogate pairs, which have no UTF-8."""
    return char.isspace() or char < " " or "\ud800" <= char <= "\udfff"


def _unbase64(text: str, code: str) -> bytes:
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raw = b""
    if base64.b64encode(raw).decode("ascii") != text or not raw:
        raise FormatError("not standard padded base64", code=code)
    return raw


def _invalid(why: str) -> FormatError:
    return FormatError(f"not a signed note: {why}", code="note.invalid")
