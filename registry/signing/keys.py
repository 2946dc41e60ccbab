"""Private keys by URI scheme, and the one thing they do: sign bytes.

Knows nothing of what it signs, nor of who is trusted to.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Literal, Protocol
from urllib.parse import unquote, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from registry.core import dsse
from registry.core.notes import VerifierKey
from registry.errors import InputError, KeyFileError
from registry.files import sync_folder

KeyKind = Literal["p256", "ed25519"]
"""`p256` signs records (ECDSA over SHA-256), `ed25519` signs checkpoints."""

PrivateKey = ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey

_ECDSA_SHA256 = ec.ECDSA(hashes.SHA256())
_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO
_PRIVATE_MODE = 0o600


class Signer(Protocol):
    """A private key that signs. Safe to use from several threads at once.

    `sign` returns an ECDSA P-256 signature over SHA-256 in DER, or 64 bytes of Ed25519; it raises
    KeyFileError when the key is out of reach.
    """

    @property
    def kind(self) -> KeyKind:
        """Which algorithm the key signs by."""

    @property
    def spki_der(self) -> bytes:
        """The public key as SubjectPublicKeyInfo in DER."""

    @property
    def keyid(self) -> str:
        """Hex SHA-256 of the public key's SPKI DER."""

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`."""


class FileSigner:
    """A private key from a PKCS #8 PEM file, held in memory; never shown by `repr`."""

    def __init__(self, path: Path, passphrase: str | None = None) -> None:
        """Load the key.

        Raises KeyFileError: `key.missing`, `key.permissions` (group or others may touch the file),
        `key.passphrase` (missing or wrong), `key.unusable`.
        """
        self.path = path
        self._key = load_private(path, passphrase)
        self.kind: KeyKind = "p256" if isinstance(self._key, _P256) else "ed25519"
        self.spki_der = _spki(self._key)
        self.keyid = dsse.keyid(self.spki_der)

    def __repr__(self) -> str:
        return f"FileSigner({self.kind} {self.keyid[:16]} at {self.path})"

    def sign(self, message: bytes) -> bytes:
        """Return the signature over `message`: DER for P-256, 64 bytes for Ed25519."""
        if isinstance(self._key, _P256):
            return self._key.sign(message, _ECDSA_SHA256)
        return self._key.sign(message)


_P256 = ec.EllipticCurvePrivateKey


def open_signer(key: str | Path, passphrase: str | None = None) -> Signer:
    """Open a private key by path or `file:` URI.

    Raises KeyFileError as `FileSigner` does, InputError (`key.scheme`) for other schemes.
    """
    if isinstance(key, Path):
        return FileSigner(key, passphrase)
    parts = urlsplit(key)
    if not parts.scheme or len(parts.scheme) == 1:  # a path, maybe with a drive letter
        return FileSigner(Path(key), passphrase)
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"}:
        raise InputError(
            f"no signer reads {parts.scheme}: keys",
            code="key.scheme",
            hint="give a path, or file:///path/to/key.pem",
        )
    return FileSigner(Path(unquote(parts.path)), passphrase)


def generate_key(path: Path, kind: KeyKind, passphrase: str | None = None) -> FileSigner:
    """Make a key: PKCS #8 PEM at `path` (0600), its public half beside it (see `public_path`).

    Encrypted when a passphrase is given. Both files are durable on return. Raises KeyFileError
    (`key.exists`) and leaves an existing key alone.
    """
    private: PrivateKey
    private = _generate_p256() if kind == "p256" else ed25519.Ed25519PrivateKey.generate()
    return _save(private, path, passphrase)


def generate_named(folder: Path, name: str, passphrase: str | None = None) -> FileSigner:
    """Make a P-256 key as `generate_key` does, at `<folder>/<name>-<8 digits of its id>.pem`."""
    private = _generate_p256()
    path = folder / f"{name}-{dsse.keyid(_spki(private))[:8]}.pem"
    return _save(private, path, passphrase)


def public_path(path: Path) -> Path:
    """Return where the public half of the private key at `path` lies: `<stem>.pub.pem`."""
    return path.with_suffix(".pub.pem")


def public_pem(path: Path) -> str:
    """Return the public half (SPKI in PEM) of the private key at `path`; needs no passphrase.

    Raises KeyFileError (`key.missing`, `key.unusable`).
    """
    data = _read(public_path(path))
    try:
        serialization.load_pem_public_key(data)
    except ValueError as error:
        raise _unusable(public_path(path), str(error)) from None
    return data.decode("ascii")


def read_secret(path: Path) -> bytes:
    """Return the bytes of a file that only its owner may reach.

    Raises KeyFileError (`key.missing`, `key.permissions`, `key.unusable`).
    """
    data = _read(path)
    _check_mode(path)
    return data


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file that only its owner may reach (0600); durable on return.

    Raises KeyFileError (`key.exists`) and leaves an existing file alone.
    """
    _write_new(path, data, _PRIVATE_MODE)
    sync_folder(path.parent)


def note_key(signer: Signer, name: str) -> VerifierKey:
    """Return the verifier key (C2SP signed-note) of an Ed25519 signer under a name.

    Raises InputError (`key.kind`) for another kind of key.
    """
    public = serialization.load_der_public_key(signer.spki_der)
    if not isinstance(public, ed25519.Ed25519PublicKey):
        raise InputError(f"a {signer.kind} key cannot sign checkpoints", code="key.kind")
    return VerifierKey(name, public.public_bytes_raw())


def _save(private: PrivateKey, path: Path, passphrase: str | None) -> FileSigner:
    _write_new(path, private_pem(private, passphrase), _PRIVATE_MODE)
    _write_new(public_path(path), _public_pem(private), 0o644)
    sync_folder(path.parent)
    return FileSigner(path, passphrase)


def _generate_p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def private_pem(private: PrivateKey, passphrase: str | None) -> bytes:
    """Return a private key as PKCS #8 in PEM, encrypted when a passphrase is given.

    Raises InputError (`key.passphrase`) for an empty one.
    """
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        if not passphrase:
            raise InputError("an empty passphrase protects nothing", code="key.passphrase")
        encryption = serialization.BestAvailableEncryption(passphrase.encode("utf-8"))
    return private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def _public_pem(private: PrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _spki(private: PrivateKey) -> bytes:
    return private.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def load_private(path: Path, passphrase: str | None) -> PrivateKey:
    """Return the private key in a file; raises KeyFileError as `FileSigner` does."""
    data = read_secret(path)
    secret = passphrase.encode("utf-8") if passphrase else None
    encrypted = b"BEGIN ENCRYPTED PRIVATE KEY" in data
    try:
        key = serialization.load_pem_private_key(data, secret if encrypted else None)
    except (TypeError, ValueError) as error:
        if encrypted:
            raise wrong_passphrase(path, given=secret is not None) from None
        raise _unusable(path, str(error)) from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, _P256) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise _unusable(path, "it is neither a P-256 nor an Ed25519 key")


def _check_mode(path: Path) -> None:
    if os.name == "posix" and stat.S_IMODE(path.stat().st_mode) & _OTHERS_MAY:
        raise KeyFileError(
            f"private key {path} can be reached by others",
            code="key.permissions",
            hint=f"run `chmod 600 {path}`, and replace the key if others may have read it",
        )


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise KeyFileError(
            f"no key at {path}",
            code="key.missing",
            hint="restore it from its backup, or make a new one and trust it",
        ) from None
    except OSError as error:
        raise _unusable(path, str(error)) from error


def wrong_passphrase(path: Path, *, given: bool) -> KeyFileError:
    """Return the error for a passphrase that is wrong, or missing."""
    what = "the passphrase is wrong" if given else "a passphrase is needed"
    return KeyFileError(
        f"cannot open key {path}: {what}",
        code="key.passphrase",
        hint="set GENOPS_PASSPHRASE",
    )


def _unusable(path: Path, why: str) -> KeyFileError:
    return KeyFileError(f"cannot use key {path}: {why}", hint="restore the file from its backup")


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not exist yet, with its final mode from the start, durably."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise KeyFileError(
            f"there is a key at {path} already",
            code="key.exists",
            hint="choose another name: keys are added, never replaced",
        ) from None
    except OSError as error:
        raise _unusable(path, str(error)) from error
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(handle)
