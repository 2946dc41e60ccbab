"""Small pure helpers for text on a terminal: escapes, short ids, cuts, sizes.

Whatever came from a prompt, a file name or an error passes through `visible` before it is shown.
"""

from __future__ import annotations

import unicodedata

SHORT = 12
LONGEST_TEXT = 600


def visible(text: str) -> str:
    r"""Return the text with everything invisible or steering written as an escape.

    Control characters (ESC, CSI, BEL, line breaks), bidirectional marks, zero-width characters,
    lone surrogates and unassigned code points become `\x1b`, `\u202e` and the like; spaces of all
    scripts stay.
    """
    if text.isprintable():
        return text
    return "".join(c if _harmless(c) else c.encode("unicode_escape").decode() for c in text)


def _harmless(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def paragraph(text: str, *, limit: int = LONGEST_TEXT) -> str:
    """Return a text for reading: escaped line by line, a long one cut with a note.

    `limit` counts characters of the text itself.
    """
    kept = "\n".join(visible(line) for line in text[:limit].split("\n"))
    if len(text) <= limit:
        return kept
    return f"{kept} … [cut: {len(text):,} characters in all; --json has them]"


def short(ref: str | None) -> str:
    """Return the first 12 hex digits of an id, with `rec:` kept and `sha256:` left out."""
    if not ref:
        return "-"
    head, colon, digits = ref.partition(":")
    if not colon:
        return visible(ref[:SHORT])
    return f"rec:{digits[:SHORT]}" if head == "rec" else visible(digits[:SHORT])


def size(octets: int | None) -> str:
    """Return a size in bytes, KiB, MiB or GiB."""
    if octets is None:
        return "-"
    value = float(octets)
    for unit in ("bytes", "KiB", "MiB"):
        if value < 1024:
            return f"{octets} bytes" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} GiB"


def when(time: str) -> str:
    """Return a record's time to the second: `2026-11-20 11:07:00Z`."""
    return visible(time.partition(".")[0].replace("T", " ").removesuffix("Z") + "Z")


def plural(count: int, noun: str) -> str:
    """Return `1 asset`, `2,000 assets`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
