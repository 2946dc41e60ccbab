"""The components of a pipeline: what each is, where it came from, and how it differs from there.

Everything here is read off live objects; nothing runs.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from diffusers import SchedulerMixin
from torch.nn import Module

from generators.capture import faults, inversions, ip_adapters, origins
from generators.capture.additions import Addition, Additions
from generators.capture.assemblies import AssemblyWatch
from generators.capture.classes import ClassWatch
from generators.capture.modules import ModuleState, ModuleWatch, Walk, walk
from generators.capture.namespaces import NAMESPACES
from generators.capture.references import (
    REFERENCES,
    Comparison,
    FingerprintWatch,
    fingerprint,
    version_of,
)
from generators.capture.schedulers import SchedulerWatch
from generators.capture.trusted import is_library_class, qualified
from generators.files import Content


@dataclass(slots=True)
class Parts:
    """A pipeline's components by what they are; `absent` names those that are None."""

    modules: dict[str, Module] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    scheduler: Any = None
    absent: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, pipe: Any) -> Parts:
        """Sort the components of a pipeline."""
        parts = cls()
        for name, component in pipe.components.items():
            if component is None:
                parts.absent.append(name)
            elif isinstance(component, Module):
                parts.modules[name] = component
            elif name == "scheduler":
                parts.scheduler = component
            else:
                parts.others[name] = component
        return parts


@dataclass(slots=True)
class Findings:
    """What was read off the components.

    `places` says in which material each lies, `states` what each is, `scheduler` its class and
    configuration; `added` what was loaded on top, by field of the record; `contents` are the
    materials, `reasons` why a replay would differ.
    """

    walks: dict[str, Walk]
    places: dict[str, Any] = field(default_factory=dict)
    states: dict[str, dict[str, Any]] = field(default_factory=dict)
    scheduler: dict[str, Any] | None = None
    added: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    contents: list[Content] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


class ComponentReader:
    """Reads one pipeline again and again, digesting only what changed since the last time."""

    def __init__(self, declared: Mapping[str, Path]) -> None:
        self._declared = declared
        self._watches: dict[str, ModuleWatch] = {}
        self._compared: dict[str, tuple[ModuleState, tuple[str, str], Comparison]] = {}
        self._standing: dict[str, tuple[ModuleState, list[str]]] = {}
        self._others = FingerprintWatch()
        self._classes = ClassWatch()
        self._schedulers = SchedulerWatch()
        self._assembly = AssemblyWatch()

    def read(self, pipe: Any, parts: Parts) -> Findings:
        """Describe all components of a pipeline; of a bare model, the model is the pipeline."""
        findings = Findings({name: walk(module) for name, module in parts.modules.items()})
        states = {name: self._state(name, m, findings) for name, m in parts.modules.items()}
        self._read_code(pipe, parts, states, findings)
        if parts.scheduler is not None:
            findings.scheduler, reasons = self._schedulers.describe("scheduler", parts.scheduler)
            findings.reasons += reasons
        components = parts.modules | parts.others
        made = ip_adapters.made(components)
        loaded = {name: part for name, part in components.items() if name not in made}
        found = origins.trace(loaded, _index(pipe), self._declared)
        findings.contents += found.contents
        findings.reasons += found.reasons
        findings.places = {
            name: {"ref": place.material, "subfolder": place.subfolder}
            for name, place in found.places.items()
        }
        added = _added(parts, found, findings)
        for name, module in parts.modules.items():
            place, addition = found.places.get(name), added.get(name)
            self._read_module(name, module, states[name], place, addition, findings)
        for name, other in parts.others.items():
            self._read_other(name, other, found.places.get(name), added.get(name), findings)
        for name, side in made.items():
            if self._others.of(name, components[name]) != _made_fingerprint(side):
                findings.reasons.append(f"{name} differs from the one that was made for it")
        return findings

    def _state(self, name: str, module: Module, findings: Findings) -> ModuleState:
        watch = self._watches.get(name)
        if watch is None or watch.root is not module:
            watch = self._watches[name] = ModuleWatch(module)
        return watch.state(findings.walks[name])

    def _read_code(
        self, pipe: Any, parts: Parts, states: Mapping[str, ModuleState], findings: Findings
    ) -> None:
        """Find code that the record cannot name by a library's version."""
        classes: set[type] = {torch.Tensor, torch.nn.Parameter}
        for state in states.values():
            classes |= state.classes
        classes |= {type(component) for component in (pipe, *parts.others.values())}
        classes |= {type(v) for v in vars(pipe).values() if is_library_class(type(v))}
        objects = {"pipeline": pipe, **parts.others}
        if parts.scheduler is not None:
            classes.add(type(parts.scheduler))
            objects["scheduler"] = parts.scheduler
        findings.reasons += sorted(self._classes.faults(classes)) + faults.process_faults()
        findings.reasons += sorted(NAMESPACES.faults(classes))
        for name, instance in objects.items():
            findings.reasons += faults.instance_faults(name, instance)
        for name, walked in findings.walks.items():
            findings.reasons += self._standing_faults(name, walked, states[name])
            findings.reasons += faults.passing_faults(name, walked)
        if hasattr(pipe, "components"):
            findings.reasons += self._assembly.faults(pipe)

    def _standing_faults(self, name: str, walked: Walk, state: ModuleState) -> list[str]:
        """Return what a module's attributes alone decide: the same state, the same faults."""
        known = self._standing.get(name)
        if known is None or known[0] is not state:
            known = self._standing[name] = (state, faults.standing_faults(name, walked))
        return known[1]

    def _read_module(
        self,
        name: str,
        module: Module,
        state: ModuleState,
        place: origins.Place | None,
        added: Addition | None,
        findings: Findings,
    ) -> None:
        described = findings.states[name] = _described(state)
        if place is None or not place.version:
            return
        # The same object means the same state: the watch makes a new one after every change.
        before, version = self._compared.get(name), (place.version, version_of(added))
        if before is None or before[0] is not state or before[1] != version:
            compared = REFERENCES.compare_module(name, module, state, place, added)
            before = self._compared[name] = (state, version, compared)
        compared = before[2]
        findings.reasons += compared.reasons
        if compared.settings:
            described["settings"] = compared.settings

    def _read_other(
        self,
        name: str,
        other: Any,
        place: origins.Place | None,
        added: Addition | None,
        findings: Findings,
    ) -> None:
        findings.states[name] = {"class": qualified(type(other))}
        if isinstance(other, SchedulerMixin):
            findings.reasons += self._schedulers.describe(name, other)[1]
        if place is not None and place.version:
            live = self._others.of(name, other)
            findings.reasons += REFERENCES.compare_other(name, other, live, place, added)


@functools.cache
def _made_fingerprint(side: int) -> str:
    """Return the fingerprint of the processor that `load_ip_adapter` makes."""
    return fingerprint(ip_adapters.make_extractor(side))


def _added(parts: Parts, found: origins.Origins, findings: Findings) -> Mapping[str, Addition]:
    """Note what was loaded on top of the folders; return it by component."""
    places = {name: place for name, place in found.places.items() if place.version}
    additions = Additions()
    components = parts.modules | parts.others
    additions.take(inversions.describe(components, places))
    additions.take(ip_adapters.describe(components, findings.walks))
    findings.added = additions.entries
    findings.contents += additions.contents
    findings.reasons += additions.reasons
    return additions.by_component


def _index(pipe: Any) -> Any:
    """Return the folder that a pipeline notes of itself; a bare model notes its own elsewhere."""
    config = pipe.config
    return config.get("_name_or_path") if isinstance(config, Mapping) else None


def _described(state: ModuleState) -> dict[str, Any]:
    """Return a module's state as JSON; its settings are told by their differences alone."""
    return {
        "class": state.cls,
        "device": state.device,
        "dtype": state.dtype,
        "attention": state.attention,
        "config": state.config,
        "tensors": asdict(state.weights),
        "adapters": {name: asdict(tensors) for name, tensors in state.adapters.items()},
    }
