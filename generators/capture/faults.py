"""Why a live module would not compute the same again: hooks, patches, training mode, fusing.

States reasons; what is merely recorded and set again at a replay is not among them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Module
from torch.nn.modules import module as torch_module

from generators.capture.modules import is_adapter_path, wraps
from generators.capture.trusted import (
    innermost,
    is_library_callable,
    is_library_class,
    qualified,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from generators.capture.modules import Walk


MOVERS = frozenset({"AlignDevicesHook", "CpuOffload", "SequentialHook"})
"""Hooks of accelerate that move tensors and leave what is computed alone."""
OFFLOADERS = frozenset(
    {"GroupOffloadingHook", "LazyPrefetchGroupOffloadingHook", "LayerExecutionTrackerHook"}
)
"""The same of diffusers."""
_TABLES = ("_parameters", "_buffers")
_METHODS: dict[type, frozenset[str]] = {}


def standing_faults(name: str, walked: Walk) -> list[str]:
    """Return the reasons that a component's attributes alone decide."""
    faults = [*_training(name, walked), *_shadowed(name, walked)]
    if any(module._compiled_call_impl is not None for _, module in walked) or hasattr(
        walked[0][1], "_orig_mod"
    ):
        faults.append(f"{name} is compiled")
    return faults


def passing_faults(name: str, walked: Walk) -> list[str]:
    """Return the reasons in what hangs on a component, and can change where it is."""
    return [
        *_adapters(name, walked),
        *_hooks(name, walked),
        *_frameworks(name, walked),
        *_tensors(name, walked),
    ]


def process_faults() -> list[str]:
    """Return the reasons that lie in torch's global state."""
    tables = (torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks)
    if any(not is_library_callable(hook) for table in tables for hook in table.values()):
        return ["global forward hooks are set"]
    return []


def instance_faults(name: str, instance: Any) -> list[str]:
    """Return the methods of an object's class that the object itself shadows."""
    own: dict[str, Any] = getattr(instance, "__dict__", {})
    shadowed = set() if isinstance(instance, Module) else own.keys() & methods_of(instance)
    return [f"{name}.{one} was replaced on the object" for one in sorted(shadowed)]


def methods_of(instance: Any) -> frozenset[str]:
    """Return the names that an object's class and its bases define as something to call."""
    cls = type(instance)
    found = _METHODS.get(cls)
    if found is None:
        found = _METHODS[cls] = frozenset(
            name
            for base in cls.__mro__
            for name, value in vars(base).items()
            if callable(value) or isinstance(value, (staticmethod, classmethod))
        )
    return found


def _training(name: str, walked: Walk) -> Iterator[str]:
    if walked[0][1].training:
        yield f"{name} is in training mode"
        return
    # An adapter's modules have no mode but their dropout, which `_adapters` looks at.
    inside = [
        path
        for path, module in walked
        if module.training and not (is_adapter_path(path) or wraps(module))
    ]
    if inside:
        yield f"{name} has {len(inside)} submodules in training mode, first {inside[0]}"


def _adapters(name: str, walked: Walk) -> Iterator[str]:
    layers = [module for _, module in walked if wraps(module)]
    if any(getattr(layer, "merged", False) for layer in layers):
        yield f"{name} has a LoRA fused into its weights"
    if any(_live_dropout(layer) for layer in layers):
        yield f"{name} has a LoRA whose dropout is live: call .eval() on it"


def _live_dropout(layer: Any) -> bool:
    """Dropout of an active adapter runs while its own flag says so, whatever the model's does."""
    if getattr(layer, "disable_adapters", False):
        return False
    dropouts = getattr(layer, "lora_dropout", {})
    active = [dropouts[name] for name in layer.active_adapters if name in dropouts]
    return any(isinstance(d, torch.nn.Dropout) and d.training and d.p > 0 for d in active)


def _hooks(name: str, walked: Walk) -> Iterator[str]:
    foreign = sum(
        not is_library_callable(hook)
        for _, module in walked
        if module._forward_hooks or module._forward_pre_hooks
        for hook in _hooks_of(module)
    )
    if foreign:
        yield f"{name} has {foreign} forward hooks"


def _hooks_of(module: Module) -> Iterable[Any]:
    return [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]


def _frameworks(name: str, walked: Walk) -> Iterator[str]:
    """Find the wrappers of accelerate and diffusers that do more than move tensors."""
    own = [vars(module) for _, module in walked]
    movers = [one["_hf_hook"] for one in own if "_hf_hook" in one]
    registries = [one["_diffusers_hook"] for one in own if "_diffusers_hook" in one]
    strange = {cls for hook in movers for cls in _strange(hook)}
    yield from (f"{name} runs under a foreign hook ({cls})" for cls in sorted(strange))
    used = {type(hook).__name__ for registry in registries for hook in registry.hooks.values()}
    if used - OFFLOADERS:
        yield f"{name} runs under diffusers hooks ({', '.join(sorted(used - OFFLOADERS))})"


def _strange(hook: Any) -> Iterator[str]:
    cls = type(hook)
    if not (is_library_class(cls) and cls.__name__ in MOVERS):
        yield cls.__qualname__
    for inner in getattr(hook, "hooks", ()):
        yield from _strange(inner)


def _shadowed(name: str, walked: Walk) -> Iterator[str]:
    """Find methods that a module itself holds in place of its class's."""
    for path, module in walked:
        for attribute in vars(module).keys() & methods_of(module):
            if not _is_harmless(module, attribute):
                yield f"{name}{f'.{path}' if path else ''}.{attribute} was replaced on the object"


def _is_harmless(module: Module, attribute: str) -> bool:
    """Tell whether a shadow is the very method of the class, or a framework's way to call it."""
    own, method = vars(module), getattr(type(module), attribute)
    value = own[attribute]
    if _is_framework(value) and (own.keys() & {"_hf_hook", "_diffusers_hook"}):
        before = own.get("_old_forward", value) if attribute == "forward" else value
        return attribute != "forward" or innermost(before) is innermost(method)
    return getattr(value, "__self__", None) is module and value.__func__ is method


def _is_framework(function: Any) -> bool:
    """Tell whether accelerate or diffusers wrapped a method; what it wraps is looked at apart."""
    inner = function
    while isinstance(inner, functools.partial):
        inner = inner.func
    package = (getattr(inner, "__module__", "") or "").partition(".")[0]
    return package in {"accelerate", "diffusers"} or is_library_callable(function)


def _tensors(name: str, walked: Walk) -> Iterator[str]:
    """Find tensors that compute by code of their own, or run code at a gradient."""
    hooked = False
    for path, module in walked:
        own = vars(module)
        for table in _TABLES:
            for tensor_name, tensor in own[table].items():
                if tensor is None:
                    continue
                if not is_library_class(type(tensor)):
                    where = f"{name}{f'.{path}' if path else ''}.{tensor_name}"
                    yield f"{where} is a {qualified(type(tensor))}"
                hooked = hooked or bool(tensor._backward_hooks)
    if hooked:
        yield f"{name} has gradient hooks"
