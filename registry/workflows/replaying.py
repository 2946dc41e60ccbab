"""The replay process: one job in, outputs out, in an interpreter of its own.

Run as `python -m registry.workflows.replaying WORKDIR`, with the job as JSON on standard input, so
that no text of a record touches the disk. Finds the adapter of the build type among the installed
generators (entry-point group `genops.generators`); opens no registry.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast

from registry.core.generation import Output
from registry.errors import GenopsError, MissingExtraError

GROUP = "genops.generators"
RESULT = "result.json"


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What an adapter needs to run a record again.

    `statement` has its texts in place; `materials` maps each material's name to a file, or to a
    folder for a model set, already checked against its digest; `overrides` are parameters that
    the caller changes on purpose, such as `{"seed": "43"}`.
    """

    statement: Mapping[str, Any]
    materials: Mapping[str, Path]
    overrides: Mapping[str, Any]
    workdir: Path


class Adapter(Protocol):
    """A generator's side of a replay.

    `replay` gives the outputs of the recorded call in the order of its subjects, encoded as the
    record says; it raises MaterialError or CaptureError when it cannot, and never guesses.
    `environment` describes this process as captures do, to be compared with the recorded one.
    """

    build_type: str

    def replay(self, job: ReplayJob) -> Sequence[Output]:
        """Run the recorded call again."""

    def environment(self) -> Mapping[str, Any]:
        """Describe the libraries, machine and settings that this process runs with."""


def load_adapter(build_type: str) -> Adapter:
    """Return the installed adapter of a build type; raises MissingExtraError without one."""
    for point in entry_points(group=GROUP):
        if point.name == build_type:
            return cast("Adapter", point.load())
    raise MissingExtraError(
        f"no installed generator replays {build_type}",
        code="replay.no-adapter",
        hint="install the generator that made it, for example 'genops-registry[generate]'",
    )


def run(job: ReplayJob) -> dict[str, Any]:
    """Replay a job, write its outputs into the work folder, and describe them."""
    adapter = load_adapter(job.statement["predicate"]["buildDefinition"]["buildType"])
    outputs = adapter.replay(job)
    described = []
    for number, output in enumerate(outputs):
        file = job.workdir / f"out-{number}"
        file.write_bytes(output.data)
        described.append({"file": file.name, "pixels": output.pixels})
    return {"outputs": described, "environment": dict(adapter.environment())}


def main(arguments: Sequence[str]) -> int:
    """Read a job from standard input, run it, and leave `result.json` in the work folder."""
    workdir = Path(arguments[0])
    document = json.loads(sys.stdin.buffer.read())
    job = ReplayJob(
        statement=document["statement"],
        materials={name: Path(path) for name, path in document["materials"].items()},
        overrides=document["overrides"],
        workdir=workdir,
    )
    try:
        result = run(job)
    except GenopsError as error:
        result = {"error": error.to_dict()}
    except ImportError as error:
        missing = MissingExtraError(
            f"a replay needs what is not installed: {error.name or error}",
            hint="pip install 'genops-registry[generate]'",
        )
        result = {"error": missing.to_dict()}
    (workdir / RESULT).write_text(json.dumps(result), "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
