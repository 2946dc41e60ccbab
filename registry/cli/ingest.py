"""The verb that takes in a whole library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from registry.cli.options import (
    Campaign,
    Exclude,
    Home,
    Include,
    Json,
    Lines,
    Project,
    check_one_answer,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from registry.core.ingest_answers import FileOutcome, IngestReport


def ingest(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH", help="Files, and folders with all below them.")
    ],
    include: Include = None,
    exclude: Exclude = None,
    hidden: Annotated[
        bool, typer.Option("--hidden", help="Names that begin with a dot, too.")
    ] = False,
    all_files: Annotated[
        bool, typer.Option("--all-files", help="Files of any kind, not only pictures.")
    ] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Record what is an asset of the project already, too.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, say what would be done, do nothing.")
    ] = False,
    strict: Annotated[
        bool, typer.Option("--strict", help="End with 1 when any file cannot be taken in.")
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Processes that read; else one a core."),
    ] = None,
    lines: Lines = False,
    note: Annotated[
        str, typer.Option("--note", metavar="TEXT", help="A remark on all of them, kept sealed.")
    ] = "",
    project: Project = None,
    campaign: Campaign = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Register folders of pictures that were made elsewhere.

    Every picture becomes an asset of its own, with its bytes in the content store, its
    fingerprints and a signed record that says `ingested`; its relative path is kept sealed. What
    the project has already is skipped, by content, so that a run that was stopped is simply run
    again. Ends with 0 when files could not be taken in as long as others are registered; with 2
    when none is, and with --strict with 1.

    For example:
      genops ingest photographs/ --project spring
      genops ingest /mnt/library --exclude "*_thumb.*" --exclude "trash/*" --dry-run
      genops ingest deliveries/ --campaign launch --strict --lines > ingested.jsonl
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.ingest import ingested

    check_one_answer(lines=lines, json=json)
    with opened_here(home, "ingest", to_sign=not dry_run) as registry:
        with progress() as line:
            report = registry.ingest_many(
                paths,
                include=include or (),
                exclude=exclude or (),
                hidden=hidden,
                all_files=all_files,
                again=again,
                dry_run=dry_run,
                jobs=jobs,
                note=note,
                project=project,
                campaign=campaign,
                told=_printed if lines else _unheard,
                progress=line("files"),
            )
        _answer(report, lines=lines, show=lambda: emit(report, ingested, as_json=json))
    raise typer.Exit(_exit_of(report, strict=strict))


def _unheard(_: FileOutcome) -> None:
    """Print nothing."""


def _printed(outcome: FileOutcome) -> None:
    import json

    from registry.cli.output import put

    put(json.dumps(outcome.to_dict()) + "\n")


def _answer(report: IngestReport, *, lines: bool, show: Callable[[], None]) -> None:
    """Print the report; beside lines of JSON, only its first line, for people."""
    if not lines:
        show()
        return
    from registry.cli.render.ingest import summed_up

    typer.echo(summed_up(report), err=True)


def _exit_of(report: IngestReport, *, strict: bool) -> int:
    if report.ok:
        return 0
    if strict:
        return 1
    return 0 if report.new or report.known else 2
