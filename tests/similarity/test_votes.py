"""The assets that share most keys with a query are found, however their rows came to lie."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from registry.similarity import vote_index
from registry.similarity.fingerprints import grey_of
from registry.similarity.sources import Rows
from registry.similarity.verify import Probe
from registry.similarity.vote_index import VoteIndex, vote_index_of
from registry.similarity.votes import keys_of, votes_of


def digest(number: int) -> bytes:
    return hashlib.sha256(str(number).encode()).digest()


def rows_of(values: Any, first: int = 0) -> Rows:
    """Return assets by their number, each with keys (8·k, 2)."""
    packed = b"".join(
        digest(first + number) + value.tobytes()[start : start + 32]
        for number, value in enumerate(values)
        for start in range(0, value.nbytes, 32)
    )
    return Rows(first + len(values), packed)


def some_keys(count: int, seed: int = 1, top: int = 40) -> list[Any]:
    rng = np.random.default_rng(seed)
    return [rng.integers(0, top, (8 * rng.integers(1, 4), 2)).astype("<u2") for _ in range(count)]


def by_hand(assets: list[Any], query: Any) -> dict[str, float]:
    """Count the same in plain Python."""
    lists: dict[tuple[int, int], list[int]] = defaultdict(list)
    for number, keys in enumerate(assets):
        for row in keys.tolist():
            for table, key in enumerate(row):
                lists[table, key].append(number)
    scores: dict[str, float] = defaultdict(float)
    wanted = {(table, key) for row in query.tolist() for table, key in enumerate(row)}
    for place in wanted:
        for number in lists[place]:
            scores[digest(number).hex()] += np.log(1 + len(assets) / len(lists[place])) ** 2
    return scores


@pytest.mark.parametrize("batch", [1, 7, 200])
def test_scores_are_those_counted_by_hand_in_tails_blocks_and_merged_blocks(
    monkeypatch: pytest.MonkeyPatch, batch: int
) -> None:
    monkeypatch.setattr(vote_index, "_TAIL", 8)
    monkeypatch.setattr(vote_index, "_BLOCK", 64)
    assets = some_keys(203)
    index = VoteIndex()
    for start in range(0, len(assets), batch):
        index.add(rows_of(assets[start : start + batch], start))
    query = some_keys(1, seed=2)[0]
    expected = by_hand(assets, query)
    found = dict(index.search(query, 500))
    assert len(index) == 203
    assert found.keys() == expected.keys()
    assert all(found[name] == pytest.approx(expected[name], abs=0.06) for name in found)
    best = index.search(query, 5)
    assert [score for _, score in best] == sorted(found.values(), reverse=True)[:5]


def test_the_rarest_keys_are_counted_when_not_all_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    common = np.full((8, 2), 7, "<u2")
    rare = np.full((8, 2), 9, "<u2")
    index = VoteIndex()
    index.add(rows_of([common] * 20 + [rare]))
    query = np.array([[7, 7], [9, 9]], "<u2")
    assert len(index.search(query, 50)) == 21
    monkeypatch.setattr(vote_index, "MOST_POSTINGS", 100)
    assert [name for name, _ in index.search(query, 50)] == [digest(20).hex()]


def test_an_index_without_rows_or_common_keys_finds_nothing() -> None:
    index = VoteIndex()
    assert index.search(np.zeros((3, 2), "<u2"), 5) == []
    index.add(rows_of([np.full((8, 2), 1, "<u2")]))
    assert index.search(np.zeros((3, 2), "<u2"), 5) == []


def test_keys_are_the_chosen_bits_of_a_descriptor() -> None:
    descriptor = np.zeros((1, 32), np.uint8)
    bits = np.unpackbits(descriptor, axis=1)
    bits[0, [145, 83, 94]] = 1  # the first and the last of one key, the second of the other
    assert keys_of(np.packbits(bits, axis=1)).tolist() == [[1 | 1 << 15, 2]]


def test_a_picture_has_whole_parts_of_keys_and_a_flat_one_none(
    photographs: tuple[Image.Image, ...],
) -> None:
    assert len(votes_of(photographs[0])) == 256
    assert votes_of(Image.new("RGB", (300, 300), "red")) == b""
    assert votes_of(photographs[0]) == votes_of(photographs[0].convert("L"))


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_finds_its_source_among_thousands_once_it_is_stored(
    shelf: Any,
    photographs: tuple[Image.Image, ...],
    encode: Callable[..., bytes],
    mirrored: bool,
) -> None:
    index = vote_index_of(shelf.engine)
    assert vote_index_of(shelf.engine) is index
    index.add(rows_of(some_keys(3000, top=1 << 16)))
    temple = encode(photographs[0])
    shelf.add(temple)
    shelf.add(encode(photographs[1]))
    assert index.refresh() == 2
    assert index.refresh() == 0
    part = photographs[0].crop((120, 80, 500, 400))
    query = part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part
    (best, score), (_, second) = index.search(Probe(grey_of(query)).keys(mirrored=mirrored), 2)
    assert best == hashlib.sha256(temple).hexdigest()
    assert score > 2 * second
