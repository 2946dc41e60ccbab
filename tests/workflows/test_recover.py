"""A database that was put back from yesterday is refused, explained, and made whole again."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from registry.cli.main import run
from registry.errors import GenopsError, RollbackError
from registry.factory import create_registry, open_home, recover_registry
from registry.mirrors.outbox import Outbox
from registry.sdk import Registry
from registry.store.transaction import read
from registry.vault.segments import read_segment
from registry.vault.shelf import pointers
from registry.vault.store import Vault
from registry.workflows.maintain import projection_rows
from tests.conftest import encode, make_generation, make_picture


@dataclass(frozen=True, slots=True)
class Scene:
    """A home of yesterday and one of today, and what today's held."""

    yesterday: Path
    today: Path
    export: Path
    old: int
    size: int
    new: str
    erased: str
    rows: dict[str, Any]


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        with create_registry(root / "today", name="test", project="brand") as registry:
            first = registry.record(make_generation(1))
            registry.sync_mirrors(["vault", "mlflow"])
            old = registry.log.head().size
        shutil.copytree(root / "today", root / "yesterday")
        with open_home(root / "today") as registry:
            new = registry.record(make_generation(2, prompt="of today"))
            gone = registry.record(make_generation(3, prompt="somebody's name"))
            registry.sync_mirrors(["vault", "mlflow"])
            registry.taint(first.assets[0], reason="a complaint")
            registry.erase(gone.record, reason="a request")
            registry.record(make_generation(4))
            registry.sync_mirrors(["vault", "mlflow"])
            registry.upkeep.export(root / "export.tar")
            yield Scene(
                root / "yesterday",
                root / "today",
                root / "export.tar",
                old,
                registry.log.head().size,
                new.record,
                gone.record,
                rows_of(registry),
            )


def rows_of(registry: Registry) -> dict[str, Any]:
    with read(registry._services.engine) as conn:
        return dict(projection_rows(conn))


@pytest.fixture
def home(scene: Scene, tmp_path: Path) -> Path:
    """Today's home with yesterday's database in it."""
    shutil.copytree(scene.today, tmp_path / "home")
    for path in (tmp_path / "home").glob("registry.db*"):
        path.unlink()
    shutil.copy(scene.yesterday / "registry.db", tmp_path / "home" / "registry.db")
    return tmp_path / "home"


def drop_from(vault: Path, first: int) -> None:
    """Forget the segments from a log index on, as if they had never been written."""
    for pointer in pointers(Vault(vault)):
        if pointer.last >= first:
            pointer.path.unlink()


def size_of(home: Path) -> int:
    with closing(sqlite3.connect(home / "registry.db")) as conn:
        size: int = conn.execute("SELECT size FROM log_head").fetchone()[0]
        assert conn.execute("SELECT count(*) FROM log_entries").fetchone()[0] == size
    return size


# ---------------------------------------------------------------- refused, with both


def test_a_roll_back_is_refused_with_both_checkpoints(
    scene: Scene, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(RollbackError) as caught:
        open_home(home)
    old, new = caught.value.heads
    assert (old["where"], old["size"]) == ("database", scene.old)
    assert (new["where"], new["size"]) == (str(home / "checkpoint"), scene.size)
    assert old["root"] != new["root"]
    assert old["time"] < new["time"]
    assert run(["list", "--home", str(home), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["error"]["checkpoints"] == [old, new]
    assert run(["list", "--home", str(home)]) == 1
    shown = capsys.readouterr().err
    assert all(head["root"] in shown and str(head["size"]) in shown for head in (old, new))


# ---------------------------------------------------------------- repaired


def test_everything_comes_back_from_the_vault(scene: Scene, home: Path) -> None:
    tried = recover_registry(home, dry_run=True)
    assert (tried.ok, tried.state, tried.recovered) == (True, "behind", 0)
    assert size_of(home) == scene.old
    done = recover_registry(home)
    assert (done.ok, done.missing) == (True, (f"{scene.old}-{scene.size - 1}",))
    assert [(one.where, one.ranges) for one in done.found] == [("vault", done.missing)]
    assert (done.recovered, done.without_texts) == (scene.size - scene.old, 0)
    is_whole(scene, home)
    with open_home(home) as registry:
        assert registry.get(scene.new).text == "readable"
        assert registry.get(scene.erased).text == "erased"
        found = registry.find(encode(make_picture(2), "JPEG", quality=80))
        assert scene.new in {record for match in found.matches for record in match.records}
        assert registry.check_log(blobs=True).ok
    again = recover_registry(home)
    assert (again.ok, again.state, again.notes) == (True, "sound", ())


def is_whole(scene: Scene, home: Path) -> None:
    """The catalog is as it was, nothing is sent again, and the log goes on."""
    with open_home(home) as registry:
        assert rows_of(registry) == scene.rows
        assert registry.verify(scene.new).ok
        assert [report.pending for report in registry.mirror_status()] == [0, 0]
        assert registry.record(make_generation(9)).index == scene.size
        assert registry.check_log().ok
    with closing(sqlite3.connect(home / "registry.db")) as conn, pytest.raises(sqlite3.Error):
        conn.execute("DELETE FROM log_entries")


def test_a_whole_home_put_back_is_seen_from_a_newer_vault(
    scene: Scene, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    shutil.copytree(scene.yesterday, home)
    shutil.copytree(scene.today / "vault", home / "vault", dirs_exist_ok=True)
    with open_home(home) as registry, pytest.raises(RollbackError) as caught:
        registry.record(make_generation(9))
    assert caught.value.code == "log.rolled-back"
    assert [head["size"] for head in caught.value.heads] == [scene.old, scene.size]
    assert run(["doctor", "--home", str(home)]) == 1
    assert "log recover" in capsys.readouterr().out
    done = recover_registry(home)
    assert done.ok
    with open_home(home) as registry:  # the keyring is of yesterday too
        assert registry.get(scene.new).text == "locked"
        assert registry.get(scene.erased).text == "erased"
        assert registry.record(make_generation(9)).index == scene.size
        assert registry.check_log().ok


def test_generations_come_back_from_mlflow_and_the_rest_from_an_export(
    scene: Scene, home: Path
) -> None:
    drop_from(home / "vault", scene.old)
    lacking = recover_registry(home)
    assert not lacking.ok
    assert lacking.not_found == ("4-5",)  # a taint and an erasure are no traces
    assert [(one.where, one.ranges) for one in lacking.found] == [("mlflow", ("2-3", "6"))]
    assert size_of(home) == scene.old
    done = recover_registry(home, more=[scene.export])
    assert [(one.where, one.ranges) for one in done.found] == [(str(scene.export), ("2-6",))]
    with open_home(home) as registry:
        assert rows_of(registry) == scene.rows
        assert registry.get(scene.new).text == "readable"
        assert registry.check_log(blobs=True).ok


def test_what_only_mlflow_holds_comes_back_without_its_texts(scene: Scene, tmp_path: Path) -> None:
    home = tmp_path / "home"
    shutil.copytree(scene.yesterday, home)
    with open_home(home) as registry:
        last = registry.record(make_generation(7, prompt="never in the vault"))
        registry.sync_mirrors(["mlflow"])
    for path in home.glob("registry.db*"):
        path.unlink()
    shutil.copy(scene.yesterday / "registry.db", home / "registry.db")
    done = recover_registry(home)
    assert (done.ok, done.recovered, done.without_texts) == (True, 1, 1)
    assert [(one.where, one.ranges) for one in done.found] == [("mlflow", (str(scene.old),))]
    with open_home(home) as registry:
        assert registry.get(last.record).text == "locked"
        assert registry.verify(last.record).ok  # its picture is found in the vault by its bytes
        assert Outbox(registry._services.engine).waiting("vault") == {scene.old}


def test_mlflow_alone_tells_of_records_and_cannot_vouch_for_them(
    scene: Scene, home: Path, tmp_path: Path
) -> None:
    drop_from(home / "vault", scene.old)
    shutil.copy(scene.yesterday / "checkpoint", home / "checkpoint")
    told = recover_registry(home)
    assert (told.ok, told.state, told.newest and told.newest.size) == (False, "behind", scene.old)
    assert "--from" in told.notes[-1]
    assert size_of(home) == scene.old


# ---------------------------------------------------------------- refused


def test_an_altered_copy_counts_as_none(
    scene: Scene, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.rmtree(home / "mlflow")
    vault = Vault(home / "vault")
    newest = pointers(vault)[-1]
    blob = read_segment(vault, newest.path).members[f"envelopes/{newest.last:012d}.json"]
    vault.path(blob).chmod(0o644)
    data = bytearray(vault.path(blob).read_bytes())
    data[50] ^= 1
    vault.path(blob).write_bytes(data)
    assert run(["log", "recover", "--home", str(home), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert told["not_found"] == [str(newest.last)]
    assert any("altered" in note for note in told["notes"])
    assert size_of(home) == scene.old


def test_an_interrupted_repair_changes_nothing(
    scene: Scene, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("registry.log.replay.Takeover.finish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        recover_registry(home)
    monkeypatch.undo()
    assert size_of(home) == scene.old
    assert recover_registry(home).ok


def test_an_export_of_another_log_is_refused(scene: Scene, home: Path, tmp_path: Path) -> None:
    with create_registry(tmp_path / "other", name="test") as other:
        other.upkeep.export(tmp_path / "other.tar")
    with pytest.raises(GenopsError) as caught:
        recover_registry(home, more=[tmp_path / "other.tar"])
    assert caught.value.code in {"checkpoint.origin", "note.unsigned"}
    assert size_of(home) == scene.old


@pytest.mark.parametrize("records", [1, 9])
def test_a_fork_is_explained_and_nothing_is_changed(
    scene: Scene, tmp_path: Path, records: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """Yesterday's home goes on recording, shorter or longer than what today's vault holds."""
    home = tmp_path / "home"
    shutil.copytree(scene.yesterday, home)
    with open_home(home) as registry:
        for seed in range(records):
            registry.record(make_generation(20 + seed))
    shutil.copytree(scene.today / "vault", home / "vault", dirs_exist_ok=True)
    assert run(["log", "recover", "--home", str(home), "--json"]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["state"], told["ok"], told["forked_at"]) == ("forked", False, scene.old)
    assert size_of(home) == scene.old + records
    assert run(["log", "recover", "--home", str(home)]) == 1
    assert "forked" in capsys.readouterr().out


# ---------------------------------------------------------------- the documented drills

PAGE = Path(__file__).parents[2] / "docs" / "recovery.md"


def test_the_drills_of_the_documentation_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(tmp_path)
    with create_registry("studio", name="studio") as registry:
        registry.record(make_generation(1))
    shutil.copy("studio/registry.db", "yesterday.db")
    with open_home("studio") as registry:
        registry.record(make_generation(2))
    for block in blocks:
        lines = [line[2:].partition(" #")[0] for line in block.splitlines()]
        if any("recover" in line for line in lines):
            for path in Path("studio").glob("registry.db*"):
                path.unlink()
            shutil.copy("yesterday.db", "studio/registry.db")
            assert run(["list", "--home", "studio"]) == 1
        for line in lines:
            assert run(shlex.split(line)[1:]) == 0, (line, capsys.readouterr())
    for home in ("studio", "restored", "again"):
        with open_home(home) as registry:
            assert registry.log.head().size == 3
            assert registry.get(registry.list()[0].id).text == "readable"
