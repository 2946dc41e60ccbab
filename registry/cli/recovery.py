"""Verbs for bad days: restore a registry from its vault, and repair a log that is behind."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.options import Json
from registry.cli.transfer import Database


def restore(
    vault: Annotated[
        Path, typer.Argument(metavar="VAULT", help="A vault's folder, after `dvc pull`.")
    ],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The new registry's folder.")],
    keys: Annotated[
        Path | None,
        typer.Option("--keys", metavar="BACKUP", help="A file that `genops backup` made."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--key", metavar="VKEY|FILE", help="The log's public key that it must have."),
    ] = None,
    database_url: Database = None,
    lose_newest: Annotated[
        bool,
        typer.Option("--lose-newest", help="Give up signed records that are nowhere any more."),
    ] = False,
    json: Json = False,
) -> None:
    """Make a working registry from its vault and the backup of its keys.

    Every record, blob and text is verified first, and the whole must be what the log signed; a
    failure leaves nothing behind. What was recorded after the last `genops mirror sync` is not in
    a vault. What the log says was erased is erased again. Without keys the registry answers and
    verifies, and neither signs nor opens texts.

    For example:
      genops restore vault /srv/registry --keys keys.genops
      genops restore vault copy --key log.vkey
    """
    from registry.cli.opening import passphrase_to_open
    from registry.cli.output import emit
    from registry.cli.proofs import log_key
    from registry.cli.render.recovery import restored
    from registry.cli.steps import steps
    from registry.factory import restore_registry
    from registry.workflows.fresh import refuse_password

    refuse_password(database_url)
    secret = passphrase_to_open(keys)
    with steps() as shown:
        done = restore_registry(
            vault,
            path,
            keys=keys,
            log_key=None if key is None else log_key(key),
            database_url=database_url,
            lose_newest=lose_newest,
            passphrase=lambda: secret,
            steps=shown,
        )
    emit(done, restored, as_json=json)
