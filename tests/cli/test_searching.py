"""Search from the command line: what a person and a pipeline are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from registry import create_registry
from registry.cli.searching import Sort
from registry.core.search_terms import FIELDS, SORTS
from registry.web.api.assets import Sort as ApiSort
from tests.conftest import make_generation


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home of two recorded pictures."""
    home = tmp_path_factory.mktemp("search") / "home"
    with create_registry(home, name="test") as registry:
        registry.record(make_generation(1, campaign="spring"))
        registry.record(make_generation(2, campaign="autumn"))
    return home


def test_the_orders_are_the_same_behind_every_door() -> None:
    assert tuple(Sort) == get_args(ApiSort) == SORTS


def test_a_pipeline_learns_from_the_exit_code_whether_it_is_as_expected(
    place: Path, genops: Any
) -> None:
    for words, code in (
        (["campaign:spring"], 0),
        (["campaign:winter"], 0),
        (["campaign:spring", "--expect", "some"], 0),
        (["campaign:spring", "--expect", "none"], 1),
        (["campaign:winter", "--expect", "some"], 1),
        (["campaign:winter", "--expect", "none"], 0),
        (["spring", "--expect", "none"], 2),
        (["@nothing"], 2),
    ):
        assert genops("search", *words, "--home", place).code == code, words


def test_a_search_is_saved_used_listed_and_forgotten(place: Path, genops: Any) -> None:
    saved = genops("search", "campaign:s*", "width:1..", "--save", "s", "--home", place, "--json")
    assert (saved.code, saved.json["query"]) == (0, "'campaign:s*' width:1..")
    found = genops("search", "@s", "--count", "--home", place)
    assert found.code == 0
    assert "1 asset in all" in found.out
    assert "128x128" in found.out
    listed = genops("search", "saved", "--home", place)
    assert "@s" in listed.out
    assert "campaign:s*" in listed.out
    assert genops("search", "kind:ingested", "--save", "s", "--home", place).code == 2
    assert genops("search", "forget", "s", "--home", place).code == 0
    assert genops("search", "saved", "--home", place, "--json").json == []


def test_every_field_is_listed_and_documented(genops: Any) -> None:
    listed = genops("search", "fields", "--json").json
    assert [one["field"] for one in listed] == list(FIELDS)
    text = (Path(__file__).parents[2] / "docs" / "search.md").read_text("utf-8")
    for name, field in FIELDS.items():
        assert f"| `{name}` | `{field.example}` |" in text, name
    for sort in SORTS:
        assert f"`{sort}`" in text


def test_pages_say_how_to_go_on(place: Path, genops: Any) -> None:
    first = genops("search", "--limit", 1, "--home", place)
    assert "there are more: --offset 1" in first.out
    assert (
        "there are more" not in genops("search", "--limit", 1, "--offset", 1, "--home", place).out
    )
