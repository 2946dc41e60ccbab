"""The verbs about witnesses, as two operators would type them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.cli.following import rounds
from registry.core import checkpoints
from registry.core.cosignatures import CosignerKey, verified
from registry.core.notes import SignedNote
from registry.errors import IntegrityError, UnavailableError
from registry.factory import create_registry, open_home

Genops = Callable[..., Any]  # see conftest
ROOT = Path(__file__).parents[2]
TARGET = "sha256:" + "ab" * 32


def fits(verb: str, ran: Any) -> Any:
    """Return what a verb printed as JSON, after holding it against the committed schema."""
    text = (ROOT / "schemas" / "cli" / schemas.file_name(verb)).read_text("utf-8")
    assert ran.code == 0, ran.out + ran.err
    Draft202012Validator(json.loads(text)).validate(ran.json)
    return ran.json


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("homes")
    with create_registry(root / "studio", name="studio"):
        pass
    with create_registry(root / "auditor", name="auditor"):
        pass
    return root


@dataclass(frozen=True)
class Houses:
    """A studio whose log wants a witness, and an auditor who is one."""

    root: Path
    genops: Genops

    def studio(self, *words: object) -> Any:
        return self.genops(*words, "--home", self.root / "studio")

    def auditor(self, *words: object) -> Any:
        return self.genops(*words, "--home", self.root / "auditor")

    def grow(self, name: str = "studio") -> None:
        with open_home(self.root / name) as registry:
            registry.taint(TARGET, reason="a complaint")

    @property
    def log_key(self) -> Path:
        return self.root / "studio/keys/log.vkey"


@pytest.fixture
def houses(templates: Path, tmp_path: Path, genops: Genops) -> Houses:
    for home in templates.iterdir():
        shutil.copytree(home, tmp_path / home.name)
    return Houses(tmp_path, genops)


def test_two_houses_witness_each_other_from_the_command_line(houses: Houses) -> None:
    key = houses.root / "witness.vkey"
    key.write_text(houses.auditor("log", "witness", "key").out)
    assert fits("log witness key", houses.auditor("log", "witness", "key", "--json"))["vkey"] == (
        key.read_text().strip()
    )
    fits("log witness add", houses.studio("log", "witness", "add", key, "--json"))
    fits(
        "log witness add-log", houses.auditor("log", "witness", "add-log", houses.log_key, "--json")
    )
    (done,) = fits(
        "log witness follow",
        houses.auditor("log", "witness", "follow", houses.root / "studio", "--json"),
    )
    assert done["handed_back"] is True
    head = fits("log head", houses.studio("log", "head", "--witnesses", "1", "--json"))
    assert [c["witness"] for c in head["cosignatures"]] == [key.read_text().partition("+")[0]]
    both = fits("log witness list", houses.auditor("log", "witness", "list", "--json"))
    assert both["logs"][0]["size"] == 1
    text = houses.studio("log", "witness", "list").out
    assert head["cosignatures"][0]["key_id"] in text


def test_the_head_is_a_note_with_all_signatures(houses: Houses) -> None:
    key = CosignerKey.parse(houses.auditor("log", "witness", "key").out)
    houses.studio("log", "witness", "add", str(key))
    houses.auditor("log", "witness", "follow", houses.root / "studio", "--key", houses.log_key)
    data = houses.studio("log", "head").out.encode()
    assert checkpoints.verify(data, houses.log_key.read_text().strip()).size == 1
    assert len(verified(SignedNote.parse(data), [key])) == 1
    houses.grow()
    late = houses.studio("log", "head", "--witnesses", "1")
    assert late.code == 1
    assert "witness.too-few" in late.err
    assert houses.studio("log", "head", "--cosigned").out.encode() == data
    assert houses.studio("log", "head", "--cosigned", "--witnesses", "2").code == 2


def test_a_cosigned_checkpoint_travels_as_a_file(houses: Houses) -> None:
    site, out = houses.root / "site", houses.root / "cosigned.txt"
    exported = fits("log export-tiles", houses.studio("log", "export-tiles", site, "--json"))
    assert (exported["written"], exported["size"]) == (2, 1)
    assert "0 written, 2 there already" in houses.studio("log", "export-tiles", site).out
    key = houses.auditor("log", "witness", "key").out.strip()
    ran = houses.auditor("log", "witness", "follow", site, "--key", houses.log_key, "--out", out)
    assert ran.code == 0
    assert ran.out.splitlines()[-1] in out.read_text().splitlines()
    unknown = houses.studio("log", "witness", "keep", out)
    assert (unknown.code, "witness.unknown" in unknown.err) == (1, True)
    houses.studio("log", "witness", "add", key)
    kept = fits("log witness keep", houses.studio("log", "witness", "keep", out, "--json"))
    assert kept["cosignatures"][0]["witness"] == key.partition("+")[0]


def test_a_fork_ends_with_one_and_shows_both_checkpoints(houses: Houses) -> None:
    shutil.copytree(houses.root / "studio", houses.root / "fork")
    houses.grow()
    houses.grow("fork")
    follow = ("log", "witness", "follow")
    assert houses.auditor(*follow, houses.root / "studio", "--key", houses.log_key).code == 0
    ran = houses.auditor(*follow, houses.root / "fork", "--key", houses.log_key)
    assert ran.code == 1
    assert "error[witness.forked]" in ran.err
    for home in ("studio", "fork"):
        root = houses.genops("log", "head", "--home", houses.root / home).out.splitlines()[2]
        assert root in ran.err


def test_consistency_from_a_size_or_from_a_kept_checkpoint(houses: Houses) -> None:
    kept = houses.root / "checkpoint.txt"
    shutil.copytree(houses.root / "studio", houses.root / "old")
    houses.grow()
    kept.write_text(houses.studio("log", "head").out)
    houses.grow()
    since = fits("log consistency", houses.studio("log", "consistency", "--since", kept, "--json"))
    assert (since["old"], since["new"]) == (2, 3)
    sizes = fits("log consistency", houses.studio("log", "consistency", "1", "2", "--json"))
    assert len(sizes["proof"]) == 1
    assert sizes["proof"][0] in houses.studio("log", "consistency", "1", "2").out
    old = houses.genops("log", "consistency", "--since", kept, "--home", houses.root / "old")
    assert old.code == 1
    assert "log.rolled-back" in old.err


@pytest.mark.parametrize(
    "words",
    [
        ("log", "consistency"),
        ("log", "consistency", "0"),
        ("log", "consistency", "1", "--since", "x"),
        ("log", "witness", "follow", "x", "--times", "2"),
        ("log", "witness", "follow", "nowhere", "--key", "nonsense"),
        ("log", "witness", "add", "nonsense+00000000+AAAA"),
        ("log", "witness", "submit", "http://127.0.0.1:9"),
        ("log", "witness", "keep", "nowhere"),
    ],
)
def test_what_cannot_be_done_is_said(houses: Houses, words: tuple[str, ...]) -> None:
    ran = houses.studio(*words)
    assert ran.code == 2
    assert ran.err.startswith("error[")
    assert "Traceback" not in ran.err


def test_rounds_go_on_through_what_cannot_be_reached_for_a_while(
    capsys: pytest.CaptureFixture[str],
) -> None:
    answers: list[Any] = [1, UnavailableError("away"), 3]
    waits: list[float] = []

    def act() -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert list(rounds(act, 3, 7.0, sleep=waits.append)) == [1, 3]
    assert waits == [7.0, 7.0]
    assert "away" in capsys.readouterr().err
    for last in (UnavailableError("away"), IntegrityError("a fork")):
        answers = [last]
        with pytest.raises(type(last)):
            list(rounds(act, 1, 7.0, sleep=waits.append))
    answers = [IntegrityError("a fork"), 2]
    with pytest.raises(IntegrityError):
        list(rounds(act, 2, 7.0, sleep=waits.append))
    assert len(waits) == 2


def test_following_again_and_again_cosigns_again(houses: Houses) -> None:
    ran = houses.auditor(
        "log", "witness", "follow", houses.root / "studio", "--key", houses.log_key,
        "--every", "0", "--times", "2", "--json",
    )  # fmt: skip
    assert [one["last_size"] for one in fits("log witness follow", ran)] == [None, 1]
