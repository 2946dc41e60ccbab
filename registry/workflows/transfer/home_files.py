"""The files of a home that a backup brings: written with the modes that keys must have."""

from __future__ import annotations

import os
from pathlib import Path

from registry.core import exports
from registry.core.notes import VerifierKey
from registry.settings import Home
from registry.vault.store import Vault
from registry.workflows.setup import LOG_VKEY
from registry.workflows.transfer.sources import ExportReader

_PUBLIC = (".pub.pem", ".vkey", ".yaml", ".checkpoint", "config")


def write_home_files(home: Home, vkey: VerifierKey, held: ExportReader | None) -> None:
    """Write keys, keyring and settings from a backup, or the log's public key alone.

    Makes the vault. The settings file itself is left for the end: it makes a folder a home.
    """
    home.keys.mkdir(mode=0o700)
    Vault(home.vault).init()
    for path in held.under(exports.HOME) if held is not None else ():
        if path != exports.CONFIG:
            assert held is not None  # noqa: S101  # there are no paths without it
            _write(home.root / path.removeprefix(exports.HOME), held.read(path))
    (home.keys / LOG_VKEY).write_text(f"{vkey}\n", "ascii")


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = 0o644 if target.name.endswith(_PUBLIC) else 0o600
    handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
