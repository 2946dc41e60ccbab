"""A registry moves whole, with everything checked on the way, or nothing of it does."""

from __future__ import annotations

import hashlib
import io
import json
import resource
import shutil
import sqlite3
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, make_url, text

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.digests import sha256_hex
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.evidence import verify_evidence
from registry.core.exports import (
    MANIFEST,
    SUMS,
    Manifest,
    encode_sums,
    envelope_path,
    parse_sums,
)
from registry.core.generation import Generation, Material
from registry.core.merkle import leaf_hash, subtree_root
from registry.core.notes import VerifierKey
from registry.core.tiles import decode_bundle, encode_bundle, tile_path
from registry.errors import (
    ConflictError,
    GenopsError,
    HomeError,
    InputError,
    IntegrityError,
    KeyFileError,
    UnavailableError,
)
from registry.factory import create_registry, import_registry, open_home
from registry.sdk import Registry
from registry.signing.keys import open_signer
from registry.store.transaction import read
from registry.workflows.maintain import projection_rows
from registry.workflows.transfer.deriving import derive_catalog
from tests.conftest import encode, make_generation, make_picture

Make = Callable[..., Generation]
PASSPHRASE = "correct horse"
PROMPT = "a red mug on a blue table"
ONCE = "0190b2c3-0000-7000-8000-00000000000a"


@dataclass(frozen=True, slots=True)
class Scene:
    """A registry that was closed, and its copies in every form."""

    root: Path
    home: Path
    folder: Path
    tar: Path
    backup: Path
    keys: Path
    kept: str
    erased: str
    evidence: bytes
    rows: dict[str, Any]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with create_registry(root / "home", name="test", project="brand") as registry:
            kept, erased = populate(registry, root)
            copies = {key: root / key for key in ("folder", "backup", "keys")}
            registry.upkeep.export(copies["folder"])
            registry.upkeep.export(root / "all.tar")
            registry.upkeep.backup(copies["backup"], passphrase=PASSPHRASE)
            registry.upkeep.backup(
                copies["keys"], passphrase=None, unencrypted=True, keys_only=True
            )
            evidence = registry.evidence(kept)
            rows = rows_of(registry)
        yield Scene(
            root,
            root / "home",
            tar=root / "all.tar",
            kept=kept,
            erased=erased,
            evidence=evidence,
            rows=rows,
            **copies,
        )


def populate(registry: Registry, root: Path) -> tuple[str, str]:
    """Record of every kind, among them a child that is recorded before its parent."""
    late = make_generation(7)
    late_digest = hashlib.sha256(late.outputs[0].data).hexdigest()
    registry.record(
        make_generation(6, materials=(Material("input/init", "image", late_digest),), campaign="b")
    )
    kept = registry.record(replace(make_generation(1, campaign="a"), invocation_id=ONCE))
    registry.record(late)
    erased = registry.record(make_generation(2, prompt="somebody's name"))
    edit = root / "edit.png"
    make_picture(3).save(edit)
    registry.ingest(edit, parents=[kept.assets[0]], note="retouched by hand")
    weights = root / "brand.safetensors"
    weights.write_bytes(b"weights")
    registry.register_model(weights, name="brand", kind="lora", licence="MIT")
    registry.taint(erased.assets[0], reason="a complaint")
    registry.gate([kept.assets[0]])
    registry.erase(erased.record, reason="a request")
    return kept.record, erased.record


def rows_of(registry: Registry) -> dict[str, Any]:
    with read(registry._services.engine) as conn:
        return dict(projection_rows(conn))


def take(source: Path, path: Path, **options: Any) -> Any:
    return import_registry(source, path, passphrase=lambda: PASSPHRASE, **options)


def tables(url: str) -> list[str]:
    engine = create_engine(url)
    with engine.connect() as conn:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
        found = list(conn.scalars(text(query)))
    engine.dispose()
    return found


# ---------------------------------------------------------------- round trips


def test_an_export_of_an_import_is_the_export(scene: Scene, tmp_path: Path) -> None:
    take(scene.tar, tmp_path / "home")
    with open_home(tmp_path / "home") as registry:
        registry.upkeep.export(tmp_path / "again.tar")
        assert rows_of(registry) == scene.rows
        assert registry.check_catalog() == ()
    assert (tmp_path / "again.tar").read_bytes() == scene.tar.read_bytes()


def test_a_folder_and_a_tar_hold_the_same_files(scene: Scene, tmp_path: Path) -> None:
    with tarfile.open(scene.tar) as tar:
        members = {m.name: (m.mtime, m.uid, m.uname) for m in tar.getmembers()}
        tar.extractall(tmp_path)
    assert set(members.values()) == {(0, 0, "")}
    for name in members:
        assert (tmp_path / name).read_bytes() == (scene.folder / name).read_bytes()
    assert len(members) == sum(path.is_file() for path in scene.folder.rglob("*"))


def test_no_key_is_in_an_export(scene: Scene) -> None:
    secrets = [path.read_bytes() for path in (scene.home / "keys").glob("*.key")]
    with closing(sqlite3.connect(scene.home / "keyring.db")) as conn:
        secrets += [row[0] for row in conn.execute("SELECT wrapped FROM sealing_keys") if row[0]]
    assert len(secrets) > 5
    everything = scene.tar.read_bytes()
    assert b"PRIVATE KEY" not in everything
    assert not any(secret in everything for secret in secrets)
    assert PROMPT.encode() not in everything
    assert not any(secret in scene.backup.read_bytes() for secret in secrets)


@pytest.mark.parametrize("with_keys", ["in the backup", "beside the export"])
def test_a_moved_registry_works(scene: Scene, tmp_path: Path, with_keys: str) -> None:
    home = tmp_path / "home"
    if with_keys == "in the backup":
        done = take(scene.backup, home)
    else:
        done = take(scene.folder, home, keys=scene.keys)
    assert (done.blobs, done.missing_blobs, done.locked, done.erased) == (6, 0, 0, 1)
    assert done.can_sign
    with open_home(home) as registry:
        works(registry, scene, tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def works(registry: Registry, scene: Scene, tmp_path: Path) -> None:
    """Passport, proof, look-up, idempotence, outbox and new records are as they were."""
    passport = registry.get(scene.kept)
    assert passport.parameters["prompt"] == PROMPT
    assert registry.get(scene.erased).text == "erased"
    assert registry.verify(scene.kept).ok
    vkey = str(registry.log.vkey)
    assert verify_evidence(scene.evidence, log_vkey=vkey).ok
    assert verify_evidence(registry.evidence(scene.kept), log_vkey=vkey).ok
    found = registry.find(encode(make_picture(1), "JPEG", quality=80))
    assert scene.kept in {record for match in found.matches for record in match.records}
    size = registry.log.head().size
    assert {report.target: report.pending for report in registry.mirror_status()} == {
        "mlflow": size,
        "vault": size,
    }
    with pytest.raises(ConflictError):
        registry.record(replace(make_generation(9), invocation_id=ONCE))
    assert registry.record(make_generation(8)).index == size
    assert registry.check_log().ok
    assert registry.check_catalog() == ()


def test_a_registry_moves_to_postgres_and_back(
    scene: Scene, tmp_path: Path, new_database: str
) -> None:
    take(scene.backup, tmp_path / "home", database_url=new_database)
    assert not (tmp_path / "home" / "registry.db").exists()
    with open_home(tmp_path / "home") as registry:
        assert rows_of(registry) == scene.rows
        registry.upkeep.export(tmp_path / "again.tar")
        assert (tmp_path / "again.tar").read_bytes() == scene.tar.read_bytes()
        works(registry, scene, tmp_path)
        registry.upkeep.backup(tmp_path / "back", passphrase=None, unencrypted=True)
        rows = rows_of(registry)
    with pytest.raises(HomeError) as caught:
        take(scene.backup, tmp_path / "second", database_url=new_database)
    assert caught.value.code == "home.exists"
    assert not (tmp_path / "second").exists()
    with open_home(tmp_path / "home") as registry:
        assert registry.verify(scene.kept).ok
    take(tmp_path / "back", tmp_path / "embedded")
    with open_home(tmp_path / "embedded") as registry:
        assert rows_of(registry) == rows
        assert registry.get(scene.kept).text == "readable"


def test_a_registry_is_made_on_postgres_from_the_start(tmp_path: Path, new_database: str) -> None:
    secret = make_url(new_database).set(password="hunter2").render_as_string(hide_password=False)
    with create_registry(tmp_path / "home", name="test", database_url=secret) as registry:
        first = registry.record(make_generation(1))
    assert "hunter2" not in (tmp_path / "home" / "genops.toml").read_text()
    with open_home(tmp_path / "home") as registry:
        assert registry.get(first.record).parameters["prompt"] == PROMPT
        assert registry.check_log().ok
    with pytest.raises(HomeError) as caught:
        create_registry(tmp_path / "second", database_url=new_database)
    assert caught.value.code == "home.exists"
    assert not (tmp_path / "second").exists()
    shares_the_database(tmp_path, first.record)


def shares_the_database(tmp_path: Path, record: str) -> None:
    """A copy of the folder is a second worker on the same log."""
    shutil.copytree(tmp_path / "home", tmp_path / "worker")
    with open_home(tmp_path / "home") as one, open_home(tmp_path / "worker") as other:
        sizes = [r.record(make_generation(n)).index for n, r in enumerate((one, other, one), 2)]
        assert sizes == [2, 3, 4]
        assert [one.get(record).text, other.get(record).text] == ["readable", "readable"]
        assert [one.verify(a.record).ok for a in one.list()] == [True, False, True, True]
        assert one.check_log().ok


def test_init_on_postgres_that_fails_leaves_no_table(
    tmp_path: Path, new_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(services: Any) -> None:
        assert tables(new_database)
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.workflows.setup.genesis", interrupted)
    with pytest.raises(KeyboardInterrupt):
        create_registry(tmp_path / "home", database_url=new_database)
    assert list(tmp_path.iterdir()) == []
    assert tables(new_database) == []


def test_without_keys_a_registry_verifies_and_cannot_sign(scene: Scene, tmp_path: Path) -> None:
    done = take(scene.tar, tmp_path / "home")
    assert (done.texts, done.locked, done.erased, done.can_sign) == (0, 9, 1, False)
    with open_home(tmp_path / "home") as registry:
        assert registry.verify(scene.kept).ok
        assert registry.get(scene.kept).text == "locked"
        assert registry.get(scene.erased).text == "erased"
        with pytest.raises(KeyFileError) as caught:
            registry.record(make_generation(8))
        assert caught.value.code == "key.missing"
        assert registry.check_log().ok


def test_what_is_left_out_is_said(scene: Scene, tmp_path: Path) -> None:
    with open_home(scene.home) as registry:
        registry.upkeep.export(tmp_path / "lean.tar", blobs=False, texts=False)
    done = take(tmp_path / "lean.tar", tmp_path / "home", keys=scene.keys)
    assert (done.blobs, done.missing_blobs, done.texts, done.locked) == (0, 6, 0, 9)
    with open_home(tmp_path / "home") as registry:
        assert registry.get(scene.kept).text == "locked"
        assert registry.check_log().ok
        failed = [check.name for check in registry.verify(scene.kept).checks if not check.ok]
        assert len(failed) == 1


def test_a_backup_keeps_what_the_home_remembers(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.home, tmp_path / "old")
    config = tmp_path / "old" / "genops.toml"
    config.write_text(f'{config.read_text()}mlflow_uri = "http://mlflow.example:5000"\n')
    with closing(sqlite3.connect(tmp_path / "old" / "registry.db")) as conn, conn:
        conn.execute("DELETE FROM outbox WHERE record_idx NOT IN (2, 3, 5)")
        conn.execute("INSERT INTO mirror_state VALUES ('mlflow/x/run/y', 'z')")
        conn.execute("INSERT INTO witnessed_logs VALUES ('other/log', 3, x'00')")
    remembered = {
        "retention.yaml": "rules: []\n",
        "witnesses/one-0123abcd.vkey": "one\n",
        "witnessed/0123456789abcdef.checkpoint": "other/log\n",
        "witnessed/conflicts/seen.txt": "two trees\n",
        "vault/.dvc/config": "[core]\n    remote = far\n",
    }
    for name, content in remembered.items():
        (tmp_path / "old" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "old" / name).write_text(content)
    with open_home(tmp_path / "old") as registry:
        registry.upkeep.backup(tmp_path / "backup", passphrase=None, unencrypted=True)
    take(tmp_path / "backup", tmp_path / "home")
    with closing(sqlite3.connect(tmp_path / "home" / "registry.db")) as conn:
        rows = conn.execute("SELECT target, record_idx FROM outbox").fetchall()
        assert sorted(index for target, index in rows if target == "mlflow") == [2, 3, 5]
        assert conn.execute("SELECT * FROM mirror_state").fetchall() == [("mlflow/x/run/y", "z")]
        assert conn.execute("SELECT origin FROM witnessed_logs").fetchall() == [("other/log",)]
    assert {name: (tmp_path / "home" / name).read_text() for name in remembered} == remembered


# ---------------------------------------------------------------- refusals


def rewritten(
    folder: Path, target: Path, path: str, data: bytes | None, **manifest_changes: Any
) -> Path:
    """Copy an export with one file changed (None: left out), its digests made to fit."""
    shutil.copytree(folder, target)
    sums = parse_sums((target / SUMS).read_bytes())
    if data is None:
        (target / path).unlink()
        del sums[path]
    else:
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (target / path).write_bytes(data)
        sums[path] = hashlib.sha256(data).hexdigest()
    (target / SUMS).write_bytes(encode_sums(sums))
    manifest = Manifest.parse((target / MANIFEST).read_bytes())
    digest = hashlib.sha256((target / SUMS).read_bytes()).hexdigest()
    (target / MANIFEST).write_bytes(
        replace(manifest, files=len(sums), sums_sha256=digest, **manifest_changes).to_bytes()
    )
    return target


def paths_of(folder: Path) -> list[str]:
    return sorted(parse_sums((folder / SUMS).read_bytes()))


def refused(source: Path, tmp_path: Path, **options: Any) -> GenopsError:
    before = sorted(tmp_path.iterdir())
    with pytest.raises(GenopsError) as caught:
        take(source, tmp_path / "home", **options)
    assert sorted(tmp_path.iterdir()) == before
    return caught.value


def kind_of(path: str) -> str:
    """Return what kind of file this is: its folder, or its own name where it is the only one."""
    folder = path.partition("/")[0]
    if folder == "tile":
        return path.rpartition("tile/")[2].partition("/")[0]
    return path.partition("-")[0] if folder == "sidecars" else folder


def test_a_changed_byte_in_any_file_is_refused_and_the_file_named(
    scene: Scene, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    one_of_each = {kind_of(path): path for path in paths_of(copy)}
    assert len(one_of_each) == 12
    for path in [*one_of_each.values(), SUMS, MANIFEST]:
        whole = (copy / path).read_bytes()
        data = bytearray(whole or b"x")
        data[len(data) // 2] ^= 1
        (copy / path).write_bytes(data)
        error = refused(copy, tmp_path)
        (copy / path).write_bytes(whole)
        if path != MANIFEST:
            assert error.code == "export.altered", path
            assert path in error.message
    take(copy, tmp_path / "home")


def test_a_missing_and_an_extra_file_are_named(scene: Scene, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(scene.folder, copy)
    path = paths_of(copy)[3]
    (copy / path).rename(tmp_path / "away")
    error = refused(copy, tmp_path)
    assert (error.code, path in error.message) == ("export.altered", True)
    (tmp_path / "away").rename(copy / path)
    (copy / "blobs" / "extra").write_bytes(b"x")
    error = refused(copy, tmp_path)
    assert (error.code, "blobs/extra" in error.message) == ("export.altered", True)


def first(scene: Scene, head: str) -> str:
    return next(path for path in paths_of(scene.folder) if path.startswith(head))


def flipped(scene: Scene, path: str) -> bytes:
    data = bytearray((scene.folder / path).read_bytes())
    data[len(data) // 2] ^= 1
    return bytes(data)


@pytest.mark.parametrize(
    "head", ["blobs/", "checkpoint", "envelopes/", "log.vkey", "sealed/", "tile/0/", "tile/entries"]
)
def test_a_change_whose_digests_were_made_to_fit_is_found_by_what_the_log_says(
    scene: Scene, tmp_path: Path, head: str
) -> None:
    path = first(scene, head)
    source = rewritten(scene.folder, tmp_path / "copy", path, flipped(scene, path))
    refused(source, tmp_path, keys=scene.keys)
    left_out = rewritten(scene.folder, tmp_path / "less", path, None)
    if head != "sealed/":  # who leaves texts out has not altered anything
        refused(left_out, tmp_path, keys=scene.keys)


def test_a_record_that_nobody_signed_is_found_though_the_logs_own_key_vouches_for_it(
    scene: Scene, tmp_path: Path
) -> None:
    (bundle,) = (path for path in paths_of(scene.folder) if path.startswith("tile/entries"))
    (tile,) = (path for path in paths_of(scene.folder) if path.startswith("tile/0"))
    entries = decode_bundle((scene.folder / bundle).read_bytes())
    entry = LogEntry.parse(entries[-1])
    old = envelope_path(entry.envelope_sha256)
    envelope = Envelope.parse((scene.folder / old).read_bytes())
    forged = replace(envelope, signatures=(replace(envelope.signatures[0], sig=b"0" * 70),))
    entries[-1] = replace(entry, envelope_sha256=sha256_hex(forged.to_bytes())).to_bytes()
    leaves = [leaf_hash(entry) for entry in entries]
    vkey = VerifierKey.parse((scene.folder / "log.vkey").read_text())
    head = Checkpoint(vkey.name, len(leaves), subtree_root(leaves))
    note = checkpoints.sign(head, vkey, open_signer(scene.home / "keys" / "log.pem").sign)
    source = scene.folder
    for number, (path, data) in enumerate(
        {
            envelope_path(sha256_hex(forged.to_bytes())): forged.to_bytes(),
            old: None,
            bundle: encode_bundle(entries),
            tile: b"".join(leaves),
            "checkpoint": note,
        }.items()
    ):
        source = rewritten(source, tmp_path / f"copy{number}", path, data, root=head.root.hex())
    assert refused(source, tmp_path).code == "import.log"


def test_files_that_nothing_in_an_export_names_are_refused(scene: Scene, tmp_path: Path) -> None:
    stray = hashlib.sha256(b"stray").hexdigest()
    size = Manifest.parse((scene.folder / MANIFEST).read_bytes()).size
    for number, path in enumerate(
        (
            f"blobs/{stray[:2]}/{stray}",
            f"envelopes/{stray[:2]}/{stray}.json",
            f"sealed/{size:012d}.bin",
            tile_path(5, 0, 1),
            tile_path(None, 1, 1),
            "sidecars/strange.ndjson",
            "home/keys/admin.pem",
        )
    ):
        source = rewritten(scene.folder, tmp_path / f"copy{number}", path, b"stray")
        assert refused(source, tmp_path).code == "export.invalid", path


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("blobs", {"sha256": "00" * 32, "md5": "00" * 16, "size": 1}),
        ("fingerprints", {"sha256": "zz", "name": "x", "value": "", "quality": 1}),
        ("fingerprints", {"sha256": "00", "name": "x", "value": "", "quality": "1"}),
        ("fingerprints", {"sha256": "00", "name": "x", "value": ""}),
        ("outbox", {"target": "vault", "first": 0, "last": 9999}),
        ("outbox", {"target": "vault", "first": 2, "last": 1}),
        ("cosignatures", []),
    ],
)
def test_sidecar_rows_that_cannot_be_are_refused(
    scene: Scene, tmp_path: Path, name: str, line: Any
) -> None:
    path = f"sidecars/{name}.ndjson"
    source = rewritten(scene.folder, tmp_path / "copy", path, json.dumps(line).encode() + b"\n")
    assert refused(source, tmp_path).code == "export.invalid"


def other_registry(tmp_path: Path) -> Path:
    with create_registry(tmp_path / "other", name="test") as registry:
        registry.record(make_generation(1))
        registry.upkeep.export(tmp_path / "other.export")
        registry.upkeep.backup(
            tmp_path / "other.keys", passphrase=None, unencrypted=True, keys_only=True
        )
    return tmp_path / "other.export"


def test_keys_of_another_registry_and_another_log_key_are_refused(
    scene: Scene, tmp_path: Path
) -> None:
    foreign = other_registry(tmp_path)
    error = refused(scene.tar, tmp_path, keys=tmp_path / "other.keys")
    assert error.code == "import.other-log"
    vkey = (foreign / "log.vkey").read_text()
    assert refused(scene.tar, tmp_path, log_key=vkey).code == "import.other-log"
    own = (scene.home / "keys" / "log.vkey").read_text()
    take(scene.tar, tmp_path / "home", log_key=own.strip())


def test_a_wrong_passphrase_and_the_wrong_kind_of_file_are_told(
    scene: Scene, tmp_path: Path
) -> None:
    with pytest.raises(KeyFileError) as caught:
        import_registry(scene.backup, tmp_path / "home", passphrase=lambda: "wrong")
    assert caught.value.code == "backup.passphrase"
    with pytest.raises(KeyFileError) as caught:
        import_registry(scene.backup, tmp_path / "home", passphrase=lambda: None)
    assert caught.value.code == "backup.passphrase"
    assert refused(scene.keys, tmp_path).code == "import.no-log"
    assert refused(scene.tar, tmp_path, keys=scene.tar).code == "import.no-keys"
    assert refused(scene.home / "registry.db", tmp_path).code == "export.invalid"
    assert refused(scene.home, tmp_path).code == "export.invalid"
    assert refused(tmp_path / "nowhere", tmp_path).code == "transfer.missing"


def test_a_truncated_backup_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    data = scene.backup.read_bytes()
    for end in (10, 17, 200, len(data) // 2, len(data) - 1):
        (tmp_path / "cut").write_bytes(data[:end])
        area = "export." if end == 10 else ("backup.", "json.")
        assert refused(tmp_path / "cut", tmp_path).code.startswith(area), end


def test_a_backup_is_never_in_the_clear_by_accident(scene: Scene, tmp_path: Path) -> None:
    with open_home(scene.home) as registry:
        for options in ({"passphrase": None}, {"passphrase": "x", "unencrypted": True}):
            with pytest.raises(InputError) as caught:
                registry.upkeep.backup(tmp_path / "backup", **options)
            assert caught.value.code == "backup.passphrase"
        assert list(tmp_path.iterdir()) == []
        registry.upkeep.backup(tmp_path / "clear", passphrase=None, unencrypted=True)
    assert (tmp_path / "clear").stat().st_mode & 0o777 == 0o600
    assert take(tmp_path / "clear", tmp_path / "home").can_sign
    modes = {p.name: p.stat().st_mode & 0o777 for p in (tmp_path / "home" / "keys").iterdir()}
    assert modes["admin.pem"] == modes["sealing.key"] == 0o600
    assert modes["admin.pub.pem"] == 0o644


def test_nothing_is_overwritten(scene: Scene, tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "note.txt").write_text("mine")
    with open_home(scene.home) as registry:
        for target in (tmp_path / "there", tmp_path / "there" / "note.txt"):
            with pytest.raises(InputError) as caught:
                registry.upkeep.export(target)
            assert caught.value.code == "transfer.exists"
        with pytest.raises(InputError):
            registry.upkeep.backup(tmp_path / "there" / "note.txt", passphrase="x")
    with pytest.raises(InputError) as caught:
        take(scene.tar, tmp_path / "there")
    assert caught.value.code == "transfer.exists"
    with pytest.raises(HomeError) as taken:
        take(scene.tar, scene.home)
    assert taken.value.code == "home.exists"
    assert (tmp_path / "there" / "note.txt").read_text() == "mine"
    (tmp_path / "empty").mkdir()
    take(scene.tar, tmp_path / "empty")


# ---------------------------------------------------------------- hostile archives


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


@pytest.mark.parametrize(
    "members",
    [
        [member("../outside", b"x")],
        [member("/tmp/outside", b"x")],
        [member("home/keys/../../../outside", b"x")],
        [member("blobs/link", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("checkpoint", type=tarfile.SYMTYPE, linkname="/etc/passwd")],
        [member("checkpoint", type=tarfile.LNKTYPE, linkname="log.vkey")],
        [member("checkpoint", type=tarfile.CHRTYPE)],
        [member("checkpoint", b"a"), member("checkpoint", b"b")],
        [member("home/genops.toml/deeper", b"x")],
        [member("home/witnessed/conflicts", b"x"), member("home/witnessed/conflicts/a", b"x")],
        [member("home/witnessed/conflicts/a", b"x"), member("home/witnessed/conflicts", b"x")],
        [member("checkpoint", b"x", pax_headers={"size": "x"})],
        [member("checkpoint", b"x", pax_headers={"size": "9" * 30})],
        [member("checkpoint", b"x", pax_headers={"GNU.sparse.size": "x"})],
        [],
    ],
    ids=lambda found: "-".join(info.name.replace("/", "_") for info, _ in found) or "empty",
)
def test_an_archive_of_anything_else_than_plain_files_of_ours_is_refused(
    tmp_path: Path, members: list[tuple[tarfile.TarInfo, bytes]]
) -> None:
    with tarfile.open(tmp_path / "hostile.tar", "w") as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    assert refused(tmp_path / "hostile.tar", tmp_path).code == "export.invalid"


def test_a_link_in_an_exported_folder_is_refused(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.folder, tmp_path / "copy")
    (tmp_path / "copy" / "checkpoint").unlink()
    (tmp_path / "copy" / "checkpoint").symlink_to(scene.folder / "checkpoint")
    assert refused(tmp_path / "copy", tmp_path).code == "export.invalid"


@pytest.mark.parametrize(
    "change",
    [
        {"format": "genops-export-v2"},
        {"size": -1},
        {"size": "10"},
        {"size": True},
        {"root": "0"},
        {"parts": []},
        {"parts": ["log", "blobs"]},
        {"parts": ["log", "log"]},
        {"parts": [["log"]]},
        {"more": 1},
        {"project": "no slug"},
        {"name": "another"},
        {"size": 3},
        {"root": "0" * 64},
    ],
)
def test_a_manifest_that_says_something_else_is_refused(
    scene: Scene, tmp_path: Path, change: dict[str, Any]
) -> None:
    shutil.copytree(scene.folder, tmp_path / "copy")
    manifest = tmp_path / "copy" / MANIFEST
    manifest.write_text(json.dumps(json.loads(manifest.read_bytes()) | change))
    refused(tmp_path / "copy", tmp_path)


# ---------------------------------------------------------------- failures on the way


def test_a_full_disk_leaves_nothing(scene: Scene, tmp_path: Path) -> None:
    """Exercised by the kernel's limit on file sizes, which no write gets past."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for limit in (20_000, 100_000):
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
        try:
            with pytest.raises(UnavailableError) as caught:
                take(scene.folder, tmp_path / "home", keys=scene.keys)
            with pytest.raises(UnavailableError), open_home(scene.home) as registry:
                registry.upkeep.export(tmp_path / "export.tar")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert caught.value.hint
        assert list(tmp_path.iterdir()) == []
    take(scene.folder, tmp_path / "home", keys=scene.keys)


def test_an_import_that_is_interrupted_leaves_nothing(
    scene: Scene, tmp_path: Path, new_database: str
) -> None:
    def interrupt(at: str) -> Callable[[str, int, int], None]:
        def steps(what: str, done: int, total: int) -> None:
            if what == at:
                raise KeyboardInterrupt

        return steps

    for at in ("blobs", "records", "records checked", "texts"):
        with pytest.raises(KeyboardInterrupt):
            take(
                scene.folder,
                tmp_path / "home",
                keys=scene.keys,
                steps=interrupt(at),
                database_url=new_database,
            )
        assert list(tmp_path.iterdir()) == []
        assert tables(new_database) == []
    take(scene.folder, tmp_path / "home", keys=scene.keys, database_url=new_database)


def test_an_altered_export_leaves_a_postgres_database_empty(
    scene: Scene, tmp_path: Path, new_database: str
) -> None:
    for head in ("tile/entries", "sealed/"):
        path = first(scene, head)
        copy = rewritten(
            scene.folder, tmp_path / head.replace("/", "-"), path, flipped(scene, path)
        )
        refused(copy, tmp_path, keys=scene.keys, database_url=new_database)
        assert tables(new_database) == []


# ---------------------------------------------------------------- beside writers; erasure


def test_an_export_beside_a_writer_is_consistent_at_one_checkpoint(tmp_path: Path) -> None:
    stop = threading.Event()
    with create_registry(tmp_path / "home") as registry:

        def write() -> None:
            for number in range(200):
                if stop.is_set():
                    return
                registry.record(make_generation(number % 5, prompt=f"prompt {number}"))

        writer = threading.Thread(target=write)
        writer.start()
        done = [
            registry.upkeep.backup(tmp_path / f"backup{n}", passphrase=None, unencrypted=True)
            for n in range(2)
        ]
        stop.set()
        writer.join()
        final = registry.log.head().size
    assert done[0].size <= done[1].size <= final
    for number, report in enumerate(done):
        taken = take(tmp_path / f"backup{number}", tmp_path / f"home{number}")
        assert (taken.size, taken.root, taken.locked) == (report.size, report.root, 0)


def test_the_keyring_of_a_backup_holds_the_key_of_every_text_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody records right after the keyring was copied: that record is not in the backup."""
    with create_registry(tmp_path / "home") as registry:
        registry.record(make_generation(1))
        keyring = registry._services.keyring
        copy = type(keyring).backup

        def copy_then_record(self: Any, target: Path) -> None:
            copy(self, target)
            registry.record(make_generation(2))

        monkeypatch.setattr(type(keyring), "backup", copy_then_record)
        registry.upkeep.backup(tmp_path / "backup", passphrase=None, unencrypted=True)
    taken = take(tmp_path / "backup", tmp_path / "moved")
    assert (taken.size, taken.locked) == (2, 0)


def test_what_was_erased_since_the_backup_is_erased_again(scene: Scene, tmp_path: Path) -> None:
    shutil.copytree(scene.home, tmp_path / "home")
    with open_home(tmp_path / "home") as registry:
        registry.erase(scene.kept, reason="a request")
        registry.upkeep.export(tmp_path / "export.tar")
    done = take(tmp_path / "export.tar", tmp_path / "moved", keys=scene.keys)
    assert (done.erased, done.erased_again) == (2, 1)
    with open_home(tmp_path / "moved") as registry:
        assert registry.get(scene.kept).text == "erased"
        payload = registry.log.envelope(registry.get(scene.kept).index).payload_sha256
        assert registry._services.keyring.is_destroyed(payload)


def test_keys_keep_their_own_passphrase_inside_a_backup(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with create_registry(tmp_path / "original", passphrase="of the keys") as registry:
        made = registry.record(make_generation(1))
        registry.upkeep.backup(tmp_path / "keys", passphrase=PASSPHRASE, keys_only=True)
        registry.upkeep.export(tmp_path / "before.tar")
        registry.erase(made.record, reason="a request")
        registry.upkeep.export(tmp_path / "after.tar")
    done = take(tmp_path / "before.tar", tmp_path / "locked", keys=tmp_path / "keys")
    assert (done.texts, done.locked) == (0, 2)
    error = refused(tmp_path / "after.tar", tmp_path, keys=tmp_path / "keys")
    assert (error.code, "GENOPS_BACKUP_PASSPHRASE" in error.hint) == ("key.passphrase", True)
    monkeypatch.setenv("GENOPS_PASSPHRASE", "of the keys")
    done = take(tmp_path / "before.tar", tmp_path / "open", keys=tmp_path / "keys")
    assert (done.texts, done.locked) == (2, 0)
    done = take(tmp_path / "after.tar", tmp_path / "erased", keys=tmp_path / "keys")
    assert (done.erased, done.erased_again) == (1, 1)


# ---------------------------------------------------------------- the catalog from an export


@pytest.mark.parametrize("batch", [1, 2, 3, 7, 500])
def test_a_catalog_derived_from_an_export_has_equal_rows(
    scene: Scene, tmp_path: Path, batch: int
) -> None:
    """Whatever the batch; the scene has a child that was recorded before its parent."""
    assert scene.rows["closure"]
    size = derive_catalog(scene.tar, str(tmp_path / "catalog.db"), batch=batch)
    with closing(sqlite3.connect(tmp_path / "catalog.db")) as conn:
        rows = {
            name: sorted(conn.execute(f"SELECT * FROM {name}").fetchall()) for name in scene.rows
        }
    assert size == len(rows["records"])
    assert rows == {name: [tuple(map(plain, row)) for row in r] for name, r in scene.rows.items()}


def plain(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


def test_a_catalog_is_derived_into_an_new_database_only(
    scene: Scene, tmp_path: Path, new_database: str
) -> None:
    derive_catalog(scene.folder, new_database, batch=4)
    engine = create_engine(new_database)
    with engine.connect() as conn:
        assert dict(projection_rows(conn)) == scene.rows
    engine.dispose()
    with pytest.raises(HomeError) as caught:
        derive_catalog(scene.folder, new_database)
    assert caught.value.code == "home.exists"
    (tmp_path / "there").write_text("mine")
    with pytest.raises(InputError):
        derive_catalog(scene.folder, str(tmp_path / "there"))
    assert (tmp_path / "there").read_text() == "mine"


def test_a_catalog_is_not_derived_from_records_that_the_checkpoint_does_not_cover(
    scene: Scene, tmp_path: Path
) -> None:
    source = rewritten(
        scene.folder, tmp_path / "copy", "checkpoint", other_checkpoint(scene, tmp_path)
    )
    with pytest.raises(IntegrityError) as caught:
        derive_catalog(source, str(tmp_path / "catalog.db"))
    assert caught.value.code == "log.altered"
    assert not (tmp_path / "catalog.db").exists()
    assert refused(source, tmp_path).code == "log.altered"


def other_checkpoint(scene: Scene, tmp_path: Path) -> bytes:
    """Return a checkpoint of the same log at another size."""
    shutil.copytree(scene.home, tmp_path / "later")
    with open_home(tmp_path / "later") as registry:
        registry.taint(scene.kept, reason="x")
        return registry.log.checkpoint()
