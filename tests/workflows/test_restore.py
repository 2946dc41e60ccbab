"""A pulled vault and the backup of the keys are a registry again, or say exactly what they lack."""

from __future__ import annotations

import importlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generators import recorded_callable
from registry.core.evidence import verify_evidence
from registry.errors import GenopsError
from registry.factory import create_registry, open_home, restore_registry
from registry.sdk import Registry
from registry.store.transaction import read
from registry.vault.segments import read_segment
from registry.vault.shelf import pointers
from registry.vault.store import Vault
from registry.workflows.maintain import projection_rows
from tests.conftest import encode, make_generation, make_picture

MODULE = "genops_restored_functions"
SOURCE = """
from PIL import Image
def draw(prompt, image, seed=0):
    return Image.eval(image, lambda value: value ^ (seed % 256))
"""
PROMPT = "a red mug on a blue table"
PASSPHRASE = "correct horse"


@dataclass(frozen=True, slots=True)
class Scene:
    """A registry that is gone but for its vault, pulled from a remote, and a backup of its keys."""

    home: Path
    vault: Path
    keys: Path
    kept: str
    erased: str
    personal: str
    evidence: bytes
    rows: dict[str, Any]
    size: int


def dvc(folder: Path, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder,
        env=os.environ | {"DVC_SITE_CACHE_DIR": str(folder.parent / "sc")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root, modules = tmp_path_factory.mktemp("restore"), tmp_path_factory.mktemp("modules")
    (modules / f"{MODULE}.py").write_text(SOURCE)
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(modules)
    patch.setenv("PYTHONPATH", f"{modules}{os.pathsep}{Path(__file__).parents[2]}")
    with create_registry(root / "home", name="test", project="brand") as registry:
        kept, erased, personal = populate(registry, root)
        registry.upkeep.backup(root / "keys", passphrase=PASSPHRASE, keys_only=True)
        registry.sync_mirrors(["vault"])
        registry.erase(erased, reason="a request after the backup")
        registry.gate([kept])
        registry.sync_mirrors(["vault"])
        with read(registry._services.engine) as conn:
            rows = dict(projection_rows(conn))
        scene = Scene(
            root / "home",
            root / "clone",
            root / "keys",
            kept,
            erased,
            personal,
            registry.evidence(kept),
            rows,
            registry.log.head().size,
        )
    pull(root)
    yield scene
    patch.undo()


def populate(registry: Registry, root: Path) -> tuple[str, str, str]:
    draw = recorded_callable(
        importlib.import_module(MODULE).draw, registry, inputs={"image": "image"}
    )
    _, kept = draw.with_receipt(PROMPT, make_picture(5), seed=77)
    erased = registry.record(make_generation(2, prompt="somebody's name"))
    face = root / "face.png"
    make_picture(3).save(face)
    personal = registry.ingest(face, parents=[kept.assets[0]], note="a face", personal=True)
    registry.register_model("a" * 64, name="brand", kind="lora", licence="MIT")
    registry.taint(erased.assets[0], reason="a complaint")
    return kept.record, erased.record, personal.record


def pull(root: Path) -> None:
    """Push the vault to a remote, clone its pointers as git would, and pull."""
    vault, clone = root / "home" / "vault", root / "clone"
    dvc(vault, "remote", "add", "-d", "backup", str(root / "remote"))
    dvc(vault, "push")
    shutil.copytree(vault, clone, ignore=shutil.ignore_patterns("cache", "tmp"))
    dvc(clone, "pull")


def take(source: Path, path: Path, **options: Any) -> Any:
    return restore_registry(source, path, passphrase=lambda: PASSPHRASE, **options)


def refused(source: Path, tmp_path: Path, **options: Any) -> GenopsError:
    """Return why a restore was refused, after checking that it left nothing."""
    with pytest.raises(GenopsError) as caught:
        take(source, tmp_path / "new" / "home", **options)
    assert list((tmp_path / "new").iterdir()) == []
    return caught.value


@pytest.fixture
def vault(scene: Scene, tmp_path: Path) -> Path:
    """A copy of the pulled vault, to be damaged."""
    shutil.copytree(scene.vault, tmp_path / "vault", ignore=shutil.ignore_patterns("tmp"))
    return tmp_path / "vault"


def member(vault: Path, path: str) -> Path:
    """Return where a segment's member lies in the vault's cache."""
    opened = Vault(vault)
    for pointer in pointers(opened):
        segment = read_segment(opened, pointer.path)
        if path in segment.members:
            return opened.path(segment.members[path])
    raise AssertionError(path)


# ---------------------------------------------------------------- what comes back


def test_a_restored_registry_works(scene: Scene, tmp_path: Path) -> None:
    seen: dict[str, tuple[int, int]] = {}
    done = take(
        scene.vault,
        tmp_path / "home",
        keys=scene.keys,
        steps=lambda what, n, total: seen.__setitem__(what, (n, total)),
    )
    assert (done.size, done.lost, done.erased, done.erased_again) == (scene.size, 0, 1, 1)
    assert done.locked == 2  # the erasure and the decision came after the backup of the keyring
    assert done.can_sign
    assert all(n == total for n, total in seen.values())
    with open_home(tmp_path / "home") as registry:
        with read(registry._services.engine) as conn:
            assert dict(projection_rows(conn)) == scene.rows
        works(registry, scene)


def test_a_registry_is_restored_onto_postgres(
    scene: Scene, tmp_path: Path, new_database: str
) -> None:
    done = take(scene.vault, tmp_path / "home", keys=scene.keys, database_url=new_database)
    assert (done.size, done.lost, done.database) == (scene.size, 0, "postgres")
    assert not (tmp_path / "home" / "registry.db").exists()
    with open_home(tmp_path / "home") as registry:
        with read(registry._services.engine) as conn:
            assert dict(projection_rows(conn)) == scene.rows
        works(registry, scene)
    second = refused(scene.vault, tmp_path, keys=scene.keys, database_url=new_database)
    assert second.code == "home.exists"


def works(registry: Registry, scene: Scene) -> None:
    """Passports, proofs, look-up, replay and new records are as they were; erased stays erased."""
    assert registry.get(scene.kept).text == "readable"
    assert registry.get(scene.erased).text == "erased"
    assert registry.verify(scene.kept).ok
    assert Image.open(io.BytesIO(registry.read(scene.personal))).size == (128, 128)
    vkey = str(registry.log.vkey)
    assert verify_evidence(scene.evidence, log_vkey=vkey).ok
    assert verify_evidence(registry.evidence(scene.kept), log_vkey=vkey).ok
    found = registry.find(encode(make_picture(2), "JPEG", quality=80))
    assert scene.erased in {record for match in found.matches for record in match.records}
    assert registry.reproduce(scene.kept).verdict == "identical"
    report = registry.check_log(blobs=True)
    assert {finding.what for finding in report.findings} == {"text"}  # two keys are younger
    assert len(report.findings) == 2
    assert registry.check_catalog() == ()
    waiting = {report.target: report.pending for report in registry.mirror_status()}
    assert waiting == {"mlflow": scene.size + 1, "vault": 1}
    assert registry.record(make_generation(8)).index == scene.size + 1


def test_a_restored_vault_restores_again(scene: Scene, tmp_path: Path) -> None:
    take(scene.vault, tmp_path / "home", keys=scene.keys)
    with open_home(tmp_path / "home") as registry:
        registry.record(make_generation(8))
        registry.sync_mirrors(["vault"])
    done = take(tmp_path / "home", tmp_path / "again", keys=scene.keys)
    assert done.size == scene.size + 1


def test_without_keys_a_restored_registry_verifies_and_opens_no_text(
    scene: Scene, tmp_path: Path
) -> None:
    done = take(scene.vault, tmp_path / "home")
    assert (done.texts, done.erased, done.can_sign) == (0, 1, False)
    with open_home(tmp_path / "home") as registry:
        assert registry.verify(scene.kept).ok
        assert registry.get(scene.kept).text == "locked"
        assert registry.settings.project == "brand"


# ---------------------------------------------------------------- what is refused


def drop_segment(vault: Path, number: int) -> str:
    pointer = pointers(Vault(vault))[number]
    pointer.path.unlink()
    return f"{pointer.first}-{pointer.last}"


@pytest.mark.parametrize("path", ["entries/000000000001.json", "envelopes/000000000001.json"])
def test_a_tampered_member_is_refused(scene: Scene, vault: Path, tmp_path: Path, path: str) -> None:
    file = member(vault, path)
    file.chmod(0o644)
    data = file.read_bytes()
    file.write_bytes(data[:40] + bytes([data[40] ^ 1]) + data[41:])
    assert refused(vault, tmp_path, keys=scene.keys).code == "vault.altered"


def test_a_blob_that_was_not_pulled_is_named(scene: Scene, vault: Path, tmp_path: Path) -> None:
    member(vault, "sealed/000000000001.bin").unlink()
    error = refused(vault, tmp_path, keys=scene.keys)
    assert error.code == "material.missing"
    assert "dvc pull" in error.hint


def test_records_that_are_missing_are_named(scene: Scene, vault: Path, tmp_path: Path) -> None:
    names = [f"{p.first}-{p.last}" for p in pointers(Vault(vault))]
    assert len(names) == 2
    drop_segment(vault, 0)
    assert refused(vault, tmp_path, keys=scene.keys).code == "restore.empty"


def test_a_gap_in_the_middle_is_named(scene: Scene, tmp_path: Path) -> None:
    take(scene.vault, tmp_path / "home", keys=scene.keys)
    with open_home(tmp_path / "home") as registry:
        for seed in (8, 9):
            registry.record(make_generation(seed))
        registry.sync_mirrors(["vault"])
    gap = drop_segment(tmp_path / "home" / "vault", 1)
    error = refused(tmp_path / "home" / "vault", tmp_path, keys=scene.keys)
    assert error.code == "restore.incomplete"
    assert f": {gap}" in error.message
    assert f"{scene.size + 2} records" in error.message
    assert "--lose-newest" in error.hint


def test_what_the_backup_saw_and_the_vault_did_not_is_lost_only_when_asked(
    scene: Scene, tmp_path: Path
) -> None:
    take(scene.vault, tmp_path / "home", keys=scene.keys)
    with open_home(tmp_path / "home") as registry:
        registry.record(make_generation(8))
        registry.upkeep.backup(
            tmp_path / "newer", passphrase=None, unencrypted=True, keys_only=True
        )
    error = refused(scene.vault, tmp_path, keys=tmp_path / "newer")
    assert error.code == "restore.incomplete"
    assert "the keys' backup" in error.message
    assert str(scene.size) in error.message
    done = take(scene.vault, tmp_path / "lossy", keys=tmp_path / "newer", lose_newest=True)
    assert (done.size, done.lost) == (scene.size, 1)
    with open_home(tmp_path / "lossy") as registry:
        assert registry.record(make_generation(9)).index == scene.size
        assert registry.check_log().ok


def test_segments_that_overlap_agree_and_restore(scene: Scene, tmp_path: Path) -> None:
    """What is sent again goes into segments of other ranges."""
    shutil.copytree(scene.home, tmp_path / "old")
    with open_home(tmp_path / "old") as registry:
        outbox = importlib.import_module("registry.mirrors.outbox").Outbox(
            registry._services.engine
        )
        outbox.requeue("vault", range(2, scene.size - 1))
        registry.sync_mirrors(["vault"])
    assert len(pointers(Vault(tmp_path / "old" / "vault"))) == 3
    done = take(tmp_path / "old" / "vault", tmp_path / "home", keys=scene.keys)
    assert (done.size, done.segments) == (scene.size, 3)


def other_registry(folder: Path) -> Registry:
    return create_registry(folder, name="test", project="brand")


def test_keys_of_another_registry_are_refused(scene: Scene, tmp_path: Path) -> None:
    with other_registry(tmp_path / "other") as other:
        other.upkeep.backup(tmp_path / "keys", passphrase=PASSPHRASE, keys_only=True)
        vkey = str(other.log.vkey)
    assert refused(scene.vault, tmp_path, keys=tmp_path / "keys").code == "restore.other-log"
    assert refused(scene.vault, tmp_path, log_key=vkey).code == "restore.other-log"


def test_a_foreign_segment_is_refused(scene: Scene, vault: Path, tmp_path: Path) -> None:
    with other_registry(tmp_path / "other") as other:
        for seed in range(scene.size):
            other.record(make_generation(seed))
        other.sync_mirrors(["vault"])
    theirs = tmp_path / "other" / "vault"
    last = pointers(Vault(theirs))[-1]
    shutil.copytree(theirs / ".dvc" / "cache", vault / ".dvc" / "cache", dirs_exist_ok=True)
    target = vault / "segments" / f"{scene.size}-{scene.size}.dvc"
    shutil.copy(last.path, vault / "segments" / last.path.name)
    assert refused(vault, tmp_path, keys=scene.keys).code == "segment.disagree"
    (vault / "segments" / last.path.name).unlink()
    with open_home(tmp_path / "other") as other:
        other.record(make_generation(99))
        while other.log.head().size <= scene.size:
            other.record(make_generation(100 + other.log.head().size))
        other.sync_mirrors(["vault"])
    shutil.copytree(theirs / ".dvc" / "cache", vault / ".dvc" / "cache", dirs_exist_ok=True)
    newest = pointers(Vault(theirs))[-1]
    assert newest.first >= scene.size
    shutil.copy(newest.path, vault / "segments" / newest.path.name)
    assert not target.exists()
    assert refused(vault, tmp_path, keys=scene.keys).code == "restore.other-log"


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda path: path.mkdir(), "restore.no-vault"),
        (lambda path: Vault(path).init(), "restore.no-vault"),
    ],
)
def test_what_is_no_vault_is_refused(
    tmp_path: Path, make: Callable[[Path], object], code: str
) -> None:
    make(tmp_path / "vault")
    assert refused_before(tmp_path) == code


def refused_before(tmp_path: Path) -> str:
    with pytest.raises(GenopsError) as caught:
        take(tmp_path / "vault", tmp_path / "home")
    assert not (tmp_path / "home").exists()
    return caught.value.code


def test_a_home_is_never_overwritten(scene: Scene) -> None:
    with pytest.raises(GenopsError) as caught:
        take(scene.vault, scene.home)
    assert caught.value.code == "home.exists"
