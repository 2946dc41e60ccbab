"""Write a backup: an export with the home's keys and settings, encrypted under a passphrase.

A backup holds what decides over a registry; it is never written in the clear unless that is asked
for by name.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from registry.core import exports
from registry.core.exports import Manifest
from registry.core.transfers import ExportReport
from registry.errors import InputError
from registry.settings import Home
from registry.signing.encrypted import EncryptingWriter
from registry.store.transaction import read
from registry.workflows.services import Services
from registry.workflows.transfer.exporting import (
    Steps,
    finish,
    no_steps,
    report,
    signed_head,
    write_export,
)
from registry.workflows.transfer.sinks import Package, tar_sink
from registry.workflows.transfer.staging import staged_file


def backup(
    services: Services,
    target: str | Path,
    *,
    passphrase: str | None,
    unencrypted: bool = False,
    keys_only: bool = False,
    blobs: bool = True,
    steps: Steps = no_steps,
) -> ExportReport:
    """Write the whole registry, keys and all, into one new file.

    With `keys_only`, its keys, keyring and settings alone: what a restore needs beside the vault.
    Without `blobs`, the vault's content is listed and left out. Raises InputError
    (`backup.passphrase`: there is none, and `unencrypted` was not said; `transfer.exists`),
    KeyFileError (`key.missing`: the home has no keyring), and what `export` does.
    """
    if bool(passphrase) == unencrypted:
        raise InputError(
            "a backup is either encrypted under a passphrase, or said to be unencrypted",
            code="backup.passphrase",
            hint="set GENOPS_BACKUP_PASSPHRASE or run it on a terminal; --unencrypted writes it in"
            " the clear",
        )
    path = Path(target).expanduser().absolute()
    with (
        staged_file(path) as stage,
        stage.open("wb") as file,
        _sealed(file, passphrase) as stream,
        tar_sink(stream) as sink,
    ):
        package = Package(sink)
        if keys_only:
            manifest = _write_keys(services, package)
        else:
            manifest = write_export(
                services,
                package,
                blobs=blobs,
                texts=True,
                steps=steps,
                more=lambda: write_home(services, package),
            )
    return report(path, manifest, package, encrypted=not unencrypted)


def write_home(services: Services, package: Package) -> None:
    """Write the home's settings, keys and keyring, as they are now."""
    home = services.settings.home
    for name, path in _home_files(home):
        package.add_file(name, path)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / home.keyring.name
        services.keyring.backup(copy)
        package.add_file(exports.KEYRING, copy)


def _home_files(home: Home) -> Iterator[tuple[str, Path]]:
    """Yield the files of a home that are neither derived nor recorded: settings and keys."""
    found = [home.config, home.retention, home.vault / ".dvc" / "config"]
    for folder in (home.keys, home.witnesses, home.witnessed):
        found += sorted(folder.rglob("*"))
    for path in found:
        name = exports.HOME + path.relative_to(home.root).as_posix()
        if path.is_file() and exports.is_home_file(name):
            yield name, path


def _write_keys(services: Services, package: Package) -> Manifest:
    with read(services.engine) as conn:
        stored, checkpoint = signed_head(services, conn)
    package.add(exports.CHECKPOINT, stored.note)
    package.add(exports.VKEY, f"{services.reader.vkey}\n".encode("ascii"))
    write_home(services, package)
    return finish(services, package, checkpoint, ["home"])


@contextmanager
def _sealed(file: IO[bytes], passphrase: str | None) -> Iterator[IO[bytes]]:
    if passphrase is None:
        yield file
        return
    writer = EncryptingWriter(file, passphrase)
    yield writer  # type: ignore[misc]  # a stream that writes
    writer.close()
