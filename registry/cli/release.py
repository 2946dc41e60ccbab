"""Verbs that decide and act: reviews, the release gate and exact reproduction."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from registry.cli.options import Asset, Home, Json
from registry.errors import InputError

GATE_EXIT = {"pass": 0, "fail": 1, "error": 2}
REPRODUCTION_EXIT = {
    "identical": 0,
    "identical-pixels": 0,
    "equivalent": 0,
    "different": 1,
    "not-reproducible": 2,
    "erased": 2,
}
PAGE = 1000


class Format(StrEnum):
    """What a gate's report looks like."""

    text = "text"
    json = "json"
    github = "github"
    junit = "junit"


def review(
    asset: Asset,
    approve: Annotated[
        bool | None,
        typer.Option("--approve/--reject", help="The verdict; one of them must be said."),
    ] = None,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Why; sealed, so it can be erased.")
    ] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Approve or reject an asset, by the key of a reviewer.

    The newest review counts. A campaign makes variants of approved masters only.

    For example:
      genops review 3f2a9c81 --approve --reason "as briefed"
      genops review 3f2a9c81 --reject --reason "the handle is on the wrong side"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.reports import receipt

    if approve is None:
        raise InputError("a review needs a verdict", code="usage", hint="say --approve or --reject")
    with opened_here(home, "review", to_sign=True) as registry:
        verdict: Literal["approved", "rejected"] = "approved" if approve else "rejected"
        made = registry.releasing.review(asset, verdict=verdict, reason=reason)
        emit(made, receipt, as_json=json)


def gate(
    assets: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Assets, records or files.")
    ] = None,
    policy: Annotated[
        str | None,
        typer.Option("--policy", metavar="NAME|PATH", help="The policy bundle; else the home's."),
    ] = None,
    every: Annotated[
        bool, typer.Option("--all", help="Judge every asset of the registry.")
    ] = False,
    form: Annotated[
        Format, typer.Option("--format", help="Text, JSON, GitHub annotations or JUnit XML.")
    ] = Format.text,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Do not record the decisions.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Decide by a policy whether assets may be released.

    Each decision is signed and logged. Ends with 0 for pass, 1 for a violation, 2 when a rule could
    not be evaluated.

    For example:
      genops gate 3f2a9c81
      genops gate --all --policy policies/campaign --format junit > gate.xml
    """
    from registry.cli.opening import opened_to_sign
    from registry.cli.output import emit
    from registry.cli.render import gates, reports

    if bool(assets) == every:
        raise InputError(
            "name the assets to judge, or say --all, but not both",
            code="usage",
            hint="genops gate ID… or genops gate --all",
        )
    with opened_to_sign(home) as registry:
        chosen = assets or _every_asset(registry)
        report = registry.gate(chosen, policy=policy or _policy(registry), record=not dry_run)
    render = {"github": gates.github, "junit": gates.junit}.get(form.value, reports.gate)
    emit(report, render, as_json=json or form is Format.json)
    raise typer.Exit(GATE_EXIT[report.verdict])


def _every_asset(registry: Any) -> list[str]:
    """Return the ids of all assets, each once; raises InputError when there are none."""
    found: dict[str, None] = {}
    offset = 0
    while rows := registry.list(limit=PAGE, offset=offset):
        found |= dict.fromkeys(row.id for row in rows)
        offset += len(rows)
    if not found:
        raise InputError("there are no assets to judge", code="gate.empty")
    return list(found)


def _policy(registry: Any) -> str:
    """Return the policy that a home names for itself; a served one has the default."""
    return str(registry.settings.policy) if hasattr(registry, "settings") else "default"


def reproduce(
    asset: Asset,
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="Replay with another seed.")
    ] = None,
    device: Annotated[
        str | None,
        typer.Option(
            "--device", metavar="NAME", help="Compute on this device instead: cpu, cuda or mps."
        ),
    ] = None,
    here: Annotated[
        bool,
        typer.Option("--here", help="Keep this machine's numeric settings, not the recorded ones."),
    ] = False,
    recreate_env: Annotated[
        bool,
        typer.Option("--recreate-env", help="Build the recorded environment, and run in it."),
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Keep the replayed file and a comparison here."),
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Make an asset again from its record and compare.

    Runs in a fresh process. Ends with 0 for identical, identical-pixels or equivalent, 1 for
    different, 2 when it cannot be replayed. A material that is missing or altered is named. With
    --campaign, --since or --sample, many are made again: see `genops reproduce audit`.

    For example:
      genops reproduce 3f2a9c81
      genops reproduce 3f2a9c81 --out replay --json
      ATEN_CPU_CAPABILITY=avx2 genops reproduce 3f2a9c81 --here
    """
    from registry.cli.opening import opened_to_sign
    from registry.cli.output import emit
    from registry.cli.render.reports import reproduction
    from registry.workflows.reproduce import How

    overrides = {} if seed is None else {"seed": _seed(seed)}
    how = How(overrides, "present" if here else "recorded", device, recreate_env)
    with opened_to_sign(home) as registry:
        done = registry.reproduce(asset, how=how, out=out, told=_told)
        emit(done, reproduction, as_json=json)
    raise typer.Exit(REPRODUCTION_EXIT[done.verdict])


def _told(what: str) -> None:
    """Say on stderr what takes long."""
    from registry.cli.text import visible

    print(visible(what), file=sys.stderr, flush=True)


def _seed(text: str) -> str:
    """Return a seed as the decimal string that records hold."""
    try:
        return str(int(text))
    except ValueError:
        raise InputError(f"--seed {text!r} is not a whole number", code="usage") from None
