"""The main job, end to end, as `make demo` runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from generators.demo.stage import Stage
from generators.demo.tamper import flip

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_claim_of_the_demo_holds_and_it_starts_afresh(tmp_path: Path) -> None:
    home = tmp_path / "demo" / "home"
    (tmp_path / "demo" / "clone").mkdir(parents=True)
    (tmp_path / "demo" / "clone" / "left-over").write_text("from an earlier run")
    done = subprocess.run(
        [sys.executable, "-m", "registry.cli", "demo", "--home", str(home), "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.stdout, done.stderr
    document = json.loads(done.stdout)
    schema = json.loads((ROOT / "schemas" / "cli" / "demo.v1.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(document)
    assert [claim["text"] for claim in document["claims"] if not claim["holds"]] == []
    assert done.returncode == 0
    assert len({claim["step"] for claim in document["claims"]}) == 8
    assert not (tmp_path / "demo" / "clone" / "left-over").exists()


def test_a_claim_that_does_not_hold_fails_the_demo(capsys: pytest.CaptureFixture[str]) -> None:
    stage = Stage(quiet=True)
    assert not stage.holds, "nothing claimed is nothing shown"
    stage.step(1, "Something")
    stage.claim("true", holds=True)
    assert stage.holds
    stage.claim("false", holds=False)
    assert not stage.holds
    stage.finish(as_json=True)
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_flipping_twice_restores_and_flipping_once_changes_one_bit() -> None:
    data = bytes(range(50))
    assert flip(flip(data)) == data
    assert sum(a != b for a, b in zip(data, flip(data), strict=True)) == 1
