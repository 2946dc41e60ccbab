"""The release gate over a campaign: facts gathered, verified, decided, signed and logged."""

from __future__ import annotations

from pathlib import Path

from bench import inputs
from bench.harness import Bar, Row, Size, Subject, timed
from registry import create_registry

WANTED_S = 2.0
SIDE = 64


def measure(place: Path, size: Size) -> Subject:
    """Gate many assets by the default policy, once without and once with a record of each."""
    asked: list[float] = []
    logged: list[float] = []
    with create_registry(place / "home", name="bench") as registry:
        assets = [
            registry.record(inputs.generation(number, SIDE)).assets[0]
            for number in range(size.gated)
        ]
        registry.gate(assets[:1], record=False)
        with timed(asked):
            registry.gate(assets, record=False)
        with timed(logged):
            report = registry.gate(assets)
    rules = len(report.decisions[0].rules)
    return Subject(
        title=f"Gate: {size.gated:,} assets by a bundle of {rules} rules",
        setting="One call, one thread. Every record, proof and stored file is verified; pictures "
        f"are {SIDE}², so that hashing files is not what is measured.",
        rows=(
            Row("decide", asked[0] * 1000, "ms", "facts, verification, rules"),
            Row("decide and log", logged[0] * 1000, "ms", "and each decision signed and synced"),
        ),
        bars=(
            Bar(
                f"gate, {size.gated:,} assets",
                f"≤ {WANTED_S:.0f} s",
                f"{asked[0]:.1f} s, logged {logged[0]:.1f} s",
                logged[0] <= WANTED_S,
            ),
        ),
    )
