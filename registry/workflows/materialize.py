"""Lay out a record's materials as files for a replay, each checked against its digest."""

from __future__ import annotations

import mimetypes
import shutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from registry.core.generation import ModelFile
from registry.core.modelsets import parse_modelset
from registry.errors import MaterialError
from registry.workflows.leftovers import replay_folder
from registry.workflows.personal import personal_material
from registry.workflows.refs import path_digest
from registry.workflows.services import Services

SHELVED = frozenset({"model", "lora", "vae", "controlnet", "embedding", "ip-adapter"})
"""Kinds that many records share and that hold no person's data: worth keeping laid out."""
UNREAD = frozenset({"environment", "code"})


@dataclass(slots=True)
class Shelf:
    """Models laid out once for many replays, each checked when it was put there.

    Its folder belongs to it alone. Safe to use from several threads.
    """

    folder: Path
    _kept: dict[tuple[str, str], Path] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, dep: Mapping[str, Any], fetch: Callable[[Path], Path]) -> Path:
        """Return a material's place; `fetch` lays it out in the folder it is given."""
        key = (dep["digest"]["sha256"], _suffix(dep))
        with self._lock:
            if key not in self._kept:
                self._kept[key] = fetch(self.folder / str(len(self._kept)))
            return self._kept[key]


@contextmanager
def shelf_for(services: Services) -> Iterator[Shelf]:
    """Make a shelf in the home's work folder, and remove it at the end."""
    with replay_folder(services, bytes(32)) as folder:
        yield Shelf(folder)


def materialize(
    services: Services, statement: Mapping[str, Any], folder: Path, shelf: Shelf | None = None
) -> dict[str, Path]:
    """Fetch every material that a replay reads; return its file or folder by name.

    Models that are on the `shelf` are taken from there, others are put there. Raises MaterialError
    naming the material that is missing, altered or only referenced, and IntegrityError when a
    stored file does not have its digest.
    """
    definition = statement["predicate"]["buildDefinition"]
    found = {}
    for number, dep in enumerate(definition.get("resolvedDependencies", ())):
        notes = dep.get("annotations", {})
        kind = notes.get("genops_kind")
        # Of a quoted material the record itself holds all that a replay needs.
        if kind in UNREAD or notes.get("quoted") is True:
            continue
        fetch = partial(_fetch, services, dep)
        if shelf is not None and kind in SHELVED:
            found[dep["name"]] = shelf.get(dep, fetch)
        else:
            found[dep["name"]] = fetch(folder / str(number))
    return found


def _fetch(services: Services, dep: Mapping[str, Any], place: Path) -> Path:
    notes = dep.get("annotations", {})
    if notes.get("genops_storage") == "referenced":
        return _referenced(dep)
    place.mkdir(parents=True, exist_ok=True)
    if notes.get("genops_digest") == "modelset-v1":
        manifest = _stored(services, dep["name"], dep["digest"]["sha256"])
        _lay_out(services, dep["name"], parse_modelset(manifest.read_bytes()), place)
        return place
    target = place / f"material{_suffix(dep)}"
    personal = personal_material(services, dep["digest"]["sha256"])
    if personal is not None:
        target.write_bytes(personal)
    else:
        shutil.copyfile(_stored(services, dep["name"], dep["digest"]["sha256"]), target)
    return target


def _lay_out(services: Services, name: str, files: Iterable[ModelFile], place: Path) -> None:
    for file in files:
        target = place / file.path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_stored(services, f"{name}/{file.path}", file.sha256), target)


def _stored(services: Services, name: str, sha256: str) -> Path:
    """Return the vault's file, its SHA-256 checked."""
    blob = services.blobs.get(sha256)
    if blob is None:
        raise MaterialError(
            f"material {name} (sha256:{sha256}) is not in the vault", code="material.missing"
        )
    try:
        return services.vault.open_path(blob)
    except MaterialError as error:
        raise MaterialError(
            f"material {name} is gone: {error.message}", code=error.code, hint=error.hint
        ) from error


def _referenced(dep: Mapping[str, Any]) -> Path:
    """Return the local file or folder that a record names, checked against its digest."""
    path = _local_path(dep)
    if path is None:
        raise MaterialError(
            f"material {dep['name']} is only referenced, not kept in the vault",
            code="material.referenced",
            hint="record models as vaulted to reproduce without their source",
        )
    if not path.exists():
        raise MaterialError(
            f"material {dep['name']} is not at {path} any more", code="material.missing"
        )
    if path_digest(path) != dep["digest"]["sha256"]:
        raise MaterialError(
            f"material {dep['name']} at {path} was altered", code="material.altered"
        )
    return path


def _local_path(dep: Mapping[str, Any]) -> Path | None:
    """Return where a referenced material lay: its (unsealed) path, or a plain `file:` URI."""
    noted = dep.get("annotations", {}).get("path")
    if isinstance(noted, str):
        return Path(noted)
    uri = dep.get("uri", "")
    parts = urlsplit(uri) if isinstance(uri, str) else None
    return Path(unquote(parts.path)) if parts is not None and parts.scheme == "file" else None


def _suffix(dep: Mapping[str, Any]) -> str:
    media_type = dep.get("mediaType")
    if isinstance(media_type, str) and (known := mimetypes.guess_extension(media_type)):
        return known
    kind = dep.get("annotations", {}).get("genops_kind")
    return ".safetensors" if kind in {"lora", "embedding", "vae", "controlnet"} else ""
