"""Looking many files up from the command line: a line for each, and a verdict for pipelines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.sdk import Registry
from tests.conftest import encode, make_picture

Genops = Callable[..., Any]  # see conftest
VALIDATOR = Draft202012Validator(json.loads(schemas.text("find")))


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Copies of both, one that is nothing of ours, and two that cannot be looked up."""
    folder = tmp_path / "files"
    (folder / "deep").mkdir(parents=True)
    (folder / "a-copy.jpg").write_bytes(encode(make_picture(1), "JPEG", quality=60))
    (folder / "b-other.png").write_bytes(encode(make_picture(7)))
    (folder / "c-broken.png").write_bytes(encode(make_picture(1))[:300])
    (folder / "d-notes.txt").write_text("buy milk")
    os.mkfifo(folder / "e-pipe")
    (folder / "deep" / "rival.jpg").write_bytes(encode(make_picture(2, 512), "JPEG", quality=50))
    return folder


@pytest.fixture
def find(genops: Genops, kept: Registry) -> Genops:
    return lambda *words: genops("find", *words, "--home", kept.settings.home.root)


def named(found: list[dict[str, Any]]) -> dict[str, str]:
    """Return verdict or error by file name."""
    return {
        Path(one["path"]).name: one["code"] if one["result"] is None else one["result"]["verdict"]
        for one in found
    }


BOTH = ("--bank", "registered", "--bank", "rivals")


def test_each_file_is_a_line_in_order_and_a_bad_one_stops_no_other(
    find: Genops, files: Path
) -> None:
    ran = find(files, "/nowhere.jpg", *BOTH, "--lines")
    lines = [json.loads(line) for line in ran.out.splitlines()]
    for line in lines:
        VALIDATOR.validate(line)
    assert list(named(lines).items()) == [
        ("a-copy.jpg", "match"),
        ("b-other.png", "none"),
        ("c-broken.png", "image.truncated"),
        ("d-notes.txt", "none"),
        ("e-pipe", "file.special"),
        ("rival.jpg", "match"),
        ("nowhere.jpg", "file.unreadable"),
    ]
    match = lines[5]["result"]["matches"][0]
    assert (match["bank"], match["entry"]["reason"]) == ("rivals", "theirs")
    assert "only the bytes were compared" in lines[3]["result"]["notes"][0]
    assert ran.code == 0
    assert ran.err == "7 files: 2 match, 2 none, 3 not looked up\n"


def test_json_of_many_is_one_document_and_of_one_file_its_result(find: Genops, files: Path) -> None:
    many = find(files, *BOTH, "--json")
    VALIDATOR.validate(many.json)
    counted = (many.json["files"], many.json["verdicts"], many.json["failed"])
    assert counted == (6, {"match": 2, "none": 2}, 2)
    one = find(files / "a-copy.jpg", "--json")
    VALIDATOR.validate(one.json)
    assert (one.json["verdict"], many.err, one.err) == ("match", "", "")
    assert many.json["found"][0]["result"]["matches"] == one.json["matches"]


def test_text_names_what_was_found_and_how_sure_it_is(find: Genops, files: Path) -> None:
    lines = find(files, *BOTH).out.splitlines()
    assert [line.split()[0] for line in lines] == [
        *("match", "none", "error", "none", "error", "match")
    ]
    assert "in rivals" in lines[5]
    assert "E at most" in lines[5]
    assert "because: theirs" in lines[5]
    alone = find(files / "deep" / "rival.jpg", *BOTH).out
    assert alone.splitlines()[0].split()[:4] == ["id", "bank", "match", "bits"]
    assert "theirs" in alone


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["a-copy.jpg"], 0),
        (["a-copy.jpg", "--fail-on", "match"], 1),
        (["a-copy.jpg", "--fail-on", "review"], 1),
        (["b-other.png", "--fail-on", "review"], 0),
        (["b-other.png", "d-notes.txt", "--fail-on", "review"], 0),
        (["b-other.png", "a-copy.jpg", "--fail-on", "probable"], 1),
        (["deep", "--fail-on", "match"], 0),
        (["deep", "--bank", "rivals", "--fail-on", "match"], 1),
        (["b-other.png", "c-broken.png"], 0),
        (["b-other.png", "c-broken.png", "--fail-on", "match"], 2),
        (["c-broken.png", "a-copy.jpg", "--fail-on", "match"], 1),
        (["c-broken.png", "e-pipe"], 2),
        (["c-broken.png"], 2),
        ([".", "--include", "*.txt"], 0),
        (["deep", "--bank", "unknown"], 2),
        (["deep", "--json", "--lines"], 2),
    ],
)
def test_the_exit_code_tells_a_pipeline_what_was_found(
    find: Genops, files: Path, words: list[str], code: int
) -> None:
    there = [files / word if (files / word).exists() else word for word in words]
    assert find(*there).code == code


def test_an_unknown_bank_ends_the_run_at_once(find: Genops, files: Path) -> None:
    ran = find(files, "--bank", "unknown", "--lines")
    assert (ran.out, ran.code) == ("", 2)
    assert "find.bank" in ran.err
