"""One live torch module: its state as digests, and a cheap watch that sees when it changes.

Knows torch and the shape of peft's wrappers; neither files nor pipelines.
"""

from __future__ import annotations

import hashlib
import math
import operator
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch.nn import Module

from generators.capture.tensors import (
    BitSums,
    TensorSet,
    dtype_name,
    mark,
    tensor_digest,
    tensor_set,
)
from generators.capture.trusted import is_library_class, qualified
from registry.core.jsonio import dumps

_NOT_SETTINGS = {*vars(Module()), "peft_config", "name_or_path", "config", "forward"}
_VOLATILE_CONFIG = frozenset({"name_or_path", "dtype", "torch_dtype", "transformers_version"})
_BASE_LAYER = re.compile(r"(^|\.)base_layer(?=\.|$)")

_ATTRIBUTE_HOMES = ("diffusers.", "transformers.")
"""Packages whose objects modules keep to compute with."""

Walk = list[tuple[str, Module]]
Settings = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class ModuleState:
    """What a module computes with.

    `weights` are its own tensors, as if no adapter were loaded; `adapters` those of each adapter.
    `settings` holds the public plain attributes of each submodule by path: switches such as
    tiling or FreeU live there. `loose` has the digest of each tensor that no state dict holds, by
    its path; `classes` are those whose code it runs.
    """

    cls: str
    device: str
    dtype: str
    weights: TensorSet
    adapters: Mapping[str, TensorSet]
    config: str
    attention: str | None
    settings: Settings = field(repr=False)
    loose: Mapping[str, str] = field(repr=False)
    classes: frozenset[type] = field(repr=False)


def walk(root: Module) -> Walk:
    """Return (path, module) of all submodules, the root first; shared ones once per path."""
    found: Walk = [("", root)]
    for path, module in found:  # grows while it is read
        head = f"{path}." if path else ""
        found += [(head + n, child) for n, child in module._modules.items() if child is not None]
    return found


class ModuleWatch:
    """Gives the state of one module, digesting anew only after a change.

    A change is seen by its traces: other submodules, attributes or tensors, a moved or written
    tensor, or another sum over a tensor's bits (`tensor.data` can be written without a trace).
    """

    def __init__(self, root: Module) -> None:
        self.root = root
        self._traces: _Traces | None = None
        self._state: ModuleState | None = None

    def state(self, walked: Walk) -> ModuleState:
        """Return the present state; `walked` is a fresh `walk` of the root."""
        if self._state is None or self._traces is None or not self._traces.hold(self.root, walked):
            self._state = state_of(self.root, walked)
            self._traces = _Traces(self.root, walked)
        return self._state


class _Traces:
    """What a change cannot leave alone, as it was when a module was digested."""

    def __init__(self, root: Module, walked: Walk) -> None:
        self._modules = [module for _, module in walked]
        self._classes = list(map(type, self._modules))
        self._attributes = [_kept(own) for own in _attributes(root, walked)]
        self._plain = [t for _, module in walked for t in _plain_tensors(module)]
        self._tensors = [*_tensors(walked), *self._plain]
        self._marks = [mark(tensor) for tensor in self._tensors]
        self._bits = BitSums(self._tensors)
        self._sums = self._bits.now()

    def hold(self, root: Module, walked: Walk) -> bool:
        """Tell whether all is still as it was; the cheapest traces first."""
        tensors = [*_tensors(walked), *self._plain]  # the plain ones are among the attributes
        return (
            _same_objects(self._modules, modules := [module for _, module in walked])
            and self._classes == list(map(type, modules))
            and _same_objects(self._tensors, tensors)
            and _equal(self._attributes, _attributes(root, walked))
            and self._marks == [mark(tensor) for tensor in tensors]
            and self._sums == self._bits.now()  # unmoved, so the views still see them
        )


def _attributes(root: Module, walked: Walk) -> list[dict[str, Any]]:
    config = getattr(root, "config", None)
    own = [vars(module) for _, module in walked]
    return [*own, vars(config)] if hasattr(config, "__dict__") else own


def _kept(own: Mapping[str, Any]) -> dict[str, Any]:
    """Copy attributes: lists and tables too, which can be changed where they are."""
    return {
        name: value.copy() if type(value) in {list, dict} and name not in _NOT_SETTINGS else value
        for name, value in own.items()
    }


def _tensors(walked: Walk) -> list[torch.Tensor]:
    return [
        _present(module, name, tensor)
        for _, module in walked
        for table in (module._parameters, module._buffers)
        for name, tensor in table.items()
        if tensor is not None
    ]


def _same_objects(before: Sequence[Any], now: Sequence[Any]) -> bool:
    return len(before) == len(now) and all(map(operator.is_, before, now))


def _equal(before: list[dict[str, Any]], now: list[dict[str, Any]]) -> bool:
    try:
        return before == now
    except (RuntimeError, ValueError):  # an attribute became an array: not the same
        return False


def state_of(root: Module, walked: Walk) -> ModuleState:
    """Digest a module completely."""
    adapted = hasattr(root, "peft_config")
    groups = _grouped(walked, adapted)
    weights = groups.pop(None)
    first = next((tensor for _, tensor in weights if tensor.is_floating_point()), None)
    return ModuleState(
        cls=qualified(type(root)),
        device=str(first.device) if first is not None else "cpu",
        dtype=dtype_name(getattr(root, "dtype", None) or torch.float32),
        weights=tensor_set(weights),
        adapters={name: tensor_set(group) for name, group in groups.items() if name is not None},
        config=config_digest(root),
        attention=getattr(getattr(root, "config", None), "_attn_implementation", None),
        settings=_settings(walked, adapted),
        loose={
            f"{path}.{name}" if path else name: tensor_digest(tensor)
            for path, module in _plain_walk(walked, adapted)
            for name, tensor in _loose_tensors(module)
        },
        classes=frozenset(cls for _, module in walked for cls in _classes_of(module)),
    )


def _classes_of(module: Module) -> Iterator[type]:
    """Yield a module's class, and those of its plain attributes: attention processors."""
    yield type(module)
    for value in vars(module).values():
        cls = type(value)
        if cls.__module__.startswith(_ATTRIBUTE_HOMES):
            yield cls


def adapter_tensors(root: Module, adapter: str) -> list[torch.Tensor]:
    """Return the tensors of one adapter of a module."""
    groups = _grouped(walk(root), hasattr(root, "peft_config"))
    return [tensor for _, tensor in groups.get(adapter, ())]


def own_tensors(root: Module) -> list[torch.Tensor]:
    """Return a module's own tensors, as if no adapter were loaded."""
    return [tensor for _, tensor in _grouped(walk(root), hasattr(root, "peft_config"))[None]]


def submodules_by_path(root: Module) -> dict[str, Module]:
    """Return the submodules by the paths of `ModuleState.settings`."""
    adapted = hasattr(root, "peft_config")
    return dict(_plain_walk(walk(root), adapted))


def adapter_set(root: Module, adapter: str) -> TensorSet | None:
    """Digest the tensors of one adapter of a module; None if it has none of that name."""
    group = _grouped(walk(root), hasattr(root, "peft_config")).get(adapter)
    return None if group is None else tensor_set(group)


def config_of(component: Any) -> dict[str, Any]:
    """Return a component's configuration without what differs from one loading to the next."""
    config: Any = getattr(component, "config", None)
    document = config.to_dict() if hasattr(config, "to_dict") else dict(config or {})
    return {
        name: value
        for name, value in document.items()
        if not name.startswith("_") and name not in _VOLATILE_CONFIG
    }


def config_digest(component: Any) -> str:
    """Return the SHA-256 of `config_of`, as JSON."""
    return hashlib.sha256(dumps(plain(config_of(component)))).hexdigest()


def plain(value: Any) -> Any:
    """Turn a value into comparable JSON; objects keep their class, library ones their state."""
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"opaque": str(value)}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, Mapping):
        return {str(name): plain(item) for name, item in value.items()}
    if isinstance(value, (torch.dtype, torch.device)):
        return str(value)
    return _plain_object(value)


def _plain_object(value: Any) -> dict[str, Any]:
    name = qualified(value if isinstance(value, type) else type(value))
    state = getattr(value, "__dict__", None)
    if state is None or isinstance(value, type) or not is_library_class(type(value)):
        return {"opaque": name}
    if any(not isinstance(item, (bool, int, float, str, type(None))) for item in state.values()):
        return {"opaque": name}
    return {"object": name, "state": dict(state)}


def is_plain(value: Any) -> bool:
    """Tell whether `plain` lost nothing, so that the value can be set again from JSON."""
    if isinstance(value, Mapping):
        return "opaque" not in value and all(is_plain(item) for item in value.values())
    if isinstance(value, list):
        return all(is_plain(item) for item in value)
    return True


def _settings(walked: Walk, adapted: bool) -> Settings:
    return {
        path: {"class": qualified(type(module)), **_public(module)}
        for path, module in _plain_walk(walked, adapted)
    }


def _public(module: Module) -> dict[str, Any]:
    """Return the attributes of a module that are settings: public, and neither parts nor config."""
    return {
        name: plain(value)
        for name, value in vars(module).items()
        if not name.startswith("_")
        and name not in _NOT_SETTINGS
        and not isinstance(value, (torch.Tensor, Module))
    }


def _plain_walk(walked: Walk, adapted: bool) -> Iterator[tuple[str, Module]]:
    """Yield submodules as if no adapter had been loaded."""
    for path, module in walked:
        wrapping = is_adapter_path(path) or wraps(module)
        if not (adapted and wrapping):
            yield _BASE_LAYER.sub("", path) if adapted else path, module


def _grouped(walked: Walk, adapted: bool) -> dict[str | None, list[tuple[str, torch.Tensor]]]:
    """Return named tensors by adapter; None stands for the module's own."""
    groups: dict[str | None, list[tuple[str, torch.Tensor]]] = {None: []}
    for path, module in walked:
        for name, tensor in _own_tensors(module):
            adapter, plain_name = _owner(f"{path}.{name}" if path else name, adapted)
            groups.setdefault(adapter, []).append((plain_name, tensor))
    return groups


def _own_tensors(module: Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield parameters and persistent buffers: what a state dict holds."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, _present(module, name, parameter)
    for name, buffer in module._buffers.items():
        if buffer is not None and name not in module._non_persistent_buffers_set:
            yield name, _present(module, name, buffer)


def _present(module: Module, name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor that accelerate keeps elsewhere in memory between calls."""
    if tensor.device.type != "meta":
        return tensor
    kept: Any = getattr(vars(module).get("_hf_hook"), "weights_map", None)
    if not isinstance(getattr(kept, "dataset", None), dict):
        return tensor  # on a disk, or nowhere
    found: torch.Tensor = kept[name]
    return found


def _loose_tensors(module: Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield what a forward pass may read and no state dict holds: buffers and plain attributes."""
    for name in module._non_persistent_buffers_set:
        buffer = module._buffers.get(name)
        if buffer is not None and buffer.device.type != "meta":
            yield name, buffer
    for name, value in vars(module).items():
        if isinstance(value, torch.Tensor):
            yield name, value


def _plain_tensors(module: Module) -> Iterator[torch.Tensor]:
    return (value for value in vars(module).values() if isinstance(value, torch.Tensor))


def _owner(path: str, adapted: bool) -> tuple[str | None, str]:
    """Return (adapter or None, name without traces of peft's wrapping)."""
    if not adapted:
        return None, path
    parts = path.split(".")
    for index, part in enumerate(parts[:-1]):
        if part.startswith("lora_"):
            return parts[index + 1], ".".join([*parts[: index + 1], *parts[index + 2 :]])
    return None, _BASE_LAYER.sub("", path)


def wraps(module: Module) -> bool:
    """Tell whether a module is peft's wrapper around an adapted layer."""
    return "base_layer" in module._modules


def is_adapter_path(path: str) -> bool:
    """Tell whether a submodule belongs to an adapter, by its path."""
    return ".lora_" in path
