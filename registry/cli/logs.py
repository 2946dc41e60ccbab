"""Verbs that prove: the log's head, its check, single records, and evidence files."""

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Asset, Home, Json
from registry.errors import InputError

log = subcommands("Look into the log: head, records, proofs, full check.")


@log.command("head", cls=Verb)
def head(home: Home = None, json: Json = False) -> None:
    """Print the newest checkpoint, a signed note to keep elsewhere.

    Whoever keeps one can tell later whether the log was rewritten.

    For example:
      genops log head > checkpoint.txt
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.proofs import log_head
    from registry.cli.render.reports import log_head as render

    with opened_here(home, "log head") as registry:
        emit(log_head(registry), render, as_json=json)


@log.command("check", cls=Verb)
def check(home: Home = None, json: Json = False) -> None:
    """Verify the whole log: tree, checkpoint, signatures, trust at log time and schemas.

    Ends with 1 when anything is wrong, and names it.

    For example:
      genops log check
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.reports import log_report

    with opened(home) as registry:
        report = registry.check_log()
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


def evidence(
    asset: Asset,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it here; else to stdout.")
    ] = None,
    texts: Annotated[
        bool,
        typer.Option("--texts/--no-texts", help="Disclose the sealed texts, or withhold them."),
    ] = True,
    home: Home = None,
    json: Json = False,  # noqa: ARG001  # an evidence file is JSON either way
) -> None:
    """Write a file that proves an asset's record offline.

    One JSON file with the signed record, its proof, its texts and the trusted keys; check it with
    `genops verify-evidence` and the log's public key.

    For example:
      genops evidence 3f2a9c81 --out asset.evidence.json
    """
    from registry.cli.opening import opened
    from registry.cli.output import put

    with opened(home) as registry:
        data = registry.evidence(asset) if texts else registry.evidence(asset, texts=False)
    if out is None:
        put(data.decode("utf-8") + "\n")
        return
    out.write_bytes(data)


def verify_evidence(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The evidence file.")],
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="VKEY|FILE", help="The log's public key, or a file; else the home's."
        ),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Verify an evidence file with only the log's public key.

    The key must come from somewhere you trust, never from who sent the file. Ends with 1 when a
    check fails.

    For example:
      genops verify-evidence asset.evidence.json --key log.vkey
    """
    from registry.cli.output import emit
    from registry.cli.proofs import evidence_view, home_log_key, log_key
    from registry.cli.render.reports import evidence as render

    if key is not None and home is not None:
        raise InputError("--key and --home both name a key", code="usage", hint="give one of them")
    trusted = log_key(key) if key is not None else home_log_key(home)
    view = evidence_view(file.read_bytes(), trusted)
    emit(view, render, as_json=json)
    raise typer.Exit(0 if view.ok else 1)
