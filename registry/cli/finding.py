"""Verbs that look files up: find, and find calibrate."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.cli.frame import Verb, with_default
from registry.cli.options import Exclude, Home, Include, Json, Lines, check_one_answer
from registry.core.look_up import STRONGEST_FIRST, FindVerdict

if TYPE_CHECKING:
    from registry.sdk import Registry

Tally = Counter[FindVerdict | None]
"""How many files came to each verdict; None counts those that could not be looked up."""


class FailOn(StrEnum):
    """The verdicts that can end a pipeline."""

    match = "match"
    probable = "probable"
    review = "review"


def find_file(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="FILE|FOLDER", help="Files from anywhere, and folders of them."),
    ],
    banks: Annotated[
        list[str] | None,
        typer.Option(
            "--bank",
            metavar="NAME",
            help="Look in this bank; else in `registered`; may be repeated.",
        ),
    ] = None,
    radius: Annotated[
        int,
        typer.Option("--radius", metavar="N", min=0, max=256, help="Most differing bits of 256."),
    ] = 62,
    fail_on: Annotated[
        FailOn | None,
        typer.Option("--fail-on", help="End with 1 when a file comes to this verdict, or a surer."),
    ] = None,
    lines: Lines = False,
    include: Include = None,
    exclude: Exclude = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Find what files are, even changed copies and parts of them.

    They may have been re-encoded, resized, cropped, mirrored, put into a page or stripped of
    their metadata on the way. What is certain and what only looks alike is told apart: E is the
    number of false matches so near that are to be expected, at most.

    Ends with 0 whether or not something matches; with --fail-on, with 1 when something does. Of
    several files, one that cannot be looked up is told and stops no other; it ends with 2 when
    none could be, and with --fail-on when any could not.

    For example:
      genops find downloaded.jpg
      genops find screenshot.png --bank registered --bank competitors --json
      genops find deliveries/ --bank blocked --fail-on probable --lines
    """
    from registry.cli.opening import opened

    check_one_answer(lines=lines, json=json)
    wanted = banks or ["registered"]
    with opened(home) as registry:
        if len(paths) == 1 and not lines and not Path(paths[0]).is_dir():
            verdicts = _one(registry, paths[0], radius, wanted, as_json=json)
        else:
            names = {"include": include or (), "exclude": exclude or ()}
            verdicts = _many(
                registry, paths, {"radius": radius, "banks": wanted, **names}, lines, as_json=json
            )
    raise typer.Exit(_exit_of(verdicts, fail_on))


def _one(registry: Registry, path: str, radius: int, banks: list[str], *, as_json: bool) -> Tally:
    """Answer for one file; what is wrong with it is an error of the verb."""
    from registry.cli.output import emit
    from registry.cli.render.finding import matches

    result = registry.find(Path(path), radius=radius, banks=banks)
    emit(result, matches, as_json=as_json)
    return Counter([result.verdict])


def _many(
    registry: Registry, paths: list[str], how: dict[str, Any], lines: bool, *, as_json: bool
) -> Tally:
    """Answer for many files, one after the other; only --json keeps them all."""
    import json

    from registry.cli.output import emit, put
    from registry.cli.progress import progress
    from registry.cli.render import finding
    from registry.core.find_answers import FindReport

    tally: Tally = Counter()
    kept = []
    with progress() as line:
        for found in registry.find_many(paths, **how, progress=line("files")):
            tally[found.verdict] += 1
            if lines:
                put(json.dumps(found.to_dict()) + "\n")
            elif as_json:
                kept.append(found)
            else:
                emit(found, finding.found_file, as_json=False)
    counts = {verdict: count for verdict, count in tally.items() if verdict is not None}
    report = FindReport(tally.total(), counts, tally[None], tuple(kept))
    if as_json:
        emit(report, finding.summed_up, as_json=True)
    else:
        typer.echo(finding.summed_up(report), err=True)
    return tally


def _exit_of(tally: Tally, fail_on: FailOn | None) -> int:
    failed = tally[None]
    if fail_on is None:
        return 2 if failed and failed == tally.total() else 0
    surer = STRONGEST_FIRST[: STRONGEST_FIRST.index(fail_on.value) + 1]
    if any(tally[verdict] for verdict in surer):
        return 1
    return 2 if failed else 0


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
