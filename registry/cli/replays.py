"""Verbs over many replays, audits and calibrations, and the one that shows two side by side."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from registry.cli.frame import Verb, with_default
from registry.cli.options import Home, Json
from registry.cli.release import reproduce as reproduce_one
from registry.errors import InputError


class Place(StrEnum):
    """Where the work is done."""

    processes = "processes"
    ray = "ray"
    dask = "dask"


Executor = Annotated[
    Place, typer.Option("--executor", help="Who runs the workers; ray and dask are extras.")
]
Jobs = Annotated[
    int, typer.Option("--jobs", metavar="N", min=1, help="How many workers; each loads the model.")
]

reproduce = with_default(
    "reproduce",
    reproduce_one,
    dict.fromkeys(("--campaign", "--since", "--sample", "--sample-seed"), "audit"),
)


@reproduce.command("audit", cls=Verb)
def audit(
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="NAME", help="Only those of this campaign.")
    ] = None,
    project: Annotated[
        str | None, typer.Option("--project", metavar="NAME", help="Only those of this project.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Recorded since, such as 2026-11-20T11:07Z."),
    ] = None,
    sample: Annotated[
        int | None,
        typer.Option("--sample", metavar="N", min=1, help="Only N of them, chosen at random."),
    ] = None,
    sample_seed: Annotated[
        str | None,
        typer.Option("--sample-seed", metavar="N", help="Choose as this number says; else afresh."),
    ] = None,
    executor: Executor = Place.processes,
    jobs: Jobs = 1,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make many assets again, judge each, and sign a summary.

    Warm workers replay; this process judges and logs. What was interrupted goes on when it is
    asked for again. Ends with 1 when a verdict is `different`, 2 when an asset could not be judged
    or none came back, else 0. `genops reproduce --campaign NAME` is short for it.

    For example:
      genops reproduce audit --campaign launch --jobs 4
      genops reproduce audit --sample 50 --sample-seed 7 --since 2026-11-01 --json
      genops reproduce --campaign launch --executor ray --jobs 16
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.replays import audited

    seed = None if sample_seed is None else _whole("--sample-seed", sample_seed)
    with opened_here(home, "reproduce audit", to_sign=True) as registry:
        with progress() as line:
            report = registry.replays.audit(
                campaign=campaign,
                project=project,
                since=since,
                sample=sample,
                sample_seed=seed,
                executor=executor.value,
                jobs=jobs,
                progress=line("replays"),
            )
        emit(report, audited, as_json=json)
    raise typer.Exit(_exit_of(report.counts))


def _exit_of(counts: dict[str, int]) -> int:
    """Return what a pipeline is told: 1 for what differs, 2 where nobody can tell."""
    if counts["different"]:
        return 1
    back = counts["identical"] + counts["identical-pixels"] + counts["equivalent"]
    return 2 if counts["failed"] or not back else 0


def _whole(option: str, text: str) -> int:
    try:
        return int(text, 10)
    except ValueError:
        raise InputError(f"{option} {text!r} is not a whole number", code="usage") from None


@reproduce.command("calibrate", cls=Verb)
def calibrate(
    models: Annotated[
        list[str] | None,
        typer.Argument(metavar="MODEL", help="Models: declared names, ids or paths."),
    ] = None,
    campaign: Annotated[
        str | None,
        typer.Option("--campaign", metavar="NAME", help="The models of this campaign."),
    ] = None,
    sample: Annotated[
        int, typer.Option("--sample", metavar="N", help="Measure N pictures of each model.")
    ] = 12,
    executor: Executor = Place.processes,
    jobs: Jobs = 1,
    home: Home = None,
    json: Json = False,
) -> None:
    """Measure how far another machine may move a model's pictures.

    Replays a sample under other instruction sets, threads and batch sizes, and signs the bounds:
    from then on replays of the model are judged by them. Bounds that another seed could pass, or
    that rest on too few pictures, are refused.

    For example:
      genops reproduce calibrate demo-scenes
      genops reproduce calibrate --campaign launch --sample 24 --jobs 2
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.replays import calibrations

    if bool(models) == bool(campaign):
        raise InputError(
            "name models, or a campaign, but not both",
            code="usage",
            hint="`genops catalog models` lists what was declared",
        )
    with opened_here(home, "reproduce calibrate", to_sign=True) as registry:
        with progress() as line:
            done = registry.replays.calibrate(
                models or (),
                campaign=campaign,
                sample=sample,
                executor=executor.value,
                jobs=jobs,
                progress=line("replays"),
            )
        emit(done, calibrations, as_json=json)


def diff(
    first: Annotated[str, typer.Argument(metavar="A", help="Asset, record, prefix or file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What to compare it with.")],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Write a picture of both (PNG)."),
    ] = None,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="End with 1 when the contents differ.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show what differs between two assets, records or files.

    Prompt and parameters, seed, materials, environment, and the pixels or lines. A file that the
    registry does not know is compared by its content alone. A text that was erased is said to be.

    For example:
      genops diff 3f2a9c81 77d0e1b4
      genops diff 3f2a9c81 retouched.png --out both.png
      genops diff 3f2a9c81 77d0e1b4 --exit-code --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.replays import side_by_side

    with opened_here(home, "diff") as registry:
        report = registry.replays.diff(first, second, out=out)
        emit(report, side_by_side, as_json=json)
    raise typer.Exit(1 if exit_code and not report.same else 0)
