"""Verbs on drafts: list them, keep some, let the others expire."""

import re
from enum import StrEnum
from typing import Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Assets, Campaign, Home, Json, Limit, Offset, Project
from registry.errors import InputError

drafts = subcommands("List drafts, keep some, and let the others expire.")

_AGE = re.compile(r"(0|[1-9]\d{0,5})([dh])")
_HOURS = {"d": 24, "h": 1}


class State(StrEnum):
    """What became of a draft."""

    draft = "draft"
    kept = "kept"
    expired = "expired"


@drafts.command("list", cls=Verb)
def list_drafts(
    state: Annotated[
        State | None, typer.Option("--state", help="Only those that came to this.")
    ] = None,
    project: Project = None,
    campaign: Campaign = None,
    limit: Limit = 100,
    offset: Offset = 0,
    home: Home = None,
    json: Json = False,
) -> None:
    """List what was recorded as drafts, newest first.

    For example:
      genops drafts list --state draft
      genops drafts list --campaign launch --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.drafts import listed

    with opened_here(home, "drafts") as registry:
        found = registry.drafts.list(
            state=state.value if state else None,
            project=project,
            campaign=campaign,
            limit=limit,
            offset=offset,
        )
    emit(found, listed, as_json=json)


@drafts.command("keep", cls=Verb)
def keep(
    assets: Assets,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; sealed.")] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Keep drafts for good.

    A signed record says so. One that expired is made again first, and kept if it comes out byte
    for byte.

    For example:
      genops drafts keep 3f2a9c81 77d0e1b4
      genops drafts keep 3f2a9c81 --reason "chosen by the client"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.drafts import kept

    with opened_here(home, "drafts", to_sign=True) as registry:
        done = registry.drafts.keep(assets, reason=reason)
    emit(done, kept, as_json=json)


@drafts.command("expire", cls=Verb)
def expire(
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="AGE", help="Days or hours: 30d, 12h.")
    ] = "30d",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and what stays and why.")
    ] = False,
    project: Project = None,
    campaign: Campaign = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Let drafts expire that nobody kept, from a schedule: it does not ask.

    Their bytes leave the vault, with their segments; their records stay, and say how to make them
    again. What is held, released, approved or kept stays, and so does what it was made from. An
    expiry that was interrupted is finished by the next one.

    For example:
      genops drafts expire --older-than 30d --dry-run
      genops drafts expire --older-than 12h --campaign launch
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.drafts import expiry

    hours = _hours(older_than)
    with opened_here(home, "drafts", to_sign=not dry_run) as registry:
        done = registry.drafts.expire(
            older_than_hours=hours, project=project, campaign=campaign, dry_run=dry_run
        )
    emit(done, expiry, as_json=json)


def _hours(text: str) -> int:
    found = _AGE.fullmatch(text.strip())
    if found is None:
        raise InputError(
            f"{text!r} is no age", code="draft.age", hint="give days or hours: 30d, 12h"
        )
    return int(found[1]) * _HOURS[found[2]]
