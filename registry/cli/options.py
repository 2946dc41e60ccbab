"""The options that verbs share; generators use them for the verbs that they bring."""

from __future__ import annotations

from typing import Annotated

import typer

from registry.errors import InputError

Home = Annotated[
    str | None,
    typer.Option(
        "--home",
        metavar="PATH|URL",
        help="The registry: a folder or the URL of a served one. Else GENOPS_HOME, else .genops.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON (schemas/cli/).")]
Project = Annotated[
    str | None, typer.Option("--project", metavar="NAME", help="The project; else the home's own.")
]
Campaign = Annotated[str | None, typer.Option("--campaign", metavar="NAME", help="The campaign.")]
Asset = Annotated[str, typer.Argument(metavar="ID", help="Asset, record, prefix or file.")]
Assets = Annotated[list[str], typer.Argument(metavar="ID", help="Assets, records or files.")]
LogKey = Annotated[
    str | None,
    typer.Option(
        "--key", metavar="VKEY|FILE", help="The log's public key, or a file; else the home's."
    ),
]
Limit = Annotated[
    int, typer.Option("--limit", metavar="N", min=1, help="Most rows, 1000 at the most.")
]
Offset = Annotated[int, typer.Option("--offset", metavar="N", min=0, help="Rows to skip.")]
Include = Annotated[
    list[str] | None,
    typer.Option(
        "--include", metavar="GLOB", help="Only names or paths like this; may be repeated."
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="No names or paths like this; may be repeated."),
]
Lines = Annotated[
    bool, typer.Option("--lines", help="Print a line of JSON for each file, as it is done.")
]


def check_one_answer(*, lines: bool, json: bool) -> None:
    """Refuse to answer in two ways; raises InputError."""
    if lines and json:
        raise InputError("--lines and --json are two ways to answer; choose one", code="usage")
