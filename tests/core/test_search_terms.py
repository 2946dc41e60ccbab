"""Terms of a search: what they mean, that they come back, and what refuses the rest."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.core.search_terms import FIELDS, canonical, parse
from registry.core.search_values import Name, Near, Span
from registry.errors import InputError


def millis(*when: int) -> int:
    return int(datetime(*when, tzinfo=UTC).timestamp() * 1000)  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "field", "values"),
    [
        ("width:1024", "width", [Span(1024, 1024)]),
        ("width>=1024", "width", [Span(1024, None)]),
        ("width > 1024", "width", [Span(1025, None)]),
        ("height<=512", "height", [Span(None, 512)]),
        ("bytes<5M", "bytes", [Span(None, 4_999_999)]),
        ("size:1.5k..2MB", "bytes", [Span(1500, 2_000_000)]),
        ("campaign:spring launch,a*", "campaign", [Name("spring launch"), Name("a*")]),
        (
            "format:jpg,image,pdf",
            "format",
            [Name(f) for f in ("image/jpeg", "image/*", "application/pdf")],
        ),
        ("color:ORANGE", "colour", [Near(255, 165, 0)]),
        ("colour:ff6600,share=25%,within=7", "colour", [Near(255, 102, 0, 25, 7.0)]),
        ("recorded:2028-02", "recorded", [Span(millis(2028, 2, 1), millis(2028, 3, 1) - 1)]),
        ("recorded:2026", "recorded", [Span(millis(2026, 1, 1), millis(2027, 1, 1) - 1)]),
        ("recorded:..2026-12-31", "recorded", [Span(None, millis(2027, 1, 1) - 1)]),
        ("recorded:2026-12..", "recorded", [Span(millis(2026, 12, 1), None)]),
        (
            "recorded:2026-11-20T11:07",
            "recorded",
            [Span(millis(2026, 11, 20, 11, 7), millis(2026, 11, 20, 11, 8) - 1)],
        ),
        ("recorded:36h", "recorded", [Span(None, None, 36 * 3_600_000)]),
    ],
)
def test_a_term_means_what_it_says(text: str, field: str, values: list[object]) -> None:
    (term,) = parse([text])
    assert (term.field, list(term.values), term.negated) == (field, values, False)
    (other,) = parse([f"not-{text}"])
    assert (other.field, other.values, other.negated) == (field, term.values, True)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_takes_its_own_example(name: str) -> None:
    (term,) = parse(FIELDS[name].example)
    assert term.field == name


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), max_size=4)
)
def test_the_one_spelling_of_a_search_is_read_to_the_same(names: list[str]) -> None:
    words = [f"campaign:{name}" for name in names if all(part.strip() for part in name.split(","))]
    terms = parse([*words, "width>3", "not-format:png"])
    assert parse(canonical(terms)) == terms


@pytest.mark.parametrize(
    ("text", "code", "told"),
    [
        ("brandx", "search.syntax", "campaign:brandx"),
        ("", "search.syntax", "FIELD:VALUE"),
        ("campain:x", "search.field", "did you mean campaign:"),
        ("prompt:mug", "search.field", ", ".join(FIELDS)),
        ("orientation:upright", "search.value", "portrait, landscape, square"),
        ("width:", "search.value", "pixels"),
        ("width:wide", "search.value", "1024.."),
        ("width:9..3", "search.value", "smaller number first"),
        ("width:..", "search.value", "a range"),
        ("width>1..2", "search.value", "one number"),
        ("lora>3", "search.value", "cannot be compared"),
        ("seed:abc", "search.value", "whole number"),
        ("ratio:wide", "search.value", "16:9"),
        ("colour:#ff66", "search.value", "#rrggbb"),
        ("colour:blurple", "search.value", "CSS"),
        ("colour:red,share=0", "search.value", "share=1..100"),
        ("recorded:2026-02-30", "search.value", "a day that there is"),
        ("recorded:2026-03..2026-02", "search.value", "earlier"),
        ("campaign:'spring", "search.syntax", "not closed"),
    ],
)
def test_what_is_no_term_is_refused_with_what_would_be(text: str, code: str, told: str) -> None:
    terms = text if "'" in text else [text]
    with pytest.raises(InputError) as caught:
        parse(terms)
    assert caught.value.code == code
    assert told in f"{caught.value.message} {caught.value.hint}"


@given(st.text(max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        terms = parse(text)
    except InputError:
        return
    assert parse(canonical(terms)) == terms


def test_a_search_without_end_is_refused() -> None:
    for words in (["width:1"] * 41, ["campaign:" + "x" * 2000]):
        with pytest.raises(InputError, match="at most"):
            parse(words)
