"""`find calibrate` says what was compared, and which pictures stand too near to be different."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from jsonschema import Draft202012Validator
from sqlalchemy import insert

from registry import create_registry
from registry.cli import schemas
from registry.similarity.fingerprints import PHASH256
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import write
from registry.store.types import table_of
from registry.workflows.look_up_calibration import LEAST_SOURCES


def test_it_refuses_few_pictures_and_names_the_nearest_of_many(genops: Any, tmp_path: Path) -> None:
    values = np.random.default_rng(5).integers(0, 256, (LEAST_SOURCES + 1, 32), dtype=np.uint8)
    values[1] = values[0]
    values[1, :2] ^= 3
    rows = [
        {"sha256": bytes([n] * 32), "name": PHASH256, "value": value.tobytes(), "quality": 100}
        for n, value in enumerate(values)
    ]
    with create_registry(tmp_path / "home", name="test") as registry:
        refused = genops("find", "calibrate", "--home", tmp_path / "home")
        assert refused.code == 2
        assert "too few to calibrate from" in refused.err
        with write(registry._services.engine) as conn:
            conn.execute(insert(table_of(FingerprintRow)), rows)
        said = genops("find", "calibrate", "--home", tmp_path / "home")
        assert said.code == 0
        assert f"{LEAST_SOURCES + 1} pictures of {LEAST_SOURCES + 1} sources" in said.out
        assert "differ in 4 bits" in said.out
        again = genops("find", "calibrate", "--json", "--home", tmp_path / "home")
    Draft202012Validator(json.loads(schemas.text("find calibrate"))).validate(again.json)
    (pair,) = again.json["nearest"]
    assert (pair["first"], pair["distance"]) == (f"sha256:{'00' * 32}", 4)
