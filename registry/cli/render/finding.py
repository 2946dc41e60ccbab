"""What a look-up's calibration learnt, as text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.cli.render.parts import QUIET, WARN, fields, lines, literal
from registry.cli.text import plural, short

if TYPE_CHECKING:
    from rich.console import RenderableType

    from registry.core.look_up import LookUpCalibration


def calibration(done: LookUpCalibration) -> RenderableType:
    """Return what was compared, and which pictures stand nearer than different ones should."""
    pairs = [(name, f"{count:,} pairs") for name, count in sorted(done.fingerprints.items())]
    compared = f"{plural(done.pictures, 'picture')} of {plural(done.sources, 'source')}"
    near = [
        literal(f"  {short(one.first)} and {short(one.second)} differ in {one.distance} bits")
        for one in done.nearest
    ]
    head = "These count as different, and make look-ups less sure; `genops match confirm` says"
    return lines(
        fields(
            [
                ("compared", compared),
                ("banks", ", ".join(done.banks)),
                *pairs,
                ("table", done.table),
                ("record", done.record),
            ]
        ),
        *([literal(head, WARN), literal("that they are one:", WARN), *near] if near else []),
        literal("From now on the expected number of false matches is from this.", QUIET),
    )
