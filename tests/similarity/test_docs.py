"""The guide to look-up names the bands, the algorithm and the errors that the code has."""

from __future__ import annotations

import re
from pathlib import Path

from registry.similarity import decode, finder
from registry.similarity.fingerprints import PHASH256

ROOT = Path(__file__).resolve().parents[2]
GUIDE = (ROOT / "docs" / "look-up.md").read_text("utf-8")


def test_the_bands_are_the_ones_in_the_code() -> None:
    assert f"| 0 to {finder.MATCH_BITS} | `match` |" in GUIDE
    assert f"| {finder.MATCH_BITS + 1} to {finder.PROBABLE_BITS} | `probable` |" in GUIDE
    assert f"| {finder.PROBABLE_BITS + 1} and more | `review` |" in GUIDE
    assert f"{finder.RADIUS} unless you say otherwise" in GUIDE


def test_the_algorithm_is_named() -> None:
    assert f"`{PHASH256}`" in GUIDE


def test_every_error_code_is_explained() -> None:
    source = Path(decode.__file__).read_text("utf-8")
    raised = set(re.findall(r'code="(image\.[a-z-]+)"', source))
    assert raised == set(re.findall(r"^\| `(image\.[a-z-]+)` \|", GUIDE, re.MULTILINE))


def test_every_format_is_named() -> None:
    named = GUIDE.split("Decoded are ")[1].split(".")[0].upper()
    assert [kind for kind in decode.MEDIA_TYPES if kind != "MPO" and kind not in named] == []
