from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.cli.text import LONGEST_TEXT, paragraph, plural, short, size, visible, when

HOSTILE = "\x1b[2Jgone \x9b31m \u202egnp.exe\u2066 \u200b\x07 \x00 \ud800"


@given(st.text(st.characters(codec=None)))
def test_nothing_invisible_or_steering_survives(text: str) -> None:
    shown = visible(text)
    assert all(c.isprintable() or unicodedata.category(c) == "Zs" for c in shown)


@given(st.text())
def test_printable_text_stays_as_it_is(text: str) -> None:
    if text.isprintable():
        assert visible(text) == text


def test_escapes_say_what_was_there() -> None:
    shown = visible(HOSTILE)
    for escape in (r"\x1b", r"\x9b", r"\u202e", r"\u2066", r"\u200b", r"\x07", r"\x00", r"\ud800"):
        assert escape in shown


def test_spaces_of_all_scripts_stay() -> None:
    assert visible("a\u3000b\u00a0c") == "a\u3000b\u00a0c"


def test_a_paragraph_keeps_lines_and_escapes_within_them() -> None:
    assert paragraph("one\ntwo\x1b[0m\r") == "one\ntwo\\x1b[0m\\r"


def test_a_long_text_is_cut_with_a_note() -> None:
    text = "x" * (LONGEST_TEXT + 1)
    assert paragraph(text).startswith("x" * LONGEST_TEXT + " … [cut: 601 characters")
    assert paragraph(text[:-1]) == text[:-1]


@pytest.mark.parametrize(
    ("ref", "shown"),
    [
        ("sha256:" + "ab" * 32, "abababababab"),
        ("rec:" + "cd" * 32, "rec:cdcdcdcdcdcd"),
        ("ef" * 32, "efefefefefef"),
        (None, "-"),
    ],
)
def test_ids_are_shown_by_twelve_digits(ref: str | None, shown: str) -> None:
    assert short(ref) == shown


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(None, "-"), (0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")],
)
def test_sizes_have_units(octets: int | None, shown: str) -> None:
    assert size(octets) == shown


def test_times_are_cut_to_the_second() -> None:
    assert when("2026-11-20T11:07:00.123Z") == "2026-11-20 11:07:00Z"


def test_counts_agree_with_their_noun() -> None:
    assert (plural(1, "asset"), plural(2000, "asset")) == ("1 asset", "2,000 assets")
