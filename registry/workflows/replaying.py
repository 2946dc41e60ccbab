"""The replay process: jobs in, outputs out, in an interpreter of its own.

Run as `python -m registry.workflows.replaying`: one job a line of JSON on standard input, one
answer a line on standard output, so that no text of a record touches the disk; outputs go into the
job's work folder. Finds the adapter of a build type among the installed generators (entry-point
group `genops.generators`); opens no registry. `registry.workflows.replay.worker` is the other end.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO, cast

from registry.core.generation import Output
from registry.errors import GenopsError, InputError, MissingExtraError

GROUP = "genops.generators"

Numerics = Literal["recorded", "present"]
"""Whether a replay takes on the numeric settings of its record, or keeps those of its process."""


@dataclass(frozen=True, slots=True)
class ReplayJob:
    """What an adapter needs to run a record again.

    `statement` has its texts in place; `materials` maps each material's name to a file, or to a
    folder for a model set, already checked against its digest; `overrides` are parameters that
    the caller changes on purpose, such as `{"seed": "43"}`. `device` is where to compute instead
    of where the record did, such as `cuda`; only adapters with `takes_device` are given one. A
    replay under the present numeric settings names no environment in its statement.
    """

    statement: Mapping[str, Any]
    materials: Mapping[str, Path]
    overrides: Mapping[str, Any]
    workdir: Path
    device: str | None = None


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
    build_type = job.statement["predicate"]["buildDefinition"]["buildType"]
    adapter = load_adapter(build_type)
    if job.device is not None and not getattr(adapter, "takes_device", False):
        raise InputError(
            f"records of {build_type} cannot be replayed on a chosen device", code="replay.device"
        )
    started = time.perf_counter()
    outputs = adapter.replay(job)
    seconds = time.perf_counter() - started
    described = []
    for number, output in enumerate(outputs):
        file = job.workdir / f"out-{number}"
        file.write_bytes(output.data)
        described.append({"file": file.name, "pixels": output.pixels})
    return {"outputs": described, "environment": dict(adapter.environment()), "seconds": seconds}


def answer(line: str) -> dict[str, Any]:
    """Run the job on one line; whatever goes wrong with it is its answer."""
    try:
        return run(_job(json.loads(line)))
    except GenopsError as error:
        return {"error": error.to_dict()}
    except ImportError as error:
        missing = MissingExtraError(
            f"a replay needs what is not installed: {error.name or error}",
            hint="pip install 'genops-registry[generate]'",
        )
        return {"error": missing.to_dict()}
    except Exception as error:  # noqa: BLE001  # libraries raise anything; the next job may run
        failed = GenopsError(
            f"the replay failed: {type(error).__name__}: {error}",
            code="reproduce.failed",
            hint="Compare the environments: another library version may take other arguments.",
        )
        return {"error": failed.to_dict()}


def _job(document: Mapping[str, Any]) -> ReplayJob:
    return ReplayJob(
        statement=_statement(document),
        materials={name: Path(path) for name, path in document["materials"].items()},
        overrides=document["overrides"],
        workdir=Path(document["workdir"]),
        device=document.get("device"),
    )


def _statement(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the statement to follow: without its environment where the present one counts."""
    statement: dict[str, Any] = document["statement"]
    if document.get("numerics") == "present":
        statement["predicate"]["buildDefinition"]["internalParameters"]["environment"] = {}
    return statement


def _own_output() -> TextIO:
    """Keep standard output for answers: what a library prints goes to standard error."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return answers


def main() -> int:
    """Answer jobs until there are no more."""
    with _own_output() as answers:
        for line in sys.stdin:
            answers.write(json.dumps(answer(line)) + "\n")
            answers.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main())
