"""The options that verbs on keys share, and what their texts mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from registry.workflows.trust import KeyRequest

Key = Annotated[str, typer.Argument(metavar="KEY", help="A key id, or 8 digits of it.")]
Keys = Annotated[list[str], typer.Argument(metavar="KEY", help="Key ids, or 8 digits of them.")]
Roles = Annotated[
    list[str],
    typer.Option(
        "--role",
        metavar="ROLE",
        help="generator, policy, reviewer or admin; may be repeated.",
    ),
]
Overlap = Annotated[
    float,
    typer.Option("--overlap", metavar="HOURS", min=0, help="How long old keys go on counting."),
]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")]
Since = Annotated[
    str,
    typer.Option("--since", metavar="TIME", help="From when on, such as 2026-11-20T11:07Z."),
]
Actor = Annotated[
    str | None,
    typer.Option("--actor", metavar="NAME", help="Who does it; sealed. Else GENOPS_ACTOR."),
]
ProposalFile = Annotated[Path, typer.Argument(metavar="FILE", help="The proposal.")]

_HOUR_MS = 3_600_000


def milliseconds(hours: float) -> int:
    """Return hours as milliseconds."""
    return round(hours * _HOUR_MS)


def request(public: Path, roles: list[str], since: str = "", until: str = "") -> KeyRequest:
    """Read a public key that is to be trusted; raises InputError when it cannot be read."""
    from registry.core.times import read_time
    from registry.errors import InputError
    from registry.workflows.trust import KeyRequest

    try:
        pem = public.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {public}: {error}", code="file.unreadable") from None
    if "PRIVATE KEY" in pem:
        raise InputError(
            f"{public} is a private key",
            code="key.private",
            hint="give its public half, <name>.pub.pem; the private one never leaves its owner",
        )
    return KeyRequest(
        pem,
        tuple(roles),
        read_time(since) if since else None,
        read_time(until) if until else None,
    )
