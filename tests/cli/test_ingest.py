"""`genops ingest`: what a pipeline is told of a library, by exit code, JSON and lines."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.factory import create_registry, open_home

Genops = Callable[..., Any]  # see conftest
SCHEMA = json.loads(schemas.text("ingest"))


@pytest.fixture
def ask(genops: Genops, home: Path, tmp_path: Path, picture: Callable[..., Any]) -> Genops:
    """Run `genops ingest` on the folders `good` and `bad`, into a new registry."""
    for name in ("good", "bad"):
        (tmp_path / name).mkdir()
    picture(1, 96).save(tmp_path / "good/a.png")
    picture(2, 96).save(tmp_path / "good/b.jpg")
    (tmp_path / "good/notes.txt").write_text("a text")
    (tmp_path / "bad/\x1b[31mred.jpg").write_bytes(b"")
    create_registry(home, name="test").close()

    def call(*words: str) -> Any:
        given = [tmp_path / word if word in {"good", "bad"} else word for word in words]
        return genops("ingest", *given, "--home", home)

    return call


def test_the_exit_code_tells_whether_anything_came_in(ask: Genops) -> None:
    assert ask("good", "bad").code == 0
    assert ask("good", "bad", "--strict").code == 1
    assert ask("good", "--strict").code == 0, "all of it is known"
    assert ask("bad").code == 2
    assert ask("bad", "--strict").code == 1
    assert ask("good", "--exclude", "*").code == 0, "there was nothing to do"
    nowhere = ask("good", "/nowhere", "--json")
    assert (nowhere.code, nowhere.json["error"]["code"]) == (2, "ingest.paths")
    both = ask("good", "--json", "--lines")
    assert (both.code, both.json["error"]["code"]) == (2, "usage")


def test_json_sums_up_as_its_schema_says(ask: Genops) -> None:
    answer = ask("good", "bad", "--campaign", "launch", "--json").json
    Draft202012Validator(SCHEMA).validate(answer)
    assert (answer["new"], answer["campaign"], answer["ok"]) == (2, "launch", False)
    assert [one["code"] for one in answer["failed"]] == ["file.empty"]


def test_lines_are_json_one_a_file(ask: Genops, home: Path) -> None:
    ran = ask("good", "bad", "--lines", "--jobs", "1")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    one = Draft202012Validator({**SCHEMA, **SCHEMA["$defs"]["FileOutcome"]})
    for line in lines:
        one.validate(line)
    assert sorted(line["state"] for line in lines) == ["failed", "left-out", "new", "new"]
    assert "2 files registered" in ran.err
    with open_home(home) as registry:
        assert {asset.record for asset in registry.list()} == {
            line["record"] for line in lines if line["state"] == "new"
        }


def test_a_report_for_people_names_what_failed_without_steering_the_terminal(
    ask: Genops, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")  # however long the folder's path is, no line is folded
    said = ask("good", "bad", "--dry-run").out
    assert "2 files would be registered" in said
    assert "[file.empty] is empty" in said
    assert "[31mred.jpg" in said
    assert "\x1b" not in said
    assert "1 text/plain" in said


def test_a_served_registry_takes_no_folder_in(genops: Genops, tmp_path: Path) -> None:
    ran = genops("ingest", tmp_path, "--home", "http://127.0.0.1:9", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "usage.remote")
