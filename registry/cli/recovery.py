"""Verbs for bad days: restore a registry from its vault, and repair a log that is behind."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.options import Home, Json
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
    """Make a registry from its vault and its keys' backup.

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


def recover(
    source: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="PLACE", help="An export, a backup or a vault to look into too."
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would be put back, and change nothing.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Explain why a database is behind what the log signed, and put back what it lacks.

    Looks at the checkpoint file, the vault's segments, kept cosignatures, MLflow's traces, and what
    --from names. Records come back only if all of them are found and lead to the newest signed
    checkpoint; nothing is sent to a mirror again. A forked log is explained and never repaired.
    Ends with 1 when the log is not whole, and with 0 when it is, or would be without --dry-run.

    For example:
      genops log recover --dry-run
      genops log recover --from /mnt/backup/registry.genops
    """
    from registry.cli.opening import own_folder, passphrase_to_open
    from registry.cli.output import emit
    from registry.cli.render.recovery import recovered
    from registry.cli.steps import steps
    from registry.factory import recover_registry

    where = own_folder(home, "log recover")
    places = source or []
    secret = passphrase_to_open(*places)
    with steps() as shown:
        done = recover_registry(
            where, more=places, dry_run=dry_run, passphrase=lambda: secret, steps=shown
        )
    emit(done, recovered, as_json=json)
    raise typer.Exit(0 if done.ok else 1)


def retry(
    target: Annotated[
        list[str] | None,
        typer.Option("--target", metavar="NAME", help="mlflow or vault; else both."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Send to the mirrors again what they refused, lack, or hold otherwise than the log.

    Compares every copy with the log first. Ends with 1 when something could not be sent.

    For example:
      genops mirror retry
      genops mirror retry --target vault
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.recovery import retried

    with opened_here(home, "mirror retry") as registry:
        chosen = target or ["mlflow", "vault"]
        reports = [registry.recovery.retry_mirror(name) for name in chosen]
        emit(reports, retried, as_json=json)
    raise typer.Exit(1 if any(r.failed or r.error for r in reports) else 0)
