"""Results as a table on the terminal and as a page of Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from bench.harness import Bar, Row, Subject


def show(subjects: Sequence[Subject], console: Console) -> None:
    """Print every figure, then every bar."""
    for subject in subjects:
        table = Table(title=subject.title, title_justify="left", expand=False)
        for heading in ("", "median", "what"):
            table.add_column(heading, justify="right" if heading == "median" else "left")
        for row in subject.rows:
            table.add_row(row.name, figure(row), row.what)
        console.print(table)
    bars = Table(title="Bars", title_justify="left")
    for heading in ("claim", "wanted", "found", ""):
        bars.add_column(heading)
    for bar in _bars(subjects):
        bars.add_row(bar.claim, bar.wanted, bar.found, _verdict(bar))
    console.print(bars)


def page(subjects: Sequence[Subject], facts: Mapping[str, str], command: str) -> str:
    """Return the page of results; `facts` describe the run."""
    lines = [
        "# Results",
        "",
        f"Written by `{command}`. Medians; peers ran on the same disk, in turn.",
        "",
        *(f"- {name}: {value}" for name, value in facts.items()),
        "",
        *_table(("claim", "wanted", "found", ""), [_cells(bar) for bar in _bars(subjects)]),
    ]
    for subject in subjects:
        rows = [(row.name, figure(row), row.what) for row in subject.rows]
        lines += ["", f"## {subject.title}", "", subject.setting, ""]
        lines += _table(("", "median", "what"), rows)
    return "\n".join(lines) + "\n"


def figure(row: Row) -> str:
    """Return a figure with its unit, to three digits or so."""
    digits = 0 if row.value >= 100 else 1 if row.value >= 10 else 2
    return f"{row.value:,.{digits}f}{'' if row.unit.startswith('/') else ' '}{row.unit}"


def _bars(subjects: Sequence[Subject]) -> list[Bar]:
    return [bar for subject in subjects for bar in subject.bars]


def _cells(bar: Bar) -> tuple[str, ...]:
    return bar.claim, bar.wanted, bar.found, _verdict(bar)


def _verdict(bar: Bar) -> str:
    return "holds" if bar.holds else "**missed**"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return [_line(head), "|" + "---|" * len(head), *(_line(row) for row in rows)]


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
