"""Verbs that search the catalogue, and keep searches under names."""

from enum import StrEnum
from typing import Annotated

import typer

from registry.cli.frame import Verb, with_default
from registry.cli.options import Home, Json, Limit, Offset


class Sort(StrEnum):
    """Orders of an answer (`registry.core.search_terms.SORTS`)."""

    newest = "newest"
    oldest = "oldest"
    largest = "largest"
    smallest = "smallest"
    heaviest = "heaviest"
    lightest = "lightest"


class Expect(StrEnum):
    """What a pipeline expects to be found."""

    some = "some"
    none = "none"


def find_assets(
    terms: Annotated[
        list[str] | None,
        typer.Argument(metavar="TERM", help="FIELD:VALUE; all must be true. @NAME: a saved one."),
    ] = None,
    sort: Annotated[
        Sort | None, typer.Option("--sort", help="By log, pixels or bytes; newest unless said.")
    ] = None,
    limit: Limit = 100,
    offset: Offset = 0,
    count: Annotated[
        bool, typer.Option("--count", help="Also count how many there are in all.")
    ] = False,
    expect: Annotated[
        Expect | None, typer.Option("--expect", help="End with 1 when it is otherwise.")
    ] = None,
    save: Annotated[
        str | None, typer.Option("--save", metavar="NAME", help="Keep the search as @NAME.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Search assets by what is known of them for certain.

    A term is a field and a value: `format:png`. Several values mean any of them
    (`format:png,webp`), `*` any characters of a name, two dots a range (`width:512..1024`), and
    `not-` the opposite (`not-campaign:spring`). `genops search fields` lists every field with an
    example. Nothing is guessed from a picture's content but its colours.

    For example:
      genops search orientation:portrait lora:brandx width:1024..
      genops search colour:#ff6600,share=20 format:jpg,png --sort largest
      genops search tainted:yes campaign:launch --expect none
      genops search not-decision:passed recorded:7d --save undecided
      genops search @undecided campaign:launch --count --json
    """
    from registry.cli.opening import opened, opened_here
    from registry.cli.output import emit
    from registry.cli.render.searching import report

    order = sort.value if sort else None
    with opened_here(home, "search") if save else opened(home) as registry:
        if save:
            registry.searches.save(save, terms or [], sort=order)
        asked = [f"@{save}"] if save else terms or []
        found = registry.search(asked, sort=order, limit=limit, offset=offset, count=count)
    emit(found, report, as_json=json)
    if expect is not None and bool(found.assets) != (expect is Expect.some):
        raise typer.Exit(1)


search = with_default("search", find_assets)


@search.command("fields", cls=Verb)
def fields(
    home: Home = None,  # noqa: ARG001  # every verb takes it; fields are the same in all
    json: Json = False,
) -> None:
    """List what can be searched for, with examples.

    For example:
      genops search fields
      genops search fields --json
    """
    from registry.cli.output import emit
    from registry.cli.render.searching import listed_fields
    from registry.core.search_answers import SearchField
    from registry.core.search_terms import FIELDS

    found = [SearchField(name, field.takes, field.example) for name, field in FIELDS.items()]
    emit(found, listed_fields, as_json=json)


@search.command("saved", cls=Verb)
def saved(home: Home = None, json: Json = False) -> None:
    """List saved searches.

    They are kept in the registry and go with its backups.

    For example:
      genops search saved
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.searching import listed_searches

    with opened_here(home, "search saved") as registry:
        emit(registry.searches.list(), listed_searches, as_json=json)


@search.command("forget", cls=Verb)
def forget(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The saved search.")],
    home: Home = None,
    json: Json = False,
) -> None:
    """Remove a saved search.

    For example:
      genops search forget undecided
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.searching import forgotten

    with opened_here(home, "search forget") as registry:
        emit(registry.searches.forget(name), forgotten, as_json=json)
