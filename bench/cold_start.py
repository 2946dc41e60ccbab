"""What a person waits for at the prompt: `genops show` from a cold shell, beside its peers."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench import inputs
from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from registry import create_registry

WANTED_S = 0.5
BIN = Path(sys.executable).parent


def measure(place: Path, size: Size) -> Subject:
    """Start each command in turn, as often as wanted; files are in the page cache."""
    with create_registry(place / "home", name="bench") as registry:
        asset = registry.record(inputs.generation(1, size.picture_side)).assets[0]
    uri, run_id = _mlflow_run(place)
    commands: Mapping[str, Sequence[str]] = {
        "genops show ID": [str(BIN / "genops"), "show", asset, "--home", str(place / "home")],
        "python -c pass": [sys.executable, "-c", "pass"],
        "mlflow runs describe": [str(BIN / "mlflow"), "runs", "describe", "--run-id", run_id],
        "dvc --version": [str(BIN / "dvc"), "--version"],
    }
    taken: dict[str, list[float]] = {name: [] for name in commands}
    environ = {**os.environ, "MLFLOW_TRACKING_URI": uri}
    for _ in range(size.warm_ups + size.starts):
        for name, command in commands.items():
            with timed(taken[name]):
                subprocess.run(command, env=environ, check=True, capture_output=True, cwd=place)
    medians = {name: median_ms(seconds[size.warm_ups :]) for name, seconds in taken.items()}
    shown = medians["genops show ID"] / 1000
    return Subject(
        title="A command from a cold shell",
        setting=f"Wall time of a new process, the median of {size.starts}, all in turn, after "
        f"{size.warm_ups} to warm the page cache.",
        rows=tuple(Row(name, value, "ms", _WHAT[name]) for name, value in medians.items()),
        bars=(Bar("genops show ID", f"≤ {WANTED_S} s", f"{shown:.2f} s", shown <= WANTED_S),),
    )


_WHAT = {
    "genops show ID": "the whole passport of an asset",
    "python -c pass": "the interpreter alone",
    "mlflow runs describe": "one run of a local database",
    "dvc --version": "a version",
}


def _mlflow_run(place: Path) -> tuple[str, str]:
    from mlflow import MlflowClient

    uri = f"sqlite:///{place / 'mlflow.db'}"
    client = MlflowClient(uri)
    experiment = client.create_experiment("bench", (place / "artifacts").as_uri())
    run_id: str = client.create_run(experiment).info.run_id
    client.log_param(run_id, "prompt", inputs.PROMPT)
    return uri, run_id
