"""Keys as text: lists, changes of trust, proposals, and what a stolen key signed."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.text import Text

from registry.cli.answers import KeyView
from registry.cli.render.parts import (
    BAD,
    GOOD,
    QUIET,
    WARN,
    fields,
    heading,
    lines,
    literal,
    table,
)
from registry.cli.text import plural, short, when
from registry.core.trust_answers import (
    AffectedRecord,
    AffectedReport,
    NewKey,
    PassphraseChanged,
    ProposalView,
    ReattestReport,
    TrustChanged,
)


def keys(rows: Sequence[KeyView]) -> RenderableType:
    """Return the signing keys that the log trusts."""
    heads = ("key", "roles", "valid from", "until", "private")
    return table(heads, map(_key, rows), fold=(1,))


def _key(row: KeyView) -> tuple[object, ...]:
    until: object = _minute(row.not_after) if row.not_after else "open"
    if row.compromised_since is not None:
        until = literal(f"DISOWNED {_minute(row.compromised_since)}", BAD)
    here = "here" if row.path else None
    return short(row.keyid), ", ".join(row.roles), _minute(row.not_before), until, here


def _minute(time: str) -> str:
    return f"{when(time)[:16]}Z"


def key(view: KeyView) -> RenderableType:
    """Return one key with its public half in PEM."""
    since = view.compromised_since
    rows = [
        ("key", view.keyid),
        ("algorithm", view.algorithm),
        ("roles", ", ".join(view.roles)),
        ("valid from", when(view.not_before)),
        ("until", when(view.not_after) if view.not_after else "open"),
        ("compromised", literal(f"since {when(since)}", BAD) if since else None),
        ("private half", view.path or "elsewhere"),
    ]
    return lines(fields(rows), *map(literal, view.public_key.splitlines()))


def new_key(made: NewKey) -> RenderableType:
    """Return a key that was made, and what makes it count."""
    hint = f"`genops keys add {made.public_path} --role ROLE` makes a registry trust it."
    return lines(_made(made), literal(hint, QUIET))


def changed(done: TrustChanged) -> RenderableType:
    """Return a change of trust that is on the log."""
    head = f"trust changed by {short(done.record)} at index {done.index}"
    return lines(literal(head, GOOD), *_changes(done.changes), *_keys(done.keys))


def proposal(view: ProposalView) -> RenderableType:
    """Return what a proposal asks for, and what it lacks."""
    return lines(
        literal(f"proposal {view.path or ''}".strip(), "bold"),
        *_changes(view.changes),
        literal(f"  reason: {view.reason}") if view.reason else None,
        heading("Signed by"),
        *(literal(f"  {keyid}") for keyid in view.signed_by),
        literal("  no admin of today", WARN) if not view.signed_by else None,
        _next(view),
        *_keys(view.keys),
    )


def show(view: ProposalView) -> None:
    """Show on stderr what somebody is about to sign."""
    out = Console(stderr=True, markup=False, emoji=False, highlight=False)
    out.print(proposal(view))


def affected(report: AffectedReport) -> RenderableType:
    """Return what a key signed since it is not believed."""
    by = f", declared by {short(report.declared_by)}" if report.declared_by else ""
    head = f"{plural(report.count, 'record')} by key {short(report.keyid)}"
    left = len(report.records) < report.count
    return lines(
        literal(f"{head} since {when(report.since)}{by}", "bold"),
        literal(f"{report.open:,} of them not re-attested", WARN if report.open else GOOD),
        Text(""),
        table(
            ("record", "index", "time", "what", "asset", "vouched"),
            map(_affected, report.records),
            fold=(3,),
        )
        if report.records
        else None,
        literal("… more are on other pages: --offset, --limit", QUIET) if left else None,
    )


def reattested(report: ReattestReport) -> RenderableType:
    """Return what was vouched for."""
    if not report.items:
        return literal("nothing is left to re-attest", GOOD)
    rows = [(short(item.record), short(item.reattestation)) for item in report.items]
    head = f"{plural(len(report.items), 'record')} re-attested"
    return lines(literal(head, GOOD), table(("record", "by"), rows))


def passphrase(done: PassphraseChanged) -> RenderableType:
    """Return what protects the secrets of a home now."""
    what = plural(done.secrets, "secret")
    if done.protected:
        return literal(f"{what} of {done.home} opened by the new passphrase alone", GOOD)
    return literal(f"{what} of {done.home} protected by the folder's permissions alone", WARN)


def _affected(row: AffectedRecord) -> tuple[object, ...]:
    more = f" +{len(row.assets) - 1}" if len(row.assets) > 1 else ""
    asset = short(row.assets[0]) + more if row.assets else None
    vouched = literal("yes", GOOD) if row.reattested_by else literal("no", WARN)
    return short(row.record), row.index, when(row.time), row.predicate, asset, vouched


def _changes(changes: Sequence[str]) -> list[Text]:
    return [literal(f"  {line}") for line in changes]


def _keys(made: Sequence[NewKey]) -> list[RenderableType]:
    return [part for one in made for part in (heading("New key"), _made(one))]


def _made(made: NewKey) -> RenderableType:
    rows = [("key", made.keyid), ("private half", made.path), ("public half", made.public_path)]
    return fields(rows)


def _next(view: ProposalView) -> RenderableType | None:
    if view.current is False:
        return literal("stale: trust was changed since; write it again", BAD)
    if view.missing is None:
        return None
    if view.missing:
        lacking = f"{plural(view.missing, 'signature')} of {view.needed} missing"
        return literal(f"{lacking}: `genops keys sign {view.path or 'FILE'}`", WARN)
    return literal(f"complete: `genops keys submit {view.path or 'FILE'}`", GOOD)
