"""The matrix of replays: kinds of pipelines, LoRAs and batches, recorded in a home, replayed.

Shared by the suite, which samples it, and by the torture, which runs all of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generators import recorded
from registry.core.answers import Reproduction
from registry.core.digests import sha256_hex
from registry.sdk import Registry
from registry.workflows.materialize import materialize
from registry.workflows.replay.worker import ReplayWorker, Request
from registry.workflows.reproduce import How, Workplace, find_target, reproduce

from . import pipelines

ALL = tuple((loras, batched) for loras in (0, 1, 2) for batched in (False, True))
"""Every combination of LoRAs and batches; `SOME` are the simplest and the fullest."""
SOME = ((0, False), (2, True))
SCALES = (0.7, 0.4)
KINDS = tuple(kind for kind in pipelines.KINDS if kind != "ip-adapter")
"""What is recorded as reproducible."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One recorded call: what it was, and the assets that it made."""

    kind: str
    loras: int
    batched: bool
    assets: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}, {self.loras} LoRAs, {'batch' if self.batched else 'single'}"


def shoot(
    registry: Registry, kind: str, folder: Path, combinations: Sequence[tuple[int, bool]] = ALL
) -> Iterator[Shot]:
    """Record combinations of a kind, with pipelines that are loaded from folders."""
    place = pipelines.save(kind, folder / kind)
    for loras, batched in combinations:
        pipe = recorded(pipelines.load(kind, place), registry, strict=True)
        _dress(pipe, kind, folder, loras)
        make = pipelines.batched if batched else pipelines.arguments
        receipt = pipe(**make(kind), seed=7 if batched else 3).receipt
        yield Shot(kind, loras, batched, receipt.assets)


def _dress(pipe: Any, kind: str, folder: Path, loras: int) -> None:
    names = []
    for number in range(loras):
        file = folder / f"{kind}-{number}.safetensors"
        if not file.exists():
            pipelines.lora_file(kind, pipelines.load(kind, folder / kind), file, seed=number)
        names.append(f"lora{number}")
        pipe.load_lora_weights(file, adapter_name=names[-1])
    if names:
        pipe.set_adapters(names, list(SCALES[:loras]))


def forget(registry: Registry, shots: Sequence[Shot]) -> None:
    """Take the outputs out of the vault: what a replay gives cannot be what lay there."""
    for asset in {asset for shot in shots for asset in shot.assets}:
        blob = registry._services.blobs.get(asset.removeprefix("sha256:"))
        assert blob is not None, asset
        registry._services.vault.path(blob).unlink(missing_ok=True)


def replay(
    registry: Registry,
    shots: Sequence[Shot],
    place: Workplace | None = None,
    how: How | None = None,
) -> dict[str, Reproduction]:
    """Replay every asset of the shots, in the process of `place` or each in one of its own."""
    services = registry._services
    return {
        f"{shot}, {position}": reproduce(services, asset, how=how, place=place, record=False)
        for shot in shots
        for position, asset in enumerate(shot.assets)
    }


def wear(registry: Registry, shot: Shot, worker: ReplayWorker, calls: int, folder: Path) -> int:
    """Let a worker generate other pictures first, from one record with many seeds; count them."""
    services = registry._services
    target = find_target(services, shot.assets[0])
    materials = materialize(services, target.document, folder / "materials")
    digests = set()
    for seed in range(100, 100 + calls):
        place = folder / str(seed)
        place.mkdir()
        request = Request(target.document, materials, place, {"seed": str(seed)})
        digests.add(sha256_hex(worker.replay(request).output(0).file.read_bytes()))
    return len(digests)
