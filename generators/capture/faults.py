"""Why a live module would not compute the same again: hooks, patches, training mode, fusing.

States reasons; what is merely recorded and set again at a replay is not among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import Module
from torch.nn.modules import module as torch_module

from generators.capture.modules import is_adapter_path, wraps
from generators.capture.trusted import is_library_code

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from generators.capture.modules import Walk


def module_faults(name: str, walked: Walk) -> list[str]:
    """Return the reasons in one component, `name` being its place in the pipeline."""
    faults = [
        *_training(name, walked),
        *_adapters(name, walked),
        *_hooks(name, walked),
        *_replaced_forwards(name, walked),
    ]
    if any(module._compiled_call_impl is not None for _, module in walked) or hasattr(
        walked[0][1], "_orig_mod"
    ):
        faults.append(f"{name} is compiled")
    # The first call of some pipelines leaves a registry of hooks with nothing in it.
    if any(getattr(vars(m).get("_diffusers_hook"), "hooks", None) for _, m in walked):
        faults.append(f"{name} runs under diffusers hooks (caching, casting or offloading)")
    return faults


def process_faults() -> list[str]:
    """Return the reasons that lie in torch's global state."""
    tables = (torch_module._global_forward_hooks, torch_module._global_forward_pre_hooks)
    if any(not is_library_code(hook) for table in tables for hook in table.values()):
        return ["global forward hooks are set"]
    return []


def instance_faults(name: str, instance: Any) -> list[str]:
    """Return the methods of an object's class that the object itself shadows with foreign code."""
    own = {} if isinstance(instance, Module) else vars(instance)
    return [
        f"{name}.{attribute} was replaced on the object"
        for attribute, value in own.items()
        if callable(getattr(type(instance), attribute, None))
        and callable(value)
        and not is_library_code(value)
    ]


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
        not is_library_code(hook)
        for _, module in walked
        if module._forward_hooks or module._forward_pre_hooks
        for hook in _hooks_of(module)
    )
    if foreign:
        yield f"{name} has {foreign} forward hooks"


def _hooks_of(module: Module) -> Iterable[Any]:
    return [*module._forward_hooks.values(), *module._forward_pre_hooks.values()]


def _replaced_forwards(name: str, walked: Walk) -> Iterator[str]:
    for path, module in walked:
        forward = vars(module).get("forward")
        if forward is not None and not is_library_code(forward):
            yield f"{name}{f'.{path}' if path else ''}.forward was replaced on the object"
