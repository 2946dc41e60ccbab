"""Assets that lack fingerprints get them from the vault; what may have none gets none."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from registry.core.generation import Generation, Output
from registry.factory import create_registry, import_registry, open_home, upgrade_registry
from registry.sdk import Registry
from registry.similarity.fingerprints import PHASH256, PHASH256_V1
from registry.similarity.prints import prints_of
from registry.store.transaction import read, write
from registry.workflows import fingerprinting
from registry.workflows.fingerprinting import FINGERPRINTS, THUMBNAILS
from tests.conftest import make_generation, make_output, make_picture

Make = Callable[..., Generation]
GOLDEN = Path(__file__).parents[1] / "golden" / "homes" / "plain.tar.xz"


def stored(registry: Registry) -> dict[str, set[str]]:
    """Return the names of what is stored, by hex digest; `thumbnail` among them."""
    found: dict[str, set[str]] = {}
    with read(registry._services.engine) as conn:
        for row in conn.execute(select(FINGERPRINTS)):
            found.setdefault(row.sha256.hex(), set()).add(row.name)
        for row in conn.execute(select(THUMBNAILS)):
            found.setdefault(row.sha256.hex(), set()).add("thumbnail")
    return found


def forget_all(registry: Registry) -> None:
    with write(registry._services.engine) as conn:
        conn.execute(FINGERPRINTS.delete())
        conn.execute(THUMBNAILS.delete())


def reworked(data: bytes) -> bytes:
    stream = io.BytesIO()
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    picture.resize((picture.width * 3 // 2, picture.height * 3 // 2)).save(stream, "JPEG")
    return stream.getvalue()


def test_a_home_of_an_older_release_gets_what_it_lacks(tmp_path: Path) -> None:
    with tarfile.open(GOLDEN) as archive:
        archive.extractall(tmp_path / "old")
    upgraded = upgrade_registry(tmp_path / "old")
    with open_home(tmp_path / "old") as registry:
        before = stored(registry)
        (older, *_) = [digest for digest, names in before.items() if names == {PHASH256_V1}]
        looked_for = reworked(registry.blob(older).read_bytes())
        assert f"sha256:{older}" in {m.id for m in registry.find(looked_for).matches}
        done = registry.upkeep.fingerprint()
        after = stored(registry)
        assert 0 < done.made <= upgraded.unfingerprinted
        assert {PHASH256, "thumbnail"} <= after[older]
        assert not any(PHASH256_V1 in names for names in after.values())
        assert f"sha256:{older}" in {m.id for m in registry.find(looked_for).matches}
        again = registry.upkeep.fingerprint()
        assert (again.made, again.due) == (0, done.due - done.made)
        assert registry.check_log().ok
    assert upgrade_registry(tmp_path / "old").unfingerprinted == again.due


def test_it_goes_on_where_it_was_stopped(
    registry: Registry, generation: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fingerprinting, "BATCH", 2)
    for number in range(5):
        registry.record(generation(number))
    complete = stored(registry)
    forget_all(registry)

    def stop(done: int, total: int) -> None:
        assert (done, total) == (2, 5)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        registry.upkeep.fingerprint(progress=stop)
    assert len(stored(registry)) == 2
    steps: list[tuple[int, int]] = []
    done = registry.upkeep.fingerprint(progress=lambda *step: steps.append(step))
    assert (done.due, done.made, done.findable) == (3, 3, 3)
    assert steps == [(2, 3), (3, 3)]
    assert stored(registry) == complete


def test_what_may_or_can_have_none_is_counted_and_left(
    registry: Registry, generation: Make
) -> None:
    flat = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(flat, "PNG")
    registry.record(generation(1), personal=True)
    kept = registry.record(generation(2)).assets[0]
    missing = registry.record(generation(3)).assets[0]
    altered = registry.record(generation(4)).assets[0]
    even = registry.record(generation(5, outputs=(Output(flat.getvalue(), "image/png"),))).assets[0]
    expired = registry.record(generation(6), draft=True).assets[0]
    registry.drafts.expire(older_than_hours=0)
    forget_all(registry)
    registry.blob(missing).unlink()
    registry.blob(altered).chmod(0o644)
    registry.blob(altered).write_bytes(b"something else")
    done = registry.upkeep.fingerprint()
    counts = (done.due, done.made, done.findable, done.personal, done.expired, done.missing)
    assert counts == (6, 2, 1, 1, 1, 1)
    assert [one.id for one in done.unread] == [altered]
    assert {f"sha256:{digest}" for digest in stored(registry)} == {kept, even}
    assert expired not in stored(registry)


def test_an_expired_draft_leaves_no_fingerprint_and_a_kept_one_has_it_again(
    registry: Registry, generation: Make
) -> None:
    stays = registry.record(generation(1)).assets[0]
    goes = registry.record(generation(2), draft=True).assets[0]
    data = registry.blob(goes).read_bytes()
    registry.drafts.expire(older_than_hours=0)
    assert {f"sha256:{digest}" for digest in stored(registry)} == {stays}
    found = registry.find(reworked(data)).matches
    assert goes not in {match.id for match in found}
    # What an older release left of an expired draft goes with the next expiry.
    made = prints_of(data, registry.settings.limits)
    with write(registry._services.engine) as conn:
        digest = bytes.fromhex(made.sha256)
        row = {"sha256": digest, "name": PHASH256_V1, "value": made.values[0].value, "quality": 9}
        conn.execute(FINGERPRINTS.insert(), row)
    registry.drafts.expire(older_than_hours=0)
    assert {f"sha256:{digest}" for digest in stored(registry)} == {stays}


def test_thumbnails_go_with_an_export_that_has_blobs_and_are_not_needed(tmp_path: Path) -> None:
    with create_registry(tmp_path / "home", name="test", project="brand") as registry:
        registry.record(make_generation(1, outputs=(make_output(1), make_output(2))))
        path = tmp_path / "picture.png"
        make_picture(7, side=700).save(path)
        registry.ingest(path)
        complete = stored(registry)
        registry.upkeep.export(tmp_path / "all")
        registry.upkeep.export(tmp_path / "bare", blobs=False)
    assert len(list((tmp_path / "all" / "sidecars").glob("thumbnails-??.ndjson"))) > 1
    import_registry(tmp_path / "all", tmp_path / "copy")
    with open_home(tmp_path / "copy") as registry:
        assert stored(registry) == complete
    assert not list((tmp_path / "bare" / "sidecars").glob("thumbnails*"))
    import_registry(tmp_path / "bare", tmp_path / "bare-copy")
    with open_home(tmp_path / "bare-copy") as registry:
        assert stored(registry) == {d: names - {"thumbnail"} for d, names in complete.items()}
        assert registry.upkeep.fingerprint().missing == 3
