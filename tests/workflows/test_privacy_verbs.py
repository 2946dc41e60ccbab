"""The verbs of erasure, holds, retention and persons' requests, as people use them."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.cli.main import run
from registry.factory import create_registry, open_home


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command line did; `json` is checked against the verb's schema."""

    code: int
    out: str
    err: str

    def json(self, verb: str) -> Any:
        value = json.loads(self.out)
        Draft202012Validator(schemas.schema(verb)).validate(value)
        return value


Ask = Callable[..., Ran]


@pytest.fixture
def records(
    home: Path, generation: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """A registry of two records that name Jane and one that does not; somebody else acts now."""
    with create_registry(home, name="test", project="brand") as registry:
        made = [
            registry.record(generation(1, prompt="Jane Doe on a horse", campaign="draft")),
            registry.record(generation(2, prompt="a mug"), actor="Jane Doe"),
            registry.record(generation(3, prompt="a cup")),
        ]
    monkeypatch.setenv("GENOPS_ACTOR", "dpo")
    return [receipt.record for receipt in made]


@pytest.fixture
def ask(home: Path, records: list[str], capsys: pytest.CaptureFixture[str]) -> Ask:
    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = run([*map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


def test_erase_shows_a_plan_and_asks_before_it_acts(ask: Ask, records: list[str]) -> None:
    plan = ask("erase", "--person", "Jane Doe", "--dry-run", "--json")
    assert (plan.code, len(plan.json("erase")["items"])) == (0, 2)
    unsure = ask("erase", "--person", "Jane Doe", "--reason", "request 114")
    assert unsure.code == 2
    assert "would erase the texts of 2 records" in unsure.err
    assert "--yes" in unsure.err
    assert "Jane Doe" not in unsure.err.replace('--person "Jane Doe"', "")
    done = ask("erase", "--person", "Jane Doe", "--reason", "request 114", "--yes", "--json")
    assert done.code == 0
    assert all(item["erasure"] for item in done.json("erase")["items"])
    assert "erased" in ask("show", records[0]).out


def test_a_hold_makes_erase_end_with_1_and_names_it(ask: Ask, records: list[str]) -> None:
    placed = ask("hold", "place", records[0], "--reason", "case 17", "--json")
    (receipt,) = placed.json("hold place")
    refused = ask("erase", records[0], "--reason", "r", "--yes", "--json")
    assert refused.code == 1
    assert refused.json("error")["error"]["code"] == "erase.held"
    some = ask("erase", "--person", "Jane Doe", "--reason", "r", "--yes")
    assert some.code == 1
    assert receipt["record"][: len("rec:") + 12] in some.out.replace("\n", "").replace(" ", "")
    (view,) = ask("hold", "list", "--json").json("hold list")
    assert view["reason"] == "case 17"
    assert "case 17" in ask("hold", "list").out
    ask("hold", "lift", records[0], "--reason", "closed", "--json").json("hold lift")
    assert "no hold stands" in ask("hold", "list").out
    assert ask("erase", records[0], "--reason", "r", "--yes").code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["erase", "--yes", "--reason", "r"], "erase.choice"),
        (["erase", "--person", "x", "--matching", "y", "--yes", "--reason", "r"], "erase.choice"),
        (["erase", "--matching", "mug", "--yes"], "erase.reason"),
        (["erase", "--person", "Nobody", "--yes", "--reason", "r"], "erase.nothing"),
        (["erase", "--person", "Jane Doe", "--yes", "--reason", "for Jane Doe"],
         "erase.reason-repeats"),
        (["retention", "run"], "retention.none"),
        (["subject", "export", "Nobody", "--out", "nobody.zip"], "subject.unknown"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_said_by_a_code(ask: Ask, words: list[str], code: str) -> None:
    ran = ask(*words, "--json")
    assert (ran.code, ran.json("error")["error"]["code"]) == (2, code)


def test_retention_is_shown_planned_and_run(ask: Ask, home: Path, records: list[str]) -> None:
    (home / "retention.yaml").write_text(
        "version: 1\nrules:\n- {name: drafts, campaign: draft, after_days: 0}\n"
    )
    assert ask("retention", "show", "--json").json("retention show")["rules"][0]["after_days"] == 0
    assert "drafts" in ask("retention", "show").out
    for words in (("plan",), ("run", "--dry-run")):
        plan = ask("retention", *words, "--json")
        assert plan.json("retention plan")["due"] == {"drafts": 1}
    ask("hold", "place", records[0], "--reason", "case 17")
    assert ask("retention", "run").code == 1
    ask("hold", "lift", records[0], "--reason", "closed")
    done = ask("retention", "run", "--json")
    assert (done.code, len(done.json("retention run")["erasure"]["items"])) == (0, 1)
    assert "nothing is due" in ask("retention", "run").out


def test_a_request_is_answered_from_finding_to_a_certificate(
    ask: Ask, home: Path, tmp_path: Path
) -> None:
    found = ask("subject", "find", "jane doe", "--json").json("subject find")
    assert found["readable"] == 2
    assert "actor" in ask("subject", "find", "Jane Doe").out
    export, paper = tmp_path / "jane.zip", tmp_path / "certificate.json"
    ask("subject", "export", "Jane Doe", "--out", export, "--json").json("subject export")
    assert export.is_file()
    erased = ask("subject", "erase", "Jane Doe", "--reason", "request 114", "--yes", "--json")
    assert erased.code == 0
    erased.json("subject erase")
    ask("subject", "certify", "Jane Doe", "--out", paper, "--json").json("subject certify")
    vkey = home / "keys" / "log.vkey"
    held = run(["subject", "verify", str(paper), "--key", str(vkey), "--name", "Jane Doe"])
    assert held == 0
    assert run(["subject", "verify", str(paper), "--key", str(vkey), "--name", "John"]) == 1
    after = ask("subject", "find", "Jane Doe", "--json").json("subject find")
    assert after["readable"] == 0
    assert ask("subject", "verify", paper, "--json").json("subject verify")["named"] is None


def test_a_personal_file_is_recorded_and_read_back(
    ask: Ask, home: Path, picture: Callable[..., Any], tmp_path: Path
) -> None:
    file, back = tmp_path / "portrait.png", tmp_path / "back.png"
    picture(9).save(file)
    asset = ask("record", file, "--personal", "--json").json("record")["assets"][0]
    assert "personal: stored encrypted" in ask("show", asset).out
    assert ask("read", asset, "--out", back, "--json").json("read")["size"] == file.stat().st_size
    assert back.read_bytes() == file.read_bytes()
    assert ask("read", asset, "--out", back).code == 2
    assert ask("erase", asset, "--reason", "r", "--yes").code == 0
    gone = ask("read", asset, "--out", tmp_path / "gone.png", "--json")
    assert (gone.code, gone.json("error")["error"]["code"]) == (2, "text.erased")
    with open_home(home) as registry:
        assert registry.verify(asset).ok


PAGE = (Path(__file__).parents[2] / "docs" / "privacy.md").read_text("utf-8")


def test_the_drill_of_the_documentation_runs(
    home: Path, records: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (block,) = re.findall(r"^```console\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix("$ ") for line in block.splitlines()]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GENOPS_HOME", str(home))
    codes = []
    for words in map(shlex.split, lines):
        if words[0] == "export":
            monkeypatch.setenv(*words[1].split("="))
        else:
            codes.append(run(words[1:]))
    assert codes == [0] * 6
    with open_home(home) as registry:
        assert registry.privacy.find("Jane Doe").readable == 0


def test_the_rules_of_the_documentation_are_rules(ask: Ask, home: Path) -> None:
    (block,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (home / "retention.yaml").write_text(block)
    shown = ask("retention", "show", "--json").json("retention show")["rules"]
    assert [rule["after_days"] for rule in shown] == [None, 30, 730]
