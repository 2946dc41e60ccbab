"""What a look-up answers: the assets and bank entries that a file is, or may be, and how certain.

Plain frozen values, without any knowledge of how fingerprints are computed, stored or searched.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from registry.core.answers import Answer

MatchKind = Literal["exact", "pixels", "rendition", "perceptual", "part", "text"]
MatchVerdict = Literal["match", "probable", "review"]
FindVerdict = Literal["match", "probable", "review", "none"]
MatchState = Literal["", "confirmed"]

CERTAIN = frozenset({"exact", "pixels", "rendition"})
"""Kinds that are equal digests: no chance is involved, and `expected` is 0."""
REGISTERED = "registered"
"""The bank of every asset of the registry."""
STRONGEST_FIRST: tuple[MatchVerdict, ...] = ("match", "probable", "review")


@dataclass(frozen=True, slots=True)
class MatchGeometry(Answer):
    """How the query lies on the stored picture, by `inliers` local features that agree.

    `box` is what the query shows: left, top, right, bottom in fractions of the stored picture.
    `rotation` is in degrees, clockwise; `scale` is how long the stored picture would be by the
    query's longest side: above 1 for a crop, below 1 for a page that shows it.
    """

    inliers: int
    mirrored: bool
    rotation: float
    scale: float
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class BankEntry(Answer):
    """Why a bank holds what was matched, and who says so; None where nothing was said.

    `record` is the one that put it there, `expires` a time (RFC 3339).
    """

    record: str | None
    reason: str | None = None
    owner: str | None = None
    source: str | None = None
    expires: str | None = None


@dataclass(frozen=True, slots=True)
class Match(Answer):
    """One asset or bank entry that the file is, or may be, with its records, newest first.

    `distance` is in bits of 256, None unless the match is perceptual or of a part; `similarity`
    (0 to 1) is of texts, an estimate with `similarity_error` as its standard error. `transform`
    says what was done to the stored picture, such as `mirrored`; "" where nothing was. `frame` is
    that of an animation, from 0. `fingerprint` names what was compared, "" where digests were.
    `expected` is E, the expected number of false matches of this or a better kind that this query
    gives in this bank, and `expected_bound` its 95 % upper bound; None where no calibration tells.
    `extrapolated` where no false match so near was ever counted.
    `entry` tells why a bank other than `registered` holds it. `state` is what a person said.
    """

    id: str
    records: tuple[str, ...]
    kind: MatchKind
    distance: int | None
    verdict: MatchVerdict
    transform: str = ""
    bank: str = REGISTERED
    expected: float | None = 0.0
    expected_bound: float | None = 0.0
    extrapolated: bool = False
    geometry: MatchGeometry | None = None
    frame: int | None = None
    fingerprint: str = ""
    similarity: float | None = None
    similarity_error: float | None = None
    state: MatchState = ""
    entry: BankEntry | None = None


@dataclass(frozen=True, slots=True)
class FindResult(Answer):
    """What a file was recognised as: equal digests first, then by verdict, the most certain first.

    `verdict` is that of the strongest match, `none` without one. `query` tells what was looked
    for: `sha256`, `pixels`, `fingerprint` (hex, by the name in `algorithm`), `radius`, `banks`,
    `variants`, the transforms that were looked for beside the picture as it is, `compared`, the
    number of fingerprints searched, and `calibration`, what E is from: `default`, or the record
    of the registry's own. An asset stands under its strongest kind only, once in each bank. No
    match does not mean that a picture was not generated.
    """

    matches: tuple[Match, ...]
    query: dict[str, Any]
    notes: tuple[str, ...] = ()
    verdict: FindVerdict = "none"


def strongest(verdicts: Iterable[MatchVerdict]) -> FindVerdict:
    """Return the strongest of some verdicts, `none` of no verdicts."""
    found = set(verdicts)
    return next((verdict for verdict in STRONGEST_FIRST if verdict in found), "none")


@dataclass(frozen=True, slots=True)
class NearPair(Answer):
    """Two pictures that count as different, and how few bits of 256 they differ in."""

    first: str
    second: str
    distance: int


@dataclass(frozen=True, slots=True)
class LookUpCalibration(Answer):
    """How near a registry's own pictures come to each other, as a signed record says.

    `pictures` form `sources` groups: what lineage ties, what has the same pixels, or what a person
    confirmed as a match is one source, and is not compared within. `fingerprints` has the number
    of pairs of each, `table` is the asset id of all that was counted. `nearest` are those pairs of
    different sources that are nearest: one that is a copy makes every look-up less sure, until
    somebody says so.
    """

    record: str
    table: str
    banks: tuple[str, ...]
    pictures: int
    sources: int
    fingerprints: dict[str, int]
    nearest: tuple[NearPair, ...] = ()
