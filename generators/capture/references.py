"""What a component's folder loads to, to hold the live component against it.

A replay loads the folder; so the record is true only if the live component is what that gives,
but for differences that the record carries and the replay sets again.
"""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from generators.capture.modules import (
    ModuleState,
    Settings,
    config_of,
    is_plain,
    plain,
    state_of,
    walk,
)
from generators.capture.origins import Place
from registry.core.jsonio import dumps

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from torch.nn import Module

    from generators.capture.additions import Addition

_LOADING = threading.Lock()


@dataclass(frozen=True, slots=True)
class Comparison:
    """How a live component differs from its folder's.

    `settings` are plain attributes to set again, by submodule path; `reasons` what cannot be.
    """

    settings: Settings
    reasons: tuple[str, ...]


class References:
    """Loads each folder once per (class, dtype, file digests) and keeps its state only."""

    def __init__(self) -> None:
        self._modules: dict[tuple[Any, ...], ModuleState] = {}
        self._others: dict[tuple[Any, ...], str] = {}

    def compare_module(
        self,
        name: str,
        component: Module,
        live: ModuleState,
        place: Place,
        added: Addition | None = None,
    ) -> Comparison:
        """Compare a module, by its state, with what its folder and what was added load to."""
        key = (live.cls, live.dtype, place.version, version_of(added))
        if key not in self._modules:
            loaded = load_module(type(component), place.folder, live.dtype)
            if added is not None:
                try:
                    added.put(loaded)
                except Exception as error:  # noqa: BLE001 (loaders raise whatever they stumble over)
                    return Comparison({}, (f"{name} cannot be made again: {type(error).__name__}",))
                loaded.eval()
            self._modules[key] = state_of(loaded, walk(loaded))
        return _compare(name, live, self._modules[key])

    def compare_other(
        self, name: str, component: Any, live: str, place: Place, added: Addition | None = None
    ) -> list[str]:
        """Compare a tokenizer or processor, by its fingerprint, with its folder; return reasons."""
        key = (type(component), place.version, version_of(added))
        if key not in self._others:
            with quiet_loading():
                loaded = type(component).from_pretrained(place.folder, local_files_only=True)
            if added is not None:
                added.put(loaded)
            self._others[key] = fingerprint(loaded)
        if live != self._others[key]:
            return [f"{name} differs from the one in its folder"]
        return []


def version_of(added: Addition | None) -> str:
    """Return the version of an addition, "" for none."""
    return "" if added is None else added.version


def load_module(cls: Any, folder: Path, dtype: str) -> Any:
    """Load a module from safetensors in a local folder, in evaluation mode."""
    with quiet_loading():
        loaded = cls.from_pretrained(
            folder, dtype=getattr(torch, dtype), local_files_only=True, use_safetensors=True
        )
    return loaded.eval()


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Load without progress bars, one at a time, and leave torch's random state alone.

    Loading swaps functions of `torch.nn.Module` for a moment, so two must not overlap.
    """
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    noisy = [
        module
        for module in (diffusers_logging, transformers_logging)
        if module.is_progress_bar_enabled()
    ]
    with _LOADING, torch.random.fork_rng(devices=[]):
        for module in noisy:
            module.disable_progress_bar()
        try:
            yield
        finally:
            for module in noisy:
                module.enable_progress_bar()


class FingerprintWatch:
    """Takes a fingerprint again only when something cheap to look at changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[Any, Any, str]] = {}

    def of(self, name: str, component: Any) -> str:
        """Return the fingerprint of the component in place `name`."""
        traces = _traces(component)
        known = self._known.get(name)
        if known is None or known[0] is not component or known[1] != traces:
            known = self._known[name] = (component, traces, fingerprint(component))
        return known[2]


def _traces(component: Any) -> Any:
    """Return what changes with a tokenizer's vocabulary or steps, or with a processor's values."""
    backend = getattr(component, "backend_tokenizer", None)
    if backend is None:
        return {k: plain(v) for k, v in vars(component).items() if not k.startswith("_")}
    steps = (backend.model, backend.normalizer, backend.pre_tokenizer, backend.post_processor)
    return len(component), _habits(component), [repr(step) for step in steps]


def _habits(tokenizer: Any) -> dict[str, str]:
    """Return what decides a tokenizer's work beside its vocabulary and steps.

    As texts: the greatest length is 10^30 where there is none, which no JSON reader holds.
    """
    names = ("model_max_length", "padding_side", "truncation_side", "model_input_names")
    known = {name: str(getattr(tokenizer, name, None)) for name in names}
    return known | {"special": str(sorted(tokenizer.special_tokens_map.items()))}


def fingerprint(component: Any) -> str:
    """Return the SHA-256 of what a tokenizer or processor does to its input."""
    backend = getattr(component, "backend_tokenizer", None)
    if backend is not None:
        document = json.loads(backend.to_str())
        # Calls leave their padding behind in the tokenizer, and set it anew each time.
        document.pop("padding", None)
        document.pop("truncation", None)
        document["habits"] = _habits(component)
    elif hasattr(component, "get_vocab"):
        document = {"vocab": component.get_vocab(), "habits": _habits(component)}
    elif hasattr(component, "to_dict"):
        document = {k: v for k, v in component.to_dict().items() if not k.startswith("_")}
    else:
        document = config_of(component)
    return hashlib.sha256(dumps(plain(document))).hexdigest()


def _compare(name: str, live: ModuleState, loaded: ModuleState) -> Comparison:
    reasons = []
    if live.weights.sha256 != loaded.weights.sha256:
        reasons.append(f"weights of {name} differ from those in its folder")
    if live.weights.layout == "mixed":
        reasons.append(f"tensors of {name} have mixed memory layouts")
    if live.config != loaded.config or live.attention != loaded.attention:
        reasons.append(f"configuration of {name} differs from that in its folder")
    reasons += [
        f"{name}.{path} was changed in memory"
        for path, digest in sorted(live.loose.items())
        if loaded.loose.get(path, digest) != digest
    ]
    if _shape_of(live.settings) != _shape_of(loaded.settings):
        return Comparison({}, (*reasons, f"{name} has other layers than its folder gives"))
    settings = _differences(live.settings, loaded.settings)
    lost = [
        f"{name}{f'.{path}' if path else ''}.{attribute} cannot be recorded"
        for path, attributes in settings.items()
        for attribute, value in attributes.items()
        if not is_plain(value)
    ]
    return Comparison(settings, (*reasons, *lost))


def _shape_of(settings: Settings) -> dict[str, Any]:
    return {path: attributes["class"] for path, attributes in settings.items()}


def _differences(live: Settings, loaded: Settings) -> dict[str, Mapping[str, Any]]:
    """Return the live attributes that are other, or missing, in the loaded module."""
    found: dict[str, Mapping[str, Any]] = {}
    for path, attributes in live.items():
        theirs = loaded[path]
        changed = {
            attribute: value
            for attribute, value in attributes.items()
            if attribute not in theirs or theirs[attribute] != value
        }
        changed |= {attribute: {"opaque": "removed"} for attribute in theirs.keys() - attributes}
        if changed:
            found[path] = changed
    return found


REFERENCES = References()
"""The process's cache: a folder loads to the same for every pipeline."""
