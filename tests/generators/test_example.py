"""The generator of docs/adding-a-generator.md: installed as a stranger's, recorded, made again."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "docs" / "examples" / "gradients"
PAGE = ROOT / "docs" / "adding-a-generator.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the example is installed in."""
    folder = tmp_path_factory.mktemp("site")
    source = tmp_path_factory.mktemp("source")
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    words = ["install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    subprocess.run(
        [sys.executable, "-m", "pip", *words, "--target", str(folder), str(source)],
        check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return folder


def genops(site: Path, *words: object) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "registry.cli", *map(str, words)],
        capture_output=True, text=True, check=False, cwd=site, timeout=300,
        env=os.environ | {"PYTHONPATH": f"{site}{os.pathsep}{ROOT}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_a_stranger_s_generator_records_and_is_reproduced_by_the_real_command(
    site: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    genops(site, "init", home)
    assert "Paint a gradient and record it." in genops(site, "--help")
    asset = genops(site, "gradient", "a sunset", "--seed", 9, "--home", home).strip()
    shown = json.loads(genops(site, "show", asset, "--home", home, "--json"))
    assert (shown["seed"], shown["parameters"]["title"]) == ("9", "a sunset")
    answer = json.loads(genops(site, "reproduce", asset, "--home", home, "--json"))
    assert answer["verdict"] == "identical"


def test_the_page_shows_the_files_as_they_are() -> None:
    blocks = dict(
        re.findall(r"^```(python|toml)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    )
    assert blocks["python"] == (EXAMPLE / "gradients.py").read_text()
    assert blocks["toml"] in (EXAMPLE / "pyproject.toml").read_text()
    assert len(blocks["python"].splitlines()) < 60
