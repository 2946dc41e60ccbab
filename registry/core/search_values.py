"""The values of search terms: names, ranges, times, colours. Each reader says what it takes.

A reader returns a value, or raises ValueError with what would have been one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from registry.core.times import read_time
from registry.errors import InputError

CHOICES: Mapping[str, tuple[str, ...]] = {
    "kind": ("generated", "ingested"),
    "orientation": ("portrait", "landscape", "square"),
    "tainted": ("yes", "no"),
    "decision": ("passed", "failed", "none"),
    "draft": ("no", "draft", "kept", "expired"),
    "reproducible": ("yes", "no"),
}
WITHIN = 20.0
"""Distance in CIE Lab (1976) within which a colour counts as near, unless a term says another."""
SHARE = 10
"""Least share of the area, in percent, unless a term says another."""
GROUPS = ("image", "text", "audio", "video", "application")

_SHORT = {"jpg": "image/jpeg", "tif": "image/tiff", "txt": "text/plain", "md": "text/markdown"}
_TEXTS = {"plain", "markdown", "html", "css", "csv"}
_PICTURES = {"png", "jpeg", "webp", "gif", "avif", "tiff", "bmp", "svg+xml"}
_UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
_NUMBER = re.compile(r"(\d{1,15}(?:\.\d{1,3})?)([kmg]?)b?", re.IGNORECASE)
_AGO = re.compile(r"(\d{1,5})([dh])")
_AGO_MS = {"d": 86_400_000, "h": 3_600_000}
_DAY = re.compile(r"(\d{4})(?:-(\d{2})(?:-(\d{2})(?:[Tt ](\d{2})(?::(\d{2}))?[Zz]?)?)?)?")
_HEX = re.compile(r"#?([0-9a-fA-F]{6})")
_NUMBERS = "a number, or a range: 1024, 512..1024, 1024.., ..1024"


@dataclass(frozen=True, slots=True)
class Name:
    """A name as it is written, or a pattern in which `*` stands for any characters."""

    text: str

    @property
    def is_pattern(self) -> bool:
        """Tell whether more than one name can be meant."""
        return "*" in self.text


@dataclass(frozen=True, slots=True)
class Span:
    """Numbers from `low` to `high`, both included; None for no bound. Times are in milliseconds.

    `ago_ms` is a time before now, in place of bounds.
    """

    low: int | None
    high: int | None
    ago_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Ratio:
    """Width to height."""

    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Near:
    """A colour, the least share of the area that is near it, and how near, in CIE Lab."""

    red: int
    green: int
    blue: int
    share: int = SHARE
    within: float = WITHIN


def read_number(text: str) -> Span:
    """Read a number of pixels, or a range of them."""
    return _range(text, _whole)


def read_octets(text: str) -> Span:
    """Read a number of bytes, or a range of them; `k`, `M` and `G` are powers of 1000."""
    return _range(text, _octets)


def read_seed(text: str) -> str:
    """Read a seed: a decimal number of any size."""
    if not re.fullmatch(r"-?\d{1,40}", text):
        raise ValueError("a whole number")
    return text


def read_ratio(text: str) -> Ratio:
    """Read `16:9`."""
    found = re.fullmatch(r"([1-9]\d{0,4})[:/x]([1-9]\d{0,4})", text)
    if found is None:
        raise ValueError("two numbers: 16:9")
    return Ratio(int(found[1]), int(found[2]))


def read_format(text: str) -> Name:
    """Read a format as the media type that it is: `jpg`, `image`, `application/pdf`, `image/*`."""
    word = text.lower()
    if "/" in word:
        return Name(word)
    if word in GROUPS:
        return Name(f"{word}/*")
    if word in _SHORT:
        return Name(_SHORT[word])
    if word in _TEXTS:
        return Name(f"text/{word}")
    if word in _PICTURES:
        return Name(f"image/{word}")
    if re.fullmatch(r"[a-z0-9.+*-]+", word) is None:
        raise ValueError("a format (png), a group (image), or a media type (application/pdf)")
    return Name(f"application/{word}")


def read_span(text: str) -> Span:
    """Read a time or a range of times, each as exact as it is written; or an age: `7d`, `24h`."""
    if found := _AGO.fullmatch(text):
        return Span(None, None, int(found[1]) * _AGO_MS[found[2]])
    first, dots, last = text.partition("..")
    if not dots:
        return Span(*_times(text))
    low = _times(first)[0] if first else None
    high = _times(last)[1] if last else None
    if low is None and high is None:
        raise ValueError("a day, month or year on one side of the dots")
    if low is not None and high is not None and low > high:
        raise ValueError("the earlier time first")
    return Span(low, high)


def read_colour(text: str) -> Near:
    """Read `#rrggbb` or a CSS name, with `share=` and `within=` after commas."""
    name, *options = [part.strip() for part in text.split(",")]
    share, within = SHARE, WITHIN
    for option in options:
        key, _, value = option.partition("=")
        number = re.fullmatch(r"(\d{1,3})%?", value)
        if key not in {"share", "within"} or number is None or not 1 <= int(number[1]) <= 100:
            raise ValueError("a colour, and after commas share=1..100 and within=1..100")
        if key == "share":
            share = int(number[1])
        else:
            within = float(number[1])
    return Near(*_rgb(name), share, within)


def _rgb(name: str) -> tuple[int, int, int]:
    if found := _HEX.fullmatch(name):
        red, green, blue = bytes.fromhex(found[1])
        return red, green, blue
    from PIL import ImageColor  # noqa: PLC0415  # only for a colour by its name

    if name.lower() not in ImageColor.colormap:
        raise ValueError("#rrggbb, or a name that CSS has, such as orange")
    red, green, blue = ImageColor.getrgb(name.lower())[:3]
    return red, green, blue


def _range(text: str, read: Callable[[str], int]) -> Span:
    first, dots, last = text.partition("..")
    if not dots:
        number = read(text)
        return Span(number, number)
    low, high = (read(side) if side else None for side in (first, last))
    if low is None and high is None:
        raise ValueError(_NUMBERS)
    if low is not None and high is not None and low > high:
        raise ValueError("the smaller number first")
    return Span(low, high)


def _whole(text: str) -> int:
    if not re.fullmatch(r"\d{1,15}", text.strip()):
        raise ValueError(_NUMBERS)
    return int(text)


def _octets(text: str) -> int:
    found = _NUMBER.fullmatch(text.strip())
    if found is None:
        raise ValueError("a number, or a range, maybe with k, M or G: ..5M, 300k..2M")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _times(text: str) -> tuple[int, int]:
    """Return the first and last millisecond of a year, month, day, hour or minute in UTC."""
    found = _DAY.fullmatch(text.strip())
    if found is None:
        raise ValueError("a day like 2026-11-20, a month like 2026-11, a range, or an age like 7d")
    year, month, day, hour, minute = (int(part) if part else None for part in found.groups())
    try:
        first = read_time(
            f"{year:04}-{month or 1:02}-{day or 1:02}T{hour or 0:02}:{minute or 0:02}Z"
        )
        if month is None:
            end = read_time(f"{(year or 0) + 1:04}-01-01")
        elif day is None:
            end = read_time(f"{(year or 0) + month // 12:04}-{month % 12 + 1:02}-01")
        else:
            end = first + (
                60_000 if minute is not None else 3_600_000 if hour is not None else 86_400_000
            )
    except InputError:
        raise ValueError("a day that there is, like 2026-11-20") from None
    return first, end - 1
