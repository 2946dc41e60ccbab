"""Pictures that are sent to a service: read once, kept to the byte, named by their record.

Knows files and assets; sends nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.core.digests import sha256_hex
from registry.core.generation import Material
from registry.errors import InputError, NotFoundError

_HEADS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


@dataclass(frozen=True, slots=True)
class Input:
    """One picture as a material, and its bytes."""

    material: Material
    data: bytes = field(repr=False)

    def part(self, images: int) -> tuple[str, tuple[str, bytes, str]]:
        """Return the picture as a part of a form; its own file name tells nobody anything."""
        kind = self.material.media_type or "application/octet-stream"
        name = self.material.name.replace("/", "-") + "." + kind.rpartition("/")[2]
        if self.material.kind == "mask":
            return "mask", (name, self.data, kind)
        return ("image" if images == 1 else "image[]"), (name, self.data, kind)


def read_inputs(
    recorder: Any, images: Sequence[str | Path | bytes], mask: str | Path | bytes | None, most: int
) -> list[Input]:
    """Read the pictures of an edit, and its mask; InputError or NotFoundError for what is none."""
    if not 1 <= len(images) <= 16:
        raise InputError(f"an edit takes 1 to 16 pictures, not {len(images)}", code="hosted.input")
    found = [
        read_input(recorder, one, f"input/image/{number}", "image", most)
        for number, one in enumerate(images)
    ]
    if mask is not None:
        found.append(read_input(recorder, mask, "input/mask", "mask", most))
    return found


def read_input(recorder: Any, source: str | Path | bytes, name: str, kind: str, most: int) -> Input:
    """Read one picture: bytes, a file, or an asset of the registry, which its material then names.

    At most `most` bytes. A personal asset is refused: it would leave the house, and be kept here
    in the clear.
    """
    record = None
    if isinstance(source, bytes):
        data = source
    else:
        data, record = _read(recorder, source, most)
    if not 0 < len(data) <= most:
        raise InputError(f"{name} has {len(data)} bytes, of 1 to {most}", code="hosted.input")
    material = Material(
        name=name,
        kind=kind,
        sha256=sha256_hex(data),
        storage="vaulted",
        media_type=next((k for head, k in _HEADS.items() if data.startswith(head)), None),
        output_of=record,
    )
    return Input(material, data)


def _read(recorder: Any, source: str | Path, most: int) -> tuple[bytes, str | None]:
    path = Path(source)
    try:
        if not path.is_file():
            return _read_asset(recorder, source)
        if path.stat().st_size > most:
            raise InputError(f"{path} has more than {most} bytes", code="hosted.input")
        return path.read_bytes(), None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="file.unreadable") from None


def _read_asset(recorder: Any, source: str | Path) -> tuple[bytes, str]:
    if isinstance(source, Path) or not hasattr(recorder, "blob"):
        raise NotFoundError(f"no file at {source}", code="ref.unknown")
    record: str = recorder.get(source).record
    return recorder.blob(source).read_bytes(), record
