"""Verbs that look files up: find, and find calibrate."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from registry.cli.frame import Verb, with_default
from registry.cli.options import Home, Json


def find_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture from anywhere.")],
    radius: Annotated[
        int,
        typer.Option("--radius", metavar="N", min=0, max=256, help="Most differing bits of 256."),
    ] = 62,
    home: Home = None,
    json: Json = False,
) -> None:
    """Find what a picture is, even a changed copy of it.

    It may have been re-encoded, resized, cropped or stripped of its metadata on the way. Exact
    matches and look-alikes are told apart. Ends with 0 whether or not something matches.

    For example:
      genops find downloaded.jpg
      genops find screenshot.png --json
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.listings import matches

    with opened(home) as registry:
        emit(registry.find(file, radius=radius), matches, as_json=json)


find = with_default("find", find_file)


@find.command("calibrate", cls=Verb)
def calibrate(
    banks: Annotated[
        list[str] | None,
        typer.Option("--bank", metavar="NAME", help="A bank to learn from; repeat for several."),
    ] = None,
    sample: Annotated[
        int,
        typer.Option("--sample", metavar="N", min=2, max=200_000, help="Most values to compare."),
    ] = 20_000,
    home: Home = None,
    json: Json = False,
) -> None:
    """Learn from your own pictures how often look-ups are wrong.

    Compares the pictures of the registry and its banks with each other, all that nothing ties
    together, and signs how near they come: from then on E, the expected number of false matches,
    is from this. Shows the nearest pairs: confirm those that are copies, and calibrate again.

    For example:
      genops find calibrate
      genops find calibrate --bank registered --sample 50000
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.finding import calibration

    with opened_here(home, "find calibrate", to_sign=True) as registry:
        done = registry.calibrate_look_ups(banks=banks or (), sample=sample)
        emit(done, calibration, as_json=json)
