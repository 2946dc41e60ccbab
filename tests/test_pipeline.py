"""`dvc.yaml` at the top: training is locked, and the campaign really runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("generators", "policies", "dvc.yaml", "dvc.lock", "params.yaml", ".dvcignore")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what the pipeline needs, as a clean clone has it."""
    ignored = shutil.ignore_patterns("__pycache__")
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, tmp_path / part, ignore=ignored)
        else:
            shutil.copy(source, tmp_path / part)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc" / "config").write_text(
        (ROOT / ".dvc" / "config").read_text().replace("[core]", "[core]\n    no_scm = true")
    )
    return tmp_path


def dvc(project: Path, *arguments: str) -> str:
    binaries = Path(sys.executable).parent
    environ = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=project,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_repro_runs_the_campaign_and_trains_nothing(project: Path) -> None:
    weights = project / "generators" / "demo_model" / "weights"
    before = {f: f.stat().st_mtime_ns for f in weights.rglob("*") if f.is_file()}
    said = dvc(project, "repro")
    assert "'train_base' didn't change" in said
    assert {f: f.stat().st_mtime_ns for f in weights.rglob("*") if f.is_file()} == before

    build = project / "build" / "pipeline"
    assets = json.loads((build / "assets.json").read_text())
    gate = json.loads((build / "gate.json").read_text())
    reproduction = json.loads((build / "reproduction.json").read_text())
    assert len(assets) == len(gate["decisions"]) == 5
    assert gate["verdict"] == "pass"
    assert (reproduction["verdict"], reproduction["id"]) == ("identical", assets[0]["id"])
    assert "Running stage" not in dvc(project, "repro")


def test_a_changed_parameter_asks_for_training_and_a_comment_does_not(project: Path) -> None:
    def stale() -> set[str]:
        return set(json.loads(dvc(project, "status", "--json", "train_base", "train_lora@noir")))

    assert stale() == set()
    training = project / "generators" / "demo_model" / "train.py"
    training.write_text(training.read_text() + "\n# another comment\n")
    assert stale() == set()
    params = project / "params.yaml"
    params.write_text(params.read_text().replace('recipe: "1"', 'recipe: "2"', 1))
    assert stale() == {"train_base"}
