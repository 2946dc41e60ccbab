"""What changes the bits of a picture on one machine: `python -m bench.determinism`.

Makes the same pictures of the demo model under one change at a time, each in a fresh process, and
counts how many come out equal: as floats, and as 8-bit pictures. The table is in
docs/determinism.md.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

PROMPT = "a red mug on a blue table, studio light"
STABLE = {"MKL_CBWR": "AUTO,STRICT", "OMP_NUM_THREADS": "1"}
CHANGED_BY = ("ATEN_", "DNNL_", "MKL_", "OMP_", "ONEDNN_")


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that differs from the baseline: variables, or how the pipeline is called."""

    name: str
    variables: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


BASELINE = Change("baseline")
CHANGES = (
    Change("fresh process"),
    Change("ATen default", {"ATEN_CPU_CAPABILITY": "default"}),
    Change("ATen avx2", {"ATEN_CPU_CAPABILITY": "avx2"}),
    Change("oneDNN AVX2", {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Change("MKL compatible", {"MKL_CBWR": "COMPATIBLE"}),
    Change("threads 1 to 2", {"OMP_NUM_THREADS": "2"}),
    Change("batch of 4", options={"batch": 4}),
    Change("channels last undone", options={"contiguous": True}),
    Change("bfloat16", options={"dtype": "bfloat16"}),
    Change("float16", options={"dtype": "float16"}),
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.determinism", description=__doc__)
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.child:
        print(json.dumps(list(_pictures(json.loads(chosen.child), chosen.seeds, chosen.steps))))
        return
    print(f"{chosen.seeds} seeds, {chosen.steps} steps, 64 pixels")
    print("| change | floats equal | pictures equal | largest change |\n|---|---|---|---|")
    before = _made(BASELINE, chosen.seeds, chosen.steps)
    for change in CHANGES:
        print(_row(change.name, before, _made(change, chosen.seeds, chosen.steps)), flush=True)


def _made(change: Change, seeds: int, steps: int) -> list[Any]:
    """Make the pictures in a fresh process; float arrays (3, side, side)."""
    import numpy as np

    kept = {k: v for k, v in os.environ.items() if not k.startswith(CHANGED_BY)}
    options = json.dumps(dict(change.options) or {"batch": 1})
    asked = ["--seeds", str(seeds), "--steps", str(steps), "--child", options]
    done = subprocess.run(
        [sys.executable, "-m", "bench.determinism", *asked],
        env=kept | STABLE | dict(change.variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        check=True,
    )
    rows = json.loads(done.stdout)
    return [np.frombuffer(base64.b64decode(row), np.float32) for row in rows]


def _row(name: str, before: list[Any], after: list[Any]) -> str:
    import numpy as np

    pairs = list(zip(before, after, strict=True))
    floats = sum(bool(np.array_equal(a, b)) for a, b in pairs)
    changes = [int(np.abs(_levels(a) - _levels(b)).max()) for a, b in pairs]
    return f"| {name} | {floats} | {changes.count(0)} | {max(changes)} |"


def _levels(picture: Any) -> Any:
    import numpy as np

    return (picture * 255).round().clip(0, 255).astype(np.int16)


def _pictures(options: Mapping[str, Any], seeds: int, steps: int) -> Iterator[str]:
    """Yield each picture as base64 of its float32 values."""
    import torch
    from diffusers import StableDiffusionPipeline

    from generators.demo_model import BASE

    dtype = getattr(torch, options.get("dtype", "float32"))
    pipe = StableDiffusionPipeline.from_pretrained(BASE, dtype=dtype, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    if not options.get("contiguous"):
        for part in (pipe.unet, pipe.vae):
            part.to(memory_format=torch.channels_last)
    size = options.get("batch", 1)
    for first in range(0, seeds, size):
        chosen = range(first, min(first + size, seeds))
        random = [torch.Generator().manual_seed(seed) for seed in chosen]
        prompts = [PROMPT] * len(random)
        made = pipe(prompts, num_inference_steps=steps, generator=random, output_type="pt").images
        for picture in made:
            data = picture.float().contiguous().numpy().tobytes()
            yield base64.b64encode(data).decode("ascii")


if __name__ == "__main__":
    main()
