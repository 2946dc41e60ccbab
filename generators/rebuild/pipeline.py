"""Puts a recorded pipeline together, and holds it against the record before it may run."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module

from generators.capture import loras
from generators.capture.modules import (
    adapter_tensors,
    own_tensors,
    state_of,
    submodules_by_path,
    walk,
)
from generators.capture.references import load_module, quiet_loading
from generators.rebuild import additions
from generators.rebuild.plan import Plan, library_class
from registry.errors import InputError, MaterialError


def build(plan: Plan, workdir: Path) -> Any:
    """Put the recorded pipeline together and hold it against the record."""
    parts = dict.fromkeys(plan.external["pipeline"]["absent"])
    parts |= _components(plan) | additions.made(plan)
    scheduler = plan.external["scheduler"]
    if scheduler is not None:
        parts["scheduler"] = library_class(scheduler["class"]).from_config(scheduler["config"])
    recorded = plan.external["pipeline"]
    cls = library_class(recorded["class"])
    missing = plan.internal["components"].keys() - parts.keys()
    if missing:
        raise MaterialError(
            f"no material holds {', '.join(sorted(missing))}", code="material.missing"
        )
    pipe = cls(**parts, **_accepted(cls, recorded["options"]))
    if scheduler is not None:
        # Constructors adapt the scheduler that they are given; the recorded one was as it is.
        found = library_class(scheduler["class"]).from_config(scheduler["config"])
        pipe.register_modules(scheduler=found)
    pipe.set_progress_bar_config(disable=True)
    _load_loras(pipe, plan, workdir)
    weigh(pipe, plan)
    for name, module in _modules(pipe):
        settle(name, module, plan)
    return pipe


def settle(name: str, module: Module, plan: Plan) -> None:
    """Lay a loaded module out as recorded, and hold it against the record; MaterialError else."""
    _lay_out(module, plan.internal["components"][name])
    module.eval()
    _check(name, module, plan)


def _components(plan: Plan) -> dict[str, Any]:
    """Load all components: tokenizers first, which text encoders are taught together with."""
    states = plan.internal["components"]
    parts: dict[str, Any] = {}
    for name in sorted(plan.external["components"], key=lambda one: "tensors" in states[one]):
        parts[name] = component(name, plan, partial(additions.put, name, parts, plan))
    return parts


def component(name: str, plan: Plan, add: Callable[[Module], None] | None = None) -> Any:
    """Load a component from its material; MaterialError (`material.unloadable`) if damaged.

    `add` puts on a module what does not lie in its folder.
    """
    place, state = plan.external["components"][name], plan.internal["components"][name]
    folder = plan.path(place["ref"]) / place["subfolder"]
    cls = library_class(state["class"])
    try:
        if "tensors" not in state:
            with quiet_loading():
                return cls.from_pretrained(folder, local_files_only=True)
        module = load_module(cls, folder, state["dtype"])
    except Exception as error:  # loaders raise whatever a damaged file makes them stumble over
        raise MaterialError(
            f"{name} does not load from {place['ref']}: {type(error).__name__}: {error}",
            code="material.unloadable",
            hint="The material is damaged, or needs the library versions of the record.",
        ) from error
    if add is not None:
        add(module)
    _set_again(module, state.get("settings", {}))
    return module.to(plan.device_of(name))


def _set_again(module: Module, settings: Mapping[str, Mapping[str, Any]]) -> None:
    """Set the plain attributes that differed from what the folder gives."""
    submodules = submodules_by_path(module)
    for path, attributes in settings.items():
        for attribute, value in attributes.items():
            before = getattr(submodules[path], attribute, None)
            setattr(submodules[path], attribute, _revived(value, before))


def _revived(value: Any, before: Any) -> Any:
    if isinstance(value, Mapping) and "object" in value:
        cls = library_class(value["object"])
        made = cls.__new__(cls)
        made.__dict__.update(value["state"])
        return made
    if isinstance(value, list) and isinstance(before, tuple):
        return tuple(value)
    return value


def _accepted(cls: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    known = inspect.signature(cls.__init__).parameters
    return {name: value for name, value in options.items() if name in known}


def _load_loras(pipe: Any, plan: Plan, workdir: Path) -> None:
    entries = plan.external["loras"]
    for number, entry in enumerate(entries):
        if "ref" not in entry:
            raise MaterialError(
                f"no file is recorded for LoRA {entry['adapter']}", code="material.missing"
            )
        # The vault names files by digest; the loader goes by the suffix.
        link = workdir / f"lora-{number}.safetensors"
        link.unlink(missing_ok=True)
        link.symlink_to(plan.path(entry["ref"]).absolute())
        try:
            pipe.load_lora_weights(link, adapter_name=entry["adapter"])
        except Exception as error:  # as above: whatever a damaged file makes the loader raise
            raise MaterialError(
                f"{entry['ref']} does not load: {type(error).__name__}: {error}",
                code="material.unloadable",
            ) from error


def weigh(pipe: Any, plan: Plan) -> None:
    """Give the LoRAs their recorded weights; a call may leave them off by a rounding error."""
    entries = plan.external["loras"]
    if entries:
        weights = [entry.get("scale", 1.0) for entry in entries]
        pipe.set_adapters([entry["adapter"] for entry in entries], weights)
    for entry in entries:
        for name, table in entry.get("scales", {}).items():
            for path, layer in walk(getattr(pipe, name)):
                if hasattr(layer, "set_scale"):
                    weight = table.get(path) if isinstance(table, Mapping) else table
                    adapted: Any = layer
                    if weight is not None:
                        adapted.set_scale(entry["adapter"], weight)


def _lay_out(module: Module, state: Mapping[str, Any]) -> None:
    """Give tensors the recorded memory layout: it decides kernels, and so bits."""
    groups = [(state["tensors"], own_tensors(module))]
    for adapter, recorded in state["adapters"].items():
        groups.append((recorded, adapter_tensors(module, adapter)))
    for recorded, tensors in groups:
        if recorded["layout"] == "channels_last":
            for tensor in tensors:
                if tensor.ndim == 4:
                    tensor.data = tensor.data.to(memory_format=torch.channels_last)


def _check(name: str, module: Module, plan: Plan) -> None:
    """Hold a rebuilt module against the record, tensor for tensor."""
    recorded = plan.internal["components"][name]
    rebuilt = state_of(module, walk(module))
    differing = []
    if rebuilt.weights.sha256 != recorded["tensors"]["sha256"]:
        sources = [plan.external["components"][name]["ref"], *additions.refs(name, plan)]
        if not plan.replaced.intersection(sources):
            differing.append((" with ".join(sources), name))
    files = {entry["adapter"]: entry["ref"] for entry in plan.external["loras"]}
    for adapter, tensors in rebuilt.adapters.items():
        known = recorded["adapters"].get(adapter)
        if known is None or known["sha256"] != tensors.sha256:
            differing.append((files[adapter], f"{name} (LoRA {adapter})"))
    for material, what in differing:
        if material not in plan.replaced:
            raise MaterialError(
                f"{material} loads to other weights of {what} than were recorded",
                code="material.differs",
                hint="Compare the environments: another library version may load it differently.",
            )
    _check_weights(name, module, plan)


def _check_weights(name: str, module: Module, plan: Plan) -> None:
    """Hold the adapters' weights in one component against the record."""
    wanted = {
        entry["adapter"]: entry["scales"].get(name) if "scales" in entry else entry["scale"]
        for entry in plan.external["loras"]
    }
    for lora in loras.active({name: walk(module)}):
        if lora.scales[name] != wanted[lora.adapter]:
            raise InputError(
                f"LoRA {lora.adapter} cannot be given its recorded weight in {name}",
                code="replay.weight",
            )


def _modules(pipe: Any) -> Iterator[tuple[str, Module]]:
    for name, component in pipe.components.items():
        if isinstance(component, Module):
            yield name, component
