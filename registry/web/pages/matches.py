"""How a look-up's matches read on a page: what is equal or alike, how sure that is, and where.

Pure, but for asking how large an asset is, so that the part which a file shows can be drawn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from registry.core.look_up import CERTAIN, REGISTERED, Match, MatchGeometry, MatchVerdict
from registry.errors import GenopsError

if TYPE_CHECKING:
    from registry.core.look_up import FindResult
    from registry.web.services import Services

KINDS: Sequence[tuple[str, tuple[str, ...], str, str]] = (
    ("The same file", ("exact",), "Byte for byte, by SHA-256.", "Nothing has these bytes."),
    (
        "The same pixels",
        ("pixels", "rendition"),
        "Another container or other metadata around an unchanged picture.",
        "No other file has these pixels.",
    ),
    (
        "Looks similar",
        ("perceptual", "part", "text"),
        "By what it looks or reads like, the surest first; for a person to judge.",
        "Nothing looks or reads like it within the search radius.",
    ),
)
"""Title, kinds of match, what they mean, and what is said where there are none."""
MOST_DRAWN = 12
"""Most parts that are drawn."""
_WORDS: Mapping[MatchVerdict, str] = {
    "match": "A match",
    "probable": "Probably a match",
    "review": "Perhaps a match: look at both",
}
_ALIKE = {
    "exact": "the same bytes",
    "pixels": "the same pixels in another file",
    "rendition": "the same pixels in another container",
    "perceptual": "looks like it as a whole",
    "part": "shows a part of it",
    "text": "reads like it",
}


@dataclass(frozen=True, slots=True)
class Drawn:
    """A part of a picture to draw: the picture's size, and left, top, width, height, pixels."""

    size: tuple[int, int]
    box: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Shown:
    """A match in words; `part` is drawn on its thumbnail, `blocked` must not be shipped."""

    match: Match
    verdict: str
    alike: str
    details: tuple[str, ...]
    chance: str
    blocked: bool
    part: Drawn | None

    @property
    def asset(self) -> bool:
        """Tell whether the match is an asset, with a page of its own."""
        return self.match.bank == REGISTERED


@dataclass(frozen=True, slots=True)
class Group:
    """Matches of some kinds under a title."""

    title: str
    why: str
    absent: str
    found: tuple[Shown, ...]


def groups(services: Services, result: FindResult, kinds: Mapping[str, str]) -> list[Group]:
    """Return the matches by kind; `kinds` says what each bank is for."""
    drawn = [match for match in result.matches if match.geometry and match.bank == REGISTERED]
    parts = {match.id: _drawn(services, match) for match in drawn[:MOST_DRAWN]}
    shown = [_shown(match, kinds, parts.get(match.id)) for match in result.matches]
    return [
        Group(title, why, absent, tuple(one for one in shown if one.match.kind in of))
        for title, of, why, absent in KINDS
    ]


def chance(match: Match) -> str:
    """Return in plain words how likely it is that a match this near is a false one."""
    if match.kind in CERTAIN:
        return "Certain: equal digests."
    if match.state == "confirmed":
        return "A person confirmed it."
    bound = match.expected_bound
    if bound is None:
        return "How sure this is cannot be told: nothing was counted that it could be held to."
    guess = " That is extrapolated: no false match so near was ever counted."
    if bound >= 1:
        words = f"Up to {bound:,.0f} false matches this near are to be expected."
    else:
        words = f"At most one in {_floor(1 / bound):,} look-ups gives a false match this near."
    return words + (guess if match.extrapolated else "")


def _floor(number: float) -> int:
    """Return a number with one digit that counts, rounded down: a bound has no more to say."""
    ten: int = 10 ** (len(str(int(number))) - 1)
    return int(number) // ten * ten


def _shown(match: Match, kinds: Mapping[str, str], part: Drawn | None) -> Shown:
    return Shown(
        match,
        "Certain" if match.kind in CERTAIN else _WORDS[match.verdict],
        _ALIKE[match.kind],
        tuple(_details(match)),
        chance(match),
        kinds.get(match.bank) == "blocked",
        part,
    )


def _details(match: Match) -> list[str]:
    said = [match.transform] if match.transform else []
    if match.distance is not None:
        said.append(f"{match.distance} of 256 bits differ")
    if match.similarity is not None:
        said.append(f"{match.similarity:.0%} of its wording")
    if match.frame is not None:
        said.append(f"frame {match.frame}")
    if match.geometry is not None:
        said += _where(match.geometry)
    return said


def _where(geometry: MatchGeometry) -> list[str]:
    left, top, right, bottom = (round(100 * side) for side in geometry.box)
    if (left, top, right, bottom) == (0, 0, 100, 100):
        said = ["all of it is in view"]
    else:
        said = [f"from {left} to {right} % across and {top} to {bottom} % down"]
    turned = round(geometry.rotation)
    return [*said, f"turned by {turned}°"] if turned else said


def _drawn(services: Services, match: Match) -> Drawn | None:
    """Return the part of an asset that a file shows; None where its size is not known."""
    assert match.geometry is not None  # noqa: S101  # the caller chose such
    try:
        passport = services.registry.get(match.id)
    except GenopsError:
        return None
    if not passport.width or not passport.height:
        return None
    left, top, right, bottom = match.geometry.box
    if (left, top, right, bottom) == (0.0, 0.0, 1.0, 1.0):
        return None
    width, height = passport.width, passport.height
    corner = round(left * width), round(top * height)
    sides = round((right - left) * width), round((bottom - top) * height)
    return Drawn((width, height), (*corner, *sides))
