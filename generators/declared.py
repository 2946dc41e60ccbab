"""The declared inputs of a block of code: as they were at its start, and whether they still are.

A name is plain in the record; file names are not, so that an input without one has a number.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from generators.arguments import ArgumentReader
from generators.encode import NPY, PNG, encode_array, encode_png, is_picture
from generators.files import DIGESTS, file_material, files_below, folder_material
from registry.core.digests import parse_ref, sha256_hex
from registry.core.generation import Material, Output
from registry.errors import GenopsError, InputError, NotFoundError
from registry.similarity.media import media_type_of

IN_MEMORY_BYTES = 64 * 1024 * 1024
"""Files up to this are kept as they were at the start, even if the block changes them."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_MAKING = {"generation", "ingest"}
_NOTHING = object()


@dataclass(slots=True)
class Inputs:
    """What a recording was given. `blobs` are the contents for the vault, `reasons` what is amiss.

    `recorder` is asked for what it knows of a content, where it can tell (`get`).
    """

    recorder: Any
    materials: list[Material] = field(default_factory=list)
    _contents: dict[str, list[bytes | Path]] = field(default_factory=dict)
    _again: dict[str, Callable[[], str]] = field(default_factory=dict)
    _reader: ArgumentReader = field(default_factory=ArgumentReader)
    _changed: list[str] = field(default_factory=list)

    @property
    def blobs(self) -> list[bytes | Path]:
        """The contents that the vault is to keep."""
        own = [blob for blobs in self._contents.values() for blob in blobs]
        return [*own, *self._reader.blobs]

    @property
    def reasons(self) -> list[str]:
        """What could not be captured, and what changed meanwhile."""
        return [*self._reader.reasons, *self._changed]

    def parameter(self, name: str, value: Any) -> Any:
        """Describe a parameter as JSON; texts sealed, contents as materials `input/<name>`."""
        return self._reader.read(_checked(name), value, _NOTHING)

    def add(self, name: str, value: Any) -> str:
        """Take an input as it is now; return the name of its material.

        Raises InputError (`recording.input`, `recording.name`), MaterialError for a file that
        cannot be read, NotFoundError for an asset that is not here.
        """
        label = f"input/{_checked(name)}"
        taken = {one.name for one in (*self.materials, *self._reader.materials)}
        if label in taken:
            raise InputError(f"two inputs are called {name}", code="recording.name")
        if isinstance(value, str) and not os.path.exists(value):  # noqa: PTH110 (takes any text)
            self.materials.append(self._asset(label, value))
        elif isinstance(value, (str, Path)):
            self._path(label, Path(value))
        else:
            self._content(label, value)
        return label

    def settled(self) -> list[Material]:
        """Return the materials at the end of the block; what changed meanwhile is a reason.

        A large file that changed is no longer at hand: its material is `referenced`.
        """
        found = []
        for material in self.materials:
            again = self._again.get(material.name)
            if again is not None and again() != material.sha256:
                found.append(self._after_change(material))
            else:
                found.append(material)
        return [*found, *self._reader.materials]

    def file_output(self, path: Path) -> Output:
        """Return a file that the block wrote as an output, byte for byte."""
        try:
            data = path.read_bytes()
        except OSError as error:
            raise InputError(
                f"an output cannot be read: {error.strerror}", code="recording.output"
            ) from None
        return Output(data, media_type_of(data, path.name))

    def _after_change(self, material: Material) -> Material:
        blobs = self._contents[material.name]
        kept = bool(blobs) and all(isinstance(blob, bytes) for blob in blobs)
        end = "" if kept else ", and what it was is not kept"
        self._changed.append(f"{material.name} changed while the block ran{end}")
        if kept:
            return material
        self._contents[material.name] = []
        return replace(material, storage="referenced", files=())

    def _asset(self, label: str, text: str) -> Material:
        """Name an asset of the registry, and its record."""
        try:
            parse_ref(text)
        except InputError:
            raise InputError(
                f"{label} is neither a file nor an asset",
                code="recording.input",
                hint="give a path, an asset's id, a picture, an array or bytes; texts are"
                " parameters",
            ) from None
        found = self._known(text)
        if found is None:
            raise NotFoundError(f"{label} is no asset that is known here", code="recording.input")
        return Material(
            name=label,
            kind="asset",
            sha256=found.id.removeprefix("sha256:"),
            storage="vaulted",
            media_type=found.media_type,
            output_of=found.record,
        )

    def _path(self, label: str, path: Path) -> None:
        if path.is_dir():
            content = folder_material(label, "dataset", path, files_below(path))
            self._take(content.material, list(content.paths), lambda: _folder_now(label, path))
            return
        content = file_material(label, "asset", path)
        blobs: list[bytes | Path] = list(content.paths)
        material = content.material
        if path.stat().st_size <= IN_MEMORY_BYTES:
            data = path.read_bytes()
            media_type = media_type_of(data, path.name)
            material = replace(
                material, sha256=sha256_hex(data), media_type=media_type, kind=_kind(media_type)
            )
            blobs = [data]
        self._take(material, blobs, lambda: _file_now(path))

    def _content(self, label: str, value: Any) -> None:
        encode, media_type = _encoder(label, value)
        data = encode()
        material = Material(
            name=label,
            kind=_kind(media_type),
            sha256=sha256_hex(data),
            storage="vaulted",
            media_type=media_type,
        )
        self._take(material, [data], lambda: sha256_hex(encode()))

    def _take(
        self, material: Material, blobs: list[bytes | Path], again: Callable[[], str]
    ) -> None:
        self.materials.append(replace(material, output_of=self._record_of(material)))
        self._contents[material.name] = blobs
        self._again[material.name] = again

    def _record_of(self, material: Material) -> str | None:
        """Return the one record that made a content; None where none did, or several."""
        found = None if material.files else self._known(f"sha256:{material.sha256}")
        if found is None or any(event.predicate in _MAKING for event in found.events):
            return None
        return str(found.record)

    def _known(self, ref: str) -> Any:
        """Return the passport of an asset, None where there is none or nobody to ask."""
        ask = getattr(self.recorder, "get", None)
        try:
            return None if ask is None else ask(ref)
        except NotFoundError:
            return None


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} is no name for an input or a parameter",
            code="recording.name",
            hint="names are plain in the record: give a word, such as `background`",
        )
    return name


def _encoder(label: str, value: Any) -> tuple[Callable[[], bytes], str]:
    if is_picture(value):
        return (lambda: encode_png(value)), PNG
    if isinstance(value, (bytes, bytearray)):
        return (lambda: bytes(value)), media_type_of(bytes(value), "")
    if hasattr(value, "dtype") and hasattr(value, "shape"):
        array = value.detach().cpu().numpy() if hasattr(value, "detach") else value
        return (lambda: encode_array(array)), NPY
    raise InputError(
        f"{label} is a {type(value).__name__}",
        code="recording.input",
        hint="give a path, an asset's id, a picture, an array or bytes",
    )


def _kind(media_type: str) -> str:
    """Return the kind of material that a content is."""
    top = media_type.partition("/")[0]
    return top if top in {"image", "text"} else "asset"


def _file_now(path: Path) -> str:
    try:
        return DIGESTS.describe(path, path.name).sha256
    except GenopsError:
        return ""


def _folder_now(label: str, path: Path) -> str:
    try:
        return folder_material(label, "dataset", path, files_below(path)).material.sha256
    except GenopsError:
        return ""
