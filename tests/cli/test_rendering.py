"""Text for people: complete, harmless, readable at 80 columns without colour."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from typing import Any

import pytest

from registry.cli.output import emit
from registry.cli.render import listings, passport, reports
from registry.core.answers import (
    Difference,
    Event,
    GateDecision,
    GateReport,
    Lineage,
    LineageEdge,
    LineageNode,
    MaterialView,
    Passport,
    Reproduction,
    RuleOutcome,
    TaintView,
)

ASSET = "sha256:" + "3f" * 32
LORA = "sha256:" + "9c" * 32
RECORD = "rec:" + "5d" * 32
TIME = "2026-11-20T11:07:00.000Z"
ATTACK = "\x1b[2J\x1b[31mred\x9b0m \u202etxt.exe \u2066x\u2069 [bold]not markup[/] :smile:"

PASSPORT = Passport(
    id=ASSET,
    kind="generated",
    record=RECORD,
    index=14,
    time=TIME,
    project="brand",
    campaign=None,
    path="/srv/registry/vault/.dvc/cache/files/md5/ab/" + "c" * 30,
    media_type="image/png",
    width=64,
    height=64,
    size=5231,
    pixels="ab" * 32,
    seed="42",
    build_type="https://w3id.org/genops/build/diffusers/v1",
    actor={"pseudonym": "77" * 16, "authn": "key", "name": "Ada"},
    signer={"keyid": "ee" * 32, "roles": ["generator"], "trusted": True},
    reproducible=True,
    reasons=(),
    text="readable",
    parameters={"prompt": "a red mug", "steps": 20, "loras": [{"ref": "lora/0", "scale": 0.8}]},
    setup={"scheduler": "DDIM"},
    internals={"dtype": "float32", "packages": {f"p{n}": "1.0" for n in range(40)}},
    materials=(MaterialView("lora/0", "lora", LORA, "", "vaulted", None, False, False),),
    taints=(),
    events=(Event("rec:" + "6e" * 32, 15, TIME, "decision", "pass"),),
    log={},
)


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)

    def show(answer: Any, render: Any) -> str:
        emit(answer, render, as_json=False)
        return capsys.readouterr().out

    return show


def test_a_passport_tells_what_was_made_how_and_from_what(shown: Any) -> None:
    text = shown(PASSPORT, passport.passport)
    for fact in (
        ASSET,
        "generated, image/png, 64 x 64, 5.1 KiB",
        "rec:5d5d5d5d5d5d  at index 14 of the log",
        "2026-11-20 11:07:00Z",
        "brand",
        "Ada  (key)",
        "eeeeeeeeeeee  trusted",
        "diffusers/v1",
        "a red mug",
        "scheduler  DDIM",
        "lora/0",
        "9c9c9c9c9c9c",
        "decision",
    ):
        assert fact in text


def test_a_passport_fits_80_columns_and_draws_nothing(shown: Any) -> None:
    tainted = replace(
        PASSPORT, taints=(TaintView(LORA, "lora/0", "high", RECORD, False, "x" * 90),)
    )
    text = shown(tainted, passport.passport)
    assert max(map(len, text.splitlines())) <= 80
    assert not any(unicodedata.name(c, "").startswith("BOX DRAWINGS") for c in text)
    assert not any(line.endswith(" ") for line in text.splitlines())


@pytest.mark.parametrize(
    "place", ["prompt", "reason", "material", "media type", "campaign", "actor"]
)
def test_nothing_from_outside_steers_the_terminal(shown: Any, place: str) -> None:
    forged = {
        "prompt": replace(PASSPORT, parameters={"prompt": ATTACK}),
        "reason": replace(PASSPORT, reproducible=False, reasons=(ATTACK,)),
        "material": replace(PASSPORT, materials=(replace(PASSPORT.materials[0], name=ATTACK),)),
        "media type": replace(PASSPORT, media_type=ATTACK),
        "campaign": replace(PASSPORT, campaign=ATTACK),
        "actor": replace(PASSPORT, actor={"name": ATTACK, "authn": "key"}),
    }[place]
    text = shown(forged, passport.passport)
    assert not [c for c in text if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
    flat = "".join(text.split())
    assert r"\x1b[2J\x1b[31mred\x9b0m" in flat
    assert r"\u202etxt.exe" in flat
    assert "[bold]notmarkup[/]:smile:" in flat


def test_a_hostile_name_of_a_parameter_is_harmless_and_leaves_room(shown: Any) -> None:
    text = shown(replace(PASSPORT, parameters={ATTACK * 5: "a red mug"}), passport.passport)
    assert not [c for c in text if unicodedata.category(c) in {"Cc", "Cf"} and c != "\n"]
    assert "a red mug" in text


def test_colour_is_for_terminals_only(shown: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tainted = replace(PASSPORT, taints=(TaintView(ASSET, "it", "high", RECORD, True),))
    assert "\x1b" not in shown(tainted, passport.passport)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    line = next(s for s in shown(tainted, passport.passport).splitlines() if "TAINTED" in s)
    assert line.startswith("\x1b[1;31m")
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;31m" not in shown(tainted, passport.passport)


def test_a_long_prompt_is_cut_in_text_and_whole_in_json(
    shown: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    long = replace(PASSPORT, parameters={"prompt": "word " * 1000})
    text = " ".join(shown(long, passport.passport).split())
    assert "[cut: 5,000 characters in all; --json has them]" in text
    assert len(text) < 3000
    emit(long, passport.passport, as_json=True)
    assert "word " * 1000 in capsys.readouterr().out


def test_many_fields_are_cut_with_a_note(shown: Any) -> None:
    text = shown(PASSPORT, passport.passport)
    assert "… and 17 more; --json has them" in text
    assert "packages.p0" in text


def test_deep_fields_of_the_setup_are_counted_and_not_shown(shown: Any) -> None:
    setup = {"scheduler": {"class": "DDIM", "config": {"beta": 0.1, "steps": 5}}}
    text = shown(replace(PASSPORT, setup=setup, internals={}), passport.passport)
    assert "scheduler.class  DDIM" in text
    assert "beta" not in text
    assert "… and 2 more; --json has them" in text


def test_prompts_come_first_and_once(shown: Any) -> None:
    chosen = {"eta": 0.5, "prompt": "a mug", "output": {"prompt": "a mug", "index": 1}}
    text = shown(replace(PASSPORT, parameters=chosen), passport.passport)
    assert text.count("a mug") == 1
    assert text.index("prompt ") < text.index("eta ")
    assert "output.index" in text


@pytest.mark.parametrize(("state", "word"), [("erased", "erased"), ("locked", "sealed")])
def test_a_text_that_cannot_be_read_says_why(shown: Any, state: Any, word: str) -> None:
    sealed = {"prompt": {"sealed": {"sha-256": "x" * 43}}}
    text = shown(replace(PASSPORT, text=state, parameters=sealed), passport.passport)
    assert f"prompt  {word}" in text
    assert f"texts         {state}: " in text
    assert "xxx" not in text


def test_an_untrusted_signer_stands_out(shown: Any) -> None:
    text = shown(
        replace(PASSPORT, signer={"keyid": "ee" * 32, "trusted": False}), passport.passport
    )
    assert "NOT TRUSTED" in text


def test_json_is_ascii_and_exact(capsys: pytest.CaptureFixture[str]) -> None:
    import json

    emit(replace(PASSPORT, campaign=ATTACK), passport.passport, as_json=True)
    text = capsys.readouterr().out
    assert text.isascii()
    assert "\x1b" not in text
    assert json.loads(text)["campaign"] == ATTACK


def node(number: int, depth: int, tainted: bool = False) -> LineageNode:
    return LineageNode(
        number, f"sha256:{number:064x}", "generated", f"n{number}", None, depth, tainted
    )


def test_a_diamond_is_unfolded_once(shown: Any) -> None:
    edges = ((0, 1), (0, 2), (1, 3), (2, 3), (3, 4))
    graph = Lineage(
        root=ASSET,
        direction="up",
        complete=False,
        nodes=(node(0, 0), node(1, 1), node(2, 1), node(3, 2, True), node(4, 3)),
        edges=tuple(LineageEdge(child, parent, f"e{child}{parent}") for child, parent in edges),
    )
    text = shown(graph, listings.lineage)
    assert text.count("e34") == 1
    assert text.count("TAINTED") == 2
    assert text.count("(see above)") == 1
    assert "there is more" in text


def test_a_deep_chain_needs_no_recursion(shown: Any) -> None:
    count = 3000
    edges = tuple(LineageEdge(n, n + 1, f"step{n}") for n in range(count))
    nodes = tuple(node(n, n) for n in range(count + 1))
    assert "step2999" in "".join(
        shown(Lineage(ASSET, "up", True, nodes, edges), listings.lineage).split()
    )


def test_a_gate_shows_what_stands_against_an_asset(shown: Any) -> None:
    rules = (
        RuleOutcome("licence", "block", "fail", "LoRA brand has no licence"),
        RuleOutcome("signed", "block", "pass", ""),
        RuleOutcome("model", "warn", "waived", "until May"),
    )
    report = GateReport(
        "default", "sha256:00", 9, "fail", (GateDecision(ASSET, "fail", RECORD, rules),)
    )
    text = shown(report, reports.gate)
    assert text.startswith("FAIL  1 asset against policy default")
    assert "LoRA brand has no licence" in text
    assert "waived" in text
    assert "signed" not in text


def test_a_replay_shows_what_differs_first(shown: Any) -> None:
    done = Reproduction(
        id=ASSET,
        of_record=RECORD,
        verdict="different",
        record=None,
        original=ASSET,
        reproduced=LORA,
        inputs=tuple(Difference(f"/p/{n}", n, {"x": "\x1b"}) for n in range(30)),
        pixels={"max": 12.0, "fraction": 0.25},
    )
    text = shown(done, reports.reproduction)
    assert text.startswith("DIFFERENT")
    assert "max 12, fraction 0.25" in text
    assert "… and 10 more" in text
    assert "\x1b" not in text
