"""Verbs that record assets and ask about them: record, list, show, verify."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from registry.cli.options import Asset, Assets, Campaign, Home, Json, Limit, Offset, Project


class Kind(StrEnum):
    """How an asset came into the registry."""

    generated = "generated"
    ingested = "ingested"


class Contribution(StrEnum):
    """What people did to an asset by hand (`registry.core.predicates.CONTRIBUTIONS`)."""

    retouched = "retouched"
    composited = "composited"
    drawn = "drawn"
    typography = "typography"
    logo = "logo"
    layout = "layout"
    graded = "graded"
    written = "written"


def record(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to record.")],
    parent: Annotated[
        list[str] | None,
        typer.Option("--parent", metavar="ID", help="What it was made from; may be repeated."),
    ] = None,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="A remark, kept sealed.")
    ] = "",
    contribution: Annotated[
        list[Contribution] | None,
        typer.Option(
            "--contribution",
            metavar="KIND",
            help="What people did by hand: retouched, typography, …; may be repeated.",
        ),
    ] = None,
    personal: Annotated[
        bool, typer.Option("--personal", help="Store it encrypted, so that it can be erased.")
    ] = False,
    project: Project = None,
    campaign: Campaign = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Record a file that was made elsewhere, or edited by hand.

    Generations record themselves; this is for an edit, a photograph, a delivery, of any format.
    The file is copied into the content store and its record is signed and logged before the verb
    returns. An edit names its parents and what people contributed; a picture that looks like none
    of its parents is recorded with a warning. A personal one, such as a portrait, is stored
    encrypted, and `find` does not know it.

    For example:
      genops record poster.psd --parent 3f2a9c81 --contribution logo
      genops record edit.png --parent 3f2a9c81 --contribution retouched
      genops record logo.png --project spring --campaign launch
      genops record portrait.jpg --personal --note "model release 12"
    """
    from registry.cli.opening import opened_to_sign
    from registry.cli.output import emit
    from registry.cli.render.reports import receipt

    with opened_to_sign(home) as registry:
        named = {"project": project, "campaign": campaign}
        chosen = {key: value for key, value in named.items() if value is not None}
        done = registry.ingest(
            file,
            parents=parent or (),
            note=note,
            contributions=[kind.value for kind in contribution or ()],
            personal=personal,
            **chosen,
        )
        emit(done, receipt, as_json=json)
    for warning in done.warnings:
        typer.echo(f"warning: {warning}", err=True)


def list_assets(
    project: Project = None,
    campaign: Campaign = None,
    kind: Annotated[Kind | None, typer.Option("--kind", help="How it came in.")] = None,
    tainted: Annotated[
        bool | None, typer.Option("--tainted/--clean", help="Only tainted, or only clean ones.")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
    home: Home = None,
    json: Json = False,
) -> None:
    """List assets, newest first.

    For example:
      genops list --campaign launch --tainted
      genops list --json --limit 1000
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.listings import assets

    with opened(home) as registry:
        rows = registry.list(
            project=project,
            campaign=campaign,
            kind=kind.value if kind else None,
            tainted=tainted,
            limit=limit,
            offset=offset,
        )
        emit(rows, assets, as_json=json)


def show(asset: Asset, home: Home = None, json: Json = False) -> None:
    """Show an asset's passport: all that is known of it.

    How it was made, from what and by whom, where it is kept, what taints it, and every decision,
    reproduction and erasure that speaks of it.

    For example:
      genops show 3f2a9c81
      genops show out.png --json
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.passport import passport

    with opened(home) as registry:
        emit(registry.get(asset), passport, as_json=json)


def verify(assets: Assets, home: Home = None, json: Json = False) -> None:
    """Verify assets, from their stored bytes to the signed log.

    Checks bytes, envelope, schema, signature and role, log entry, proof and checkpoint. Ends with 1
    when any check fails.

    For example:
      genops verify 3f2a9c81
      genops verify delivery/*.png --json
    """
    from registry.cli.answers import VerificationReport
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.reports import verifications

    with opened(home) as registry:
        found = tuple(registry.verify(asset) for asset in assets)
    report = VerificationReport(all(one.ok for one in found), found)
    emit(report, verifications, as_json=json)
    raise typer.Exit(0 if report.ok else 1)
