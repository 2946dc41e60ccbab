"""Real pictures, and a database that holds outputs and their fingerprints."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import Connection, Engine, insert

from registry.core.digests import record_id
from registry.core.fingerprint import FingerprintValue
from registry.settings import Home, Limits, Settings
from registry.similarity.decode import MEDIA_TYPES
from registry.similarity.prints import Prints, prints_of
from registry.store.catalog_tables import OutputRow, RecordRow
from registry.store.engine import open_engine
from registry.store.sidecar_tables import FingerprintRow, ThumbnailRow
from registry.store.transaction import write
from registry.store.types import table_of

LIMITS = Limits()


def encode_image(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def draw_image(seed: int, size: int = 256, cells: int = 24) -> Image.Image:
    """Draw a smooth colour field of its own: structure at several scales, no two alike."""
    rng = np.random.default_rng(seed)
    field_ = rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8)
    return Image.fromarray(field_).resize((size, size), Image.Resampling.BICUBIC)


@dataclass
class Shelf:
    """Outputs in the catalog, each by a record of its own, as the log's transaction stores them."""

    engine: Engine
    records: list[str] = field(default_factory=list)

    def add(self, data: bytes, *, picture: bool = True) -> str:
        """Store an output; return its record id."""
        sha256 = hashlib.sha256(data).digest()
        prints = prints_of(data, LIMITS) if picture else Prints(sha256.hex())
        number = len(self.records)
        leaf = hashlib.sha256(f"leaf {number}".encode()).digest()
        with write(self.engine) as conn:
            conn.execute(insert(table_of(RecordRow)), _record(number, leaf))
            conn.execute(insert(table_of(OutputRow)), _output(number, prints))
            if not _known(conn, sha256):
                _store(conn, prints)
        self.records.append(record_id(leaf.hex()))
        return self.records[-1]


def _known(conn: Connection, sha256: bytes) -> bool:
    table = table_of(FingerprintRow)
    return conn.execute(table.select().where(table.c.sha256 == sha256)).first() is not None


def _store(conn: Connection, prints: Prints) -> None:
    for value in prints.values:
        conn.execute(insert(table_of(FingerprintRow)), row_of(value))
    for thumbnail in prints.thumbnails:
        row = {"sha256": bytes.fromhex(prints.sha256), "data": thumbnail.data, "made": "test"}
        conn.execute(insert(table_of(ThumbnailRow)), row)


def row_of(value: FingerprintValue) -> dict[str, Any]:
    sha256 = bytes.fromhex(value.sha256)
    return {"sha256": sha256, "name": value.name, "value": value.value, "quality": value.quality}


def _record(number: int, leaf: bytes) -> dict[str, Any]:
    return {
        "idx": number,
        "leaf_hash": leaf,
        "payload_sha256": leaf,
        "time_ms": number,
        "predicate_type": "https://slsa.dev/provenance/v1",
        "build_type": None,
        "keyid": "",
        "project": "test",
        "campaign": None,
        "actor": "",
        "invocation_id": str(number),
        "reproducible": True,
    }


def _output(number: int, prints: Prints) -> dict[str, Any]:
    return {
        "node_id": number,
        "record_idx": number,
        "sha256": bytes.fromhex(prints.sha256),
        "pixels": bytes.fromhex(prints.pixels) if prints.pixels else None,
        "media_type": MEDIA_TYPES.get(prints.format or ""),
        "width": prints.width,
        "height": prints.height,
        "size": None,
        "seed": None,
    }


@pytest.fixture(scope="session")
def encode() -> Callable[..., bytes]:
    """Encode a picture: (image, format="PNG", **options)."""
    return encode_image


@pytest.fixture(scope="session")
def drawn() -> Callable[..., Image.Image]:
    """Draw a picture: (seed, size=256, cells=24)."""
    return draw_image


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    opened = open_engine(Settings(Home(tmp_path), "test", "0" * 8), create=True)
    yield opened
    opened.dispose()


@pytest.fixture
def shelf(engine: Engine) -> Shelf:
    return Shelf(engine)


@pytest.fixture(scope="session")
def photographs() -> tuple[Image.Image, ...]:
    """The two photographs that scikit-learn carries: a temple and a flower."""
    from sklearn.datasets import load_sample_images

    return tuple(Image.fromarray(array) for array in load_sample_images().images)
