"""`genops campaign`: what can be asked before anything is made, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.factory import create_registry

ROOT = Path(__file__).parents[2]
SHOWCASE = ROOT / "generators" / "briefs" / "showcase.yaml"
Genops = Callable[..., Any]


@pytest.fixture
def ask(genops: Genops, tmp_path: Path) -> Genops:
    with create_registry(tmp_path / "home", name="test", project="brand"):
        pass

    def call(*words: object) -> Any:
        return genops("campaign", *words, "--home", tmp_path / "home")

    return call


def fits(verb: str, ran: Any) -> Any:
    text = (ROOT / "schemas" / "cli" / schemas.file_name(verb)).read_text("utf-8")
    Draft202012Validator(json.loads(text)).validate(ran.json)
    return ran.json


def test_plan_counts_what_will_be_made_and_makes_nothing(ask: Genops, tmp_path: Path) -> None:
    ran = ask("plan", SHOWCASE, "--json")
    plan = fits("campaign plan", ran)
    assert (ran.code, plan["combinations"]) == (0, 2)
    assert plan["open"] == len(plan["steps"]) == sum(plan["counts"].values())
    assert plan["delivered"] == sum(step["delivered"] for step in plan["steps"])
    assert plan["seconds"] > 8
    assert all(step["seed"] for step in plan["steps"] if step["kind"] == "master")
    told = ask("plan", SHOWCASE).out
    assert "not measured here yet" in told
    assert not (tmp_path / "home" / "campaigns").exists()


def test_status_of_what_was_never_begun_is_open(ask: Genops) -> None:
    ran = ask("status", SHOWCASE, "--json")
    status = fits("campaign status", ran)
    assert (ran.code, status["state"], status["made"]) == (0, "open", 0)
    assert "open" in ask("status", SHOWCASE).out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("resume", SHOWCASE), "campaign.not-begun"),
        (("approve", SHOWCASE, "--reason", "x"), "campaign.nothing"),
        (("approve", SHOWCASE, "master/9", "--reason", "x"), "campaign.step"),
        (("deliver", SHOWCASE, "--out", "nowhere/at/all"), "campaign.nothing"),
        (("verify", "no-folder"), "campaign.folder"),
        (("plan", "no-brief.yaml"), "brief.invalid"),
        (("verify", ROOT, "--key", "nonsense"), "usage"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_what_to_do(
    ask: Genops, words: tuple[object, ...], code: str
) -> None:
    ran = ask(*words, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
    assert ran.json["error"]["message"]


def test_a_folder_that_is_no_delivery_is_named(ask: Genops, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    ran = ask("verify", tmp_path / "folder", "--json")
    found = fits("campaign verify", ran)
    assert (ran.code, found["ok"]) == (1, False)
    assert {one["what"] for one in found["findings"]} == {"missing"}
    assert "NOT WHAT WAS SIGNED" in ask("verify", tmp_path / "folder").out
