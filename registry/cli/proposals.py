"""Verbs for changes of trust that several admins must sign: propose, sign, submit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from registry.cli.options import Home, Json
from registry.cli.trust_options import Actor, Overlap, ProposalFile, Reason, Since

if TYPE_CHECKING:
    from registry.core.trust_answers import ProposalView
    from registry.core.trust_changes import Proposal
    from registry.workflows.trust import KeyRequest

_REPEATED = "may be repeated"


def propose(
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The proposal; a new file.")],
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="ROLE=PUBLIC.pem", help=f"Trust a key; {_REPEATED}."),
    ] = None,
    rotate: Annotated[
        list[str] | None,
        typer.Option("--rotate", metavar="ROLE", help=f"A new key for this home; {_REPEATED}."),
    ] = None,
    revoke: Annotated[
        list[str] | None,
        typer.Option("--revoke", metavar="KEY", help=f"Close a key's window; {_REPEATED}."),
    ] = None,
    compromise: Annotated[
        list[str] | None,
        typer.Option("--compromise", metavar="KEY", help=f"Disown a stolen key; {_REPEATED}."),
    ] = None,
    since: Since = "",
    threshold: Annotated[
        int | None,
        typer.Option(
            "--threshold", metavar="N", min=1, max=16, help="How many admins change trust."
        ),
    ] = None,
    overlap: Overlap = 0.0,
    reason: Reason = "",
    actor: Actor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write a change of trust for other admins to sign.

    This home's admin key signs it first. Several changes make one proposal. It holds for the
    newest trust record only. Keys that are made for it count once it was submitted.

    For example:
      genops keys propose --add admin=eve.pub.pem --threshold 2 --out change.json
      genops keys propose --revoke 3f9a0c41 --rotate policy --out change.json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import proposal as render
    from registry.cli.trust_options import milliseconds
    from registry.core.times import read_time
    from registry.errors import InputError
    from registry.workflows.trust import Wish

    if out.exists() or not out.parent.is_dir():
        why = "there is a file already" if out.exists() else "there is no such folder"
        raise InputError(f"cannot write {out}: {why}", code="file.exists")
    wish = Wish(
        add=tuple(map(_added, add or ())),
        rotate=tuple(rotate or ()),
        revoke=tuple(revoke or ()),
        compromise=tuple(compromise or ()),
        since_ms=read_time(since) if since else None,
        threshold=threshold,
        overlap_ms=milliseconds(overlap),
    )
    with opened_here(home, "keys propose", to_sign=True) as registry:
        made, view = registry.trust.propose(wish, reason=reason, actor=actor)
        _write(out, made)
    emit(_at(view, out), render, as_json=json)


def sign(
    file: ProposalFile,
    key: Annotated[
        Path | None,
        typer.Option("--key", metavar="PATH", help="An admin's private key; else this home's."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a proposal, and add an admin's signature to it.

    With a registry at hand it is compared with the trust of today, and refused where it could not
    be submitted. With --key it can be signed where there is none.

    For example:
      genops keys sign change.json
      genops keys sign change.json --key eve.pem
    """
    from registry.cli.opening import certain, key_signer, opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import proposal as render
    from registry.cli.render.trust import show
    from registry.errors import HomeError
    from registry.workflows.trust import plain_view, sign_proposal

    proposal = _read(file)
    signer = key_signer(key) if key is not None else None
    try:
        opening = opened_here(home, "keys sign", to_sign=signer is None)
    except HomeError:
        if signer is None or home is not None:
            raise
        show(_at(plain_view(proposal), file))
        certain("Sign this?", yes=yes)
        signed = sign_proposal(proposal, signer)
        view = plain_view(signed)
    else:
        with opening as registry:
            show(_at(registry.trust.review(proposal), file))
            certain("Sign this?", yes=yes)
            signed = registry.trust.sign(proposal, signer)
            view = registry.trust.review(signed)
    _write(file, signed)
    emit(_at(view, file), render, as_json=json)


def submit(file: ProposalFile, home: Home = None, json: Json = False) -> None:
    """Make the change of a proposal that enough admins signed.

    Ends with 1 when signatures are missing, and when trust was changed since it was written.

    For example:
      genops keys submit change.json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import changed as render

    proposal = _read(file)
    with opened_here(home, "keys submit", to_sign=True) as registry:
        emit(registry.trust.submit(proposal), render, as_json=json)


def _added(text: str) -> KeyRequest:
    """Read `ROLE=PUBLIC.pem`, or several roles with commas between them."""
    from registry.cli.trust_options import request
    from registry.errors import InputError

    roles, equals, path = text.partition("=")
    if not equals:
        raise InputError(
            f"{text!r} does not say for which role", code="usage", hint="--add ROLE=PUBLIC.pem"
        )
    return request(Path(path), roles.split(","))


def _read(file: Path) -> Proposal:
    from registry.core.trust_changes import Proposal
    from registry.errors import InputError

    try:
        return Proposal.parse(file.read_bytes())
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", code="file.unreadable") from None


def _write(file: Path, proposal: Proposal) -> None:
    """Put a proposal in place in one step: a signature that was given is not lost half-way."""
    scratch = file.with_name(f"{file.name}.new")
    scratch.write_bytes(proposal.to_bytes())
    scratch.replace(file)


def _at(view: ProposalView, file: Path) -> ProposalView:
    return replace(view, path=str(file))
