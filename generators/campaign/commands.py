"""`genops campaign`: plan, run, approve, deliver; light to import, heavy when it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json, LogKey
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.campaign.running import Outcome, Progress, Standing

campaign = subcommands("Make all that a brief asks for, and deliver it signed.")

BriefFile = Annotated[Path, typer.Argument(metavar="BRIEF", help="The brief, a YAML file.")]
Sheet = Annotated[
    Path | None,
    typer.Option("--sheet", metavar="FILE", help="Also write a contact sheet (PNG) here."),
]
DemoModels = Annotated[
    bool,
    typer.Option("--demo-models", help="First declare the demo's models, licensed and approved."),
]


@campaign.command("plan", cls=Verb)
def plan(brief: BriefFile, home: Home = None, json: Json = False) -> None:
    """Show what a brief will make: counts, seeds, sizes and time.

    Nothing is made. The time is from what this home measured before.

    For example:
    genops campaign plan brief.yaml
    """
    from generators.campaign.brief import load_brief
    from generators.campaign.reporting import plan as render
    from generators.campaign.reporting import plan_of
    from generators.campaign.running import survey
    from registry.cli.opening import opened_here
    from registry.cli.output import emit

    read = load_brief(brief)
    with opened_here(home, "campaign plan") as registry:
        found = plan_of(registry, survey(registry, read))
    emit(found, render, as_json=json)


@campaign.command("run", cls=Verb)
def run(
    brief: BriefFile,
    sheet: Sheet = None,
    demo_models: DemoModels = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make all that a brief asks for and that is not on the log yet.

    Masters wait for a review unless the brief says `approve: automatic`; nothing else is made from
    them before. A step that fails does not keep the others back. Ends with 1 when one failed.

    For example:
    genops campaign run brief.yaml --sheet sheet.png
    genops campaign run generators/briefs/showcase.yaml --demo-models
    """
    _run(brief, sheet, home, json=json, demo_models=demo_models)


@campaign.command("resume", cls=Verb)
def resume(brief: BriefFile, sheet: Sheet = None, home: Home = None, json: Json = False) -> None:
    """Go on with a campaign that was begun here.

    What is on the log is not made again; what failed is tried again. `run` does the same, but also
    begins a campaign.

    For example:
    genops campaign resume brief.yaml
    """
    _run(brief, sheet, home, json=json, begun=True)


@campaign.command("status", cls=Verb)
def status(brief: BriefFile, sheet: Sheet = None, home: Home = None, json: Json = False) -> None:
    """Show where each step of a campaign stands.

    Ends with 1 when a step has failed.

    For example:
    genops campaign status brief.yaml
    """
    from generators.campaign.brief import load_brief
    from generators.campaign.running import survey
    from registry.cli.opening import opened_here

    read = load_brief(brief)
    with opened_here(home, "campaign status") as registry:
        outcome = survey(registry, read)
        _finish(registry, outcome, sheet, as_json=json)


@campaign.command("approve", cls=Verb)
def approve(
    brief: BriefFile,
    steps: Annotated[
        list[str] | None,
        typer.Argument(metavar="[STEP]...", help="Masters, such as master/1; else all that wait."),
    ] = None,
    reject: Annotated[bool, typer.Option("--reject", help="Reject them instead.")] = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; sealed, so it can be erased.")
    ] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Approve masters by the reviewer's key, or reject them.

    Each gets a signed review, as by `genops review`. Look at them first: --sheet of `status`.

    For example:
    genops campaign approve brief.yaml --reason "as briefed"
    genops campaign approve brief.yaml colour=red/master/2 --reason "best light"
    """
    from generators.campaign.approving import review_masters
    from generators.campaign.brief import load_brief
    from generators.campaign.reporting import approvals as render
    from registry.cli.opening import opened_here
    from registry.cli.output import emit

    read = load_brief(brief)
    with opened_here(home, "campaign approve", to_sign=True) as registry:
        done = review_masters(registry, read, steps or (), reject=reject, reason=reason)
    emit(done, render, as_json=json)


@campaign.command("deliver", cls=Verb)
def deliver(
    brief: BriefFile,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="A new folder.")],
    policy: Annotated[
        str | None,
        typer.Option(
            "--policy", metavar="NAME|PATH", help="Ask the gate, and release what passes."
        ),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write the finished files into a folder with a signed manifest.

    With --policy, what the gate does not pass is left out, and the rest is released, each file by
    a signed record. Ends with 1 when something was left out.

    For example:
    genops campaign deliver brief.yaml --out delivery --policy default
    """
    from generators.campaign import delivery
    from generators.campaign.brief import load_brief
    from generators.campaign.reporting import delivery as render
    from generators.campaign.running import survey
    from registry.cli.opening import opened_here
    from registry.cli.output import emit

    read = load_brief(brief)
    with opened_here(home, "campaign deliver", to_sign=True) as registry:
        done = delivery.deliver(registry, survey(registry, read), out, policy=policy)
    emit(done, render, as_json=json)
    raise typer.Exit(1 if done.left_out else 0)


@campaign.command("verify", cls=Verb)
def verify(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="The delivery.")],
    key: LogKey = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Check a delivery offline, with only the log's public key.

    Names every file that is missing, altered or not listed. Ends with 1 then.

    For example:
    genops campaign verify delivery --key log.vkey
    """
    from generators.campaign.checking import check_delivery
    from generators.campaign.reporting import checked as render
    from registry.cli.output import emit
    from registry.cli.proofs import trusted_log_key

    found = check_delivery(folder, trusted_log_key(key, home))
    emit(found, render, as_json=json)
    raise typer.Exit(0 if found.ok else 1)


def _run(
    brief: Path,
    sheet: Path | None,
    home: str | None,
    *,
    json: bool,
    begun: bool = False,
    demo_models: bool = False,
) -> None:
    from generators.campaign import declare_demo_models, state
    from generators.campaign.brief import load_brief
    from generators.campaign.running import run
    from generators.environment import prepare
    from registry.cli.opening import opened_here

    read = load_brief(brief)
    prepare()
    with opened_here(home, "campaign run", to_sign=True) as registry:
        if begun and state.find(registry.settings.home.root, read.name) is None:
            raise InputError(
                f"campaign {read.name} was not begun in this home",
                code="campaign.not-begun",
                hint=f"genops campaign run {brief}",
            )
        if demo_models:
            declare_demo_models(registry)
        with _progress(quiet=json) as say:
            outcome = run(registry, read, say)
        _finish(registry, outcome, sheet, as_json=json)


def _finish(registry: Any, outcome: Outcome, sheet: Path | None, *, as_json: bool) -> None:
    """Write the sheet, where one is wanted, print the status, and end by it."""
    from generators.campaign.reporting import pictures_of, status_of
    from generators.campaign.reporting import status as render
    from generators.campaign.sheet import contact_sheet
    from registry.cli.output import emit

    if sheet is not None:
        pictures = pictures_of(registry, outcome.standings.values())
        sheet.write_bytes(contact_sheet(outcome.brief.name, pictures))
    emit(status_of(outcome, None if sheet is None else str(sheet)), render, as_json=as_json)
    raise typer.Exit(1 if outcome.state == "failed" else 0)


@contextmanager
def _progress(*, quiet: bool) -> Iterator[Progress]:
    """Yield what tells a terminal how far a run is, or says each step where there is none."""
    import sys

    from registry.cli.progress import progress

    with progress() as line:
        bar = line("steps")

        def say(standing: Standing, done: int, total: int) -> None:
            if bar is not None:
                bar(done, total)
            elif not quiet and (standing.made or standing.state == "failed"):
                what = standing.why or "made"
                sys.stderr.write(f"{done}/{total} {standing.step.key}: {what}\n")

        yield say
