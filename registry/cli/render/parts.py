"""The parts that all texts are built from: styled literals, aligned fields and plain tables.

Everything that came from outside passes through `visible` here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from registry.cli.text import paragraph, visible

GOOD = "green"
BAD = "bold red"
WARN = "yellow"
QUIET = "dim"
HEAD = "bold"
WIDEST_LABEL = 34
Cell = str | Text


def literal(value: object, style: str = "") -> Text:
    """Return a value as text that cannot steer the terminal."""
    return Text(visible(str(value)), style=style, overflow="fold")


def prose(value: str, style: str = "") -> Text:
    """Return a longer text with its line breaks, cut when it is very long."""
    return Text(paragraph(value), style=style, overflow="fold")


def cell(value: object) -> Text:
    """Return what a table shows for a value: `-` for nothing."""
    if isinstance(value, Text):
        return value
    if value is None or value == "":
        return literal("-", QUIET)
    return literal(value)


def verdict(ok: bool, yes: str = "ok", no: str = "FAILED") -> Text:
    """Return a word that says whether something holds, readable without its colour."""
    return Text(yes, style=GOOD) if ok else Text(no, style=BAD)


def fields(rows: Iterable[tuple[str, object]], *, indent: int = 0) -> RenderableType:
    """Return labels and values in two aligned columns; rows without a value are left out."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=QUIET, overflow="fold", max_width=WIDEST_LABEL)
    grid.add_column(overflow="fold")
    for label, value in rows:
        if value is not None and value != "":
            grid.add_row(literal(label), cell(value))
    return Padding(grid, (0, 0, 0, indent))


def table(
    heads: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    fold: Sequence[int] = (),
    indent: int = 0,
) -> RenderableType:
    """Return a table without lines; the columns in `fold` give way when space is short."""
    grid = Table(
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
        header_style=QUIET,
        show_edge=False,
        show_header=any(heads),
    )
    for position, head in enumerate(heads):
        gives_way = position in fold
        grid.add_column(head, overflow="fold", no_wrap=not gives_way)
    for row in rows:
        grid.add_row(*map(cell, row))
    return Padding(grid, (0, 0, 0, indent))


def heading(title: str) -> RenderableType:
    """Return a section's title with a line above it."""
    return Group(Text(""), Text(title, style=HEAD))


def lines(*parts: RenderableType | None) -> Group:
    """Return the parts one under another, without those that are None."""
    return Group(*(part for part in parts if part is not None))
