"""What makes a home, who may open it, and the clear errors of those who may not."""

from __future__ import annotations

import os
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from registry.core.generation import Generation, Material
from registry.errors import (
    GenopsError,
    HomeError,
    InputError,
    KeyFileError,
    NotFoundError,
    UnavailableError,
)
from registry.factory import create_registry, open_home, open_registry
from registry.sdk import Registry
from registry.store.transaction import read
from registry.workflows.maintain import projection_rows
from tests.folders import let_others_in

Make = Callable[..., Generation]


def test_a_new_home_has_private_keys_and_trust_at_index_0(registry: Registry) -> None:
    home = registry.settings.home
    for name in ("generator", "policy", "reviewer", "admin", "log"):
        assert stat.S_IMODE((home.keys / f"{name}.pem").stat().st_mode) == 0o600
    trust = registry.log.trust()
    assert {role for key in trust.keys.values() for role in key.roles} == {
        "generator",
        "policy",
        "reviewer",
        "admin",
    }
    assert registry.log.head().size == 1
    assert registry.check_log().ok


def test_a_folder_that_is_no_home_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HomeError) as caught:
        open_registry(tmp_path)
    assert caught.value.code == "home.missing"


def test_a_home_is_never_overwritten(registry: Registry) -> None:
    with pytest.raises(HomeError) as caught:
        create_registry(registry.settings.home.root)
    assert caught.value.code == "home.exists"


def test_a_home_of_a_newer_version_is_refused(registry: Registry) -> None:
    config = registry.settings.home.config
    config.write_text(config.read_text().replace("version = 1", "version = 2"))
    with pytest.raises(HomeError) as caught:
        open_home(registry.settings.home.root)
    assert caught.value.code == "home.newer"


@pytest.mark.parametrize("name", ["", "Upper", "with space", "a+b", "x" * 64])
def test_a_name_that_cannot_stand_in_an_origin_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError):
        create_registry(tmp_path / "home", name=name)
    assert not (tmp_path / "home").exists()


def test_a_home_that_could_not_be_made_leaves_nothing(tmp_path: Path) -> None:
    """A passphrase that protects nothing is refused after the folder was made."""
    (tmp_path / "note.txt").write_text("mine")
    for home in (tmp_path, tmp_path / "home"):
        with pytest.raises(InputError):
            create_registry(home, passphrase="")
        assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    try:
        with pytest.raises(UnavailableError):
            create_registry(tmp_path / "home")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]
    with create_registry(tmp_path / "home") as registry:
        assert registry.check_log().ok


def test_a_passphrase_protects_the_keys(tmp_path: Path, generation: Make) -> None:
    home = tmp_path / "home"
    with create_registry(home, passphrase="correct horse") as made:
        made.record(generation(1))
    with open_home(home, passphrase="correct horse") as opened:
        opened.record(generation(2))
    for wrong in ("battery staple", None):
        with pytest.raises(KeyFileError) as caught, open_home(home, passphrase=wrong) as opened:
            opened.record(generation(3))
        assert caught.value.code == "key.passphrase"
    with open_home(home) as reader:
        assert len(reader.list()) == 2
        assert reader.check_log().ok


AS_ANOTHER_USER = """
import os, sys
from registry.errors import GenopsError
from registry.factory import open_home

def look(home):
    with open_home(home) as registry:
        (asset,) = registry.list()
        passport = registry.get(asset.id)
        print(passport.text, registry.verify(asset.id).ok)
        try:
            registry.taint(asset.id, reason="x")
        except GenopsError as error:
            print(error.code)

look(sys.argv[1])  # as root first, so that everything is imported
os.setgid(65534), os.setuid(65534)
look(sys.argv[2])
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_home_that_others_own_is_read_and_not_written(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    registry.record(generation(1))
    registry.close()
    mine, theirs = registry.settings.home.root, tmp_path / "theirs"
    shutil.copytree(mine, theirs)
    let_others_in(tmp_path, theirs)
    (theirs / "keys").chmod(0o755)  # the public halves are for everybody, the keys stay 0600
    done = subprocess.run(
        [sys.executable, "-c", AS_ANOTHER_USER, str(mine), str(theirs)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["readable", "True", "locked", "True", "home.read-only"]


def test_prefixes_resolve_and_ambiguity_lists_the_candidates(
    registry: Registry, generation: Make
) -> None:
    receipt = registry.record(generation(1))
    asset, record = receipt.assets[0], receipt.record
    for ref in (asset, asset[7:15], asset[:20], record, record[4:12], record[:14]):
        assert registry.resolve(ref) == asset
    for bad in ("sha256:123", "nothing", "0" * 7):
        with pytest.raises(InputError):
            registry.resolve(bad)
    with pytest.raises(NotFoundError):
        registry.resolve("0" * 64)


def test_a_file_is_named_by_its_path(registry: Registry, generation: Make, tmp_path: Path) -> None:
    made = generation(1)
    receipt = registry.record(made)
    file = tmp_path / "picture.png"
    file.write_bytes(made.outputs[0].data)
    assert registry.resolve(file) == receipt.assets[0]
    file.write_bytes(b"another file")
    with pytest.raises(NotFoundError) as caught:
        registry.resolve(file)
    assert caught.value.code == "ref.unregistered"
    assert "find" in caught.value.hint


def test_a_rebuilt_projection_has_equal_rows(registry: Registry, generation: Make) -> None:
    first = registry.record(generation(1, campaign="a"))
    registry.record(generation(2))
    registry.taint(first.assets[0], reason="x")
    registry.gate([first.assets[0]])
    registry.erase(first.record, reason="x")
    services = registry._services
    with read(services.engine) as conn:
        before = projection_rows(conn)
    assert registry.rebuild_catalog() == registry.log.head().size
    with read(services.engine) as conn:
        after = projection_rows(conn)
    assert after == before
    assert all(before[name] for name in ("records", "outputs", "nodes", "taints", "decisions"))


@pytest.mark.parametrize(
    ("statement", "table"),
    [
        ("DELETE FROM taints", "taints"),
        ("UPDATE records SET project = 'another' WHERE idx = 1", "records"),
        ("DELETE FROM closure", "closure"),
        ("INSERT INTO models VALUES (1, x'00', 'm', 'lora', 'MIT', 1)", "models"),
    ],
)
def test_a_projection_that_was_edited_is_named_and_a_rebuild_mends_it(
    registry: Registry, generation: Make, statement: str, table: str
) -> None:
    source = Material("input/init", "image", "b" * 64)
    first = registry.record(generation(1, materials=(source,)))
    registry.taint(first.assets[0], reason="x")
    assert registry.check_catalog() == ()
    with closing(sqlite3.connect(registry.settings.home.database)) as conn, conn:
        conn.execute(statement)
    (line,) = registry.check_catalog()
    assert line.startswith(f"{table}: ")
    registry.rebuild_catalog()
    assert registry.check_catalog() == ()


def test_an_ingested_file_says_so_and_keeps_its_parent(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    made = generation(1)
    parent = registry.record(made).assets[0]
    edit = tmp_path / "retouched by hand.png"
    edit.write_bytes(generation(2).outputs[0].data)
    receipt = registry.ingest(edit, parents=[parent], note="logo placed by hand", campaign="mugs")
    assert [a.record for a in registry.list(campaign="mugs")] == [receipt.record]
    passport = registry.get(receipt.record)
    assert passport.kind == "ingested"
    assert passport.parameters == {
        "source": "retouched by hand.png",
        "note": "logo placed by hand",
    }
    assert [m.id for m in passport.materials] == [parent]
    assert [a.id for a in registry.impact(parent).assets] == [receipt.assets[0]]
    with pytest.raises(InputError) as caught:
        registry.reproduce(receipt.record)
    assert caught.value.code == "reproduce.not-generated"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [
        ("empty.png", b"", "file.empty"),
        ("broken.png", b"not a picture at all", "image.unreadable"),
    ],
)
def test_a_bad_file_is_refused_and_nothing_is_written(
    registry: Registry, tmp_path: Path, name: str, content: bytes, code: str
) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    with pytest.raises(GenopsError) as caught:
        registry.ingest(file)
    assert caught.value.code == code
    assert registry.log.head().size == 1
