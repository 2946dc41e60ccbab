"""Which folder each component came from, as materials of the record.

The loaders of diffusers and transformers leave a path on what they load; nothing else is trusted
to name an origin but the caller.
"""

from __future__ import annotations

import hashlib
import re
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch.nn import Module

from generators.files import VAULT_LIMIT_BYTES, Content, file_material, files_below, folder_material
from registry.errors import MaterialError

BASE = "model/base"
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx", ".pb", ".tflite"})
"""Formats that a replay does not load: they run code, or belong to another framework."""
_KNOWN: weakref.WeakKeyDictionary[Any, Path | None] = weakref.WeakKeyDictionary()
_SNAPSHOT = re.compile(r"models--(?P<name>[^/]+)/snapshots/(?P<commit>[0-9a-f]{40})$")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a component is kept: a material, the subfolder in it, and the local folder.

    `version` is a digest of the folder's files.
    """

    material: str
    subfolder: str
    folder: Path
    version: str


@dataclass(slots=True)
class Origins:
    """The materials that a pipeline's components come from, and the place of each component."""

    contents: list[Content] = field(default_factory=list)
    places: dict[str, Place] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)


def trace(components: Mapping[str, Any], index: Any, declared: Mapping[str, Path]) -> Origins:
    """Find the folders of components (scheduler and absent ones left out).

    `index` is the pipeline's own `_name_or_path`; `declared` names folders by material
    (`model/base`, `vae/vae`, …) where the loaders left no path. A file in the place of a folder is
    what `from_single_file` read: it is named, and is a reason, since a replay loads folders.
    """
    origins = Origins()
    sources = {name: _source(component) for name, component in components.items()}
    single = {name: path for name, path in declared.items() if path.is_file()}
    base = declared.get(BASE) or _base_folder(sources, index)
    shared: dict[Path, str] = {}
    for name, component in components.items():
        material = material_name(name)
        if material in single or (BASE in single and sources[name] is None):
            _name_file(name, material if material in single else BASE, single, origins)
            continue
        folder = declared.get(material) or sources[name]
        if base is not None and (folder is None or folder == base / name):
            material, folder = BASE, base / name
        if folder is None or not folder.is_dir():
            origins.reasons.append(f"{name} was not loaded from a folder that is known")
        elif isinstance(component, Module) and not any(folder.glob("*.safetensors")):
            origins.reasons.append(f"{name} has no safetensors weights in its folder")
        else:
            subfolder = name if material == BASE else ""
            # A language model and its tokenizer share a folder: one material.
            material = shared.setdefault(folder, material)
            origins.places[name] = Place(material, subfolder, folder, "")
    _add_contents(origins, base)
    return origins


def material_name(component: str) -> str:
    """Return the name of the material that a component from a folder of its own gets."""
    kind = component if component in {"vae", "controlnet"} else "model"
    return f"{kind}/{component}"


def hub_uri(folder: Path) -> str:
    """Return the package URL of a hub snapshot, or "" for any other folder."""
    found = _SNAPSHOT.search(folder.as_posix())
    if found is None:
        return ""
    return f"pkg:huggingface/{found['name'].replace('--', '/')}@{found['commit']}"


def remember(component: Any, folder: Path | None) -> None:
    """Note the folder that a component was loaded from, where its loader notes another."""
    _KNOWN[component] = folder


def _source(component: Any) -> Path | None:
    """Return the folder that a loader noted on what it loaded."""
    if isinstance(component, Module) and component in _KNOWN:
        return _KNOWN[component]
    config = getattr(component, "config", None)
    noted = config.get("_name_or_path") if isinstance(config, Mapping) else None
    noted = noted or getattr(component, "name_or_path", None)
    path = Path(noted) if isinstance(noted, (str, Path)) and noted else None
    return path.absolute() if path is not None and path.is_dir() else None


def _base_folder(sources: Mapping[str, Path | None], index: Any) -> Path | None:
    """Return the folder with a model index that most components lie in by their own names."""
    known = [(name, folder) for name, folder in sources.items() if folder is not None]
    parents = Counter(folder.parent for name, folder in known if folder.name == name)
    candidates = [folder for folder, _ in parents.most_common()]
    if isinstance(index, (str, Path)) and Path(index).is_dir():
        candidates.append(Path(index).absolute())
    return next((f for f in candidates if (f / "model_index.json").is_file()), None)


def _add_contents(origins: Origins, base: Path | None) -> None:
    """Turn places into materials; a folder that cannot be read becomes a reason."""
    by_material: dict[str, list[str]] = {}
    for name, place in origins.places.items():
        by_material.setdefault(place.material, []).append(name)
    for material, names in by_material.items():
        root = base if material == BASE and base is not None else origins.places[names[0]].folder
        folders = dict.fromkeys(origins.places[name].folder for name in names)
        paths = [path for folder in folders for path in _weights(folder)]
        if root == base:
            paths += _shared_files(root)
        try:
            content = folder_material(
                material, material.partition("/")[0], root, paths, uri=hub_uri(root)
            )
        except MaterialError as error:
            origins.reasons.append(error.message)
            continue
        origins.contents.append(content)
        for name in names:
            origins.places[name] = _versioned(origins.places[name], content)


def _name_file(name: str, material: str, files: Mapping[str, Path], origins: Origins) -> None:
    """Name the single file that a component was loaded from, and say that a replay cannot."""
    origins.reasons.append(
        f"{name} was loaded from a single file, {material}: "
        "save the pipeline and declare its folder"
    )
    if any(content.material.name == material for content in origins.contents):
        return
    try:
        content = file_material(material, material.partition("/")[0], files[material])
    except MaterialError as error:
        origins.reasons.append(error.message)
        return
    if files[material].stat().st_size > VAULT_LIMIT_BYTES:
        content = Content(replace(content.material, storage="referenced"), ())
    origins.contents.append(content)


def _weights(folder: Path) -> Iterator[Path]:
    """Yield a component's files; formats that a replay does not load are left out."""
    return (path for path in files_below(folder) if path.suffix not in PICKLES)


def _shared_files(base: Path) -> list[Path]:
    """Return what else makes the folder load by itself: its index and the scheduler's defaults."""
    scheduler = base / "scheduler"
    return [base / "model_index.json", *(files_below(scheduler) if scheduler.is_dir() else ())]


def _versioned(place: Place, content: Content) -> Place:
    head = f"{place.subfolder}/" if place.subfolder else ""
    digest = hashlib.sha256()
    for file in content.material.files:
        if file.path.startswith(head):
            digest.update(f"{file.path}\n{file.sha256}\n".encode())
    return Place(place.material, place.subfolder, place.folder, digest.hexdigest())
