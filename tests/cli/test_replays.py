"""Verbs over many replays: what they print, and what a pipeline is told by their exit codes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from generators import recorded_callable
from registry.cli import schemas
from registry.factory import create_registry

Genops = Callable[..., Any]  # see conftest
FUNCTIONS = str(Path(__file__).parents[1] / "workflows")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A home with three pictures and two texts, whose functions workers can import."""
    folder = tmp_path_factory.mktemp("replays")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(FUNCTIONS)
        patch.setenv("PYTHONPATH", f"{FUNCTIONS}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        import auditing

        with create_registry(folder / "home", name="test", project="brand") as registry:
            paint = recorded_callable(auditing.paint, registry, campaign="mugs")
            for seed in range(3):
                paint("red", seed=seed).save(folder / f"{seed}.png")
            write = recorded_callable(auditing.write, registry, campaign="texts")
            for seed in range(2):
                (folder / f"{seed}.txt").write_text(write("lamp", seed=seed))
        yield folder / "home"


def fits(verb: str, document: Any) -> bool:
    return Draft202012Validator(schemas.schema(verb)).is_valid(document)


def test_a_campaign_that_comes_back_ends_with_0(genops: Genops, home: Path) -> None:
    ran = genops("reproduce", "--campaign", "mugs", "--home", home, "--json")
    assert (ran.code, ran.json["counts"]["identical"], ran.json["chosen"]) == (0, 3, 3)
    assert fits("reproduce audit", ran.json)
    text = genops("reproduce", "audit", "--sample=2", "--sample-seed", "7", "--home", home)
    assert text.code == 0
    assert "all that was judged came back" in text.out
    assert "2 of 5, drawn by seed 7" in text.out


def test_a_verdict_of_different_ends_with_1(
    genops: Genops, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_OTHER_CODE", "yes")
    ran = genops("reproduce", "--campaign=mugs", "--home", home)
    assert ran.code == 1
    assert "NOT all came back" in ran.out
    assert ran.out.count("different") >= 3


def test_what_cannot_be_judged_ends_with_2(
    genops: Genops, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "")
    ran = genops("reproduce", "--campaign", "mugs", "--home", home, "--json")
    assert (ran.code, ran.json["ok"], ran.json["counts"]["failed"]) == (2, False, 3)
    assert {one["code"] for one in ran.json["findings"]} == {"material.missing"}


def test_the_verb_by_itself_stays_what_it_is(genops: Genops, home: Path) -> None:
    ran = genops("reproduce", home.parent / "0.txt", "--home", home, "--json")
    assert (ran.code, ran.json["verdict"]) == (0, "identical")
    assert fits("reproduce", ran.json)
    missing = genops("reproduce", "--json", "--home", home)
    assert (missing.code, missing.json["error"]["code"]) == (2, "usage")


def test_a_text_that_is_kept_has_the_suffix_of_one(
    genops: Genops, home: Path, tmp_path: Path
) -> None:
    text = home.parent / "0.txt"
    ran = genops("reproduce", text, "--out", tmp_path, "--home", home, "--json")
    (kept,) = tmp_path.iterdir()
    assert (kept.suffix, kept.read_bytes()) == (".txt", text.read_bytes())
    assert ran.json["path"] == str(kept)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["reproduce", "--campaign", "none"], "audit.empty"),
        (["reproduce", "--since", "yesterday"], "time.invalid"),
        (["reproduce", "--sample", "2", "--sample-seed", "x"], "usage"),
        (["reproduce", "--sample-seed", "3"], "audit.sample"),
        (["reproduce", "calibrate"], "usage"),
        (["reproduce", "calibrate", "no-such-model"], "ref.invalid"),
        (["reproduce", "calibrate", "--campaign", "texts"], "calibration.samples"),
        (["diff", "nothing", "nothing"], "ref.invalid"),
    ],
)
def test_bad_input_is_told_in_a_sentence(
    genops: Genops, home: Path, words: list[str], code: str
) -> None:
    ran = genops(*words, "--home", home, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)


def test_the_help_of_a_verb_with_verbs_shows_both(genops: Genops) -> None:
    text = genops("reproduce", "--help").out
    for part in (
        "reproduce [OPTIONS] ID",
        "--recreate-env",
        "  audit ",
        "  calibrate ",
        "Examples:",
    ):
        assert part in text
    assert "--recreate-env" in genops("reproduce", "3f2a9c81", "--help").out
    assert "--sample-seed" in genops("reproduce", "--campaign", "x", "--help").out
    assert "reproduce calibrate [OPTIONS] [MODEL]" in genops("reproduce", "calibrate", "-h").out


def test_the_shell_completes_a_verb_with_verbs(spawn: Genops) -> None:
    def complete(words: str, position: int) -> list[str]:
        env = {
            "_GENOPS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        }
        return str(spawn(env=env).out).split()

    assert "calibrate" in complete("genops reproduce ca", 2)
    assert "--campaign" in complete("genops reproduce --ca", 2)
    assert "--seed" in complete("genops reproduce --se", 2)


def test_two_side_by_side(genops: Genops, home: Path, tmp_path: Path) -> None:
    first, second = home.parent / "0.png", home.parent / "1.png"
    ids = [one["id"] for one in genops("list", "--home", home, "--json").json]
    ran = genops("diff", ids[-1], ids[-2], "--home", home, "--json")
    assert (ran.code, ran.json["seed"]["first"], ran.json["seed"]["second"]) == (0, "0", "1")
    assert fits("diff", ran.json)
    assert genops("diff", ids[-1], ids[-1], "--exit-code", "--home", home).code == 0
    assert genops("diff", ids[-1], ids[-2], "--exit-code", "--home", home).code == 1
    text = genops("diff", first, second, "--out", tmp_path / "both.png", "--home", home)
    assert "pixels that differ" in text.out
    assert (tmp_path / "both.png").read_bytes().startswith(b"\x89PNG")
    lines = genops("diff", ids[0], ids[1], "--home", home).out
    assert "\n-Number " in lines
    assert "\n+Number " in lines
