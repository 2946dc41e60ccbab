"""Colour profiles (ICC.1:2010, version 4.2) that this program writes itself: sRGB and Display P3.

So that none of somebody else's has to be shipped. The bytes of a profile are always the same: its
date is fixed. Both have sRGB's tone curve and are relative to D50, as ICC profiles are.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Sequence

# Columns X, Y, Z of red, green and blue, adapted to D50 by Bradford: IEC 61966-2-1, and Apple's
# Display P3 (SMPTE RP 431-2 primaries, D65).
PRIMARIES = {
    "srgb": (
        (0.436065674, 0.222488403, 0.013916016),
        (0.385147095, 0.716873169, 0.097076416),
        (0.143066406, 0.060607910, 0.714096069),
    ),
    "display-p3": (
        (0.515121460, 0.241195679, -0.001052856),
        (0.291976929, 0.692245483, 0.041885376),
        (0.157104492, 0.066574097, 0.784072876),
    ),
}
TITLES = {"srgb": "sRGB (genops)", "display-p3": "Display P3 (genops)"}
D50 = (0.964202881, 1.0, 0.824905396)
_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)
"""sRGB's curve as a parametric one of type 3: ((aX + b)^g above d, cX below), g a b c d."""
_ADAPTATION = (
    (1.047882080, 0.022918701, -0.050201416),
    (0.029586792, 0.990478516, -0.017059326),
    (-0.009231567, 0.015075684, 0.751678467),
)
"""Bradford, D65 to D50."""
_DATE = struct.pack(">6H", 2026, 1, 1, 0, 0, 0)


@functools.cache
def profile(name: str) -> bytes:
    """Return the profile of a colour space of `PRIMARIES`."""
    curve = _parametric(_CURVE)
    red, green, blue = (_xyz(column) for column in PRIMARIES[name])
    return _profile(
        [
            (b"desc", _text(TITLES[name])),
            (b"cprt", _text("No copyright, use freely")),
            (b"wtpt", _xyz(D50)),
            (b"chad", _fixed(b"sf32", [value for row in _ADAPTATION for value in row])),
            (b"rXYZ", red),
            (b"gXYZ", green),
            (b"bXYZ", blue),
            (b"rTRC", curve),
            (b"gTRC", curve),
            (b"bTRC", curve),
        ]
    )


def _profile(tags: Sequence[tuple[bytes, bytes]]) -> bytes:
    """Lay out a display profile: header, table of tags, and each different content once."""
    body, places = b"", {}
    start = 128 + 4 + 12 * len(tags)
    for _, data in tags:
        if data not in places:
            places[data] = (start + len(body), len(data))
            body += data + bytes(-len(data) % 4)
    table = struct.pack(">I", len(tags)) + b"".join(
        name + struct.pack(">2I", *places[data]) for name, data in tags
    )
    head = struct.pack(">I", start + len(body))
    head += b"\0\0\0\0" + b"\x04\x20\0\0" + b"mntrRGB XYZ " + _DATE + b"acsp"
    head += bytes(28) + _numbers(D50)
    return head.ljust(128, b"\0") + table + body


def _xyz(values: Sequence[float]) -> bytes:
    return _fixed(b"XYZ ", values)


def _parametric(values: Sequence[float]) -> bytes:
    return b"para" + bytes(4) + struct.pack(">2H", 3, 0) + _numbers(values)


def _fixed(kind: bytes, values: Sequence[float]) -> bytes:
    return kind + bytes(4) + _numbers(values)


def _numbers(values: Sequence[float]) -> bytes:
    """Write s15Fixed16 numbers."""
    return b"".join(struct.pack(">i", round(value * 65536)) for value in values)


def _text(text: str) -> bytes:
    """Write a multi-localised text with one language, en-US."""
    data = text.encode("utf-16-be")
    return (
        b"mluc"
        + bytes(4)
        + struct.pack(">2I", 1, 12)
        + b"enUS"
        + struct.pack(">2I", len(data), 28)
        + data
    )
