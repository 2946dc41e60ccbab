"""Verbs that hand out proofs to others, and check those of others."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from registry.cli.options import Assets, Home, Json, LogKey
from registry.errors import InputError


def evidence(
    assets: Assets,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it here; else to stdout.")
    ] = None,
    texts: Annotated[
        bool,
        typer.Option("--texts/--no-texts", help="Disclose the sealed texts, or withhold them."),
    ] = True,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write a file that proves the records of assets offline.

    For one asset a JSON file with the signed record, its proof, its texts and the trusted keys; for
    several a ZIP of such files. Check it with `genops verify-evidence` and the log's public key.

    For example:
      genops evidence 3f2a9c81 --out asset.evidence.json
      genops evidence 3f2a9c81 77e01b5c --no-texts > release.evidence.zip
    """
    from registry.cli.opening import opened

    many = len(assets) > 1
    if many and out is None:
        _refuse_stdout(as_json=json)
    with opened(home) as registry:
        if many:
            data = registry.evidence_bundle(assets, texts=texts)
        else:
            data = registry.evidence(assets[0], texts=texts)
    if out is not None:
        out.write_bytes(data)
    else:
        _put(data if many else data + b"\n")


def _refuse_stdout(*, as_json: bool) -> None:
    """Raise InputError where a ZIP would be printed as if it were text."""
    if as_json or sys.stdout.isatty():
        raise InputError(
            "the evidence of several records is a ZIP, which is not for reading",
            code="usage.binary",
            hint="give --out FILE, or pipe it",
        )


def _put(data: bytes) -> None:
    from registry.cli.failures import close_pipe

    try:
        stream = typer.get_binary_stream("stdout")
        stream.write(data)
        stream.flush()
    except BrokenPipeError:
        raise typer.Exit(close_pipe()) from None


def verify_evidence(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The evidence: JSON, or a ZIP.")],
    key: LogKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Verify evidence with only the log's public key.

    The key must come from somewhere you trust, never from who sent the file. Names every check
    that fails, and ends with 1 then. docs/evidence.md shows how to verify without this program.

    For example:
      genops verify-evidence asset.evidence.json --key log.vkey
      genops verify-evidence release.evidence.zip --key log.vkey --json
    """
    from registry.cli.output import emit
    from registry.cli.proofs import evidence_view, read_evidence, trusted_log_key
    from registry.cli.render.evidence import evidence as render

    trusted = trusted_log_key(key, home)
    view = evidence_view(read_evidence(file), trusted)
    emit(view, render, as_json=json)
    raise typer.Exit(0 if view.ok else 1)
