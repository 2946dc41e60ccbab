"""Runs every benchmark, prints the table, and writes `bench/RESULTS.md`."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rich.console import Console

from bench import (
    blast_radius,
    capture_overhead,
    cold_start,
    find_whole,
    gate_many,
    ingest,
    look_up,
    record_one,
    report,
    reproduce,
    robust,
    submit_many,
)
from bench.harness import FULL, QUICK, Benchmark, Size, Subject, machine, sync_ms, versions

RESULTS = Path(__file__).with_name("RESULTS.md")
IDLE_LOAD = 0.5
WORK = Path(__file__).resolve().parent.parent / "build"
SUBJECTS: Mapping[str, Benchmark] = {
    "record_one": record_one.measure,
    "submit_many": submit_many.measure,
    "ingest": ingest.measure,
    "look_up": look_up.measure,
    "robust": robust.measure,
    "find_whole": find_whole.measure,
    "blast_radius": blast_radius.measure,
    "gate_many": gate_many.measure,
    "cold_start": cold_start.measure,
    "capture_overhead": capture_overhead.measure,
    "reproduce": reproduce.measure,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen benchmarks; returns 0 whether or not a bar holds."""
    chosen = _arguments(arguments)
    _be_quiet()
    size: Size = replace(QUICK if chosen.quick else FULL, pictures_from=chosen.pictures)
    chosen.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=chosen.work, prefix="bench-") as name:
        subjects, facts = _run(Path(name), chosen.only or list(SUBJECTS), size)
    report.show(subjects, Console())
    out = chosen.out or (None if chosen.quick or chosen.only else RESULTS)
    if out is not None:
        command = f"python -m bench{' --quick' if chosen.quick else ''}"
        command += " --pictures FOLDER" if chosen.pictures else ""
        out.write_text(report.page(subjects, facts, command), "utf-8")
    return 0


def _run(place: Path, names: Sequence[str], size: Size) -> tuple[list[Subject], dict[str, str]]:
    facts = {"machine": machine()}
    facts["versions"] = ", ".join(f"{name} {version}" for name, version in versions().items())
    before, load = sync_ms(place), os.getloadavg()[0]
    subjects = []
    for name in names:
        folder = place / name
        folder.mkdir()
        subjects.append(SUBJECTS[name](folder, size))
    facts["durable write of 4 KiB on this disk (write + fsync)"] = (
        f"{before:.2f} ms before, {sync_ms(place):.2f} ms after"
    )
    busy = "; **other programs were running, so these figures are worse than they need be**"
    facts["load when it began"] = f"{load:.2f}{busy if load > IDLE_LOAD else ''}"
    return subjects, facts


def _be_quiet() -> None:
    """Keep the peers from reporting home or drawing progress bars into the measurement."""
    for name, value in (
        ("DVC_NO_ANALYTICS", "1"),
        ("MLFLOW_DISABLE_TELEMETRY", "true"),
        ("OMP_NUM_THREADS", "1"),
    ):
        os.environ.setdefault(name, value)


def _arguments(given: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes; shows that it runs")
    parser.add_argument("--only", nargs="+", choices=list(SUBJECTS), help="measure these alone")
    parser.add_argument(
        "--out", type=Path, help="where the page is written; a full run writes bench/RESULTS.md"
    )
    parser.add_argument("--work", type=Path, default=WORK, help="a folder on the disk to measure")
    parser.add_argument("--pictures", type=Path, help="a folder of photographs (JPEG) to look up")
    return parser.parse_args(given)


if __name__ == "__main__":
    raise SystemExit(main())
