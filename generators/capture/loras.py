"""LoRAs: which file each came from, and with what strength each is on.

Where a file was loaded from is kept by the component that it was loaded into, so that pipelines
which share a UNet share the knowledge.
"""

from __future__ import annotations

import math
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch.nn import Module

from generators.capture.modules import Walk, adapter_set, adapter_tensors, wraps
from generators.capture.tensors import TensorSet, tensor_digest
from generators.files import DIGESTS, Content, file_material
from registry.errors import MaterialError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

DEFAULT_FILE = "pytorch_lora_weights.safetensors"


@dataclass(frozen=True, slots=True)
class LoraSource:
    """A LoRA file as it was loaded: path, hex SHA-256, and the tensors it gave the component."""

    path: Path | None
    sha256: str | None
    tensors: TensorSet


@dataclass(frozen=True, slots=True)
class ActiveLora:
    """An adapter that is switched on.

    `scales` has a weight per component: one number, or a number per layer path where layers
    differ. Weights are those of `set_adapters`: 1.0 is the strength it was trained with.
    """

    adapter: str
    scales: Mapping[str, float | Mapping[str, float]]


@dataclass(slots=True)
class Described:
    """The adapters of a call: entries for the record, their files, and what is wrong with them."""

    entries: list[dict[str, Any]] = field(default_factory=list)
    contents: list[Content] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)


_SOURCES: weakref.WeakKeyDictionary[Module, dict[str, LoraSource]] = weakref.WeakKeyDictionary()


def load(pipe: Any, loader: Callable[..., Any], args: tuple[Any, ...], options: Any) -> Any:
    """Call a pipeline's `load_lora_weights` and remember what it loaded from where."""
    before = _adapters(pipe)
    result = loader(*args, **options)
    given = args[0] if args else options.get("pretrained_model_name_or_path_or_dict")
    path = resolve(given, options)
    sha256 = DIGESTS.describe(path, path.name).sha256 if path is not None else None
    swapped = {options.get("adapter_name")} if options.get("hotswap") else set()
    for name, component in _modules(pipe):
        present = _adapter_names(component)
        for adapter in (present - before.get(name, set())) | (present & swapped):
            remember(component, adapter, path, sha256)
    return result


def remember(component: Module, adapter: str, path: Path | None, sha256: str | None) -> None:
    """Note that an adapter's present tensors are those of a file (None: of no file)."""
    tensors = adapter_set(component, adapter)
    if tensors is not None:
        known = _SOURCES.setdefault(component, {})
        known[adapter] = LoraSource(path, sha256, tensors)


def resolve(given: Any, options: Mapping[str, Any]) -> Path | None:
    """Return the local file behind `load_lora_weights`' first argument; None if it had none.

    Takes a file, a folder with `weight_name` (or a single safetensors file), or a hub repository
    in the local cache.
    """
    if not isinstance(given, (str, Path)):
        return None
    path = Path(given)
    if path.is_file():
        return path.absolute()
    if path.is_dir():
        return _in_folder(path / (options.get("subfolder") or ""), options.get("weight_name"))
    return _in_cache(str(given), options)


def _in_folder(folder: Path, name: str | None) -> Path | None:
    if name is not None:
        return (folder / name).absolute()
    found = sorted(folder.glob("*.safetensors"))
    preferred = [path for path in found if path.name == DEFAULT_FILE]
    if preferred or len(found) == 1:
        return (preferred or found)[0].absolute()
    return None


def _in_cache(repository: str, options: Mapping[str, Any]) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    name = options.get("weight_name") or DEFAULT_FILE
    folder = options.get("subfolder")
    found = try_to_load_from_cache(
        repository,
        f"{folder}/{name}" if folder else name,
        revision=options.get("revision"),
        cache_dir=options.get("cache_dir"),
    )
    return Path(found) if isinstance(found, str) else None


def describe(
    walks: Mapping[str, Walk], states: Mapping[str, Any], declared: Mapping[str, Path]
) -> Described:
    """Describe the adapters that are on; those that are off leave no trace in a picture."""
    described = Described()
    for lora in active(walks):
        name = f"lora/{lora.adapter}"
        entry: dict[str, Any] = {"adapter": lora.adapter, **_strength(lora)}
        modules = {part: walks[part][0][1] for part in lora.scales}
        if name in declared:
            _adopt(lora.adapter, modules.values(), declared[name], described.reasons)
        sources = {part: _SOURCES.get(m, {}).get(lora.adapter) for part, m in modules.items()}
        file = _common_file(sources.values())
        if file is None:
            described.reasons.append(f"{name} was not loaded from a file that is known")
        else:
            entry["ref"] = name
            described.contents += _content(name, *file, described.reasons)
            if any(_changed(lora.adapter, source, states[p]) for p, source in sources.items()):
                described.reasons.append(f"weights of {name} were changed after loading")
        described.entries.append(entry)
    return described


def _adopt(adapter: str, modules: Iterable[Module], file: Path, reasons: list[str]) -> None:
    """Take the caller's word for the file of an adapter that was loaded before; check it once."""
    for module in modules:
        if adapter not in _SOURCES.get(module, {}):
            if not _fits(module, adapter, file):
                reasons.append(f"lora/{adapter} is not what the declared file holds")
            remember(module, adapter, file, DIGESTS.describe(file, file.name).sha256)


def _common_file(sources: Iterable[LoraSource | None]) -> tuple[Path, str] | None:
    """Return path and digest of the one file that all components have an adapter from."""
    files = {(s.path, s.sha256) if s is not None else (None, None) for s in sources}
    path, sha256 = files.pop()
    return (path, sha256) if path is not None and sha256 is not None and not files else None


def _changed(adapter: str, source: LoraSource | None, state: Mapping[str, Any]) -> bool:
    return source is None or state["adapters"][adapter]["sha256"] != source.tensors.sha256


def _content(name: str, path: Path, sha256: str, reasons: list[str]) -> list[Content]:
    try:
        content = file_material(name, "lora", path)
    except MaterialError as error:
        reasons.append(error.message)
        return []
    if content.material.sha256 != sha256:
        reasons.append(f"the file of {name} was changed after loading")
    return [content]


def _fits(component: Module, adapter: str, file: Path) -> bool:
    """Tell whether all tensors of an adapter are in a file, whatever they are called there."""
    from safetensors.torch import load_file

    live = adapter_tensors(component, adapter)
    dtypes = {tensor.dtype for tensor in live}
    stored = load_file(file).values()
    held = {tensor_digest(tensor.to(dtype)) for tensor in stored for dtype in dtypes}
    return all(tensor_digest(tensor) in held for tensor in live)


def active(walks: Mapping[str, Walk]) -> list[ActiveLora]:
    """Return the adapters that are on, in the order in which layers add them up."""
    scales: dict[str, dict[str, dict[str, float]]] = {}
    for name, walked in walks.items():
        for path, layer in _layers(walked):
            for adapter in layer.active_adapters:
                if adapter in layer.scaling:
                    table = scales.setdefault(adapter, {}).setdefault(name, {})
                    table[path] = weight_of(layer, adapter)
    return [
        ActiveLora(adapter, {name: _uniform(table) for name, table in tables.items()})
        for adapter, tables in scales.items()
    ]


def weight_of(layer: Any, adapter: str) -> float:
    """Return the weight that `set_scale` was given, from the scaling that it computed.

    Tries the neighbours of the quotient, so that 0.8 does not come back as 0.7999999999999999.
    """
    rank, alpha = layer.r[adapter], layer.lora_alpha[adapter]
    divisor = math.sqrt(rank) if layer.use_rslora.get(adapter, False) else rank
    scaling = float(layer.scaling[adapter])
    weight = scaling * divisor / alpha if alpha else scaling
    for candidate in (round(weight, 12), weight, *_neighbours(weight)):
        if candidate * alpha / divisor == scaling:
            return candidate
    return weight


def _neighbours(value: float) -> Iterator[float]:
    for direction in (-math.inf, math.inf):
        yield math.nextafter(value, direction)


def _strength(lora: ActiveLora) -> dict[str, Any]:
    """Return the weight as one number where it is one, else by component (and layer)."""
    first, *rest = lora.scales.values()
    if isinstance(first, float) and all(other == first for other in rest):
        return {"scale": first}
    return {"scales": dict(lora.scales)}


def _uniform(table: Mapping[str, float]) -> float | Mapping[str, float]:
    weights = set(table.values())
    return weights.pop() if len(weights) == 1 else table


def _layers(walked: Walk) -> Iterator[tuple[str, Any]]:
    """Yield the adapter layers that are not switched off."""
    for path, module in walked:
        if wraps(module) and hasattr(module, "scaling"):
            layer: Any = module
            if not layer.disable_adapters:
                yield path, layer


def _modules(pipe: Any) -> Iterator[tuple[str, Module]]:
    for name, component in pipe.components.items():
        if isinstance(component, Module):
            yield name, component


def _adapter_names(component: Module) -> set[str]:
    return set(getattr(component, "peft_config", {}))


def _adapters(pipe: Any) -> dict[str, set[str]]:
    return {name: _adapter_names(component) for name, component in _modules(pipe)}
