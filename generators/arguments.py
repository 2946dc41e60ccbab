"""The arguments of a call as JSON and back: scalars plain, texts sealed, contents as materials.

Every object in the result is tagged by a key (ref, map, tuple, integer, dtype, opaque), so that
reading it back is unambiguous. Knows no pipeline; imports torch only where a tensor is restored.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from generators.encode import (
    NPY,
    PNG,
    decode_array,
    decode_image,
    encode_array,
    encode_png,
    is_picture,
)
from registry.core.digests import sha256_hex
from registry.core.generation import Material, Sealed
from registry.errors import InputError, MaterialError

MAX_JSON_INTEGER = 2**53
BYTES = "application/octet-stream"


@dataclass(slots=True)
class ArgumentReader:
    """Turns one call's arguments into JSON; gathers what they need beside it.

    `files` names the arguments that are paths of files to keep, with the kind of material each
    is; `takes_array` says of which arguments arrays are content, not opaque. Filled while reading:
    `materials` with their bytes in `blobs`, `inputs` with the materials of each argument in order,
    `reasons` for what could not be captured.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    takes_array: Callable[[str], bool] = lambda name: True  # noqa: ARG005 (a default for all)
    materials: list[Material] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    inputs: dict[str, list[str]] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)

    def read(self, name: str, value: Any, default: Any) -> Any:
        """Describe argument `name`; what equals its default is never sealed.

        Raises InputError (`input.text`, `input.number`, `input.image`) for what no record can
        hold, MaterialError for a declared file that cannot be read.
        """
        return self._describe(name, value, _as_it_is if _is_default(value, default) else Sealed)

    def _describe(self, name: str, value: Any, text: Callable[[Any], Any]) -> Any:
        if value is None or isinstance(value, (bool, int, float)):
            return _scalar(name, value)
        if isinstance(value, (str, Path)):
            return self._describe_text(name, value, text)
        if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
            # Sealed as one: so the number of texts is all that shows.
            return text([check_text(name, item) for item in value])
        if isinstance(value, (list, tuple)):
            items = [self._describe(name, item, text) for item in value]
            return items if isinstance(value, list) else {"tuple": items}
        if isinstance(value, Mapping):
            return {"map": {str(k): self._describe(name, v, text) for k, v in value.items()}}
        return self._describe_object(name, value)

    def _describe_text(self, name: str, value: str | Path, text: Callable[[Any], Any]) -> Any:
        if name in self.files:
            form = "path" if isinstance(value, Path) else "text"
            return self._add(name, _read(name, Path(value)), BYTES) | {"as": form}
        if isinstance(value, Path):
            self.reasons.append(f"argument {name} is a path that is not declared as an input")
        return text(check_text(name, str(value)))

    def _describe_object(self, name: str, value: Any) -> Any:
        if is_picture(value):
            return self._add(name, encode_png(value), PNG)
        if isinstance(value, bytes):
            return self._add(name, value, BYTES) | {"as": "bytes"}
        if _is_torch(value, "dtype"):
            return {"dtype": str(value).removeprefix("torch.")}
        if _is_array(value) and self.takes_array(name):
            return self._add_array(name, value)
        self.reasons.append(f"argument {name} is an opaque {type(value).__name__}")
        return {"opaque": type(value).__name__, **_shape(value)}

    def _add_array(self, name: str, value: Any) -> Any:
        tensor = _is_torch(value, "Tensor")
        if tensor and str(value.dtype) == "torch.bfloat16":
            self.reasons.append(f"argument {name} is a tensor of dtype bfloat16")
            return {"opaque": "Tensor", **_shape(value)}
        array = value.detach().cpu().numpy() if tensor else value
        described = self._add(name, encode_array(array), NPY)
        return described | {"as": "tensor" if tensor else "array"}

    def _add(self, name: str, data: bytes, media_type: str) -> dict[str, Any]:
        """Add a material for a content; the same content twice is one material."""
        digest = sha256_hex(data)
        used = self.inputs.setdefault(name, [])
        known = next((m for m in self.materials if m.sha256 == digest), None)
        if known is None:
            known = Material(
                name=f"input/{name}" + (f"-{len(used)}" if used else ""),
                kind=self.files.get(name) or input_kind(name),
                sha256=digest,
                storage="vaulted",
                media_type=media_type,
            )
            self.materials.append(known)
            self.blobs.append(data)
        used.append(known.name)
        return {"ref": known.name}


@dataclass(slots=True)
class ArgumentWriter:
    """Turns described arguments back into values; `path` gives the local copy of a material.

    `inputs` gathers the materials of each argument, as the reader's does.
    """

    path: Callable[[str], Path]
    media_types: Mapping[str, str | None]
    inputs: dict[str, list[str]] = field(default_factory=dict)

    def write(self, name: str, described: Any) -> Any:
        """Return the value of argument `name`.

        Raises InputError (`replay.argument`) for one that was not captured, or is sealed still.
        """
        if isinstance(described, list):
            return [self.write(name, item) for item in described]
        if not isinstance(described, Mapping):
            return described
        if "ref" in described:
            self.inputs.setdefault(name, []).append(described["ref"])
            return self._content(described)
        if "map" in described:
            return {key: self.write(name, item) for key, item in described["map"].items()}
        if "tuple" in described:
            return tuple(self.write(name, item) for item in described["tuple"])
        return _tagged_scalar(name, described)

    def _content(self, described: Mapping[str, Any]) -> Any:
        path = self.path(described["ref"])
        form = described.get("as")
        if form in {"path", "text"}:
            return path if form == "path" else str(path)
        data = path.read_bytes()
        if form == "bytes":
            return data
        if self.media_types.get(described["ref"]) != NPY:
            return decode_image(data)
        return _tensor(decode_array(data)) if form == "tensor" else decode_array(data)


def input_kind(argument: str) -> str:
    """Return the material kind of a content given as this argument."""
    if "mask" in argument and "masked" not in argument:
        return "mask"
    return "control" if "control" in argument else "image"


def check_text(name: str, text: str) -> str:
    """Return `text`, or raise InputError (`input.text`) for a lone surrogate in it."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise InputError(
            f"argument {name} has a lone surrogate at position {error.start}",
            code="input.text",
            hint="Half a character cannot be written as UTF-8; repair the text.",
        ) from None
    return text


def _scalar(name: str, value: float | None) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"argument {name} is {value}", code="input.number")
    if isinstance(value, int) and not isinstance(value, bool):
        # A seed is a decimal string at any size: JSON readers round what doubles cannot hold.
        return (
            {"integer": str(value)} if name == "seed" or abs(value) >= MAX_JSON_INTEGER else value
        )
    return value


def _tagged_scalar(name: str, described: Mapping[str, Any]) -> Any:
    if "integer" in described:
        return int(described["integer"])
    if "dtype" in described:
        import torch

        return getattr(torch, described["dtype"])
    what = f"an opaque {described['opaque']}" if "opaque" in described else "sealed"
    raise InputError(f"argument {name} was not captured: it is {what}", code="replay.argument")


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise MaterialError(
            f"argument {name} names a file that cannot be read: {error.strerror}",
            code="material.unreadable",
        ) from None


def _tensor(array: Any) -> Any:
    import torch

    return torch.from_numpy(array)


def _as_it_is(value: Any) -> Any:
    return value


def _is_default(value: Any, default: Any) -> bool:
    """Tell whether a value is its parameter's default; arrays and pictures never are."""
    if _is_array(value) or is_picture(value):
        return False
    return value is default or (type(value) is type(default) and bool(value == default))


def _is_array(value: Any) -> bool:
    return hasattr(value, "dtype") and hasattr(value, "shape")


def _is_torch(value: Any, name: str) -> bool:
    """Tell whether a value is of a torch class, without importing torch."""
    return any(c.__module__ == "torch" and c.__name__ == name for c in type(value).__mro__)


def _shape(value: Any) -> dict[str, Any]:
    if not _is_array(value):
        return {}
    return {"shape": [int(side) for side in value.shape], "dtype": str(value.dtype)}
