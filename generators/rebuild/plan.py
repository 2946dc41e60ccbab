"""What a record asks for, with the overrides of one replay applied.

Reads the statement; loads nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from generators import seeds
from generators.ports import Job
from registry.errors import InputError, MaterialError

CLASS_PACKAGES = frozenset({"diffusers", "transformers"})
SPECIAL_OVERRIDES = frozenset({"seed", "loras", "replaced"})
ADDED = ("embeddings", "ip_adapters", "made")
"""Fields of what was loaded on top of components; records without it lack them."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a record says, overrides applied.

    `media_types` has the media type of each material by name, in the record's order. `device` is
    where to compute instead of where the record did.
    """

    external: Mapping[str, Any]
    internal: Mapping[str, Any]
    digests: Mapping[str, str]
    media_types: Mapping[str, str | None]
    materials: Mapping[str, Path]
    replaced: frozenset[str] = frozenset()
    seed: int | None = None
    device: str | None = None

    @classmethod
    def of(cls, job: Job) -> Plan:
        """Read an unsealed statement; InputError (`replay.record`) when parts are missing."""
        try:
            definition = job.statement["predicate"]["buildDefinition"]
            external = dict(definition["externalParameters"])
            dependencies = definition["resolvedDependencies"]
            seed = job.overrides.get("seed")
            return cls(
                external=_overridden(external, job.overrides),
                internal=definition["internalParameters"],
                digests={one["name"]: one["digest"]["sha256"] for one in dependencies},
                media_types={one["name"]: one.get("mediaType") for one in dependencies},
                materials=job.materials,
                replaced=frozenset(job.overrides.get("replaced", ())),
                seed=None if seed is None else seeds.parse_seed(seed),
                device=getattr(job, "device", None),
            )
        except (KeyError, TypeError) as error:
            raise InputError(
                f"the record has no usable {error}, as a diffusers record has",
                code="replay.record",
                hint="Unseal the statement first; an erased record cannot be replayed.",
            ) from None

    def path(self, name: str) -> Path:
        """Return the local copy of a material; MaterialError when it was not provided."""
        found = self.materials.get(name)
        if found is None or not found.exists():
            raise MaterialError(f"material {name} is not at hand", code="material.missing")
        return found

    def device_of(self, component: str) -> str:
        """Return where a component is to be; whether that is here is not asked."""
        recorded: str = self.internal["components"][component]["device"]
        return self.device or recorded

    def devices(self) -> dict[str, str]:
        """Return the device of every component that has one, by its name."""
        states = self.internal["components"]
        return {name: self.device_of(name) for name, one in states.items() if "device" in one}

    def rig_key(self) -> str:
        """Return what decides the pipeline, apart from the call: equal keys can share one."""
        keys = ("pipeline", "components", "scheduler", "loras")
        models = {n: d for n, d in self.digests.items() if not n.startswith("input/")}
        paths = {name: str(self.materials.get(name)) for name in sorted(self.replaced)}
        parts = [
            {key: self.external[key] for key in keys},
            {key: self.external[key] for key in ADDED if key in self.external},
            self.internal["components"],
            self.device,
        ]
        return json.dumps([*parts, models, paths], sort_keys=True)


def library_class(name: str) -> Any:
    """Return a class of `CLASS_PACKAGES` by its recorded name; InputError (`replay.class`) else.

    The package's public name comes first: modules move between releases.
    """
    module, _, cls = name.rpartition(".")
    package = module.partition(".")[0]
    if package in CLASS_PACKAGES:
        found = getattr(import_module(package), cls, None)
        if found is None:
            try:
                found = getattr(import_module(module), cls, None)
            except ImportError:
                found = None
        if isinstance(found, type):
            return found
    raise InputError(
        f"class {name} is not one of the installed diffusers or transformers",
        code="replay.class",
        hint="Install the versions that the record's environment names.",
    )


def _overridden(external: dict[str, Any], overrides: Mapping[str, Any]) -> dict[str, Any]:
    arguments = dict(external["arguments"])
    changes = {k: v for k, v in overrides.items() if k not in SPECIAL_OVERRIDES}
    if unknown := changes.keys() - arguments.keys():
        raise InputError(
            f"the recorded call has no argument {', '.join(sorted(unknown))}",
            code="replay.override",
        )
    weights = overrides.get("loras", {})
    entries = {entry.get("ref"): entry for entry in external["loras"]}
    if unknown := weights.keys() - entries.keys():
        raise InputError(
            f"the recorded call has no LoRA {', '.join(sorted(unknown))}", code="replay.override"
        )
    kept = [_reweighted(e, weights) for r, e in entries.items() if weights.get(r, 0) is not None]
    return external | {"arguments": arguments | changes, "loras": kept}


def _reweighted(entry: Mapping[str, Any], weights: Mapping[str, float]) -> Mapping[str, Any]:
    if entry.get("ref") not in weights:
        return entry
    rest = {name: value for name, value in entry.items() if name != "scales"}
    return rest | {"scale": float(weights[entry["ref"]])}
