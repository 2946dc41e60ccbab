"""Verbs on matches: what a person says of what a look-up found."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json, Limit, Offset

if TYPE_CHECKING:
    from registry.core.bank_answers import MatchVerdictView
    from registry.sdk.banks import Banks

match = subcommands("Confirm or refute what a look-up found.")

File = Annotated[
    str, typer.Argument(metavar="FILE|ID", help="What was looked up: a file, or an asset.")
]
Candidate = Annotated[
    str, typer.Argument(metavar="MATCH", help="The id of the match, or a prefix of it.")
]
Where = Annotated[str, typer.Option("--bank", metavar="NAME", help="The bank of the match.")]
Reason = Annotated[
    str, typer.Option("--reason", metavar="TEXT", help="Why; sealed, so it can be erased.")
]


@match.command("confirm", cls=Verb)
def confirm(
    file: File,
    candidate: Candidate,
    reason: Reason = "",
    bank: Where = "registered",
    home: Home = None,
    json: Json = False,
) -> None:
    """Say that a match is a true one, by the key of a reviewer.

    A look-up says so from then on, however unlikely the match was.

    For example:
      genops match confirm shot.png 3f2a9c81 --reason "our poster, in a shop"
    """
    _say(lambda banks: banks.confirm(file, candidate, reason=reason, bank=bank), home, json=json)


@match.command("refute", cls=Verb)
def refute(
    file: File,
    candidate: Candidate,
    reason: Reason = "",
    bank: Where = "registered",
    home: Home = None,
    json: Json = False,
) -> None:
    """Say that a match is a false one, by the key of a reviewer.

    The same file, the same pixels or the same fingerprint does not match it again in the same way.
    Equal bytes or pixels cannot be refuted.

    For example:
      genops match refute mug.jpg 3f2a9c81 --bank theirs --reason "another mug"
    """
    _say(lambda banks: banks.refute(file, candidate, reason=reason, bank=bank), home, json=json)


def _say(said: Callable[[Banks], MatchVerdictView], home: str | None, *, json: bool) -> None:
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import verdict

    with opened_here(home, "match", to_sign=True) as registry:
        done = said(registry.banks)
    emit(done, verdict, as_json=json)


@match.command("list", cls=Verb)
def list_verdicts(
    limit: Limit = 100, offset: Offset = 0, home: Home = None, json: Json = False
) -> None:
    """List what was said of matches by signers who are believed, the newest first.

    For example:
      genops match list
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import verdicts

    with opened_here(home, "match") as registry:
        found = list(registry.banks.verdicts(limit=limit, offset=offset))
    emit(found, verdicts, as_json=json)
