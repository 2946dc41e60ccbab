"""Builders of what is said of look-ups: how far their distances can be trusted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from registry.core.predicates import Head, Predicate
from registry.core.statements import predicate_uri

PREDICATE_CALIBRATION_V2 = predicate_uri("calibration", 2)


def calibration(
    head: Head,
    *,
    banks: Sequence[str],
    pictures: int,
    sources: int,
    fingerprints: Mapping[str, int],
) -> Predicate:
    """Say what was compared to calibrate look-ups; the subject is the table of what was counted.

    `fingerprints` has the number of pairs of each, `sources` how many groups the pictures form.
    """
    return head.fields() | {
        "banks": list(banks),
        "pictures": pictures,
        "sources": sources,
        "fingerprints": dict(fingerprints),
    }
