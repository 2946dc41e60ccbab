"""Searches as text: what was found, what can be asked for, what was saved."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.text import Text

from registry.cli.render.parts import BAD, QUIET, lines, literal, table
from registry.cli.text import plural, short, size, when
from registry.core.search_answers import FoundAsset, SavedSearch, SearchField, SearchReport


def report(found: SearchReport) -> RenderableType:
    """Return a line for each asset, and what there is beside them."""
    notes = [literal(f"note: {note}", QUIET) for note in found.notes]
    total = [] if found.total is None else [literal(f"{plural(found.total, 'asset')} in all")]
    if not found.assets:
        return lines(literal("no assets", QUIET), *total, *notes)
    heads = ("id", "recorded", "type", "size", "bytes", "campaign", "colour", "")
    after = found.offset + len(found.assets)
    more = [literal(f"there are more: --offset {after}", QUIET)] if found.more else []
    rows = map(_asset, found.assets)
    return lines(table(heads, rows, fold=(5,)), *total, *more, *notes)


def _asset(asset: FoundAsset) -> tuple[object, ...]:
    pixels = f"{asset.width}x{asset.height}" if asset.width and asset.height else None
    state = literal("TAINTED", BAD) if asset.tainted else Text("")
    return (
        short(asset.id),
        when(asset.time).partition(" ")[0],
        (asset.media_type or "").removeprefix("image/"),
        pixels,
        None if asset.size is None else size(asset.size),
        asset.campaign,
        asset.palette[0].colour if asset.palette else None,
        state,
    )


def listed_fields(found: Sequence[SearchField]) -> RenderableType:
    """Return a line for each field."""
    rows = [(one.field, one.example, one.takes) for one in found]
    return table(("field", "for example", "takes"), rows, fold=(1, 2))


def listed_searches(found: Sequence[SavedSearch]) -> RenderableType:
    """Return a line for each saved search."""
    if not found:
        return literal("no saved searches", QUIET)
    rows = [(f"@{one.name}", one.query, one.sort, when(one.time)) for one in found]
    return table(("name", "terms", "order", "saved"), rows, fold=(1,))


def forgotten(one: SavedSearch) -> RenderableType:
    """Return what was removed."""
    return lines(literal(f"forgot @{one.name}: {one.query or 'everything'}"))
