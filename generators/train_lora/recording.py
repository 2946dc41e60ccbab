"""Records a training: the dataset first, with its members, then the LoRA that came of it.

    pictures = read_dataset(Path("shoot-12"), caption="a mug in our style")
    receipt = train_lora(registry, pictures, out=Path("brand.safetensors"))

Imports torch when a training starts, not before.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.demo_model import BASE
from generators.recent import outputs_of
from generators.seeds import fresh_seed
from generators.train_lora.dataset import DATASET, Dataset
from generators.train_lora.settings import LoraSettings
from registry.core.digests import asset_id
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.modelsets import modelset_manifest
from registry.core.statements import build_uri
from registry.errors import InputError, MissingExtraError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

    from generators.files import Content
    from generators.train_lora.trainer import Trained, Trainer
    from registry.core.answers import Receipt
    from registry.sdk import Registry

BUILD_TYPE = build_uri("train-lora")
DATASET_BUILD_TYPE = build_uri("dataset")
BUILDER_ID = "https://w3id.org/genops/builder/train-lora"
RECIPE = "1"
"""Raised when this code makes other bytes of the same record: it names what it can replay."""
MODEL = "model/base"
MEMBERS_AT_ONCE = 250
"""Members that one record names; those of a larger dataset take several records."""
_BYTES = "application/octet-stream"
_ORIGINS = frozenset({"generation", "ingest"})


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose work a training is."""

    project: str | None = None
    campaign: str | None = None
    actor: str | None = None


def train_lora(
    registry: Registry,
    dataset: Dataset,
    *,
    out: Path,
    model: Path | None = None,
    settings: LoraSettings | None = None,
    keep: bool = True,
    whose: Whose = Whose(),
    report: Callable[[int, int], None] | None = None,
) -> Receipt:
    """Train a LoRA on a dataset, record the training, and write the file to `out`.

    `model` is a folder, else the demo model. With `keep` the vault holds the pictures; without,
    the record names their digests, and cannot be replayed. The dataset gets a record of its own,
    in which each picture that the registry knows names the record that made it: a taint on one
    reaches the LoRA.

    Raises InputError for pictures, settings or a model that cannot be used, and MissingExtraError
    without torch, diffusers or peft; nothing is recorded then.
    """
    _check_out(out)
    settings = settings or LoraSettings(seed=fresh_seed())
    trainer = load_trainer(model or BASE)
    base, reasons = _base(trainer, keep=keep)
    pictures = prepare(trainer, dataset, registry, settings)
    origin = record_dataset(registry, dataset, keep=keep, whose=whose)
    started = _now()
    trained = trainer.train(pictures, dataset.captions, settings, report=report)
    receipt: Receipt = registry.record(
        Generation(
            build_type=BUILD_TYPE,
            external=_external(dataset, settings),
            internal=_internal(trained, trainer.side(settings.side)),
            materials=[base.material, dataset.material(keep=keep, output_of=origin)],
            outputs=[Output(trained.data, _BYTES, seed=str(settings.seed))],
            started_ms=started,
            finished_ms=_now(),
            builder_id=BUILDER_ID,
            builder_version=environment.library_versions(),
            reasons=reasons,
            campaign=whose.campaign,
        ),
        blobs=[*base.paths, *(_paths(dataset) if keep else ())],
        project=whose.project,
        actor=whose.actor,
    )
    outputs_of(registry).remember(receipt)
    out.write_bytes(trained.data)
    return receipt


def load_trainer(model: Path) -> Trainer:
    """Load a model to teach; MissingExtraError without the libraries."""
    environment.prepare()
    try:
        import peft  # noqa: F401 (the adapter is its own; say so before an hour has passed)

        from generators.train_lora.trainer import Trainer
    except ImportError as error:
        raise MissingExtraError(
            "training needs torch, diffusers and peft, which are not installed",
            hint="pip install 'genops-registry[generate]'",
        ) from error
    return Trainer(model)


def prepare(trainer: Trainer, dataset: Dataset, registry: Registry, settings: LoraSettings) -> Any:
    """Decode every picture to the side that the model is taught at."""
    from generators.train_lora.trainer import fitted

    side = trainer.side(settings.side)
    limits = registry.settings.limits
    return [fitted(member.open(limits), side) for member in dataset.members]


def record_dataset(registry: Registry, dataset: Dataset, *, keep: bool, whose: Whose) -> str | None:
    """Record which pictures a dataset holds, unless that is known; return the record.

    None where it takes several: by its digest alone, the dataset is what all of them say.
    """
    members = _members(registry, dataset, keep=keep)
    known = _known(registry, dataset, members)
    if known is not None:
        return known
    names = [member.name for member in dataset.members]
    receipts = []
    for first in range(0, len(members), MEMBERS_AT_ONCE):
        some = members[first : first + MEMBERS_AT_ONCE]
        generation = Generation(
            build_type=DATASET_BUILD_TYPE,
            external={
                "names": Sealed(names[first : first + MEMBERS_AT_ONCE]),
                "first": first,
                "pictures": len(members),
            },
            internal={},
            materials=some,
            outputs=[Output(modelset_manifest(dataset.files), "application/json")],
            started_ms=_now(),
            finished_ms=_now(),
            builder_id=BUILDER_ID,
            reasons=_dataset_reasons(len(members), keep=keep),
            campaign=whose.campaign,
        )
        receipts.append(
            registry.record(
                generation,
                blobs=_paths(dataset)[first : first + MEMBERS_AT_ONCE] if keep else (),
                project=whose.project,
                actor=whose.actor,
            )
        )
    return receipts[0].record if len(receipts) == 1 else None


def _dataset_reasons(count: int, *, keep: bool) -> list[str]:
    reasons = _unkept(keep=keep)
    if count > MEMBERS_AT_ONCE:
        reasons.append(f"its {count} pictures are named in several records")
    return reasons


def _unkept(*, keep: bool) -> list[str]:
    return [] if keep else ["the pictures are referenced, not kept"]


def _members(registry: Registry, dataset: Dataset, *, keep: bool) -> list[Material]:
    """Return each picture as a material; one that the registry knows names its record."""
    return [
        Material(
            name=f"member/{number:05d}",
            kind="image",
            sha256=member.sha256,
            storage="vaulted" if keep else "referenced",
            media_type=member.media_type,
            output_of=_only_record(registry, member.sha256),
        )
        for number, member in enumerate(dataset.members)
    ]


def _only_record(registry: Registry, sha256: str) -> str | None:
    """Return the record whose output some bytes are; None where that is none, or several."""
    try:
        passport = registry.get(asset_id(sha256))
    except NotFoundError:
        return None
    several = any(event.predicate in _ORIGINS for event in passport.events)
    return None if several else passport.record


def _known(registry: Registry, dataset: Dataset, members: Sequence[Material]) -> str | None:
    """Return an earlier record of the same dataset that names every member, if there is one."""
    try:
        passport = registry.get(asset_id(dataset.material(keep=True, output_of=None).sha256))
    except NotFoundError:
        return None
    named = {material.id for material in passport.materials}
    whole = named == {asset_id(member.sha256) for member in members}
    return passport.record if passport.build_type == DATASET_BUILD_TYPE and whole else None


def _base(trainer: Trainer, *, keep: bool) -> tuple[Content, list[str]]:
    """Return the model's folder as a record of a picture names it, and what cannot be replayed."""
    from generators.capture import origins

    pipe = trainer.pipe
    parts = {
        name: part
        for name, part in pipe.components.items()
        if part is not None and name != "scheduler"
    }
    found = origins.trace(parts, pipe.config.get("_name_or_path"), {})
    for content in found.contents:
        if content.material.name == MODEL:
            return content, [*found.reasons, *_unkept(keep=keep)]
    raise InputError(
        f"the model's files cannot be named: {'; '.join(found.reasons)}",
        code="train.model",
        hint="give a folder with safetensors weights, as `save_pretrained` writes it",
    )


def _external(dataset: Dataset, settings: LoraSettings) -> dict[str, Any]:
    return {
        "dataset": {"ref": DATASET},
        "model": {"ref": MODEL},
        "captions": Sealed(dataset.captions),
        "arguments": settings.to_document(),
    }


def _internal(trained: Trained, side: int) -> dict[str, Any]:
    return {
        "recipe": RECIPE,
        "side": side,
        "layers": trained.layers,
        "loss": {"every": trained.every, "means": list(trained.losses)},
        "environment": dict(trained.environment),
    }


def _paths(dataset: Dataset) -> list[Path]:
    return [member.path for member in dataset.members]


def _check_out(out: Path) -> None:
    """Refuse a place that the file could not be written to, before an hour has passed."""
    if out.is_dir() or not out.parent.is_dir():
        raise InputError(
            f"{out} cannot be written", code="file.unwritable", hint="name a file in a folder"
        )


def _now() -> int:
    return time.time_ns() // 1_000_000
