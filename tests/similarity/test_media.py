"""A media type and the suffix of a file name tell the same."""

from __future__ import annotations

import pytest

from registry.similarity.media import media_type_of, suffix_of


@pytest.mark.parametrize(
    ("media_type", "suffix"),
    [
        ("image/png", ".png"),
        ("text/plain", ".txt"),
        ("text/plain; charset=utf-8", ".txt"),
        ("Application/JSON", ".json"),
        ("application/schema+json", ".json"),
        ("application/x-npy", ".npy"),
        ("application/x-sh", ""),
        ("text/html", ""),
        ("../../etc/passwd", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_suffix_goes_by_the_media_type_and_is_never_that_of_a_program(
    media_type: str | None, suffix: str
) -> None:
    assert suffix_of(media_type) == suffix


@pytest.mark.parametrize("media_type", ["application/json", "image/jpeg", "text/plain"])
def test_a_name_with_the_suffix_tells_the_media_type_again(media_type: str) -> None:
    assert media_type_of(b"{}", f"file{suffix_of(media_type)}") == media_type
