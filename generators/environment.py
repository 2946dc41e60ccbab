"""The runtime that decides bits: prepared before torch starts, captured with each generation.

Reads the process environment and library versions; records neither host nor user names.
"""

from __future__ import annotations

import os
import sys


def prepare() -> bool:
    """Ask for bit-stable arithmetic; return False when torch was imported too early for it.

    MKL picks code paths by memory alignment unless told otherwise, and memory-mapped weights are
    aligned at random: `AUTO,STRICT` makes results repeat at no cost in speed. One OpenMP thread
    where nothing else was asked for. What the user set stays.
    """
    if "torch" in sys.modules:
        return os.environ.get("MKL_CBWR", "").upper().endswith("STRICT")
    os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return True
