"""What a recorded pipeline costs beside the bare one, warm: with few weights and with many."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bench.harness import Bar, Row, Size, Subject

PROMPT = "a red mug on a blue table, studio light"
CALL = {"num_inference_steps": 2, "height": 64, "width": 64}
WANTED_MS = 10.0
WANTED_MS_PER_GB = 60.0
GIGABYTE = 2**30
BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class Costs:
    """Medians in ms: the bare call, and what describing, encoding and recording add to it."""

    weights_gb: float
    bare: float
    described: float
    encoded: float
    recorded: float
    first: float

    @property
    def allowed(self) -> float:
        """What describing may take with this many weights."""
        return WANTED_MS + WANTED_MS_PER_GB * self.weights_gb


def measure(place: Path, size: Size) -> Subject:
    """Time the parts of a recorded call and a bare call in turn, on two pipelines."""
    from generators import environment

    environment.prepare()
    small = _costs(_pipeline(), place / "small", size)
    large = _costs(_heavy(place / "model", size.weights_gb), place / "large", size)
    return Subject(
        title="A recorded diffusers call beside a bare one, warm",
        setting=f"{size.calls} calls in turn after the first, 64² pixels, 2 steps, one thread; "
        f"{small.weights_gb * 1000:.0f} MB of weights, and {large.weights_gb:.2f} GB, of which "
        "nearly all are one embedding, so that the call itself stays short.",
        rows=(*_rows("small", small), *_rows("large", large)),
        bars=(_bar("small", small), _bar("large", large)),
    )


def _rows(name: str, costs: Costs) -> tuple[Row, ...]:
    return (
        Row(f"{name}: bare pipeline", costs.bare, "ms", "the call alone"),
        Row(f"{name}: describe", costs.described, "ms", "all that decides the picture, reasons"),
        Row(f"{name}: encode", costs.encoded, "ms", "PNG, pixel digest, fingerprint"),
        Row(f"{name}: record", costs.recorded, "ms", "seal, sign, log, lineage; synced"),
        Row(f"{name}: first describe", costs.first, "ms", "hash files and tensors, load a twin"),
    )


def _bar(name: str, costs: Costs) -> Bar:
    return Bar(
        f"capture of a warm call, {name} ({costs.weights_gb:.2f} GB of weights)",
        f"≤ {costs.allowed:.0f} ms (10 ms and 60 ms per GB)",
        f"{costs.described:.1f} ms",
        costs.described <= costs.allowed,
    )


def _costs(pipe: Any, place: Path, size: Size) -> Costs:
    import torch

    from generators.capture.session import Session
    from generators.capture.surroundings import RandomStates
    from generators.diffusers import recorded
    from registry import create_registry

    session = Session(pipe, {}, lambda: 1)
    options = {"seed": 1} | CALL
    first = _timed(partial(session.describe, (PROMPT,), options))[0]
    parts: dict[str, list[float]] = {"bare": [], "described": [], "encoded": [], "whole": []}
    with create_registry(place, name="bench") as registry:
        proxy = recorded(pipe, registry)
        proxy(PROMPT, **options)
        for _ in range(size.calls):
            generator = torch.Generator().manual_seed(1)
            bare, result = _timed(partial(pipe, PROMPT, generator=generator, **CALL))
            described, call = _timed(partial(_described, session, options))
            states = RandomStates()
            seen, _ = _timed(states.reasons)
            encoded, _ = _timed(partial(call.sharing.outputs, result))
            whole, _ = _timed(partial(proxy, PROMPT, **options))
            parts["bare"].append(bare)
            parts["described"].append(described + seen)
            parts["encoded"].append(encoded)
            parts["whole"].append(whole - bare - described - seen - encoded)
    assert call.reasons == (), call.reasons
    bare, described, encoded, rest = (statistics.median(taken) * 1000 for taken in parts.values())
    return Costs(_gigabytes(pipe), bare, described, encoded, rest, first * 1000)


def _described(session: Any, options: dict[str, Any]) -> Any:
    with session.exclusively():
        return session.describe((PROMPT,), options)


def _timed(action: Callable[[], Any]) -> tuple[float, Any]:
    start = time.perf_counter()
    result = action()
    return time.perf_counter() - start, result


def _pipeline(folder: Path | None = None) -> Any:
    import torch
    from diffusers import StableDiffusionPipeline

    from generators.demo_model import BASE

    loaded: Any = StableDiffusionPipeline.from_pretrained(
        folder or BASE, dtype=torch.float32, local_files_only=True
    )
    loaded.set_progress_bar_config(disable=True)
    return loaded


def _heavy(folder: Path, gigabytes: float) -> Any:
    """Give the demo model an embedding of some gigabytes, save it, and load it as users do."""
    pipe = _pipeline()
    width = pipe.text_encoder.get_input_embeddings().weight.shape[1]
    rows = int(gigabytes * GIGABYTE / BYTES_PER_NUMBER / width)
    if rows > len(pipe.tokenizer):
        pipe.text_encoder.resize_token_embeddings(rows, mean_resizing=False)
    pipe.save_pretrained(folder)
    return _pipeline(folder)


def _gigabytes(pipe: Any) -> float:
    modules = [c for c in pipe.components.values() if hasattr(c, "parameters")]
    tensors = [tensor for module in modules for tensor in module.parameters()]
    return float(sum(t.numel() * t.element_size() for t in tensors) / GIGABYTE)
