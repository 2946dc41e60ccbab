"""How values read on a page: times, sizes, ids, and texts that must not harm or mislead.

Pure; whatever came from a prompt, a file name or another service passes through `text`.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from registry.core.digests import ASSET_HEAD, RECORD_HEAD

SHORT = 12
NOTHING = "\u2013"
"""Stands where there is no value."""
LONGEST_TEXT = 20_000
"""Most characters of one text on a page; the evidence holds the whole."""
PIXEL_ART_EDGE = 160
"""Pictures up to this edge are enlarged with hard pixels."""

_JOINERS = frozenset("\u200c\u200d\u00ad")
_PICTURES = frozenset(
    f"image/{name}" for name in ("png", "jpeg", "webp", "gif", "bmp", "tiff", "avif")
)
_ACRONYMS = {"id": "ID", "lora": "LoRA", "loras": "LoRAs", "cfg": "CFG", "vae": "VAE"}


@dataclass(frozen=True, slots=True)
class SealedText:
    """A text that this page cannot show: erased, or locked away from this registry."""

    state: str


@dataclass(frozen=True, slots=True)
class Row:
    """One setting of a generation: its dotted path and its value."""

    path: str
    value: Any

    @property
    def label(self) -> str:
        """The last step of the path, as words."""
        steps = [step for step in self.path.split(".") if not step.isdigit()]
        words = (steps or [self.path])[-1].replace("_", " ").split()
        shown = " ".join(_ACRONYMS.get(word, word) for word in words)
        return shown[:1].upper() + shown[1:]


def text(value: object) -> Markup:
    """Return a text as HTML: escaped, isolated from the direction around it, nothing invisible.

    Control and steering characters (NUL, ESC, bidirectional overrides, lone surrogates) are shown
    as their code point; line breaks and tabs stay.
    """
    whole = str(value)
    shown = "".join(_character(c) for c in whole[:LONGEST_TEXT])
    rest = len(whole) - LONGEST_TEXT
    cut = f'<span class="cut">… {rest:,} more characters in the evidence</span>' if rest > 0 else ""
    return Markup(f'<bdi dir="auto">{shown}</bdi>{cut}')  # noqa: S704  # each part is escaped


def _character(character: str) -> str:
    if character in "\n\t" or character in _JOINERS:
        return character
    if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zl", "Zp"}:
        return f'<span class="ctl">U+{ord(character):04X}</span>'
    return str(escape(character))


def short(ref: str | None) -> str:
    """Return the first 12 digits of an id; `rec:` stays in front."""
    if not ref:
        return NOTHING
    digits = ref.removeprefix(ASSET_HEAD).removeprefix(RECORD_HEAD)[:SHORT]
    return f"{RECORD_HEAD}{digits}" if ref.startswith(RECORD_HEAD) else digits


def when(time: str) -> str:
    """Return a record's time to the second, as `2026-11-20 11:07:00 UTC`."""
    return time.partition(".")[0].removesuffix("Z").replace("T", " ") + " UTC"


def size(octets: int | None) -> str:
    """Return a size in bytes, KiB, MiB or GiB."""
    if octets is None:
        return NOTHING
    if octets < 1024:
        return f"{octets} bytes"
    value = octets / 1024
    for unit in ("KiB", "MiB"):
        if value < 1024:
            return f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def build(uri: str | None) -> str:
    """Return the generator's name in a build type URI."""
    if not uri:
        return NOTHING
    parts = uri.rstrip("/").split("/")
    return parts[-2] if len(parts) > 1 and parts[-1].startswith("v") else parts[-1]


def is_picture(media_type: str | None) -> bool:
    """Tell whether browsers show this media type as a still picture, and we can make it small."""
    return media_type in _PICTURES


def is_small(width: int | None, height: int | None) -> bool:
    """Tell whether a picture is enlarged with hard pixels."""
    return max(width or PIXEL_ART_EDGE + 1, height or 0) <= PIXEL_ART_EDGE


def plain(value: Any) -> str:
    """Return a setting's value as text: JSON for all but strings."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def rows(document: Mapping[str, Any], state: str) -> list[Row]:
    """Return a JSON document's leaves, in order; sealed ones as `SealedText(state)`.

    Leaves without a value are left out: they are defaults that were never chosen.
    """
    return [row for row in _leaves("", document, state) if row.value is not None]


def split_texts(leaves: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Split settings into prompts, negative ones last, and all the rest."""
    prompts = [row for row in leaves if _is_prompt(row)]
    prompts.sort(key=lambda row: "negative" in row.path)
    return prompts, [row for row in leaves if not _is_prompt(row)]


def scales(document: Any) -> dict[str, Any]:
    """Return the scale of every `{ref, scale}` in a document, by the material it points at."""
    if isinstance(document, Mapping):
        here = {document["ref"]: document["scale"]} if {"ref", "scale"} <= document.keys() else {}
        below = [scales(value) for value in document.values()]
    elif isinstance(document, list):
        here, below = {}, [scales(value) for value in document]
    else:
        return {}
    return {key: value for found in (*below, here) for key, value in found.items()}


def _leaves(path: str, value: Any, state: str) -> Iterator[Row]:
    if isinstance(value, Mapping) and value.keys() == {"sealed"}:
        yield Row(path, SealedText(state))
    elif isinstance(value, Mapping) and value:
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item, state)
    elif isinstance(value, list) and any(isinstance(item, (Mapping, list)) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(f"{path}.{number}", item, state)
    else:
        yield Row(path, value)


def _is_prompt(row: Row) -> bool:
    named = any("prompt" in step for step in row.path.lower().split("."))
    return named and isinstance(row.value, (str, SealedText)) and row.value != ""
