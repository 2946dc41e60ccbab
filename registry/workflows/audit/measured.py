"""From what replays made under many settings to bounds: distances, margins, and a last check.

Pure: pictures in, bounds and a table out.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.core.digests import asset_id
from registry.errors import InputError
from registry.similarity.compare import PixelDistance, pixel_distance
from registry.workflows.audit.selection import Chosen
from registry.workflows.audit.settings_varied import BASE
from registry.workflows.calibration import Model
from registry.workflows.reproduce import Target

MOST_LEVELS = 16
"""Bounds that let a channel change by more are no numeric noise any more."""
MARGIN_LEVELS = 1
MARGIN = 2.0
"""The bound of the fraction is so many times what was measured, and another seed so far outside."""
COLUMNS = ("asset", "record", "output", "setting", "max_level", "fraction")


@dataclass(slots=True)
class Sample:
    """An output of the sample: what to replay, and what came out under each setting."""

    one: Chosen
    target: Target
    made: dict[str, bytes] = field(default_factory=dict)
    error: str | None = None

    @property
    def asset(self) -> str:
        """The output's id."""
        return asset_id(self.target.row["sha256"].hex())


@dataclass(frozen=True, slots=True)
class Pair:
    """How far one picture is from the reference of its output."""

    subject: Sample
    setting: str
    distance: PixelDistance


def pairs_of(subject: Sample) -> Iterator[Pair]:
    """Yield how far each picture of an output is from the one under its own settings."""
    reference = subject.made[BASE]
    for setting, data in subject.made.items():
        if setting != BASE and (distance := pixel_distance(reference, data)) is not None:
            yield Pair(subject, setting, distance)


def with_margin(measured: PixelDistance, sound: Sequence[Sample]) -> PixelDistance:
    """Add a margin; where nothing changed, one pixel may."""
    fewest = min((s.target.row["width"] or 1) * (s.target.row["height"] or 1) for s in sound)
    return PixelDistance(
        measured.max_level + MARGIN_LEVELS,
        min(1.0, MARGIN * max(measured.fraction, 1 / fewest)),
    )


def check_bounds(model: Model, bounds: PixelDistance, others: Sequence[PixelDistance]) -> None:
    """Refuse bounds that a real change could pass."""
    levels, fraction = int(MARGIN * bounds.max_level), MARGIN * bounds.fraction
    close = [d for d in others if d.within(levels, fraction)]
    if close or bounds.max_level > MOST_LEVELS or not others:
        raise InputError(
            f"numeric settings move the pictures of model {model.digest[:16]} by"
            f" {bounds.max_level - MARGIN_LEVELS} levels, and a picture of another seed is"
            f" {'within twice the bounds' if close else 'not far enough outside'}",
            code="calibration.indistinct",
            hint="such bounds would let a real change pass: the defaults stay",
        )


def table_of_pairs(pairs: Sequence[Pair]) -> bytes:
    """Return every measured pair as CSV."""
    text = io.StringIO(newline="")
    rows: Any = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for pair in pairs:
        one, distance = pair.subject.one, pair.distance
        fraction = f"{distance.fraction:.9g}"
        rows.writerow(
            (pair.subject.asset, one.record, one.output, pair.setting, distance.max_level, fraction)
        )
    return text.getvalue().encode("utf-8")
