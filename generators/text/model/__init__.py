"""The copy model: a tiny language model that writes product copy as JSON, and its training.

Where the shipped weights lie. Imports neither torch nor transformers.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
