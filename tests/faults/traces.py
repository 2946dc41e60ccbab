"""Traced lives of a home, each run once for all the tests that ask of it."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.faults import tracing
from tests.faults.soundness import Acknowledged
from tests.faults.tracing import Call

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Life:
    """The calls of a home's life, and what its callers had been told after each of them."""

    calls: list[Call]

    @classmethod
    def traced(cls, folder: Path, *steps: str) -> Life:
        """Live through the steps in `folder/disk/home`; paths are relative to `folder/disk`."""
        disk, marks, output = folder / "disk", folder / "marks", folder / "trace"
        disk.mkdir()
        home = str(disk / "home")
        command = [sys.executable, "-m", "tests.faults.scenario", home, str(marks), *steps]
        tracing.trace(command, output, cwd=ROOT)
        return cls(tracing.calls(output, disk, marks))

    def step(self, name: str) -> list[Call]:
        """Return what was asked of the disk between a step's beginning and its answer."""
        marks = [(at, _line(call)) for at, call in enumerate(self.calls) if call.kind == "mark"]
        begun = next(at for at, line in marks if line.get("begun") == name)
        ended = next(at for at, line in marks if line.get("ended") == name)
        return self.calls[begun + 1 : ended]

    def told(self, end: int) -> Told:
        """Return what had been acknowledged when call number `end` was yet to come."""
        lines = [_line(call) for call in self.calls[:end] if call.kind == "mark"]
        begun = {line["begun"] for line in lines if "begun" in line}
        ended = {line["ended"]: line["told"] for line in lines if "ended" in line}
        return Told(
            made="create" in ended,
            records=[
                Acknowledged(**v)
                for k, v in ended.items()
                if k.startswith(("record:", "careless:"))
            ],
            erased=[v for k, v in ended.items() if k.startswith("erase")],
            unsure="erase" in begun and "erase" not in ended,
        )


@dataclass(frozen=True)
class Told:
    """What the callers know; `unsure` of an erasure that was begun and not answered."""

    made: bool
    records: list[Acknowledged]
    erased: list[str]
    unsure: bool


def _line(call: Call) -> dict[str, Any]:
    line: dict[str, Any] = json.loads(call.data)
    return line
