"""The guides to look-up name the limits, the kinds, the algorithm and the errors of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

from registry.core.look_up import MatchKind
from registry.similarity import certainty, decode, finder, hits, judging
from registry.similarity.calibrations import default
from registry.similarity.certainty import FARTHEST, rate_of
from registry.similarity.fingerprints import PHASH256, PHASH256_V1
from registry.similarity.prints import NAMES
from registry.similarity.verify import MIN_INLIERS, VERIFIER
from registry.workflows.look_up_calibration import LEAST_SOURCES

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "look-up.md").read_text("utf-8")
CERTAINTY = (ROOT / "docs" / "certainty.md").read_text("utf-8")


def test_the_radii_are_the_ones_in_the_code() -> None:
    assert f"{finder.RADIUS} unless you say otherwise" in GUIDE
    assert f"regions are looked for within {hits.NEAR_BITS}" in GUIDE


def test_every_kind_of_match_is_explained() -> None:
    assert set(get_args(MatchKind)) == set(re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE))


def test_the_limits_of_verdicts_are_the_ones_in_the_code() -> None:
    assert f"| `match` | at most {certainty.MATCH_EXPECTED} |" in CERTAINTY
    assert f"| `probable` | at most {certainty.PROBABLE_EXPECTED} |" in CERTAINTY
    assert f"| `review` | at most {certainty.REVIEW_EXPECTED:.0f} |" in CERTAINTY
    assert f"picture more than {judging.SURE_BITS} bits away" in CERTAINTY
    assert f"Fewer than {LEAST_SOURCES} sources are refused" in CERTAINTY


def test_what_is_said_of_the_shipped_calibration_is_in_it() -> None:
    whole = default().fingerprints[PHASH256]
    assert f"{whole.sources} photographs" in CERTAINTY.replace("\n", " ")
    assert f"{whole.pairs / 1e9:.2f} billion pairs" in CERTAINTY.replace("\n", " ")
    for power in (6, 8, 9):
        at = max(d for d in range(FARTHEST) if rate_of(whole, d).value <= 10**-power)
        assert f"| 1e-{power} | {at} |" in CERTAINTY
    passes = default().verifiers[VERIFIER]
    found = f"Of {passes.trials:,} such pairs {passes.passes[MIN_INLIERS] or 'none'} agreed"
    assert found in CERTAINTY.replace("\n", " ")


def test_every_fingerprint_is_named() -> None:
    for name in (*NAMES, PHASH256_V1):
        assert f"`{name}`" in GUIDE


def test_every_error_code_is_explained() -> None:
    source = Path(decode.__file__).read_text("utf-8")
    raised = set(re.findall(r'code="(image\.[a-z-]+)"', source))
    assert raised == set(re.findall(r"^\| `(image\.[a-z-]+)` \|", GUIDE, re.MULTILINE))


def test_every_format_is_named() -> None:
    named = GUIDE.split("Decoded are ")[1].split(".")[0].upper()
    assert [kind for kind in decode.MEDIA_TYPES if kind != "MPO" and kind not in named] == []
