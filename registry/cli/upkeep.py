"""Verbs that keep a registry going: the catalog, the models in it, and the mirrors."""

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json
from registry.cli.recovery import retry
from registry.errors import InputError

catalog = subcommands("Rebuild the catalog; make fingerprints; list models.")
mirror = subcommands("Feed MLflow and the vault; see what is waiting.")

Targets = Annotated[
    list[str] | None,
    typer.Option("--target", metavar="NAME", help="mlflow or vault; else both."),
]


@catalog.command("rebuild", cls=Verb)
def rebuild(
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="EXPORT", help="Derive it from an export or a backup."),
    ] = None,
    into: Annotated[
        str | None,
        typer.Option("--into", metavar="FILE|URL", help="A new SQLite file, or empty Postgres."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Drop the catalog and rebuild it from the log.

    One transaction: who reads sees the old one or the new one. With --from and --into, a catalog is
    derived from an export into an empty database, and no registry is needed.

    For example:
      genops catalog rebuild
      genops catalog rebuild --from registry.tar --into catalog.db
    """
    from registry.cli.answers import Rebuilt
    from registry.cli.opening import opened_here, passphrase_to_open
    from registry.cli.output import emit
    from registry.cli.render.reports import rebuilt
    from registry.cli.steps import steps

    if (source is None) != (into is None):
        raise InputError("--from and --into go together", code="usage", hint="give both")
    if source is not None and into is not None:
        from registry.workflows.fresh import refuse_password
        from registry.workflows.transfer.deriving import derive_catalog

        refuse_password(into)
        secret = passphrase_to_open(source)
        with steps() as shown:
            records = derive_catalog(source, into, passphrase=lambda: secret, steps=shown)
    else:
        with opened_here(home, "catalog rebuild") as registry, steps() as shown:
            records = registry.rebuild_catalog(partial(shown, "records"))
    emit(Rebuilt(records), rebuilt, as_json=json)


@catalog.command("check", cls=Verb)
def check_catalog(home: Home = None, json: Json = False) -> None:
    """Compare the catalog with what the log gives.

    Ends with 1 when rows were edited, added or deleted behind the log's back; `catalog rebuild`
    mends that.

    For example:
      genops catalog check
    """
    from registry.cli.answers import CatalogCheck
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.reports import catalog_check

    with opened_here(home, "catalog check") as registry:
        found = registry.check_catalog()
    emit(CatalogCheck(not found, found), catalog_check, as_json=json)
    raise typer.Exit(1 if found else 0)


@catalog.command("fingerprint", cls=Verb)
def fingerprint(
    again: Annotated[bool, typer.Option("--again", help="Make those anew that are there.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make the fingerprints that assets lack, from the vault.

    After an upgrade, assets of before have those of the older release alone: they are found as
    before, but not yet by their parts. Stopped, it goes on where it was. Personal outputs have
    none. Ends with 1 when stored bytes do not decode.

    For example:
      genops catalog fingerprint
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.reports import fingerprinted
    from registry.cli.steps import steps

    with opened_here(home, "catalog fingerprint") as registry, steps() as shown:
        done = registry.upkeep.fingerprint(again=again, progress=partial(shown, "assets"))
    emit(done, fingerprinted, as_json=json)
    raise typer.Exit(1 if done.unread else 0)


@catalog.command("models", cls=Verb)
def models(home: Home = None, json: Json = False) -> None:
    """List the declared models and LoRAs with their licences.

    For example:
      genops catalog models
    """
    from registry.cli.answers import ModelView
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.listings import models as render

    with opened(home) as registry:
        emit([ModelView(**row) for row in registry.models()], render, as_json=json)


@catalog.command("add-model", cls=Verb)
def add_model(
    source: Annotated[
        str, typer.Argument(metavar="PATH|DIGEST", help="A file, a model folder or its digest.")
    ],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What it is called.")],
    kind: Annotated[
        str, typer.Option("--kind", metavar="KIND", help="model, lora, vae, controlnet, …")
    ],
    licence: Annotated[str, typer.Option("--licence", metavar="TEXT", help="Its SPDX id.")],
    approved: Annotated[bool, typer.Option("--approved", help="It may be used.")] = False,
    uri: Annotated[str, typer.Option("--uri", metavar="TEXT", help="Where it comes from.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Declare a model or LoRA: its name, licence and whether it may be used.

    For example:
      genops catalog add-model brand.pt --name brand --kind lora --licence MIT
    """
    from registry.cli.opening import opened_to_sign
    from registry.cli.output import emit
    from registry.cli.render.reports import receipt

    with opened_to_sign(home) as registry:
        done = registry.register_model(
            source, name=name, kind=kind, licence=licence, approved=approved, uri=uri
        )
        emit(done, receipt, as_json=json)


@mirror.command("sync", cls=Verb)
def sync(target: Targets = None, home: Home = None, json: Json = False) -> None:
    """Send what is waiting to the mirrors.

    Ends with 1 when something could not be sent; it stays waiting.

    For example:
      genops mirror sync
      genops mirror sync --target mlflow
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.reports import mirrors

    with opened(home) as registry:
        chosen = {"targets": tuple(target)} if target else {}
        reports = registry.sync_mirrors(**chosen)
        emit(reports, mirrors, as_json=json)
    raise typer.Exit(1 if any(r.failed or r.error for r in reports) else 0)


@mirror.command("status", cls=Verb)
def status(home: Home = None, json: Json = False) -> None:
    """Show what is waiting for each mirror.

    For example:
      genops mirror status
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.reports import mirrors

    with opened(home) as registry:
        emit(registry.mirror_status(), mirrors, as_json=json)


@mirror.command("check", cls=Verb)
def check(
    target: Annotated[
        str, typer.Option("--target", metavar="NAME", help="mlflow or vault.")
    ] = "mlflow",
    home: Home = None,
    json: Json = False,
) -> None:
    """Compare a mirror's copies with the log: MLflow's traces, or the vault's segments.

    Records that still wait are left out. Ends with 1 when a copy was altered or is gone.

    For example:
      genops mirror check
      genops mirror check --target vault
    """
    from registry.cli.answers import MirrorCheck
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.reports import mirror_check

    with opened_here(home, "mirror check") as registry:
        found = registry.check_mirror(target)
    emit(MirrorCheck(target, not found, found), mirror_check, as_json=json)
    raise typer.Exit(1 if found else 0)


mirror.command("retry", cls=Verb)(retry)
