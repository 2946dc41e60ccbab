"""The memory index as it was first named; see `registry.similarity.hamming`."""

from __future__ import annotations

from sqlalchemy import Engine

from registry.similarity import hamming
from registry.similarity.fingerprints import PHASH256
from registry.similarity.stored import FingerprintSource


class HammingIndex(hamming.HammingIndex):
    def __init__(self, name: str = PHASH256) -> None:
        super().__init__(None, [FingerprintSource(name)])

    def refresh(self, engine: Engine | None = None) -> int:
        self._engine = lambda: engine
        return super().refresh()
