"""Which photographs thresholds may be tuned on, and which are kept to measure what came of it."""

from __future__ import annotations

import hashlib


def is_tuning(name: str) -> bool:
    """Tell by the hash of a file's name whether its picture is of the half to tune on."""
    return hashlib.sha256(name.encode("utf-8")).digest()[0] % 2 == 0
