"""Verbs on banks of fingerprints: create, fill, empty, list, show, import and export."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Home, Json, Limit, Offset
from registry.errors import InputError

if TYPE_CHECKING:
    from registry.core.fingerprint import FingerprintValue

bank = subcommands("Keep banks of fingerprints: blocked, licensed, negative.")


class Kind(StrEnum):
    """What a bank is for."""

    blocked = "blocked"
    licensed = "licensed"
    negative = "negative"


class ListForm(StrEnum):
    """How a list is written."""

    genops = "genops"
    text = "text"
    csv = "csv"
    threatexchange = "threatexchange"


class ExportForm(StrEnum):
    """How a list can be exported."""

    genops = "genops"
    text = "text"


Bank = Annotated[str, typer.Argument(metavar="BANK", help="The bank's name.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; sealed.")]
Origin = Annotated[
    str,
    typer.Option("--source", metavar="NAME", help="From where, in plain text: a letter, a list."),
]
Owner = Annotated[
    str | None,
    typer.Option("--owner", metavar="NAME", help="Whose it is, in plain text; else the bank's."),
]
Expires = Annotated[
    str | None,
    typer.Option("--expires", metavar="WHEN", help="From when it matches nothing: a day, or 90d."),
]


@bank.command("create", cls=Verb)
def create(
    name: Bank,
    kind: Annotated[Kind, typer.Option("--kind", help="What the bank is for, for good.")],
    owner: Annotated[
        str,
        typer.Option("--owner", metavar="NAME", help="A team or an organisation; plain text."),
    ],
    description: Annotated[
        str, typer.Option("--description", metavar="TEXT", help="What it holds; sealed.")
    ] = "",
    home: Home = None,
    json: Json = False,
) -> None:
    """Create a bank of fingerprints, or say anew who owns it.

    What it is for never changes: blocked (must not be shipped), licensed (may be, on terms) or
    negative (known false matches).

    For example:
      genops bank create theirs --kind blocked --owner legal
      genops bank create frames --kind negative --owner studio
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.reports import receipt

    with opened_here(home, "bank", to_sign=True) as registry:
        done = registry.banks.create(name, kind=kind.value, owner=owner, description=description)
    emit(done, receipt, as_json=json)


@bank.command("add", cls=Verb)
def add(
    name: Bank,
    sources: Annotated[
        list[str] | None, typer.Argument(metavar="FILE|ID", help="Pictures, or assets.")
    ] = None,
    reason: Reason = "",
    source: Origin = "",
    owner: Owner = None,
    expires: Expires = None,
    hashes: Annotated[
        list[str] | None,
        typer.Option("--hash", metavar="NAME=HEX", help="A fingerprint without a picture."),
    ] = None,
    no_thumbnail: Annotated[
        bool,
        typer.Option("--no-thumbnail", help="Keep no thumbnail: parts are not verified then."),
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Put pictures, assets or fingerprints into a bank.

    The pictures themselves are not kept: only fingerprints, and a small grey thumbnail by which a
    match of a part is verified. What stands there already on the same terms is left as it is.
    `--hash pdq=HEX` is a PDQ as others compute it.

    For example:
      genops bank add theirs ad.jpg --reason "their ad" --source "letter 7"
      genops bank add stock 3f2a9c81 --reason paid --source agency --expires 90d
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import added

    given = [*(sources or ()), *map(_fingerprint, hashes or ())]
    if not given:
        raise InputError("name a picture, an asset or --hash", code="usage")
    with opened_here(home, "bank", to_sign=True) as registry:
        done = registry.banks.add(
            name,
            given,
            reason=reason,
            source=source,
            owner=owner,
            expires=expires,
            thumbnails=not no_thumbnail,
        )
    emit(done, added, as_json=json)


@bank.command("remove", cls=Verb)
def remove(
    name: Bank,
    entries: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Entries: ids, prefixes or files.")
    ] = None,
    reason: Reason = "",
    expired: Annotated[
        bool, typer.Option("--expired", help="Those that have expired, all of them.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Take entries out of a bank.

    Their records stay on the log. Thumbnails that nothing else needs are deleted.

    For example:
      genops bank remove theirs 3f2a9c81 --reason "settled"
      genops bank remove stock --expired --reason "licences ran out"
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import removed

    if not entries and not expired:
        raise InputError("name entries, or say --expired", code="usage")
    with opened_here(home, "bank", to_sign=True) as registry:
        done = registry.banks.remove(name, entries or (), reason=reason, expired=expired)
    emit(done, removed, as_json=json)


@bank.command("list", cls=Verb)
def list_banks(home: Home = None, json: Json = False) -> None:
    """List all banks, and how many entries stand in each.

    Every asset of the registry is in the bank `registered`, which is not listed.

    For example:
      genops bank list
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import listed

    with opened_here(home, "bank") as registry:
        found = registry.banks.list()
    emit(found, listed, as_json=json)


@bank.command("show", cls=Verb)
def show(
    name: Bank,
    entry: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One entry: id, prefix or file.")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show a bank and its entries, the newest first.

    Of each, why it is there, whose it is, from where, and until when.

    For example:
      genops bank show theirs
      genops bank show theirs ad.jpg
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import page

    with opened_here(home, "bank") as registry:
        found = registry.banks.show(name, entry=entry, limit=limit, offset=offset)
    emit(found, page, as_json=json)


@bank.command("import", cls=Verb)
def import_list(
    name: Bank,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The list.")],
    reason: Reason = "",
    source: Origin = "",
    owner: Owner = None,
    expires: Expires = None,
    form: Annotated[
        ListForm | None, typer.Option("--format", help="Its form; else told by its first line.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Take hashes of low quality too: they match wrongly.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would come in, and what is bad.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Put a list of fingerprints into a bank.

    Takes our own JSON lines, and PDQ as text, CSV or ThreatExchange's JSON. Bad lines are told by
    their numbers and passed over; where all are bad, nothing is taken. What a line says of owner,
    source, expiry and reason goes before the options. An import can be repeated.

    For example:
      genops bank import theirs list.jsonl --reason shared --source "partner 3"
      genops bank import theirs pdq.txt --reason shared --source x --dry-run
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.banks import imported
    from registry.workflows.bank_exchange import How

    chosen = None if form is None else form.value
    with opened_here(home, "bank", to_sign=not dry_run) as registry, progress() as shown:
        how = How(
            cast("Literal['genops', 'text', 'csv', 'threatexchange'] | None", chosen),
            force=force,
            dry_run=dry_run,
            progress=shown("entries"),
        )
        done = registry.banks.import_(
            name, file, reason=reason, source=source, owner=owner, expires=expires, how=how
        )
    emit(done, imported, as_json=json)


@bank.command("export", cls=Verb)
def export(
    name: Bank,
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="A new file, which others cannot read.")
    ],
    form: Annotated[
        ExportForm, typer.Option("--format", help="Our JSON lines, or PDQ alone as text.")
    ] = ExportForm.genops,
    reasons: Annotated[
        bool, typer.Option("--reasons", help="With the reasons, which are sealed here.")
    ] = False,
    home: Home = None,
    json: Json = False,
) -> None:
    """Write a bank's entries as a list that others can import.

    Of those that have not expired. As text, only entries with a PDQ are carried.

    For example:
      genops bank export theirs --out theirs.jsonl
      genops bank export theirs --out pdq.txt --format text
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.banks import exported

    chosen: Literal["genops", "text"] = "text" if form is ExportForm.text else "genops"
    with opened_here(home, "bank") as registry:
        done = registry.banks.export(name, out, form=chosen, reasons=reasons)
    emit(done, exported, as_json=json)


def _fingerprint(text: str) -> "FingerprintValue":
    """Read `NAME=HEX`; the name `pdq` is that of lists."""
    from registry.core.bank_lines import PDQ_LISTED
    from registry.core.fingerprint import FingerprintValue

    name, _, value = text.partition("=")
    try:
        digits = bytes.fromhex(value)
    except ValueError:
        digits = b""
    if len(digits) * 2 != len(value) or not digits:
        raise InputError(f"--hash {text[:60]!r} is not NAME=HEX", code="usage")
    if name == "pdq" and len(digits) != 32:
        raise InputError(f"a PDQ has 64 hex digits, and this {len(value)}", code="usage")
    return FingerprintValue("0" * 64, PDQ_LISTED if name == "pdq" else name, digits, 100)
