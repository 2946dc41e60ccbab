"""How far a replay may be from its record before another environment does not explain it.

A bound counts only where the inputs are equal: pixels alone cannot tell a small change of a
parameter from another processor. Bounds are those of the newest calibration of the record's model
on the log that is believed, else the defaults.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from registry.catalog.graph import RECORDS
from registry.core.digests import record_id
from registry.core.statements import predicate_uri
from registry.store.transaction import read
from registry.workflows.services import Services
from registry.workflows.standing import standing
from registry.workflows.view import RecordView

NUMERIC_LEVELS = 2
"""Largest change of a channel, of 255, that a different environment explains by itself."""
NUMERIC_FRACTION = 0.001
"""Largest fraction of pixels that a different environment changes by itself."""
MEASURE = "pixel-distance-v1"
"""Largest change of a channel and fraction of changed pixels, as `similarity.compare` has them."""
LEVELS, FRACTION = "max-level", "fraction"
PREDICATE_CALIBRATION = predicate_uri("calibration")


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that two pictures of equal inputs may be apart, and where that is from.

    `levels` of 255 in any channel, and the `fraction` of pixels that differ. `record` is the
    calibration that says so (`rec:<hex>`), None for the defaults.
    """

    levels: int
    fraction: float
    record: str | None = None


DEFAULTS = Bounds(NUMERIC_LEVELS, NUMERIC_FRACTION)


@dataclass(frozen=True, slots=True)
class Model:
    """What a calibration is about: a model, and the precision that it computes in.

    `digest` is the model material's own hex SHA-256; of several (an autoencoder from elsewhere, a
    ControlNet) the SHA-256 over their sorted lines.
    """

    digest: str
    precision: str

    @property
    def fingerprint(self) -> str:
        """The name of the measure, with what changes it."""
        return f"{MEASURE};{self.precision}"


def bounds_for(services: Services, document: Mapping[str, Any]) -> Bounds:
    """Return the bounds that hold for replays of an opened generation statement."""
    model = model_of(document)
    if model is None:
        return DEFAULTS
    for view in _calibrations(services):
        said = view.statement.predicate
        if said["name"] != model.digest or said["fingerprint"] != model.fingerprint:
            continue
        if said["bounds"].keys() >= {LEVELS, FRACTION} and standing(services, view).trusted:
            bounds = said["bounds"]
            leaf = view.entry.leaf_hash().hex()
            return Bounds(int(bounds[LEVELS]), float(bounds[FRACTION]), record_id(leaf))
    return DEFAULTS


def model_of(document: Mapping[str, Any]) -> Model | None:
    """Return the model that a generation statement names, None when it names none."""
    definition = document["predicate"]["buildDefinition"]
    digests = sorted(
        dep["digest"]["sha256"]
        for dep in definition.get("resolvedDependencies", ())
        if dep.get("annotations", {}).get("genops_kind") in {"model", "controlnet", "vae"}
    )
    if not digests:
        return None
    if len(digests) > 1:
        digests = [hashlib.sha256("".join(f"{d}\n" for d in digests).encode("ascii")).hexdigest()]
    return Model(digests[0], _precision(definition.get("internalParameters", {})))


def _precision(internal: Mapping[str, Any]) -> str:
    """Return the number formats of the weights, such as `float32`, `bfloat16+float32` or `any`."""
    components = internal.get("components")
    parts = components.values() if isinstance(components, Mapping) else ()
    found = {part.get("dtype") for part in parts if isinstance(part, Mapping)} - {None}
    return "+".join(sorted(str(dtype).removeprefix("torch.") for dtype in found)) or "any"


def _calibrations(services: Services) -> Iterator[RecordView]:
    """Yield the calibrations on the log, newest first."""
    query = select(RECORDS.c.idx).where(RECORDS.c.predicate_type == PREDICATE_CALIBRATION)
    with read(services.engine) as conn:
        indices = list(conn.scalars(query.order_by(RECORDS.c.idx.desc())))
    for index in indices:
        yield RecordView(services, index)
