from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.cli.main import run


@dataclass(frozen=True, slots=True)
class Ran:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Genops = Callable[..., Ran]


@pytest.fixture
def genops(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Genops:
    """Run a command line in this process, as on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    for name in ("GENOPS_HOME", "GENOPS_DEBUG", "GENOPS_PASSPHRASE", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)

    def call(*words: object) -> Ran:
        capsys.readouterr()
        code = run([str(word) for word in words])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return call


@pytest.fixture
def spawn() -> Genops:
    """Run a command line in a process of its own."""

    def call(*words: object, env: dict[str, str] | None = None, **options: Any) -> Ran:
        done = subprocess.run(
            [sys.executable, "-m", "registry.cli", *map(str, words)],
            capture_output=True,
            text=True,
            check=False,
            cwd=Path(__file__).parents[2],
            env=os.environ | {"COLUMNS": "80"} | (env or {}),
            **options,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return call
