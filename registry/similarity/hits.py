"""The candidates of a query in a bank: what its fingerprints come near to, not yet judged.

Searches indexes; knows neither what a distance means nor who put a fingerprint there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, Protocol

from registry.similarity.borders import TRIMMED
from registry.similarity.fingerprints import BITS, PHASH256, PHASH256_V1
from registry.similarity.frames import FRAMES
from registry.similarity.pdq import PDQ
from registry.similarity.prints import BLACK
from registry.similarity.segments import SEGMENTS
from registry.similarity.values import bits_apart, parts_of
from registry.similarity.votes import VOTES
from registry.threads import Task

WHOLE = (PHASH256, PHASH256_V1, TRIMMED, BLACK, FRAMES)
"""All fingerprints that are a `phash256` of a whole picture: they are compared with each other."""
NEAR_BITS = 30
"""Largest distance at which a transform, or a part, is looked for: there are many of them, chance
has as many tries, and up to here the index looks into a few buckets only."""
PDQ_BITS = 31
"""Largest distance of PDQ, as its makers recommend."""
WIDE = ("", "framed")
"""Variants that are looked for in the whole radius."""
MOST_VOTED = 12
"""Most candidates by their corners: each costs a comparison."""
SURELY_VOTED = 2
"""Of these the first few are compared in any case, the others where they stand out."""
STANDS_OUT = 1.15
"""Score, by that of the last candidate, from which one does: chance gives all about the same."""


class Searched(Protocol):
    """An index, up to date, as `indexes.Index` has it."""

    def __len__(self) -> int: ...

    def search_many(self, values: Sequence[bytes], radius: int) -> list[list[tuple[str, int]]]:
        """Return (hex SHA-256, distance) of what is within the radius of each value."""


class Voted(Protocol):
    """An index of corners, up to date, as `vote_index.VoteIndex`."""

    def search(self, keys: Any, most: int) -> list[tuple[str, float]]:
        """Return (hex SHA-256, score) of at most so many, the highest score first."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A stored fingerprint near one of the query's, of the asset or entry `sha256` (hex).

    `name` is the fingerprint by which it is calibrated; `chances` says how many comparisons could
    have given so near a hit: stored values times what was looked for at that distance. `distance`
    is None where only corners were counted.
    """

    sha256: str
    kind: Literal["perceptual", "part"]
    name: str
    distance: int | None
    transform: str
    chances: int

    @property
    def bits(self) -> int:
        """The distance, for comparing: corners alone come last."""
        return BITS if self.distance is None else self.distance


def whole(index: Searched, variants: Mapping[str, bytes], radius: int) -> list[Hit]:
    """Return what is near the query as a whole, each asset by its best variant."""
    wide = [name for name in variants if name in WIDE]
    narrow = [name for name in variants if name not in WIDE]
    near = min(radius, NEAR_BITS)
    found = _searched(index, {name: variants[name] for name in wide}, radius)
    found += _searched(index, {name: variants[name] for name in narrow}, near)
    return _best(
        Hit(
            sha256,
            "perceptual",
            PHASH256,
            distance,
            transform,
            len(index) * (len(wide) + (len(narrow) if distance <= near else 0)),
        )
        for sha256, distance, transform in found
    )


def parts(index: Searched, segments: Mapping[str, Sequence[bytes]], radius: int) -> list[Hit]:
    """Return whose regions are near one of the query's, each asset by its nearest."""
    looked_for = [(name, value) for name, values in segments.items() for value in values]
    answers = index.search_many([value for _, value in looked_for], min(radius, NEAR_BITS))
    return _best(
        Hit(sha256, "part", SEGMENTS, distance, name, len(index) * len(looked_for))
        for (name, _), answer in zip(looked_for, answers, strict=True)
        for sha256, distance in answer
    )


def nearest_stored(
    stored: Iterable[tuple[str, str, bytes]], values: Mapping[str, bytes]
) -> dict[str, tuple[str, int | None]]:
    """Return by which stored fingerprint each asset was found, and by which of its frames.

    `values` has the query's value by the asset's digest. Frames are counted from 1, those that
    were stored beside the first.
    """
    best: dict[str, tuple[int, int, str, int | None]] = {}
    for sha256, name, value in stored:
        for number, part in enumerate(parts_of(value), 1):
            bits = bits_apart(part, values[sha256])
            frame = number if name == FRAMES else None
            here = (bits, WHOLE.index(name), name, frame)
            best[sha256] = min(best.get(sha256, here), here, key=lambda one: one[:2])
    return {sha256: (name, frame) for sha256, (_, _, name, frame) in best.items()}


def votes_of(
    index: Voted, keys: Callable[[bool], Any], threads: Executor
) -> Callable[[], list[Hit]]:
    """Begin to look for what shares corners with the query; the result gives `by_votes` of it.

    `keys` computes those of the query, as it is and mirrored; OpenCV and numpy let other threads
    run meanwhile.
    """

    def side(mirrored: bool) -> list[tuple[str, float]]:
        return index.search(keys(mirrored), MOST_VOTED)

    plain, mirrored = (Task(threads, partial(side, turned)) for turned in (False, True))
    # The caller has time for the one that is begun last.
    return lambda: by_votes({"mirrored": mirrored.result(), "": plain.result()})


def by_votes(found: Mapping[str, Sequence[tuple[str, float]]]) -> list[Hit]:
    """Return what shares most corners with the query, each asset by its best transform."""
    scored = [
        (score, sha256, transform)
        for transform, answer in found.items()
        for sha256, score in answer
    ]
    best: dict[str, tuple[float, str]] = {}
    for score, sha256, transform in sorted(scored, key=lambda one: (-one[0], one[1])):
        best.setdefault(sha256, (score, transform))
    first = list(best.items())[:MOST_VOTED]
    least = STANDS_OUT * first[-1][1][0] if len(first) == MOST_VOTED else 0.0
    return [
        Hit(sha256, "part", VOTES, None, transform, 0)
        for place, (sha256, (score, transform)) in enumerate(first)
        if place < SURELY_VOTED or score >= least
    ]


def by_pdq(index: Searched, value: bytes, radius: int) -> list[Hit]:
    """Return what is near the query by PDQ."""
    (answer,) = index.search_many([value], min(radius, PDQ_BITS))
    return [Hit(sha256, "perceptual", PDQ, distance, "", len(index)) for sha256, distance in answer]


def strongest_first(hits: Iterable[Hit]) -> list[Hit]:
    """Return hits nearest first, each asset once, as a whole rather than as a part.

    Hits by corners keep their order behind the others.
    """
    first: dict[str, Hit] = {}
    for hit in sorted(hits, key=lambda hit: (hit.kind == "part", hit.name == PDQ, hit.bits)):
        first.setdefault(hit.sha256, hit)
    return list(first.values())


def _searched(
    index: Searched, values: Mapping[str, bytes], radius: int
) -> list[tuple[str, int, str]]:
    answers = index.search_many(list(values.values()), radius) if values else []
    return [
        (sha256, distance, name)
        for name, answer in zip(values, answers, strict=True)
        for sha256, distance in answer
    ]


def _best(hits: Iterable[Hit]) -> list[Hit]:
    """Keep each asset's nearest hit, in order of distance, then of digest."""
    best: dict[str, Hit] = {}
    for hit in hits:
        if hit.sha256 not in best or hit.bits < best[hit.sha256].bits:
            best[hit.sha256] = hit
    return sorted(best.values(), key=lambda hit: (hit.bits, hit.sha256))
