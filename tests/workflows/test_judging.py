"""What a replay proves: verdicts by inputs, bytes, pixels and distance, in this order."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.core.answers import Difference
from registry.similarity.compare import PixelDistance
from registry.workflows.calibration import Bounds
from registry.workflows.replay.judging import UNSTABLE, Evidence, judge
from registry.workflows.replay.triptych import GAP, HEAD, triptych

SEED = Difference("seed", "7", "8")
THREADS = Difference("torch.threads", 1, 2)
NEAR, FAR = PixelDistance(1, 0.0005), PixelDistance(12, 0.2)


def evidence(**changed: Any) -> Evidence:
    values: dict[str, Any] = {
        "same_bytes": False,
        "same_pixels": False,
        "inputs": (),
        "environment": (),
        "distance": NEAR,
        "bounds": Bounds(2, 0.001),
    }
    return Evidence(**values | changed)


@pytest.mark.parametrize(
    ("changed", "verdict"),
    [
        ({"same_bytes": True}, "identical"),
        ({"same_bytes": True, "environment": (THREADS,)}, "identical"),
        ({"same_pixels": True, "environment": (THREADS,)}, "identical-pixels"),
        ({"environment": (THREADS,)}, "equivalent"),
        ({"environment": (THREADS,), "distance": FAR}, "different"),
        ({"environment": (THREADS,), "distance": PixelDistance(2, 0.0011)}, "different"),
        ({"environment": (THREADS,), "distance": PixelDistance(3, 0.0009)}, "different"),
        ({"environment": (THREADS,), "distance": FAR, "bounds": Bounds(12, 0.2)}, "equivalent"),
        ({"environment": (THREADS,), "distance": None}, "different"),
        ({"environment": ()}, "different"),
        ({"inputs": (SEED,), "environment": (THREADS,)}, "different"),
        ({"inputs": (SEED,), "same_bytes": True}, "different"),
    ],
)
def test_a_verdict_goes_by_inputs_then_bytes_then_pixels_then_distance(
    changed: dict[str, Any], verdict: str
) -> None:
    assert judge(evidence(**changed))[0] == verdict


def test_reasons_name_the_cause_the_distance_and_where_the_bound_is_from() -> None:
    calibrated = Bounds(3, 0.01, "rec:" + "ab" * 32)
    _, reasons = judge(evidence(environment=(THREADS,), bounds=calibrated))
    assert reasons[0] == "torch.threads differs"
    assert "1 of 3 levels" in reasons[1]
    assert "rec:abab" in reasons[1]
    _, reasons = judge(evidence(environment=(THREADS,)))
    assert "the default" in reasons[1]


@pytest.mark.parametrize("where", ["variables.MKL_CBWR", "torch.mkl_cbwr"])
def test_a_record_whose_bits_depended_on_memory_is_told_so(where: str) -> None:
    late = Difference(where, None if where.startswith("v") else "OFF", "AUTO,STRICT")
    assert UNSTABLE in judge(evidence(environment=(late,)))[1]
    other = Difference(where, "COMPATIBLE,STRICT", "AUTO,STRICT")
    assert UNSTABLE not in judge(evidence(environment=(other,)))[1]


def test_a_changed_input_is_named_and_no_environment_is_blamed_for_it() -> None:
    assert judge(evidence(inputs=(SEED,), environment=(THREADS,)))[1] == ("seed was changed",)


def encoded(pixels: Any) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def panels(sheet: bytes, width: int) -> list[Any]:
    with Image.open(io.BytesIO(sheet)) as opened:
        pixels = np.asarray(opened.convert("RGB"))
    starts = [GAP + n * (width + GAP) for n in range(3)]
    return [pixels[HEAD : HEAD + width, start : start + width] for start in starts]


def test_a_comparison_shows_both_pictures_and_the_smallest_difference_in_full() -> None:
    first = np.full((300, 300, 3), 90)
    second = first.copy()
    second[10, 20, 1] += 2
    left, right, between = panels(triptych(encoded(first), encoded(second)) or b"", 300)
    assert (left == first).all()
    assert (right == second).all()
    assert between[10, 20].tolist() == [0, 255, 0]
    assert (between > 0).sum() == 1


def test_a_small_picture_is_shown_larger_and_equal_ones_leave_a_black_panel() -> None:
    picture = encoded(np.full((64, 64, 3), 200))
    left, _, between = panels(triptych(picture, picture) or b"", 256)
    assert (left == 200).all()
    assert (between == 0).all()


def test_pictures_of_two_sizes_and_what_is_no_picture_are_no_error() -> None:
    small, large = encoded(np.zeros((8, 8, 3))), encoded(np.zeros((16, 16, 3)))
    assert triptych(small, large) is not None
    assert triptych(small, b"no picture") is None
