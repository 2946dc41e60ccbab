"""`genops demo`: the main job end to end on a fresh home, each claim checked as it is made."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def demo(
    home: Annotated[
        Path,
        typer.Option("--home", metavar="PATH", help="Where to make the demo's registry, anew."),
    ] = Path(".demo/home"),
    json: Annotated[
        bool, typer.Option("--json", help="Print the claims and what was found as JSON.")
    ] = False,
) -> None:
    """Run the main job end to end on a fresh registry, and check every claim.

    Generates a campaign, shows and verifies a passport, catches tampering, finds a copy, gates
    releases, reproduces bit for bit, and mirrors to MLflow and DVC. Takes about a minute; run
    again, it starts afresh. Exits 1 when a claim does not hold.

    For example:
    genops demo
    genops demo --home demo/home --json
    """
    from generators.environment import prepare

    prepare()
    from generators.demo.stage import Stage
    from generators.demo.steps import run

    stage = Stage(quiet=json)
    run(home, stage)
    stage.finish(as_json=json)
    raise typer.Exit(0 if stage.holds else 1)
