"""A picture made again from its record, beside the bare pipeline that made it."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from generators import environment
from registry import create_registry
from registry.sdk import Registry

WANTED = 1.1
PROMPT = "a red mug on a blue table, studio light"
TIMEOUT_S = 600.0


def measure(place: Path, size: Size) -> Subject:
    """Call the pipeline and replay its records in turn, in one process each, one thread each."""
    environment.prepare()
    taken: dict[str, list[float]] = {"bare": [], "warm": [], "replay": [], "cold": []}
    with create_registry(place / "home", name="bench") as registry:
        pipe, made = _records(registry, size.replays + 1, size.replay_steps)
        _in_turn(registry, pipe, made, size.replay_steps, taken)
        for asset in made[: size.rounds // 2]:
            with timed(taken["cold"]):
                registry.reproduce(asset)
    medians = {name: median_ms(seconds) for name, seconds in taken.items()}
    # Pair by pair: what else the machine does weighs on both.
    ratio = statistics.median(w / b for w, b in zip(taken["warm"], taken["bare"], strict=True))
    wanted = f"≤ {WANTED} times the bare pipeline"
    found = f"{ratio:.2f} times, cold {medians['cold'] / 1000:.1f} s"
    return Subject(
        title="Reproduce a picture",
        setting=f"The demo model, 64 pixels, {size.replay_steps} steps, one thread; "
        f"{len(taken['bare'])} pictures, bare and replayed in turn, after one to warm up. The warm "
        "replay reads and checks the record, opens its texts, lays out its inputs, generates, "
        "compares bytes and pixels, signs the verdict and logs it durably.",
        rows=tuple(Row(name, medians[key], "ms", what) for key, (name, what) in _ROWS.items()),
        bars=(Bar("in a warm worker", wanted, found, ratio <= WANTED),),
    )


_ROWS = {
    "bare": ("the bare pipeline", "one call, nothing recorded"),
    "replay": ("the replay alone", "in the worker: the call, the picture's encoding and digests"),
    "warm": ("reproduce, warm", "all of it, from an id to a verdict on the log"),
    "cold": ("reproduce, cold", "the same, with a fresh process that loads libraries and model"),
}


def _records(registry: Registry, count: int, steps: int) -> tuple[Any, list[str]]:
    """Record pictures of the demo model; return the bare pipeline and the assets."""
    import torch
    from diffusers import StableDiffusionPipeline

    from generators import recorded
    from generators.demo_model import BASE

    pipe = StableDiffusionPipeline.from_pretrained(BASE, dtype=torch.float32, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    wrapped = recorded(pipe, registry)
    return pipe, [_call(wrapped, n, steps).receipt.assets[0] for n in range(count)]


def _call(pipe: Callable[..., Any], seed: int, steps: int) -> Any:
    import torch

    random = torch.Generator().manual_seed(seed)
    return pipe(PROMPT, num_inference_steps=steps, generator=random)


def _in_turn(
    registry: Registry, pipe: Any, made: list[str], steps: int, taken: dict[str, list[float]]
) -> None:
    from registry.workflows.materialize import shelf_for
    from registry.workflows.replay.worker import ReplayWorker
    from registry.workflows.reproduce import (
        How,
        Workplace,
        compare,
        find_target,
        log_outcome,
        replay,
    )

    services = registry._services
    with ReplayWorker(timeout_s=TIMEOUT_S) as worker, shelf_for(services) as shelf:
        place = Workplace(worker, shelf)
        for number, asset in enumerate(made):
            with timed(taken["bare"]):
                _call(pipe, number, steps)
            with timed(taken["warm"]):
                target = find_target(services, asset)
                again = replay(services, target, How(), place)
                outcome = log_outcome(services, target, compare(services, target, How(), again))
            taken["replay"].append(again.seconds)
            if outcome.verdict != "identical":
                raise AssertionError(f"{asset} came out {outcome.verdict}")
    taken["cold"].append(taken["warm"][0])  # the first call starts the worker's process
    for name in ("bare", "warm", "replay"):
        del taken[name][0]
