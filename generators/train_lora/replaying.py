"""Replays trainings and datasets from their records: entry points of `genops.generators`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.train_lora.dataset import DATASET, members_from, stored_dataset
from generators.train_lora.recording import (
    BUILD_TYPE,
    DATASET_BUILD_TYPE,
    MODEL,
    RECIPE,
    load_trainer,
)
from generators.train_lora.settings import LoraSettings
from registry.core.generation import Output
from registry.core.modelsets import modelset_manifest
from registry.errors import InputError, MaterialError
from registry.settings import Limits

if TYPE_CHECKING:
    from generators.ports import Job


class TrainLoraAdapter:
    """Trains again what `train_lora` recorded (`generators.ports.Adapter`)."""

    build_type = BUILD_TYPE

    def __init__(self) -> None:
        self._ran_in: dict[str, Any] | None = None

    def environment(self) -> dict[str, Any]:
        """Return the environment of the last replay, else the present one."""
        return environment.capture() if self._ran_in is None else self._ran_in

    def replay(self, job: Job) -> Sequence[Output]:
        """Train again; `job.overrides` may hold any setting by name, the seed among them.

        Raises MaterialError for a material that is not at hand, InputError for a record of another
        recipe (`replay.recipe`) or an override that is no setting.
        """
        external, internal = _parameters(job)
        if internal.get("recipe") != RECIPE:
            raise InputError(
                f"the record was made by recipe {internal.get('recipe')}, this is {RECIPE}",
                code="replay.recipe",
                hint="Install the version that made it: the record's environment names it.",
            )
        environment.prepare_like(internal["environment"])
        settings = LoraSettings.of({**external["arguments"], **job.overrides})
        dataset = stored_dataset(_material(job, DATASET), external["captions"])
        trainer = load_trainer(_material(job, MODEL))
        from generators.train_lora.trainer import fitted

        side = trainer.side(settings.side)
        pictures = [fitted(member.open(Limits()), side) for member in dataset.members]
        trained = trainer.train(pictures, dataset.captions, settings, under=internal["environment"])
        self._ran_in = dict(trained.environment)
        return [Output(trained.data, "application/octet-stream", seed=str(settings.seed))]


class DatasetAdapter:
    """Puts a dataset together again from its pictures (`generators.ports.Adapter`)."""

    build_type = DATASET_BUILD_TYPE

    def environment(self) -> dict[str, Any]:
        """Return nothing: no library decides what a list of digests is."""
        return {}

    def replay(self, job: Job) -> Sequence[Output]:
        """Write the manifest again; InputError (`replay.override`) for any override."""
        if job.overrides:
            raise InputError("a dataset has no settings", code="replay.override")
        dependencies = job.statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        dataset = members_from((one, _material(job, one["name"])) for one in dependencies)
        return [Output(modelset_manifest(dataset.files), "application/json")]


def _parameters(job: Job) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    try:
        definition = job.statement["predicate"]["buildDefinition"]
        external, internal = definition["externalParameters"], definition["internalParameters"]
        captions = external["captions"]
    except (KeyError, TypeError) as error:
        raise InputError(
            f"the record has no usable {error}, as a training has", code="replay.record"
        ) from None
    if not isinstance(captions, list):
        raise InputError("the captions are sealed", code="replay.record")
    return external, internal


def _material(job: Job, name: str) -> Path:
    found = job.materials.get(name)
    if found is None or not found.exists():
        raise MaterialError(f"material {name} is not at hand", code="material.missing")
    return found


adapter = TrainLoraAdapter()
datasets = DatasetAdapter()
