"""Runs a planned call on a rebuilt pipeline, the whole batch, and encodes what comes out."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from generators import environment, seeds, switches
from generators.arguments import ArgumentWriter
from generators.capture.calls import Sharing, batch_size, copies, texts
from generators.ports import Job
from generators.rebuild import devices
from generators.rebuild.pipeline import build, weigh
from generators.rebuild.plan import Plan
from registry.core.generation import Output


@dataclass(slots=True)
class Workshop:
    """Keeps the last pipeline it built: a worker mostly replays many calls of one model."""

    _key: str = ""
    _pipe: Any = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def replay(self, plan: Plan, workdir: Path) -> tuple[Sequence[Output], dict[str, Any]]:
        """Run the planned call; return its outputs and the environment it ran in. One at a time."""
        kind = _prepare(plan)
        with self._lock, environment.matching(plan.internal["environment"]):
            if plan.device is not None:
                switches.settle(kind)
            key = plan.rig_key()
            if key != self._key:
                self._key, self._pipe = "", None  # never two models in memory
                self._pipe = build(plan, workdir)
                self._key = key
            weigh(self._pipe, plan)
            return run(self._pipe, plan), environment.capture()


def _prepare(plan: Plan) -> str:
    """Make sure of the devices before anything is loaded; return the kind that computes."""
    if plan.device is not None:
        devices.check(plan.device, "the replay")
    for name, device in plan.devices().items():
        devices.check(device, f"component {name}")
    kinds = {device.partition(":")[0] for device in plan.devices().values()} - {"cpu"}
    kind = min(kinds, default="cpu")
    environment.prepare(kind)
    return kind


_WORKSHOP = Workshop()


def replay(job: Job) -> tuple[Sequence[Output], dict[str, Any]]:
    """Replay a job; return its outputs and the environment that they were made in.

    See `generators.diffusers.DiffusersAdapter.replay`.
    """
    return _WORKSHOP.replay(Plan.of(job), job.workdir)


def run(pipe: Any, plan: Plan) -> list[Output]:
    """Call a rebuilt pipeline as recorded and encode what it returns."""
    writer = ArgumentWriter(plan.path, plan.media_types)
    arguments = {
        name: writer.write(name, value) for name, value in plan.external["arguments"].items()
    }
    random = _random(plan, arguments)
    if random is not None:
        arguments["generator"] = seeds.restore(random)
    sharing = Sharing(
        prompts=texts(arguments.get("prompt")),
        copies=copies(arguments),
        generator=random,
        materials=list(plan.digests),
        inputs=writer.inputs,
    )
    with torch.random.fork_rng(devices=[]):
        return sharing.outputs(pipe(**arguments))


def _random(plan: Plan, arguments: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the recorded generators, or those of the overriding seed."""
    recorded: Mapping[str, Any] | None = plan.external["generator"]
    if recorded is None:
        return None
    if plan.seed is None:
        for one in recorded["generators"]:
            devices.check(one["device"], "the recorded generator")  # no other draws the same
        return recorded
    chosen = seeds.consecutive(plan.seed, batch_size(arguments))
    return seeds.describe([seeds.generator_for(one) for one in chosen])
