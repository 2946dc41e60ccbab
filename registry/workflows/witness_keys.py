"""Whom a home believes: keys of witnesses, keys of logs that it follows, its own witness key.

Each is a file of one line, a C2SP vkey, so that a person can read, compare and copy it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TypeVar

from registry.core.cosignatures import CosignerKey
from registry.core.notes import NoteKey, VerifierKey
from registry.errors import FormatError, HomeError, InputError, KeyFileError
from registry.settings import Home, Settings
from registry.signing.keys import Signer, generate_key, note_key, open_signer
from registry.store.transaction import refuse_read_only
from registry.workflows.services import Services

WITNESS_KEY = "witness.pem"
WITNESS_VKEY = "witness.vkey"

_VKEY = TypeVar("_VKEY", bound=NoteKey)


def witnesses(home: Home) -> list[CosignerKey]:
    """Return the witnesses whose cosignatures count; InputError (`witness.key-file`)."""
    return _read_all(home.witnesses, CosignerKey)


def followed_logs(home: Home) -> list[VerifierKey]:
    """Return the keys of the logs that may be cosigned; InputError (`witness.key-file`)."""
    return _read_all(home.witnessed, VerifierKey)


def add_witness(services: Services, vkey: str) -> tuple[CosignerKey, Path]:
    """Let a witness's cosignatures count; return its key and file.

    Raises FormatError (`vkey.invalid`), InputError (`witness.own`).
    """
    key = CosignerKey.parse(vkey)
    own = own_vkey(services.settings)
    if own is not None and own.public == key.public:
        raise InputError(
            f"{key.name} is this registry itself",
            code="witness.own",
            hint="a witness is somebody else: another registry, on another machine",
        )
    return key, _add(services, services.settings.home.witnesses, key)


def add_log(services: Services, vkey: str) -> tuple[VerifierKey, Path]:
    """Let another log be followed and cosigned; return its key and file.

    Raises FormatError (`vkey.invalid`).
    """
    key = VerifierKey.parse(vkey)
    return key, _add(services, services.settings.home.witnessed, key)


def own_vkey(settings: Settings) -> CosignerKey | None:
    """Return this registry's public key as a witness, None until it is made."""
    path = settings.home.keys / WITNESS_VKEY
    return _read(path, CosignerKey) if path.is_file() else None


def own_key(services: Services) -> tuple[CosignerKey, Signer]:
    """Return this registry's witness key, made when it is first needed.

    A key of its own, since the message of a cosignature does not name who signs: it must mean only
    this. Its name starts with the log's origin, which no other registry has. Raises HomeError
    (`home.read-only`) and KeyFileError.
    """
    settings = services.settings
    path = settings.home.keys / WITNESS_KEY
    if not path.is_file():
        refuse_read_only(services.engine)
        try:
            generate_key(path, "ed25519", settings.passphrase)
        except KeyFileError as error:
            if error.code != "key.exists":  # another process was faster
                raise
    signer = open_signer(path, settings.passphrase)
    key = CosignerKey(f"{settings.origin}/witness", note_key(signer, settings.origin).public)
    public = path.with_name(WITNESS_VKEY)
    if not public.is_file():
        _write(public, key)
    return key, signer


def _add(services: Services, folder: Path, key: NoteKey) -> Path:
    refuse_read_only(services.engine)
    slug = re.sub(r"[^A-Za-z0-9.-]+", "-", key.name).strip(".-")[:80]
    path = folder / f"{slug}-{key.key_id.hex()}.vkey"
    _write(path, key)
    return path


def _write(path: Path, key: NoteKey) -> None:
    scratch = path.with_suffix(f".{os.getpid()}.new")
    try:
        path.parent.mkdir(exist_ok=True)
        scratch.write_text(f"{key}\n", "utf-8")
        scratch.replace(path)
    except OSError as error:
        raise HomeError(f"cannot write {path}: {error.strerror}", code="home.read-only") from error


def _read_all(folder: Path, kind: type[_VKEY]) -> list[_VKEY]:
    """Return the keys in a folder's `*.vkey` files, each once, by file name."""
    return list(dict.fromkeys(_read(path, kind) for path in sorted(folder.glob("*.vkey"))))


def _read(path: Path, kind: type[_VKEY]) -> _VKEY:
    try:
        return kind.parse(path.read_text("utf-8"))
    except (FormatError, OSError, UnicodeDecodeError) as error:
        why = error.message if isinstance(error, FormatError) else str(error)
        raise InputError(
            f"{path} is not a key of the kind that belongs there: {why}",
            code="witness.key-file",
            hint="it holds one line, name+id+key; take the file away, then add the key again",
        ) from None
