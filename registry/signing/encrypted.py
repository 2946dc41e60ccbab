"""Files encrypted under a passphrase, in chunks (`genops-backup-v1`); knows not what they hold.

The construction is STREAM (Hoang, Reyhanitabar, Rogaway, Vizár 2015), as age uses it: each chunk
is sealed under a nonce that counts, the last one under a nonce that says so, and all are bound to
the header. Chunks that were altered, reordered, left out or cut off do not open.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import os
from typing import IO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from registry.core.jsonio import dumps, loads
from registry.errors import FormatError, InputError, IntegrityError, KeyFileError

MAGIC = b"genops-backup-v1\n"
FAMILY = b"genops-backup-"
CHUNK_BYTES = 1024 * 1024
TAG_BYTES = 16
SALT_BYTES = 16
SCRYPT_N = 2**17
"""Cost of a guess: 128 MiB of memory and about 0.4 s."""
MAX_SCRYPT_N = 2**20
"""Highest cost that is accepted from a file: 1 GiB of memory."""

_MAC_BYTES = 32
_MAX_HEADER_BYTES = 1024
_FIXED = {"chunk": CHUNK_BYTES, "cipher": "aes-256-gcm", "kdf": "scrypt", "p": 1, "r": 8}


class EncryptingWriter(io.RawIOBase):
    """A file to write plaintext to; `close` seals the last chunk, and without it nothing opens."""

    def __init__(self, target: IO[bytes], passphrase: str, *, n: int = SCRYPT_N) -> None:
        """Write the header. Raises InputError (`backup.passphrase`) for an empty passphrase."""
        if not passphrase:
            raise InputError("an empty passphrase protects nothing", code="backup.passphrase")
        salt = os.urandom(SALT_BYTES)
        fields = {**_FIXED, "n": n, "salt": base64.b64encode(salt).decode("ascii")}
        header = MAGIC + dumps(fields) + b"\n"
        self._seal, mac = _keys(passphrase, salt, n, header)
        self._target, self._count, self._taken, self._buffer = target, 0, 0, bytearray()
        self._aad = header + mac
        target.write(self._aad)

    def writable(self) -> bool:
        """Tell that it is."""
        return True

    def tell(self) -> int:
        """Return how many bytes of plaintext were taken."""
        return self._taken

    def write(self, data: object) -> int:
        """Take plaintext."""
        octets = memoryview(data)  # type: ignore[arg-type]  # whatever has a buffer
        self._buffer += octets
        self._taken += octets.nbytes
        while len(self._buffer) > CHUNK_BYTES:
            self._put(bytes(self._buffer[:CHUNK_BYTES]), last=False)
            del self._buffer[:CHUNK_BYTES]
        return octets.nbytes

    def close(self) -> None:
        """Seal what is left as the last chunk; the target stays open."""
        if not self.closed:
            self._put(bytes(self._buffer), last=True)
        super().close()

    def _put(self, chunk: bytes, *, last: bool) -> None:
        nonce = _nonce(self._count, last=last)
        self._target.write(self._seal.encrypt(nonce, chunk, self._aad))
        self._count += 1

    def __del__(self) -> None:
        """Leave an abandoned file without its last chunk, where the base class would close it."""


class DecryptingReader(io.RawIOBase):
    """The plaintext of such a file. `finish` must be called before what was read is believed."""

    def __init__(self, source: IO[bytes], passphrase: str) -> None:
        """Read the header.

        Raises FormatError (`backup.invalid`, `backup.newer`), KeyFileError (`backup.passphrase`).
        """
        header, salt, n = _read_header(source)
        mac = source.read(_MAC_BYTES)
        self._seal, expected = _keys(passphrase, salt, n, header)
        if not hmac.compare_digest(mac, expected):
            raise KeyFileError(
                "the backup does not open: the passphrase is wrong, or its header was altered",
                code="backup.passphrase",
                hint="set GENOPS_BACKUP_PASSPHRASE to the one that the backup was made with",
            )
        self._source, self._count, self._plain, self._ended = source, 0, b"", False
        self._aad = header + mac
        self._ahead = source.read(CHUNK_BYTES + TAG_BYTES)

    def readable(self) -> bool:
        """Tell that it is."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fill the buffer; raises IntegrityError (`backup.altered`, `backup.truncated`)."""
        view = memoryview(buffer)  # type: ignore[arg-type]  # whatever has a buffer
        if not self._plain and not self._ended:
            self._plain = self._next()
        taken = self._plain[: view.nbytes]
        view[: len(taken)] = taken
        self._plain = self._plain[len(taken) :]
        return len(taken)

    def finish(self) -> None:
        """Read to the end; raises IntegrityError unless the last chunk is there and is the last."""
        while not self._ended:
            self._next()

    def _next(self) -> bytes:
        sealed, self._ahead = self._ahead, self._source.read(CHUNK_BYTES + TAG_BYTES)
        last = not self._ahead
        try:
            plain = self._seal.decrypt(_nonce(self._count, last=last), sealed, self._aad)
        except (InvalidTag, ValueError):
            raise self._refusal(sealed, last=last) from None
        self._count += 1
        self._ended = last
        return plain

    def _refusal(self, sealed: bytes, *, last: bool) -> IntegrityError:
        """Tell a backup that was cut off from one that was altered."""
        if last and self._opens(sealed):
            return IntegrityError(
                f"the backup ends after {self._count + 1} MiB, before its last part",
                code="backup.truncated",
                hint="copy the file again; it is not whole",
            )
        where = "at its end" if last else f"in MiB {self._count + 1}"
        return IntegrityError(
            f"the backup was altered or cut {where}",
            code="backup.altered",
            hint="take another copy of the backup",
        )

    def _opens(self, sealed: bytes) -> bool:
        try:
            self._seal.decrypt(_nonce(self._count, last=False), sealed, self._aad)
        except (InvalidTag, ValueError):
            return False
        return True


def is_encrypted(start: bytes) -> bool:
    """Tell from its first bytes whether a file is an encrypted backup, of any version."""
    return start.startswith(FAMILY)


def _read_header(source: IO[bytes]) -> tuple[bytes, bytes, int]:
    """Return the header's bytes, the salt, and scrypt's cost."""
    magic = source.readline(_MAX_HEADER_BYTES)
    if magic != MAGIC:
        if magic.startswith(FAMILY):
            raise FormatError(
                f"the backup has format {magic.strip().decode('ascii', 'replace')[:40]}, which"
                " this program does not read",
                code="backup.newer",
                hint="upgrade genops-registry",
            )
        raise _invalid("it does not begin as one")
    line = source.readline(_MAX_HEADER_BYTES)
    fields = loads(line, max_bytes=_MAX_HEADER_BYTES)
    if not isinstance(fields, dict) or dumps(fields) + b"\n" != line:
        raise _invalid("its header is malformed")
    n, salt = fields.pop("n", None), fields.pop("salt", None)
    if fields != _FIXED or not _is_cost(n):
        raise _invalid("its header asks for what this version does not do")
    return magic + line, _salt(salt), n


def _is_cost(n: object) -> bool:
    return type(n) is int and 2 <= n <= MAX_SCRYPT_N and n.bit_count() == 1


def _salt(text: object) -> bytes:
    try:
        salt = base64.b64decode(text, validate=True) if isinstance(text, str) else b""
    except ValueError:
        salt = b""
    if len(salt) != SALT_BYTES or base64.b64encode(salt).decode("ascii") != text:
        raise _invalid("its salt is malformed")
    return salt


def _keys(passphrase: str, salt: bytes, n: int, header: bytes) -> tuple[AESGCM, bytes]:
    """Return the cipher, and the header's authentication code."""
    derived = Scrypt(salt=salt, length=64, n=n, r=8, p=1).derive(
        passphrase.encode("utf-8", "surrogatepass")
    )
    return AESGCM(derived[:32]), hmac.new(derived[32:], header, hashlib.sha256).digest()


def _nonce(count: int, *, last: bool) -> bytes:
    return count.to_bytes(11, "big") + bytes([last])


def _invalid(why: str) -> FormatError:
    return FormatError(f"this is no backup of a registry: {why}", code="backup.invalid")
