"""`genops hosted`: what it prints, what it writes, and where it sends keys."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from generators.hosted import commands
from registry.cli.main import run
from registry.sdk import Registry

Genops = Callable[..., Any]


@pytest.fixture
def genops(
    registry: Registry, home: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch, key: str,
) -> Genops:  # fmt: skip
    """Run a command line on the registry's home, with a key in a variable."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TEST_API_KEY", key)

    def call(*words: object) -> Any:
        capsys.readouterr()
        code = run([*map(str, words), "--home", str(home)])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return call


def test_pictures_are_made_written_and_priced(
    genops: Genops, double: Any, tmp_path: Path, pictures: Any, key: str
) -> None:
    prices = tmp_path / "prices.yaml"
    prices.write_text('currency: EUR\nmodels: {m: {picture: "0.25"}}\n')
    words = ["hosted", "image", "a mug", "--model", "m", "--server", double.url]
    more = ["--count", 2, "--set", "quality=high", "--prices", prices, "--key-env", "TEST_API_KEY"]
    ran = genops(*words, *more, "--out", tmp_path / "mug.png", "--json")
    assert ran.code == 0
    answer = json.loads(ran.out)
    assert answer["cost"]["amount"] == "0.5"
    assert [Path(file).name for file in answer["files"]] == ["mug-1.png", "mug-2.png"]
    assert (tmp_path / "mug-2.png").read_bytes() == pictures(11)
    assert double.seen[0].json == {"model": "m", "prompt": "a mug", "n": 2, "quality": "high"}
    assert key not in ran.out + ran.err


def test_a_text_is_shown_with_the_model_that_the_service_claims(
    genops: Genops, double: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    double.changes = {"choices": [{"message": {"content": "Hi\x1b[31m there"}}]}
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"from a file")))
    ran = genops("hosted", "chat", "-", "--model", "m", "--server", double.url, "--seed", 7)
    assert ran.code == 0
    assert "\x1b" not in ran.out
    assert ran.out.startswith("Hi\\x1b[31m there\n")
    assert "model  tiny-chat-2026-05-01 (claimed)" in ran.out
    assert double.seen[0].json["messages"] == [{"role": "user", "content": "from a file"}]
    assert double.seen[0].json["seed"] == 7


def test_the_key_of_openai_goes_to_openai_alone(
    genops: Genops, double: Any, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    assert genops("hosted", "chat", "x", "--model", "m", "--server", double.url).code == 0
    assert "authorization" not in double.seen[0].headers
    monkeypatch.setattr(commands, "OPENAI", double.url)
    assert genops("hosted", "chat", "x", "--model", "m", "--server", double.url).code == 0
    assert double.seen[1].headers["authorization"] == f"Bearer {key}"


@pytest.mark.parametrize(
    ("words", "code", "error"),
    [
        (["--set", "stream=true"], 2, "hosted.argument"),
        (["--set", "prompt=x"], 2, "usage"),
        (["--set", "quality"], 2, "usage"),
        (["--mask", "x.png"], 2, "usage"),
        (["--image", "no-such-file.png"], 2, "ref.invalid"),
        (["--key-file", "no-such-file"], 2, "hosted.key"),
        (["--request-id", "7"], 2, "hosted.request-id"),
        (["--prices", "no-such-file"], 2, "hosted.prices"),
    ],
)
def test_a_mistake_is_said_before_anything_is_sent(
    genops: Genops, double: Any, words: list[str], code: int, error: str
) -> None:
    ran = genops(
        "hosted", "image", "a mug", "--model", "m", "--server", double.url, *words, "--json"
    )
    assert (ran.code, json.loads(ran.out)["error"]["code"]) == (code, error)
    assert double.seen == []


@pytest.mark.parametrize("verb", ["image", "chat"])
def test_help_ends_with_examples_that_fit(genops: Genops, verb: str) -> None:
    ran = genops("hosted", verb, "--help")
    assert f"\nExamples:\n  genops hosted {verb}" in ran.out
    assert max(map(len, ran.out.splitlines())) <= 80
