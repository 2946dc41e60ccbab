"""One caller records one encoded picture, durably: against an MLflow run and `dvc add`."""

from __future__ import annotations

import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import inputs
from bench.harness import Bar, Row, Size, Subject, median_ms, timed
from registry import create_registry
from registry.settings import Limits
from registry.similarity.decode import open_image
from registry.similarity.prints import prints_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from registry.core.generation import Generation

WANTED = 10


def measure(place: Path, size: Size) -> Subject:
    """Record the same pictures in turn in the registry, in MLflow and DVC, and in both tuned."""
    generations = [inputs.generation(n, size.picture_side) for n in range(size.pictures + 1)]
    ours: list[float] = []
    default: list[float] = []
    tuned: list[float] = []
    batch: list[float] = []
    seen: list[float] = []
    plain, fast = Peers(place / "default", tuned=False), Peers(place / "tuned", tuned=True)
    with create_registry(place / "home", name="bench") as registry:
        for number, generation in enumerate(generations):
            file, copy = plain.prepare(number, generation), fast.prepare(number, generation)
            picture = open_image(generation.outputs[0].data, registry.settings.limits)
            with timed(ours):
                registry.record(_fingerprinted(generation, picture))
            with timed(seen):
                _fingerprinted(generation, picture)
            with timed(default):
                plain.log_run(generation, file)
                plain.add(file)
            with timed(tuned):
                fast.log_run(generation, copy)
    with timed(batch):
        fast.add(fast.pictures)
    shared = batch[0] / len(generations)
    medians = [median_ms(taken[1:]) for taken in (ours, seen, default, tuned)]
    medians[-1] += shared * 1000
    return _subject(size, medians, len(generations[0].outputs[0].data))


def _fingerprinted(generation: Generation, picture: Image) -> Generation:
    """Do what an adapter does: fingerprint the picture that it still holds."""
    (output,) = generation.outputs
    made = prints_of(output.data, Limits(), image=picture)
    (small,) = made.thumbnails
    found = replace(output, fingerprints=made.values, thumbnail=small)
    return replace(generation, outputs=(found,))


def _subject(size: Size, values: list[float], file_bytes: int) -> Subject:
    mine, seen, default, tuned = values
    side = size.picture_side
    ratio = default / mine
    return Subject(
        title=f"record() of one encoded {side}² PNG, durable, one caller",
        setting=f"{size.pictures} pictures of about {file_bytes / 1e6:.1f} MB, in turn, after one "
        "to warm up. The peers run in this process, are handed a file that is there already, and "
        "neither sign, prove, fingerprint nor sync what they write.",
        rows=(
            Row(
                "registry",
                mine,
                "ms",
                "fingerprint, vault (synced), statement, seal, sign, log, lineage, outbox; synced",
            ),
            Row(
                "of it, the fingerprint",
                seen,
                "ms",
                "hash the picture that the generator still holds",
            ),
            Row(
                "MLflow + DVC, defaults",
                default,
                "ms",
                "start_run, log_params, set_tags, log_artifact; Repo.add of the file",
            ),
            Row(
                "MLflow + DVC, tuned",
                tuned,
                "ms",
                "MLflow on WAL, one log_batch and log_artifact; one Repo.add of the whole folder, "
                "its share",
            ),
        ),
        bars=(
            Bar(
                "faster than an MLflow run with artifact plus `dvc add` at their defaults",
                f"≥ {WANTED}x",
                f"{ratio:.1f}x (tuned pair: {tuned / mine:.1f}x)",
                ratio >= WANTED,
            ),
        ),
    )


class Peers:
    """A folder with MLflow's default database and a DVC repository."""

    def __init__(self, root: Path, *, tuned: bool) -> None:
        from dvc.repo import Repo
        from mlflow import MlflowClient

        self.pictures = root / "pictures"
        self.pictures.mkdir(parents=True)
        self._repo = Repo.init(str(root), no_scm=True)
        self._uri = f"sqlite:///{root / 'mlflow.db'}"
        self._client: Any = MlflowClient(self._uri)
        self._experiment = self._client.create_experiment("bench", (root / "artifacts").as_uri())
        if tuned:
            with sqlite3.connect(root / "mlflow.db") as conn:
                conn.execute("PRAGMA journal_mode = WAL")
        self._log = self._log_batched if tuned else self._log_fluent

    def prepare(self, number: int, generation: Generation) -> Path:
        """Write the picture's file, as a generator that uses these tools would have done."""
        file = self.pictures / f"{number}.png"
        file.write_bytes(generation.outputs[0].data)
        return file

    def log_run(self, generation: Generation, file: Path) -> None:
        """Log one run with parameters, tags and the picture."""
        params = {"prompt": inputs.PROMPT, "steps": "30", "guidance_scale": "7.5"}
        params["seed"] = generation.outputs[0].seed or ""
        tags = {m.name.replace("/", "."): m.sha256 for m in generation.materials}
        self._log(params, tags, str(file))

    def _log_fluent(self, params: dict[str, str], tags: dict[str, str], file: str) -> None:
        import mlflow

        mlflow.set_tracking_uri(self._uri)
        with mlflow.start_run(experiment_id=self._experiment):
            mlflow.log_params(params)
            mlflow.set_tags(tags)
            mlflow.log_artifact(file)

    def _log_batched(self, params: dict[str, str], tags: dict[str, str], file: str) -> None:
        from mlflow.entities import Param, RunTag

        run_id = self._client.create_run(self._experiment).info.run_id
        self._client.log_batch(
            run_id,
            params=[Param(name, value) for name, value in params.items()],
            tags=[RunTag(name, value) for name, value in tags.items()],
        )
        self._client.log_artifact(run_id, file)
        self._client.set_terminated(run_id)

    def add(self, target: Path) -> None:
        """Add a file or folder to DVC."""
        self._repo.add([str(target)])
