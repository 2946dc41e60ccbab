"""The kernel itself refuses the n-th write, sync or name of a record, for every n.

What `tests/faults/test_table.py` does to our own calls, done below SQLite's: nothing acknowledged
is lost, the caller is told in our words, and the next record is taken.
"""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from registry.factory import create_registry, open_home
from tests.faults.soundness import Acknowledged, assert_sound, record
from tests.faults.traces import ROOT

pytestmark = pytest.mark.usefixtures("traceable")

FAULTS = [
    *[("pwrite64", error) for error in ("ENOSPC", "EIO")],
    *[("fdatasync", "EIO"), ("fsync", "EIO"), ("ftruncate", "ENOSPC")],
    *[("link", "EIO"), ("rename", "EIO"), ("rename", "EROFS")],
]


def refused(home: Path, marks: Path, call: str, error: str, number: int) -> tuple[bool, str]:
    """Record while the kernel refuses one call; return whether it got there, and what was said."""
    inject = f"inject={call}:error={error}:when={number}"
    command = [sys.executable, "-m", "tests.faults.scenario", home, marks, "open", "record:x"]
    output = marks.with_suffix(".trace")
    done = subprocess.run(
        ["strace", "-f", "-o", output, "-e", f"trace={call}", "-e", inject, *command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return "(INJECTED)" in output.read_text(), done.stderr


@pytest.mark.parametrize(("call", "error"), FAULTS)
def test_whatever_call_is_refused(memory: Path, call: str, error: str) -> None:
    template = memory / "template"
    with create_registry(template, name="test", project="brand") as registry:
        before = record(registry, "before")
    for number in itertools.count(1):
        home, marks = memory / "home", memory / f"{number}.marks"
        shutil.copytree(template, home)
        struck, said = refused(home, marks, call, error, number)
        lines = [json.loads(line) for line in marks.read_text().splitlines()]
        told = [Acknowledged(**line["told"]) for line in lines if line.get("ended") == "record:x"]
        assert told or "registry.errors." in said.strip().splitlines()[-1], said
        with open_home(home) as registry:
            after = record(registry, "after")
        assert_sound(home, [before, *told, after])
        shutil.rmtree(home)
        if not struck:
            break
    print(f"{call}: {number - 1} calls were refused, one after the other")
    assert number > 1
