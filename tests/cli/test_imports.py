"""What a verb does not import, it does not wait for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = frozenset(("torch", "diffusers", "transformers", "mlflow", "dvc", "fastapi", "generators"))
HEAVIER = HEAVY | {
    "alembic",
    "scipy",
    "pandas",
    "uvicorn",
    "starlette",
    "jinja2",
    "cel_expr_python",
}
SCRIPT = """
import json, sys
from registry.cli.main import run
code = run(sys.argv[1:])
print(json.dumps([code, sorted({name.partition('.')[0] for name in sys.modules})]), file=sys.stderr)
"""


def modules_of(*words: object) -> tuple[int, set[str]]:
    """Run a verb in a fresh interpreter; return its exit code and the packages it imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *map(str, words)],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    code, names = json.loads(done.stderr.splitlines()[-1])
    return code, set(names)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A registry with one picture in it, and the picture."""
    from PIL import Image

    from registry.factory import create_registry

    folder = tmp_path_factory.mktemp("cli")
    picture = folder / "picture.png"
    Image.linear_gradient("L").convert("RGB").save(picture)
    with create_registry(folder / "home") as registry:
        registry.ingest(picture)
    return folder / "home", picture


@pytest.mark.parametrize("verb", ["show", "list", "verify"])
def test_a_question_imports_nothing_heavy(verb: str, asked: tuple[Path, Path]) -> None:
    home, picture = asked
    words = [verb, "--home", home, *([] if verb == "list" else [picture])]
    code, names = modules_of(*words)
    assert code == 0
    assert "sqlalchemy" in names
    assert not names & HEAVIER


def test_a_look_up_imports_no_generator_and_no_mirror(asked: tuple[Path, Path]) -> None:
    home, picture = asked
    code, names = modules_of("find", picture, "--home", home)
    assert code == 0
    assert "numpy" in names
    assert not names & HEAVY


def test_the_command_line_itself_needs_typer_alone() -> None:
    code, names = modules_of("--version")
    assert code == 0
    assert "typer" in names
    assert not names & (HEAVIER | {"sqlalchemy", "pydantic", "rich", "numpy", "PIL", "httpx"})
