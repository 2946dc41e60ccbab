"""Near-duplicates of texts: what is compared, how similarity is estimated, and what is found."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import delete, insert, select

from registry.core.digests import sha256_hex
from registry.core.generation import Generation, Output
from registry.sdk import Registry
from registry.settings import Limits
from registry.similarity.finder import find
from registry.similarity.text_index import MOST_WORDS, TextIndex, alike_texts
from registry.similarity.texts import (
    MINHASH,
    NOT_COMPARABLE,
    print_of,
    similarity,
    size_of,
    text_print,
    text_type_of,
    words_of,
)
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read, write
from registry.store.types import table_of

COPY = (
    "Warm, red and ready before the kettle sings: the Aurora mug keeps the first coffee of the "
    "day hot for an hour, and its wide handle fits a gloved hand."
)
PRINTS = table_of(FingerprintRow)


def paragraphs() -> list[str]:
    """Return real text: the paragraphs of this project's decision records, which do not change."""
    docs = Path(__file__).parents[2] / "docs" / "adr"
    whole = "\n\n".join(path.read_text("utf-8") for path in sorted(docs.glob("*.md")))
    found = {" ".join(p.split()) for p in re.split(r"\n\s*\n", whole)}
    return sorted(p for p in found if 30 <= len(p.split()) <= 120)


def store(registry: Registry, *texts: str) -> list[str]:
    """Store the fingerprints of texts as a recording does; return their digests."""
    values = [text_print(text.encode(), "text/plain") for text in texts]
    rows = [
        {"sha256": bytes.fromhex(v.sha256), "name": v.name, "value": v.value, "quality": v.quality}
        for v in values
        if v is not None
    ]
    with write(registry.log.engine) as conn:
        conn.execute(insert(PRINTS), rows)
    return [row["sha256"].hex() for row in rows]


def stored(registry: Registry) -> list[str]:
    """Return the ids of the assets that have a text's fingerprint."""
    with read(registry.log.engine) as conn:
        found = conn.scalars(select(PRINTS.c.sha256).where(PRINTS.c.name == MINHASH))
        return sorted(f"sha256:{sha256.hex()}" for sha256 in found)


def test_the_fingerprint_of_a_text_is_frozen() -> None:
    made = text_print(COPY.encode(), "text/plain")
    assert made is not None
    assert (made.name, len(made.value), made.quality) == (MINHASH, 256, 38)
    assert sha256_hex(made.value).startswith("96618f64e9379af9c38f8203237fe047")


def test_spelling_and_container_do_not_change_what_is_compared() -> None:
    plain = words_of(COPY.encode(), "text/plain")
    shouted = COPY.upper().replace(",", " --").replace(" ", " \n ")
    body = json.dumps({"id": "4f1c-22", "parts": [COPY[:20], COPY[20:]], "score": 3}, indent=1)
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in COPY)
    assert plain is not None
    assert words_of(shouted.encode(), "text/markdown; charset=utf-8") == plain
    assert words_of(wide.encode("utf-16"), "text/plain") == plain
    assert words_of(body.encode(), "application/vnd.copy+json") == [
        *words_of(COPY[:20].encode(), "text/plain"),
        *words_of(COPY[20:].encode(), "text/plain"),
    ]
    assert words_of("don\u2019t 買う cafe\u0301".encode(), "text/plain") == [
        "dont",
        "買",
        "う",
        "caf\u00e9",
    ]


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"Free shipping on all orders today, only today!", "text/plain"),
        (b"same same same " * 50, "text/plain"),
        (b"\xff\x00\xff" + COPY.encode(), "text/plain"),
        (COPY.encode(), "image/png"),
        (COPY.encode(), None),
        (b'{"a": 1, "a": "' + COPY.encode() + b'"}', "application/json"),
        (b"a b c d e f g h i j k " * 60_000, "text/plain"),
    ],
)
def test_what_says_too_little_or_is_no_text_has_no_fingerprint(
    data: bytes, media_type: str | None
) -> None:
    assert text_print(data, media_type) is None


def test_the_estimate_is_within_its_error_of_the_true_similarity() -> None:
    rng = random.Random(7)
    off = []
    for _ in range(120):
        common = [f"w{rng.random()}" for _ in range(rng.randrange(2, 120))]
        one = common + [f"x{rng.random()}" for _ in range(rng.randrange(10, 80))]
        other = common + [f"y{rng.random()}" for _ in range(rng.randrange(10, 80))]
        runs = [{tuple(w[n : n + 3]) for n in range(len(w) - 2)} for w in (one, other)]
        true = len(runs[0] & runs[1]) / len(runs[0] | runs[1])
        prints = [print_of("0" * 64, words) for words in (one, other)]
        values = [np.frombuffer(p.value, dtype=">u2") for p in prints if p is not None]
        estimate, error = similarity(int((values[0] == values[1]).sum()))
        off.append((estimate - true) / error)
        assert size_of(prints[0].quality) == pytest.approx(len(runs[0]), rel=0.06)
    assert abs(np.mean(off)) < 0.4
    assert 0.7 < np.std(off) < 1.3


def test_a_search_finds_what_a_comparison_one_by_one_finds() -> None:
    rng = np.random.default_rng(3)
    values = rng.integers(0, 4, (3000, 128)).astype(">u2")
    digests = [rng.bytes(32) for _ in values]
    index = TextIndex()
    for start in (0, 1, 700):
        end = {0: 1, 1: 700, 700: 3000}[start]
        index.add(digests[start:end], [value.tobytes() for value in values[start:end]])
    equal = (values == values[1234]).sum(axis=1)
    expected = {digests[n].hex(): int(equal[n]) for n in np.flatnonzero(equal >= 40)}
    assert len(expected) > 5
    assert index.search(values[1234].tobytes(), 40) == expected


def test_edited_and_embedded_texts_are_found_and_others_are_not(registry: Registry) -> None:
    rng = random.Random(11)
    stored, rest = paragraphs()[:40], paragraphs()[40:]
    words = " ".join(rest).split()
    engine = registry.log.engine
    digests = store(registry, *stored)
    for sha256, text in zip(digests, stored, strict=True):
        edited = text.split()
        edited[rng.randrange(len(edited))] = "unexpected"
        (found, *_) = alike_texts(engine, " ".join(edited).encode(), "text/plain")
        assert (found.sha256, found.verdict, found.part) == (sha256, "match", False)
        assert found.similarity + 4 * found.error > 0.7
    for sha256, text in zip(digests[:8], stored, strict=False):
        place = rng.randrange(len(words) // 2)
        around = [*words[place : place + 150], *text.split(), *words[place + 150 : place + 800]]
        (found, *_) = alike_texts(engine, " ".join(around).encode(), "text/plain")
        assert (found.sha256, found.part) == (sha256, True)
        assert found.verdict in {"match", "probable"}
    alike = [alike_texts(engine, text.encode(), "text/plain") for text in rest]
    assert not [found for hits in alike for found in hits if found.verdict != "review"]


def test_a_text_beyond_the_pieces_is_still_compared_as_a_whole(registry: Registry) -> None:
    long = " ".join(f"word{n}" for n in range(3 * MOST_WORDS))
    (sha256,) = store(registry, long)
    (found,) = alike_texts(registry.log.engine, f"{long} end".encode(), "text/plain")
    assert (found.sha256, found.verdict, found.part) == (sha256, "match", False)


def test_a_text_is_found_as_soon_as_it_is_stored_and_not_after_it_was_erased(
    registry: Registry,
) -> None:
    engine = registry.log.engine
    assert alike_texts(engine, COPY.encode(), "text/plain") == []
    (sha256,) = store(registry, COPY)
    (found,) = alike_texts(engine, COPY.encode(), "text/plain")
    assert (found.sha256, found.similarity) == (sha256, 1.0)
    assert 0 < found.error < 0.02
    with write(engine) as conn:
        conn.execute(delete(PRINTS))
    assert alike_texts(engine, COPY.encode(), "text/plain") == []


def test_a_text_without_a_name_is_compared_by_what_it_says(registry: Registry) -> None:
    body = json.dumps({"headline": COPY[:40], "body": COPY[40:]}).encode()
    (sha256,) = store(registry, COPY[:40] + " " + COPY[40:])
    (found,) = alike_texts(registry.log.engine, body, text_type_of(body))
    assert (found.sha256, found.similarity > 0.9) == (sha256, True)
    for data, notes in ((body, ()), (COPY.encode(), ()), (b"A short line", (NOT_COMPARABLE,))):
        assert find(registry.log.engine, data, Limits()).notes == notes
    assert [text_type_of(data) for data in (body, COPY.encode(), b"{not JSON", b"[1, 2]")] == [
        "application/json",
        "text/plain",
        "text/plain",
        "application/json",
    ]


def test_recorded_texts_are_found_personal_ones_leave_nothing_and_expired_ones_go(
    registry: Registry, generation: Callable[..., Generation], tmp_path: Path
) -> None:
    other = " ".join(reversed(COPY.split()))
    plain = Output(COPY.encode(), "text/plain", "1")
    draft = Output(other.encode(), "text/markdown", "2")
    registry.record(generation(1, outputs=(plain,)), personal=True)
    (tmp_path / "own.txt").write_text(COPY)
    registry.ingest(tmp_path / "own.txt", personal=True)
    assert stored(registry) == []
    assert registry.find(COPY.encode()).matches == ()
    kept = registry.record(generation(2, outputs=(plain,)))
    gone = registry.record(generation(3, outputs=(draft,)), draft=True)
    assert stored(registry) == sorted(done.assets[0] for done in (kept, gone))
    (found,) = registry.find(COPY.replace("hour", "day").encode()).matches
    assert (found.id, found.kind, found.verdict) == (kept.assets[0], "text", "match")
    assert registry.find(other.encode()).matches[0].id == gone.assets[0]
    registry.drafts.expire(older_than_hours=0)
    assert stored(registry) == list(kept.assets)
    assert [match.kind for match in registry.find((other + " more").encode()).matches] == []
