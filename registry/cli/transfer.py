"""Verbs that move a registry: export, backup, import, upgrade."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.options import Home, Json

Blobs = Annotated[
    bool,
    typer.Option("--blobs/--no-blobs", help="Copy the vault's content, or only list it."),
]
Database = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="An empty Postgres database, without password; else GENOPS_DATABASE_URL, else SQLite.",
    ),
]


def export(
    target: Annotated[
        Path, typer.Argument(metavar="DIR|FILE.tar", help="A new folder, or a new tar.")
    ],
    blobs: Blobs = True,
    texts: Annotated[
        bool,
        typer.Option("--texts/--no-texts", help="Copy the encrypted texts, or leave them out."),
    ] = True,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write the whole registry in open formats, without keys.

    Tiles and entries as in C2SP tlog-tiles, envelopes and blobs by SHA-256, encrypted texts, and a
    list of digests that `sha256sum --check SHA256SUMS` reads. Others may write meanwhile: it holds
    what the log held when it began. `genops import` makes a registry of it.

    For example:
      genops export /mnt/handover
      genops export registry.tar --no-blobs
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.transfer import exported
    from registry.cli.steps import steps

    with opened_here(home, "export") as registry, steps() as shown:
        done = registry.upkeep.export(target, blobs=blobs, texts=texts, steps=shown)
    emit(done, exported, as_json=json)


def backup(
    target: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    keys_only: Annotated[
        bool,
        typer.Option("--keys-only", help="Only keys, keyring and settings, for beside the vault."),
    ] = False,
    blobs: Blobs = True,
    unencrypted: Annotated[
        bool,
        typer.Option("--unencrypted", help="In the clear: who has the file has the registry."),
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write the registry, keys and all, into one encrypted file.

    The passphrase is asked for, or read from GENOPS_BACKUP_PASSPHRASE or GENOPS_PASSPHRASE; without
    it nobody opens the file.
    What is erased later is still in it: keep backups short, and `genops import` erases again what
    the log says was erased.

    For example:
      genops backup /mnt/backup/registry.genops
      genops backup keys.genops --keys-only
    """
    from registry.cli.opening import opened_here, passphrase_of_backup
    from registry.cli.output import emit
    from registry.cli.render.transfer import exported
    from registry.cli.steps import steps

    with opened_here(home, "backup") as registry:
        secret = None if unencrypted else passphrase_of_backup()
        with steps() as shown:
            done = registry.upkeep.backup(
                target,
                passphrase=secret,
                unencrypted=unencrypted,
                keys_only=keys_only,
                blobs=blobs,
                steps=shown,
            )
    emit(done, exported, as_json=json)


def import_home(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="An export, or a backup with its log.")
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The new registry's folder.")],
    database_url: Database = None,
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="BACKUP", help="A backup that holds the registry's keys."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="VKEY|FILE", help="The log's public key that it must have."),
    ] = None,
    json: Json = False,
) -> None:
    """Make a registry from an export or a backup.

    Everything is verified first: the whole log, every blob, every text. A failure leaves nothing
    behind. Without keys the registry answers and verifies, and neither signs nor opens texts. Stop
    the old registry for good before the new one records: two that write fork the log.

    For example:
      genops import registry.genops /srv/registry
      genops import /mnt/handover studio --keys keys.genops
      genops import registry.tar copy --key log.vkey
    """
    from registry.cli.opening import passphrase_to_open
    from registry.cli.output import emit
    from registry.cli.proofs import log_key
    from registry.cli.render.transfer import imported
    from registry.cli.steps import steps
    from registry.factory import import_registry
    from registry.workflows.fresh import refuse_password

    refuse_password(database_url)
    secret = passphrase_to_open(source, keys)
    with steps() as shown:
        done = import_registry(
            source,
            path,
            database_url=database_url,
            keys=keys,
            log_key=None if key is None else log_key(key),
            passphrase=lambda: secret,
            steps=shown,
        )
    emit(done, imported, as_json=json)


def upgrade(
    backup: Annotated[
        bool, typer.Option("--backup/--no-backup", help="Copy the database first, or do not.")
    ] = True,
    home: Home = None,
    json: Json = False,
) -> None:
    """Bring a registry of an older release to this one.

    Copies the database beside itself, changes it in one transaction, restores guards that are
    gone, derives the catalog anew and checks the log. Stop whatever else has the registry open.
    Doing it twice does no harm.

    For example:
      genops upgrade --home /srv/registry
    """
    from registry.cli.opening import own_folder
    from registry.cli.output import emit
    from registry.cli.render.transfer import upgraded
    from registry.cli.steps import steps
    from registry.factory import upgrade_registry

    where = own_folder(home, "upgrade")
    with steps() as shown:
        done = upgrade_registry(where, backup=backup, steps=shown)
    emit(done, upgraded, as_json=json)
