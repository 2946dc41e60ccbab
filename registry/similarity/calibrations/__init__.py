"""The calibration that is shipped, made by `python -m bench.calibrate`; data beside this module."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from registry.core.jsonio import loads
from registry.similarity.certainty import Calibration, from_json

DEFAULT = "default-v1.json"
MOST_BYTES = 1 << 20


@cache
def default() -> Calibration:
    """Return the calibration that holds where a registry has none of its own."""
    return from_json(loads((files(__package__) / DEFAULT).read_bytes(), max_bytes=MOST_BYTES))
