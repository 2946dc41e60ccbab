"""Copy for a product, through the command line and by the function that campaigns call."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from generators.text.copy import BRAND, COPY_SCHEMA, CopyBrief, write_copy
from generators.text.model import WEIGHTS
from generators.text.model.params import load_params
from registry.cli.main import run
from registry.errors import GenopsError, InputError
from registry.sdk import Registry

ROOT = Path(__file__).parents[2]
COLOURS = {"type": "object", "properties": {"colour": {"enum": ["red", "teal"]}}}
COLOURS |= {"required": ["colour"], "additionalProperties": False}


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home") / "studio"
    assert run(["init", str(folder), "--name", "acme", "--project", "spring"]) == 0
    return folder


@pytest.fixture
def ask(studio: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run a verb on the module's home; return (exit code, its JSON)."""

    def call(*words: object) -> tuple[int, Any]:
        capsys.readouterr()
        code = run([*map(str, words), "--home", str(studio), "--json"])
        return code, json.loads(capsys.readouterr().out)

    return call


def test_copy_is_written_shown_reproduced_and_its_corpus_watched(ask: Any, tmp_path: Path) -> None:
    corpus = shutil.copytree(BRAND, tmp_path / "corpus")
    brief = ("blue lamp", "--fact", "made of recycled glass", "--corpus", corpus, "--seed", 7)
    out = tmp_path / "copy.json"
    code, written = ask("write", *brief, "--out", out)
    assert (code, written["valid"], written["finished"]) == (0, True, True)
    jsonschema.validate(written["document"], dict(COPY_SCHEMA))
    assert json.loads(out.read_text("utf-8")) == written["document"]
    assert [one["file"] for one in written["passages"]][:1] == ["guidelines/voice.md"]

    _, shown = ask("show", written["id"])
    assert (shown["seed"], shown["reproducible"], shown["reasons"]) == ("7", True, [])
    assert shown["media_type"] == "application/json"
    assert "Product: blue lamp" in shown["parameters"]["prompt"]
    assert shown["parameters"]["output"]["verdict"]["valid"] is True
    kept = {one["name"]: (one["kind"], one["storage"]) for one in shown["materials"]}
    assert kept["dataset/corpus"] == ("dataset", "referenced")
    assert kept["model/model"] == ("model", "vaulted")

    (corpus / "guidelines" / "voice.md").write_text("Slogan: Made anew.\n", "utf-8")
    code, again = ask("reproduce", written["id"])
    assert (code, again["verdict"]) == (0, "identical")
    assert [one["where"] for one in again["environment"]] == ["corpus"]

    _, anew = ask("write", *brief)
    assert anew["id"] != written["id"]
    assert "Slogan: Made anew." in {one["text"] for one in anew["passages"]}


def test_another_model_and_schema_answer_a_prompt_as_it_is(ask: Any, tmp_path: Path) -> None:
    schema = tmp_path / "colour.json"
    schema.write_text(json.dumps(COLOURS), "utf-8")
    model = shutil.copytree(WEIGHTS, tmp_path / "model")
    code, written = ask("write", "Which?", "--schema", schema, "--model", model, "--seed", 1)
    assert (code, written["document"]["colour"] in {"red", "teal"}) == (0, True)
    _, shown = ask("show", written["id"])
    assert shown["parameters"]["prompt"] == "Which?"


def test_a_model_with_a_chat_template_gets_a_message(ask: Any, tmp_path: Path) -> None:
    model = shutil.copytree(WEIGHTS, tmp_path / "model")
    (model / "chat_template.jinja").write_text(
        "{% for one in messages %}<{{ one.role }}>{{ one.content }}{% endfor %}<answer>", "utf-8"
    )
    schema = tmp_path / "colour.json"
    schema.write_text(json.dumps(COLOURS), "utf-8")
    _, written = ask("write", "Which?", "--schema", schema, "--model", model, "--seed", 1)
    _, shown = ask("show", written["id"])
    assert shown["parameters"]["prompt"] == "<user>Which?<answer>"
    assert shown["parameters"]["add_special_tokens"] is False


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("",), "input.brief"),
        (("mug", "--seed", "many"), "input.seed"),
        (("mug", "--corpus", "/nowhere"), "input.corpus"),
        (("mug", "--model", "/nowhere"), "model.unusable"),
        (("mug", "--schema", "/nowhere"), "text.schema"),
        (("mug", "--schema", "x", "--tone", "calm"), "usage"),
    ],
)
def test_what_cannot_be_written_is_an_error_with_a_code(
    words: tuple[str, ...], code: str, ask: Any
) -> None:
    ended, answer = ask("write", *words)
    assert (ended, answer["error"]["code"]) == (2, code)
    assert answer["error"]["hint"]


def test_a_damaged_model_is_refused_and_nothing_is_recorded(
    registry: Registry, tmp_path: Path
) -> None:
    model = shutil.copytree(WEIGHTS, tmp_path / "model")
    (model / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(InputError) as refused:
        write_copy(registry, CopyBrief("mug"), model=model)
    assert refused.value.code == "model.unusable"
    assert registry.list() == []


def test_copy_says_what_its_brief_says(registry: Registry) -> None:
    """The copy model at its best: a lamp, a fact, the house's slogan."""
    made = write_copy(
        registry, CopyBrief("red mug", "busy students", "bold", ("dishwasher safe",), BRAND, 3)
    )
    assert set(made.document) == {"headline", "body", "call_to_action"}
    for words in ("red mug", "busy students", "dishwasher safe", "Made to last"):
        assert words in made.document["body"]
    assert registry.get(made.receipt.assets[0]).parameters["output"]["verdict"]["valid"] is True


def test_copy_that_breaks_its_schema_is_an_error_and_a_record(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    from generators.text import copy

    monkeypatch.setattr(copy, "SAMPLING", {**copy.SAMPLING, "max_new_tokens": 5})
    with pytest.raises(GenopsError) as refused:
        write_copy(registry, CopyBrief("red mug"))
    assert refused.value.code == "copy.invalid"
    (listed,) = registry.list()
    assert registry.get(listed.id).parameters["output"]["verdict"]["finished"] is False


def test_the_copy_model_is_small_and_of_the_committed_parameters() -> None:
    params = load_params(ROOT / "params.yaml")
    config = json.loads((WEIGHTS / "config.json").read_text("utf-8"))
    assert (config["hidden_size"], config["num_hidden_layers"]) == (params.width, params.layers)
    assert (WEIGHTS / "model.safetensors").stat().st_size < 1_500_000
