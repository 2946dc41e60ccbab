"""What evidence proves, as text: one file with its checks, or a ZIP file by file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType

from registry.cli import answers as own
from registry.cli.render.parts import (
    BAD,
    GOOD,
    WARN,
    fields,
    heading,
    lines,
    literal,
    table,
    verdict,
)
from registry.cli.text import plural, when

_STATE_STYLE = {"passed": GOOD, "failed": BAD, "skipped": WARN}


def evidence(view: own.EvidenceView | own.EvidenceBundleView) -> RenderableType:
    """Return whether evidence proves its records, and every check; of a ZIP, what failed."""
    if isinstance(view, own.EvidenceBundleView):
        return _bundle(view)
    return lines(
        verdict(view.ok, "the evidence holds", "THE EVIDENCE DOES NOT HOLD"),
        fields(
            [
                ("record", view.record),
                ("index", view.index),
                ("time", when(view.time) if view.time else None),
                ("log of", plural(view.tree_size, "record") if view.tree_size else None),
                ("signed by", view.signer),
                ("withheld", ", ".join(view.withheld)),
            ]
        ),
        _checks(view.checks),
    )


def _bundle(view: own.EvidenceBundleView) -> RenderableType:
    held = plural(len(view.files), "record")
    rows = [(verdict(f.evidence.ok, "holds", "FAILS"), literal(f.file)) for f in view.files]
    return lines(
        verdict(view.ok, f"the evidence holds, of {held}", "THE EVIDENCE DOES NOT HOLD"),
        _checks(view.checks),
        table(("", ""), rows, fold=(1,)),
        *(part for f in view.files if not f.evidence.ok for part in _faults(f)),
    )


def _faults(file: own.EvidenceFileView) -> Iterator[RenderableType]:
    yield heading(file.file)
    yield _checks([check for check in file.evidence.checks if check.state != "passed"])


def _checks(checks: Sequence[own.EvidenceCheckView]) -> RenderableType:
    rows = [(literal(c.state, _STATE_STYLE[c.state]), c.name, literal(c.detail)) for c in checks]
    return table(("", "", ""), rows, fold=(2,))
