"""Texts from outside reach a page harmless, and nothing in them stays invisible."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.web.pages import present
from registry.web.pages.present import LONGEST_TEXT, Row, SealedText

STEERING = ["\0", "\x1b", "\x7f", "\u202e", "\u2066", "\u200b", "\ufeff", "\ud800", "\u2028"]


@given(st.text(alphabet=st.characters()))
def test_text_holds_no_markup_of_its_own_and_nothing_that_steers(value):
    html = str(present.text(value))
    inner = html.removeprefix('<bdi dir="auto">').removesuffix("</bdi>")
    rest = inner.replace('<span class="ctl">', "").replace("</span>", "")
    assert "<" not in rest
    assert '"' not in rest
    assert not any(c in html for c in STEERING)
    html.encode("utf-8")


@pytest.mark.parametrize("character", STEERING)
def test_steering_characters_are_shown_as_their_code_point(character):
    assert f"U+{ord(character):04X}" in present.text(f"a{character}b")


def test_line_breaks_and_joined_emoji_stay():
    family = "\U0001f468\u200d\U0001f469"
    assert f"a\n\t{family}" in present.text(f"a\n\t{family}")


def test_a_long_text_is_cut_and_says_so():
    html = present.text("x" * (LONGEST_TEXT + 5))
    assert "5 more characters" in html
    assert html.count("x") == LONGEST_TEXT


def test_leaves_keep_order_and_name_their_path():
    document = {"b": 1, "a": {"c": [1, 2], "d": [{"e": True}]}, "f": {}}
    assert present.rows(document, "readable") == [
        Row("b", 1),
        Row("a.c", [1, 2]),
        Row("a.d.0.e", True),
        Row("f", {}),
    ]


@pytest.mark.parametrize("state", ["erased", "locked"])
def test_a_sealed_leaf_carries_no_digest_to_the_page(state):
    sealed = {"prompt": {"sealed": {"sha-256": "abc"}}}
    assert present.rows(sealed, state) == [Row("prompt", SealedText(state))]


def test_prompts_are_told_from_settings_even_when_sealed():
    leaves = [
        Row("args.negative_prompt", "blur"),
        Row("prompt", SealedText("erased")),
        Row("prompts.0", "a mug"),
        Row("prompt_2", ""),
        Row("steps", 4),
        Row("max_prompt_tokens", 77),
    ]
    prompts, settings = present.split_texts(leaves)
    assert [row.path for row in prompts] == ["prompt", "prompts.0", "args.negative_prompt"]
    assert [row.path for row in settings] == ["prompt_2", "steps", "max_prompt_tokens"]


def test_scales_are_found_wherever_a_lora_is_named():
    document = {"loras": [{"ref": "lora/a", "scale": 0.5}, {"ref": "lora/b", "scale": 1}]}
    assert present.scales({"deep": [document]}) == {"lora/a": 0.5, "lora/b": 1}


@pytest.mark.parametrize(
    ("octets", "shown"),
    [(None, "\u2013"), (0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"),
     (5 * 1024**2, "5.0 MiB"), (3 * 1024**3, "3.0 GiB")],
)  # fmt: skip
def test_sizes_name_their_unit(octets, shown):
    assert present.size(octets) == shown


def test_only_small_pictures_are_enlarged_with_hard_pixels():
    assert present.is_small(64, 64)
    assert not present.is_small(64, 1024)
    assert not present.is_small(None, None)


@pytest.mark.parametrize("media_type", ["image/svg+xml", "text/html", None, "image/png; x"])
def test_only_still_raster_types_count_as_pictures(media_type):
    assert not present.is_picture(media_type)
