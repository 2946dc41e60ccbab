"""Verbs for erasing texts, for legal holds and for retention."""

from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json

HELD = 1
"""Exit code when a legal hold kept something."""

Ids = Annotated[
    list[str] | None,
    typer.Argument(metavar="ID", help="Records, or assets with all their records."),
]
Person = Annotated[
    str | None,
    typer.Option("--person", metavar="NAME", help="All that concerns a person, instead of ids."),
]
Matching = Annotated[
    str | None,
    typer.Option("--matching", metavar="TEXT", help="All that says a text, instead of ids."),
]
IgnoreCase = Annotated[bool, typer.Option("--ignore-case", help="Look for --matching in any case.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def erase(
    records: Ids = None,
    person: Person = None,
    matching: Matching = None,
    ignore_case: IgnoreCase = False,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why, for example a request's number.")
    ] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be erased, and what is held.")
    ] = False,
    yes: Yes = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Erase the texts and personal pictures of records for good.

    Destroys the keys of prompts, file names, remarks and encrypted outputs, so that every copy is
    unreadable; signatures and proofs stay valid. By person or text, every sealed text is opened
    and searched; what is under a legal hold is left and named, and the verb ends with 1. This
    cannot be undone.

    For example:
      genops erase 3f2a9c81 --reason "request 2026-114" --yes
      genops erase --person "Jane Doe" --dry-run
      genops erase --matching "jane.doe@example.org" --reason "request 114"
    """
    from registry.cli.opening import certain, opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import erasure, show_plan
    from registry.cli.text import plural

    named: dict[str, Any] = {"person": person, "matching": matching, "ignore_case": ignore_case}
    with opened_here(home, "erase", to_sign=not dry_run) as registry:
        privacy = registry.privacy
        if dry_run or not yes:
            with progress() as line:
                plan = privacy.plan(records or (), **named, progress=line("texts"))
            if dry_run:
                emit(plan, erasure, as_json=json)
                return
            show_plan(plan)
            certain(f"Erase the texts of {plural(len(plan.items), 'record')} for good?", yes=yes)
        with progress() as line:
            done = privacy.erase(records or (), reason=reason, **named, progress=line("erasures"))
    emit(done, erasure, as_json=json)
    raise typer.Exit(HELD if done.held else 0)


hold = subcommands("Place legal holds, which forbid erasure, and lift them.")


@hold.command("place", cls=Verb)
def place(
    reason: Reason,
    records: Ids = None,
    person: Person = None,
    matching: Matching = None,
    ignore_case: IgnoreCase = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Place a legal hold on records or assets: nothing of them can be erased then.

    On an asset it covers every record that speaks of it, later ones too; by --person or --matching
    it is placed on each record that there is now.

    For example:
      genops hold place 3f2a9c81 --reason "case 17/2026"
      genops hold place --person "Jane Doe" --reason "case 17/2026"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import receipts

    named: dict[str, Any] = {"person": person, "matching": matching, "ignore_case": ignore_case}
    with opened_here(home, "hold", to_sign=True) as registry, progress() as line:
        done = registry.privacy.hold(records or (), reason=reason, **named, progress=line("texts"))
    emit(done, receipts, as_json=json)


@hold.command("lift", cls=Verb)
def lift(
    held: Annotated[
        str, typer.Argument(metavar="ID", help="What is held, or the record of one hold.")
    ],
    reason: Reason,
    home: Home = None,
    json: Json = False,
) -> None:
    """Lift the holds on a record or asset, or one hold by its own record.

    The hold and its lifting stay on the log.

    For example:
      genops hold lift 3f2a9c81 --reason "case 17/2026 closed"
      genops hold lift rec:5d02c9aa --reason "this one was a mistake"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.reports import receipt

    with opened_here(home, "hold", to_sign=True) as registry:
        done = registry.privacy.lift(held, reason=reason)
    emit(done, receipt, as_json=json)


@hold.command("list", cls=Verb)
def list_holds(
    every: Annotated[bool, typer.Option("--all", help="Lifted ones too.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """List the holds that stand: on what, since when, by whom and why.

    For example:
      genops hold list
      genops hold list --all --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.privacy import holds

    with opened_here(home, "hold") as registry:
        found = registry.privacy.holds(lifted=every)
    emit(found, holds, as_json=json)


retention = subcommands("Erase texts after a time, by the home's retention.yaml.")


@retention.command("show", cls=Verb)
def show_rules(home: Home = None, json: Json = False) -> None:
    """Show the rules; a mistake in them is shown with its place.

    For example:
      genops retention show
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.privacy import rules

    with opened_here(home, "retention") as registry:
        view = registry.privacy.retention()
    emit(view, rules, as_json=json)


@retention.command("plan", cls=Verb)
def plan_retention(home: Home = None, json: Json = False) -> None:
    """Show what is due for erasure now, and what holds keep.

    For example:
      genops retention plan
      genops retention plan --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.privacy import retained

    with opened_here(home, "retention") as registry:
        report = registry.privacy.retention_plan()
    emit(report, retained, as_json=json)


@retention.command("run", cls=Verb)
def run_retention(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="As `retention plan`.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Erase what is due, from a schedule: it does not ask.

    Each erasure says its rule. What is under a legal hold is left and named, and the verb ends
    with 1; an interrupted run is finished by the next one.

    For example:
      genops retention run
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.privacy import retained

    with opened_here(home, "retention", to_sign=not dry_run) as registry, progress() as line:
        privacy = registry.privacy
        report = privacy.retention_plan() if dry_run else privacy.retain(progress=line("erasures"))
    emit(report, retained, as_json=json)
    raise typer.Exit(HELD if report.erasure.held and not dry_run else 0)


def read(
    asset: Annotated[str, typer.Argument(metavar="ID", help="Asset, record or prefix.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="A new file for it (0600).")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Write an asset's bytes into a file, decrypted if personal.

    For example:
      genops read 3f2a9c81 --out picture.png
    """
    from registry.cli.answers import Written
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.privacy import written

    with opened_here(home, "read") as registry:
        view = Written(registry.resolve(asset), str(out), registry.write(asset, out))
    emit(view, written, as_json=json)
