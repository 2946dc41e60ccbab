"""Small secrets under a passphrase (`genops-secret-v1`): scrypt, then AES-256-GCM.

A file without the header is the secret itself, as homes without a passphrase keep it. What a
secret is for is not known here.
"""

from __future__ import annotations

import base64
import os
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from registry.core.jsonio import dumps, loads
from registry.errors import FormatError, InputError, KeyFileError
from registry.signing.keys import read_secret, write_secret, wrong_passphrase

MAGIC = b"genops-secret-v1\n"
SCRYPT_N = 2**15
"""Cost of a guess: 32 MiB of memory; paid once a process, when a text is first opened."""
MAX_SCRYPT_N = 2**20
"""Highest cost that is accepted from a file: 1 GiB of memory."""

_NONCE_BYTES = 12
_SALT_BYTES = 16
_MAX_HEADER_BYTES = 512
_FIXED = {"cipher": "aes-256-gcm", "kdf": "scrypt", "p": 1, "r": 8}


def protect(secret: bytes, passphrase: str, name: str, *, n: int = SCRYPT_N) -> bytes:
    """Return a secret encrypted under a passphrase; `name` is the file that it belongs into.

    Raises InputError (`key.passphrase`) for an empty passphrase.
    """
    if not passphrase:
        raise InputError("an empty passphrase protects nothing", code="key.passphrase")
    salt, nonce = os.urandom(_SALT_BYTES), os.urandom(_NONCE_BYTES)
    fields = {**_FIXED, "n": n, "salt": base64.b64encode(salt).decode("ascii")}
    header = MAGIC + dumps(fields) + b"\n"
    cipher = AESGCM(_derive(passphrase, salt, n))
    return header + nonce + cipher.encrypt(nonce, secret, header + name.encode("utf-8"))


def is_protected(data: bytes) -> bool:
    """Tell from a secret's file whether a passphrase is needed."""
    return data.startswith(MAGIC)


def read_protected(path: Path, passphrase: str | None) -> bytes:
    """Return a secret from its file, which may be plain.

    Raises KeyFileError: what `read_secret` raises, `key.passphrase` (missing or wrong),
    `key.unusable`.
    """
    data = read_secret(path)
    return unprotect(data, passphrase, path) if is_protected(data) else data


def unprotect(data: bytes, passphrase: str | None, path: Path) -> bytes:
    """Return the secret in a protected file's bytes; raises as `read_protected` does."""
    try:
        header, salt, n, sealed = _parse(data)
    except FormatError as error:
        raise KeyFileError(
            f"cannot use key {path}: {error.message}", hint="restore the file from its backup"
        ) from None
    if not passphrase:
        raise wrong_passphrase(path, given=False)
    cipher = AESGCM(_derive(passphrase, salt, n))
    nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        return cipher.decrypt(nonce, body, header + path.name.encode("utf-8"))
    except (InvalidTag, ValueError):
        raise wrong_passphrase(path, given=True) from None


def write_protected(path: Path, secret: bytes, passphrase: str | None) -> None:
    """Write a new file with a secret, plain without a passphrase; as durable as `write_secret`."""
    write_secret(path, protect(secret, passphrase, path.name) if passphrase else secret)


def _parse(data: bytes) -> tuple[bytes, bytes, int, bytes]:
    """Return header, salt, scrypt's cost, and what is encrypted."""
    end = data.find(b"\n", len(MAGIC)) + 1
    header = data[:end]
    fields = loads(header[len(MAGIC) :], max_bytes=_MAX_HEADER_BYTES)
    if not isinstance(fields, dict) or MAGIC + dumps(fields) + b"\n" != header:
        raise FormatError("its header is malformed", code="key.unusable")
    n, text = fields.pop("n", None), fields.pop("salt", None)
    cost = type(n) is int and 2 <= n <= MAX_SCRYPT_N and n.bit_count() == 1
    if fields != _FIXED or not cost or not isinstance(text, str):
        raise FormatError("its header asks for what this version does not do", code="key.unusable")
    try:
        salt = base64.b64decode(text, validate=True)
    except ValueError:
        salt = b""
    if len(salt) != _SALT_BYTES:
        raise FormatError("its salt is malformed", code="key.unusable")
    return header, salt, n, data[end:]


def _derive(passphrase: str, salt: bytes, n: int) -> bytes:
    kdf = Scrypt(salt=salt, length=32, n=n, r=8, p=1)
    return kdf.derive(passphrase.encode("utf-8", "surrogatepass"))
