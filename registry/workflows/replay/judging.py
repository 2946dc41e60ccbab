"""From what a replay made to a verdict: inputs first, then bytes, then pixels, distance last.

Pure: values in, a verdict and its reasons out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from registry.core.answers import Difference, Verdict
from registry.similarity.compare import PixelDistance
from registry.workflows.calibration import Bounds

MOST_REASONS = 200
"""A record holds 256 reasons."""
UNSTABLE = "the record was made without MKL_CBWR=AUTO,STRICT: its bits depended on where memory lay"
_STABLE_MKL = ("variables.MKL_CBWR", "torch.mkl_cbwr")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a verdict rests on.

    `inputs` were changed on purpose; `environment` is how this process differs from the recorded
    one; `distance` is None where there is nothing to compare, or no picture.
    """

    same_bytes: bool
    same_pixels: bool
    inputs: Sequence[Difference]
    environment: Sequence[Difference]
    distance: PixelDistance | None
    bounds: Bounds


def judge(evidence: Evidence) -> tuple[Verdict, tuple[str, ...]]:
    """Return the verdict and its reasons.

    `equivalent` needs equal inputs, a named difference of environments, and a distance within the
    bounds: pixels alone cannot tell a small change of a parameter from another processor.
    """
    if evidence.inputs:
        return "different", tuple(f"{d.where} was changed" for d in evidence.inputs)
    if evidence.same_bytes:
        return "identical", ()
    if evidence.same_pixels:
        return "identical-pixels", ("the same pixels in other bytes",)
    causes = list(dict.fromkeys(cause(d) for d in evidence.environment))[:MOST_REASONS]
    if not causes:
        return "different", ("same inputs and environment, other bytes", *_measured(evidence))
    distance, bounds = evidence.distance, evidence.bounds
    if distance is not None and distance.within(bounds.levels, bounds.fraction):
        return "equivalent", (*causes, *_measured(evidence))
    return "different", (*causes, *_measured(evidence))


def cause(difference: Difference) -> str:
    """Say how one difference of environments explains other bits."""
    if difference.where in _STABLE_MKL and not _is_strict(difference.recorded):
        return UNSTABLE
    return f"{difference.where} differs"


def _measured(evidence: Evidence) -> Iterator[str]:
    distance, bounds = evidence.distance, evidence.bounds
    if distance is None:
        yield "no distance was measured: there are no two pictures of one size to compare"
        return
    whence = f"calibrated by {bounds.record}" if bounds.record else "the default"
    yield (
        f"largest change {distance.max_level} of {bounds.levels} levels allowed, "
        f"{distance.fraction:.4%} of pixels of {bounds.fraction:.4%} ({whence})"
    )


def _is_strict(recorded: Any) -> bool:
    return isinstance(recorded, str) and recorded.upper().endswith("STRICT")
