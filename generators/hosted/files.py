"""Outputs of another program as files of the caller's own naming; nothing is named from outside."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path

from registry.core.generation import Output
from registry.errors import InputError

_SUFFIXES = {"image/jpeg": ".jpg", "image/webp": ".webp", "image/avif": ".avif"}


def write_outputs(outputs: Sequence[Output], out: Path | None) -> tuple[str, ...]:
    """Write outputs to `out`, several ones numbered (`mug-1.png`); return the paths.

    Into a folder where `out` is one. Raises InputError (`file.unwritable`).
    """
    if out is None:
        return ()
    paths = [_path(out, number, one, len(outputs)) for number, one in enumerate(outputs, 1)]
    for path, output in zip(paths, outputs, strict=True):
        try:
            path.write_bytes(output.data)
        except OSError as error:
            raise InputError(
                f"cannot write {path}: {error.strerror}",
                code="file.unwritable",
                hint="it is recorded all the same: `genops read ID --out FILE` writes it",
            ) from None
    return tuple(map(str, paths))


def _path(out: Path, number: int, output: Output, count: int) -> Path:
    kind = output.media_type.partition(";")[0]
    suffix = _SUFFIXES.get(kind) or mimetypes.guess_extension(kind) or ".bin"
    if out.is_dir():
        return out / f"{number}{suffix}"
    return out if count == 1 else out.with_name(f"{out.stem}-{number}{out.suffix or suffix}")
