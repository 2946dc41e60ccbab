"""Verbs that look into the log: its head, its check, single records and their proofs."""

import sys
from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json
from registry.cli.recovery import recover
from registry.cli.witness import consistency, export_tiles, witness

log = subcommands("Look into the log; check it, prove from it, witness it.")


@log.command("head", cls=Verb)
def head(
    witnesses: Annotated[
        int,
        typer.Option("--witnesses", metavar="N", min=0, help="Refuse fewer cosignatures than N."),
    ] = 0,
    cosigned: Annotated[
        bool,
        typer.Option("--cosigned", help="The newest that N witnesses cosigned, at least one."),
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Print the newest checkpoint, a signed note to keep elsewhere.

    Whoever keeps one can tell later whether the log was rewritten. The cosignatures of witnesses
    stand below the log's own signature. Ends with 1 when fewer than `--witnesses` are there.

    For example:
      genops log head > checkpoint.txt
      genops log head --witnesses 2
      genops log head --cosigned
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.witness import head as render

    with opened_here(home, "log head") as registry:
        if cosigned:
            found = registry.witness.cosigned_head(max(witnesses, 1))
        else:
            found = registry.witness.head(at_least=witnesses)
        emit(found, render, as_json=json)


@log.command("check", cls=Verb)
def check(
    blobs: Annotated[
        bool,
        typer.Option("--blobs", help="Also read every blob in the vault and every sealed text."),
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option("--jobs", metavar="N", min=1, help="Processes to use; else one per core."),
    ] = None,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew, even if a check was interrupted.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Verify the whole log: tree, checkpoints, signatures, trust at log time and schemas.

    Ends with 1 when anything is wrong, and names the first bad record and what is wrong with it.
    A check that was interrupted goes on where it stopped. What is derived from the log is compared
    by `genops catalog check`.

    For example:
      genops log check
      genops log check --blobs --jobs 4
      genops log check --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.checks import log_report
    from registry.threads import cores

    try:
        with opened_here(home, "log check") as registry, progress() as line:
            report = registry.check_log(
                line("records"),
                blobs=blobs,
                jobs=jobs or cores(),
                fresh=fresh,
                blob_progress=line("blobs") if blobs else None,
            )
    except KeyboardInterrupt as stop:
        print(*stop.args, file=sys.stderr)
        raise
    emit(report, log_report, as_json=json)
    raise typer.Exit(0 if report.ok else 1)


@log.command("entry", cls=Verb)
def entry(
    record: Annotated[
        str, typer.Argument(metavar="ID|INDEX", help="A record, an asset, or a place in the log.")
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Print any record as it was signed: its place, its time and its in-toto statement.

    For example:
      genops log entry 0
      genops log entry rec:5d02c9aa --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.proofs import log_record
    from registry.cli.render.reports import log_record as render

    with opened_here(home, "log entry") as registry:
        emit(log_record(registry, record), render, as_json=json)


@log.command("prove", cls=Verb)
def prove(
    record: Annotated[
        str, typer.Argument(metavar="ID|INDEX", help="A record, an asset, or a place in the log.")
    ],
    home: Home = None,
    json: Json = False,
) -> None:
    """Print a proof that a record is in the log (c2sp.org/tlog-proof).

    For example:
      genops log prove 3f2a9c81 > record.tlog-proof
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.proofs import log_proof
    from registry.cli.render.reports import log_proof as render

    with opened_here(home, "log prove") as registry:
        emit(log_proof(registry, record), render, as_json=json)


log.command("recover", cls=Verb)(recover)
log.command("consistency", cls=Verb)(consistency)
log.command("export-tiles", cls=Verb)(export_tiles)
log.add_typer(witness, name="witness")
