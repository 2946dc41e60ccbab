"""`genops comfyui`: runs a workflow, says what was read, and gives the workflow back."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from registry.cli.main import run
from registry.sdk import Registry

Genops = Callable[..., Any]


@pytest.fixture
def genops(
    registry: Registry, home: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Genops:  # fmt: skip
    """Run a command line on the registry's home."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*words: object) -> Any:
        capsys.readouterr()
        code = run([*map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return call


@pytest.fixture
def file(tmp_path: Path, workflow: dict[str, Any]) -> Path:
    path = tmp_path / "mug.api.json"
    path.write_text(json.dumps(workflow))
    return path


def test_a_workflow_runs_from_the_command_line_and_comes_back(
    genops: Genops, double: Any, file: Path, models: Path, tmp_path: Path
) -> None:
    words = ["comfyui", "run", file, "--server", double.url, "--models", models]
    ran = genops(*words, "--set", "6.text=a blue mug", "--out", tmp_path / "mug.png", "--json")
    assert ran.code == 0
    answer = json.loads(ran.out)
    assert (answer["models"], answer["unread"], answer["cached"]) == (3, [], ["4"])
    assert [Path(one).name for one in answer["files"]] == ["mug-1.png", "mug-2.png"]
    assert "1 of the pictures hold the workflow" in ran.err
    back = genops("comfyui", "workflow", answer["receipt"]["record"], "--out", tmp_path / "again")
    assert back.code == 0
    assert json.loads((tmp_path / "again").read_text()) == double.submitted[0]["prompt"]
    assert genops(*words[:2], tmp_path / "again", *words[3:]).code == 0
    assert double.submitted[1]["prompt"] == double.submitted[0]["prompt"]


def test_the_text_says_what_was_not_read(genops: Genops, double: Any, file: Path) -> None:
    ran = genops("comfyui", "run", file, "--server", double.url)
    assert ran.code == 0
    assert "models 0 read, not 4.ckpt_name, not 6.text, not 10.lora_name" in ran.out
    assert "not reproducible: the file of 4.ckpt_name was not read" in ran.out


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--set", "seed=7"], "usage"),
        (["--set", "3.sead=7"], "comfyui.workflow"),
        (["--models", "no-such-folder"], "comfyui.models"),
        (["--request-id", "7"], "hosted.request-id"),
    ],
)
def test_a_mistake_is_said_before_anything_is_run(
    genops: Genops, double: Any, file: Path, words: list[str], error: str
) -> None:
    ran = genops("comfyui", "run", file, "--server", double.url, *words, "--json")
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (2, error)
    assert double.submitted == []


def test_an_asset_of_another_kind_has_no_workflow(
    genops: Genops, registry: Registry, tmp_path: Path, picture: Callable[..., bytes]
) -> None:
    path = tmp_path / "logo.png"
    path.write_bytes(picture(1))
    registry.ingest(path)
    ran = genops("comfyui", "workflow", path, "--json")
    assert json.loads(ran.out)["error"]["code"] == "comfyui.no-workflow"


@pytest.mark.parametrize("verb", ["run", "workflow"])
def test_help_ends_with_examples_that_fit(genops: Genops, verb: str) -> None:
    ran = genops("comfyui", verb, "--help")
    assert f"\nExamples:\n  genops comfyui {verb}" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
