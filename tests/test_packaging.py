"""The wheel works alone: built, installed elsewhere, and used from a folder of its own."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from registry import __version__
from registry.resources import schema_set

ROOT = Path(__file__).resolve().parent.parent

USE_DATA = """
import json, sys
import registry, registry.resources as resources
from registry.policy.loader import load_bundle
from registry.policy.cases import load_cases, run_cases

schemas = resources.schema_set()
folder = resources.policy_dir("default")
bundle = load_bundle(folder, schemas)
report = run_cases(bundle, load_cases(folder, schemas))
json.dump({
    "package": registry.__file__,
    "schemas": str(resources.data_dir("schemas")),
    "policies": str(folder),
    "names": sorted(schemas.documents),
    "rules": [rule.id for rule in bundle.rules],
    "ok": report.ok,
}, sys.stdout)
"""

USE_REGISTRY = """
import sys
from registry import create_registry, open_registry

with create_registry("home", name="acme") as made:
    asset = made.ingest(sys.argv[1]).assets[0]
with open_registry("home") as again:
    assert again.verify(asset).ok, again.verify(asset)
    assert again.check_log().ok
    print(asset)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *build], check=True, capture_output=True)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the installed wheel and nothing else."""
    folder = tmp_path_factory.mktemp("site")
    install = ["-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile"]
    subprocess.run(
        [sys.executable, *install, "--target", str(folder), str(wheel)],
        check=True,
        capture_output=True,
    )
    return folder


@pytest.fixture
def run(site: Path, tmp_path: Path):
    """Run Python with the installed wheel first on its path, in a folder of its own."""

    def run(*args: str) -> str:
        environ = {**os.environ, "PYTHONPATH": str(site), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, *args],
            cwd=tmp_path,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_the_installed_wheel_reads_its_own_schemas_and_policies(run, site: Path) -> None:
    found = json.loads(run("-c", USE_DATA))
    for place in ("package", "schemas", "policies"):
        assert Path(found[place]).is_relative_to(site), place
    assert found["names"] == sorted(schema_set().documents)  # those of the checkout
    assert "generation/v1" in found["names"]
    assert "no-taint" in found["rules"]
    assert found["ok"]


def test_the_installed_wheel_makes_and_checks_a_registry(run, tmp_path: Path, picture) -> None:
    picture(1).save(tmp_path / "asset.png")
    assert run("-c", USE_REGISTRY, "asset.png").startswith("sha256:")


def test_the_installed_wheel_answers_on_the_command_line(run) -> None:
    assert run("-m", "registry.cli", "--version").split() == ["genops", __version__]


def test_the_wheel_holds_every_file_of_its_packages(wheel: Path) -> None:
    held = set(zipfile.ZipFile(wheel).namelist())
    wanted = {
        path.relative_to(ROOT).as_posix()
        for top in ("registry", "generators")
        for path in (ROOT / top).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert wanted <= held
    assert not [name for name in held if name.startswith(("tests/", "bench/", "docs/"))]


def test_the_wheel_registers_its_command_and_its_generators(site: Path) -> None:
    (found,) = importlib.metadata.distributions(path=[str(site)])
    points = {(point.group, point.name): point.value for point in found.entry_points}
    assert points["console_scripts", "genops"] == "registry.cli.main:main"
    assert {group for group, _ in points} >= {"genops.generators", "genops.commands"}
    assert found.version == __version__


def test_what_is_declared_as_an_entry_point_can_be_loaded() -> None:
    points = [
        point
        for group in ("console_scripts", "genops.generators", "genops.commands")
        for point in importlib.metadata.entry_points(group=group)
        if point.dist is not None and point.dist.name == "genops-registry"
    ]
    assert points
    assert all(callable(point.load()) or hasattr(point.load(), "replay") for point in points)
