"""A registry is calibrated by its own pictures, and by nothing that somebody made up."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import insert

from registry import create_registry
from registry.core.digests import sha256_hex
from registry.core.jsonio import dumps
from registry.core.look_up_predicates import PREDICATE_CALIBRATION_V2
from registry.core.look_up_predicates import calibration as said
from registry.core.statements import Subject
from registry.errors import InputError
from registry.sdk import Registry
from registry.similarity.calibrations import default
from registry.similarity.certainty import to_json
from registry.similarity.fingerprints import PHASH256
from registry.similarity.prints import prints_of
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import write
from registry.store.types import table_of
from registry.workflows.look_up import calibration
from registry.workflows.look_up_calibration import LEAST_SOURCES
from registry.workflows.submit import declare


def picture(folder: Path, seed: int) -> Path:
    """Draw a picture of its own into a file."""
    cells = np.random.default_rng(seed).integers(0, 256, (24, 24, 3), dtype=np.uint8)
    path = folder / f"{seed}.png"
    Image.fromarray(cells).resize((256, 256), Image.Resampling.BICUBIC).save(path)
    return path


def store(registry: Registry, values: Any) -> list[bytes]:
    """Put fingerprints of nothing into the registry; return the digests they are of."""
    digests = [bytes.fromhex(sha256_hex(b"picture" + value.tobytes())) for value in values]
    rows = [
        {"sha256": digest, "name": PHASH256, "value": value.tobytes(), "quality": 100}
        for digest, value in zip(digests, values, strict=True)
    ]
    with write(registry._services.engine) as conn:
        conn.execute(insert(table_of(FingerprintRow)), rows)
    return digests


def sign(registry: Registry, table: bytes, *, sha256: str | None = None) -> str:
    """Put a calibration on the log by its table, or by the digest of one."""
    services = registry._services
    blob = services.vault.put(table)
    predicate = said(
        services.head(), banks=["registered"], pictures=9, sources=9, fingerprints={PHASH256: 36}
    )
    subject = Subject("out/0", sha256 or blob.sha256, "application/json")
    blobs = () if sha256 else (blob,)
    return declare(
        services, [subject], PREDICATE_CALIBRATION_V2, predicate, role="reviewer", blobs=blobs
    ).record


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    with create_registry(tmp_path / "home", name="test") as made:
        yield made


def test_look_ups_follow_the_registrys_own_distances(registry: Registry, tmp_path: Path) -> None:
    file = picture(tmp_path, 1)
    asset = registry.ingest(file).assets[0]
    query = tmp_path / "copy.jpg"
    Image.open(file).save(query, quality=50)
    before = registry.find(query)
    assert (before.query["calibration"], before.verdict) == ("default", "match")
    rng = np.random.default_rng(1)
    (own,) = (v for v in prints_of(file.read_bytes(), registry.settings.limits).values
              if v.name == PHASH256)  # fmt: skip
    alike = np.tile(np.frombuffer(own.value, np.uint8), (LEAST_SOURCES, 1))
    alike[:, :3] ^= rng.integers(0, 256, (LEAST_SOURCES, 3), dtype=np.uint8)
    store(registry, alike)
    done = registry.calibrate_look_ups()
    assert (done.pictures, done.sources) == (LEAST_SOURCES + 1, LEAST_SOURCES + 1)
    assert done.fingerprints[PHASH256] == (LEAST_SOURCES + 1) * LEAST_SOURCES // 2
    assert 0 < done.nearest[0].distance < 12
    after = registry.find(query)
    assert after.query["calibration"] == done.record
    (match,) = (match for match in after.matches if match.id == asset)
    assert match.expected_bound is not None
    assert match.expected_bound > 100 * (before.matches[0].expected_bound or 0)
    assert registry.check_log().ok


def test_what_is_tied_is_one_source(registry: Registry, tmp_path: Path) -> None:
    original = registry.ingest(picture(tmp_path, 1)).assets[0]
    edited = tmp_path / "edited.jpg"
    Image.open(tmp_path / "1.png").save(edited, quality=60)
    registry.ingest(edited, parents=[original])
    Image.open(tmp_path / "1.png").save(tmp_path / "packed.png", compress_level=1)
    registry.ingest(tmp_path / "packed.png")
    store(registry, np.random.default_rng(2).integers(0, 256, (LEAST_SOURCES, 32), dtype=np.uint8))
    done = registry.calibrate_look_ups()
    assert (done.pictures, done.sources) == (LEAST_SOURCES + 3, LEAST_SOURCES + 1)
    assert done.nearest == ()


def test_too_few_pictures_calibrate_nothing(registry: Registry) -> None:
    values = np.random.default_rng(3).integers(0, 256, (LEAST_SOURCES - 1, 32), dtype=np.uint8)
    store(registry, values)
    with pytest.raises(InputError) as error:
        registry.calibrate_look_ups()
    assert error.value.code == "calibration.samples"
    assert calibration(registry._services)[0] is default()
    with pytest.raises(InputError) as error:
        registry.calibrate_look_ups(banks=["unheard-of"])
    assert error.value.code == "find.bank"


def test_a_table_that_is_missing_altered_or_made_up_is_passed_over(registry: Registry) -> None:
    services = registry._services
    sound = sign(registry, dumps(to_json(default())))
    assert calibration(services)[0].record == sound
    boast = to_json(default())
    boast["fingerprints"][PHASH256]["hits"].reverse()
    passed_over = [
        sign(registry, dumps(boast)),
        sign(registry, b"{}"),
        sign(registry, b"", sha256="ab" * 32),
    ]
    altered = dumps(to_json(default()) | {"made": {"by": "me"}})
    passed_over.append(sign(registry, altered))
    blob = services.blobs.get(sha256_hex(altered))
    assert blob is not None
    path = services.vault.open_path(blob)
    path.chmod(0o600)
    path.write_bytes(altered.replace(b"me", b"us"))
    chosen, notes = calibration(services)
    assert chosen.record == sound
    assert [note.split()[1] for note in notes] == passed_over[::-1]
    assert "table" in registry.find(b"some bytes that nobody knows, and long enough to be a text "
                                    b"of some twelve words").notes[-1]  # fmt: skip


def test_a_calibration_by_a_key_that_was_disowned_does_not_count(registry: Registry) -> None:
    services = registry._services
    record = sign(registry, dumps(to_json(default())))
    assert calibration(services)[0].record == record
    keyid = services.signer("reviewer").keyid
    registry.trust.compromise(keyid, since_ms=0, reason="stolen")
    assert calibration(services)[0] is default()


def test_a_match_in_a_bank_says_why_it_is_there(registry: Registry, tmp_path: Path) -> None:
    file = picture(tmp_path, 1)
    registry.banks.create("no", kind="blocked", owner="legal")
    registry.banks.add("no", [file], reason="cease and desist", source="letter 7")
    Image.open(file).save(tmp_path / "copy.jpg", quality=50)
    (match,) = registry.find(tmp_path / "copy.jpg", banks=("no",)).matches
    assert (match.bank, match.kind, match.verdict) == ("no", "perceptual", "match")
    assert match.entry is not None
    assert (match.entry.reason, match.entry.owner) == ("cease and desist", "legal")
    both = registry.find(tmp_path / "copy.jpg", banks=("registered", "no"))
    assert (both.query["banks"], [one.bank for one in both.matches]) == (
        ["registered", "no"], ["no"])  # fmt: skip
    with pytest.raises(InputError) as error:
        registry.find(file, banks=("unheard-of",))
    assert error.value.code == "find.bank"
