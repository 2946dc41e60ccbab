"""The targets of `tests/fuzz` under atheris, which keeps the inputs that reach new code.

Not part of any test: atheris is installed by whoever wants to use it. By hand, for one target:

    python -m pip install atheris==3.0.0
    python -m tests.torture.guided "evidence" -max_total_time=600

Arguments after the target are libFuzzer's. A finding is written to a file `crash-…` here.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from random import Random

import atheris  # type: ignore[import-not-found]

with atheris.instrument_imports(include=["registry.core", "registry.signing", "registry.vault"]):
    from registry.errors import GenopsError
    from tests.fuzz.harness import Target
    from tests.fuzz.targets import TARGETS


def run(target: Target, arguments: list[str]) -> None:
    """Feed a target its samples, and what libFuzzer and our mutators make of them."""

    def check(data: bytes) -> None:
        try:
            target.check(data)
        except GenopsError:
            return

    def mutate(data: bytes, most: int, seed: int) -> bytes:
        if seed % 4 == 0:
            return bytes(atheris.Mutate(data, most))
        return target.mutate(data, Random(seed), target.samples)[:most]

    with tempfile.TemporaryDirectory() as corpus:
        for number, sample in enumerate(target.samples):
            (Path(corpus) / str(number)).write_bytes(sample)
        options = [sys.argv[0], "-max_len=65536", *arguments, corpus]
        atheris.Setup(options, check, custom_mutator=mutate)
        atheris.Fuzz()


if __name__ == "__main__":
    by_name = {target.name: target for target in TARGETS}
    if sys.argv[1:2] and sys.argv[1] in by_name:
        run(by_name[sys.argv[1]], sys.argv[2:])
    else:
        sys.exit(f"name a target: {', '.join(by_name)}")
