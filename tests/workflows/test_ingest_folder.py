"""A library is taken in whole: each file has one outcome, and each content one record."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from registry.core.ingest_answers import FileOutcome
from registry.errors import ConflictError, InputError, MaterialError
from registry.factory import create_registry, open_home
from registry.sdk import Registry
from registry.settings import Limits
from registry.similarity.prints import prints_of
from registry.store.catalog_tables import OutputRow
from registry.store.sidecar_tables import FingerprintRow, ThumbnailRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.ingest_folder import pool
from registry.workflows.ingest_folder.reading import Reader, Ready, Task
from registry.workflows.ingest_folder.walking import Found
from tests.conftest import encode, make_generation, make_picture

ROOT = Path(__file__).parents[2]
BOMB = (b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)), (b"IEND", b"")
PICTURE, OTHER = encode(make_picture(1, 96)), encode(make_picture(2, 96), "JPEG")
FAILURES = {
    "bad/bomb.png": "image.too-large",
    "bad/cut.jpg": "image.truncated",
    "bad/empty.png": "file.empty",
    "bad/garbage.jpg": "image.unreadable",
    "bad/huge.jpg": "file.too-large",
    "bad/link.jpg": "file.link",
    "bad/loop": "file.link",
    "bad/misnamed.png": "image.suffix",
    "bad/pipe.jpg": "file.special",
    "bad/socket.jpg": "file.special",
    "bad/caf\\xe9.jpg": "file.name",
}
NEW = {"a.png", "deep/er/b.jpg", "deep/flat.png", "design.psd"}


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def spoil(bad: Path) -> None:
    """Fill a folder with all that can be wrong with a file."""
    bad.mkdir()
    (bad / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in BOMB))
    (bad / "cut.jpg").write_bytes(OTHER[: len(OTHER) // 2])
    (bad / "empty.png").touch()
    (bad / "garbage.jpg").write_bytes(b"no picture" * 40)
    with (bad / "huge.jpg").open("wb") as file:
        file.truncate(Limits().image_bytes + 1)
    (bad / "link.jpg").symlink_to("../a.png")
    (bad / "loop").symlink_to("..")
    (bad / "misnamed.png").write_bytes(OTHER + b"\0")
    os.mkfifo(bad / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(f"{bad}/socket.jpg")
    (Path(os.fsdecode(os.fsencode(bad) + b"/caf\xe9.jpg"))).write_bytes(OTHER)


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Path]:
    """A folder of good, strange and bad files, and a registry of nobody's business in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)  # a socket's path is short
        root = Path("lib")
        (root / "deep/er").mkdir(parents=True)
        (root / "a.png").write_bytes(PICTURE)
        (root / "copy of a.png").write_bytes(PICTURE)
        (root / "deep/er/b.jpg").write_bytes(OTHER)
        (root / "deep/flat.png").write_bytes(encode(Image.new("RGB", (64, 64), "red")))
        (root / "design.psd").write_bytes(b"8BPS\x00\x01" + bytes(40))
        (root / "notes.txt").write_text("a text")
        (root / ".thumb.png").write_bytes(OTHER)
        spoil(root / "bad")
        yield root


class Heard(list[FileOutcome]):
    """What was told of each file."""

    def states(self, library: Path) -> dict[str, str]:
        found = {one.path.removeprefix(f"{library}/"): one.code or one.state for one in self}
        assert len(found) == len(self)
        return found


def records_by_asset(registry: Registry) -> list[bytes]:
    with read(registry.log.engine) as conn:
        return sorted(conn.scalars(select(table_of(OutputRow).c.sha256)))


def test_each_file_has_one_outcome_and_each_content_one_record(
    registry: Registry, library: Path
) -> None:
    heard, counted = Heard(), []
    report = registry.ingest_many(
        [library],
        note="from the old server",
        campaign="archive",
        told=heard.append,
        progress=lambda done, total: counted.append((done, total)),
    )
    assert heard.states(library) == {
        **dict.fromkeys(NEW, "new"),
        **FAILURES,
        "copy of a.png": "duplicate",
        "notes.txt": "left-out",
        ".thumb.png": "left-out",
    }
    assert {one.path.removeprefix(f"{library}/") for one in report.failed} == FAILURES.keys()
    assert not report.ok
    assert (report.new, report.exact_only, report.left_out) == (
        4,
        2,
        {"hidden": 1, "text/plain": 1},
    )
    assert [one.same_as for one in report.duplicates] == [f"{library}/a.png"]
    assert counted == [(n + 1, report.files) for n in range(report.files)]

    made = {one.path: one for one in heard if one.state == "new"}
    passport = registry.get(made[f"{library}/deep/er/b.jpg"].record or "")
    assert (passport.kind, passport.campaign) == ("ingested", "archive")
    assert passport.parameters == {"source": "lib/deep/er/b.jpg", "note": "from the old server"}
    assert (passport.width, passport.media_type) == (96, "image/jpeg")
    assert [asset.kind for asset in registry.list()] == ["ingested"] * 4
    assert registry.check_log(blobs=True).ok
    assert registry.check_catalog() == ()


def test_prints_are_those_of_a_file_that_comes_alone(registry: Registry, library: Path) -> None:
    registry.ingest_many([library])
    with read(registry.log.engine) as conn:
        rows = conn.execute(select(table_of(FingerprintRow))).mappings().all()
        small = {digest.hex() for digest in conn.scalars(select(table_of(ThumbnailRow).c.sha256))}
    stored = {(row["sha256"].hex(), row["name"], row["value"], row["quality"]) for row in rows}
    files = [library / name for name in NEW - {"design.psd"}]
    made = [prints_of(file.read_bytes(), Limits()) for file in files]
    values = [value for prints in made for value in prints.values]
    assert stored == {(v.sha256, v.name, v.value, v.quality) for v in values}
    assert small == {prints.sha256 for prints in made if prints.thumbnail}


@pytest.mark.both_databases
def test_what_is_an_asset_already_is_skipped_unless_it_is_asked_for(
    registry: Registry, library: Path
) -> None:
    made = make_generation()
    registry.record(made)
    first = registry.ingest_many([library])
    (library / "again.png").write_bytes(made.outputs[0].data)
    (library / "new name.png").write_bytes(PICTURE)
    size = registry.log.head().size
    heard = Heard()
    second = registry.ingest_many([library], told=heard.append)
    assert (second.new, second.known, second.duplicates) == (0, first.new + 3, ())
    assert registry.log.head().size == size
    known = next(one for one in heard if one.path == f"{library}/a.png")
    assert registry.get(known.record or "").id == known.asset
    elsewhere = registry.ingest_many([library], project="other")
    assert (elsewhere.new, len(elsewhere.duplicates)) == (first.new + 1, 2)
    more = registry.ingest_many([library / "deep"], again=True)
    assert (more.new, more.known) == (2, 0)


def test_a_draft_that_nobody_kept_is_registered_for_good(
    registry: Registry, tmp_path: Path
) -> None:
    made = make_generation()
    registry.record(made, draft=True)
    (tmp_path / "kept.png").write_bytes(made.outputs[0].data)
    assert registry.ingest_many([tmp_path / "kept.png"]).new == 1


def test_a_dry_run_says_the_same_and_does_nothing(registry: Registry, library: Path) -> None:
    before = sorted(registry.settings.home.root.rglob("*"))
    dry, real = Heard(), Heard()
    report = registry.ingest_many([library], dry_run=True, told=dry.append)
    assert registry.log.head().size == 1
    assert sorted(registry.settings.home.root.rglob("*")) == before
    done = registry.ingest_many([library], told=real.append)
    assert report.dry_run
    assert not done.dry_run
    assert {replace(one, record=None) for one in dry} == {replace(one, record=None) for one in real}


def test_patterns_choose_and_the_registry_itself_is_never_taken_in(tmp_path: Path) -> None:
    library = tmp_path / "lib"
    for name in ("a.png", "x/b.png", "x/thumbs/c.png", "y/d.jpg", ".h/e.png"):
        (library / name).parent.mkdir(parents=True, exist_ok=True)
        (library / name).write_bytes(OTHER if name.endswith("jpg") else PICTURE + name.encode())
    (library / "x/f.txt").write_text("a text")
    with create_registry(library / "home", name="test") as registry:
        took = {}
        for key, options in {
            "all": {},
            "png": {"include": ["*.png"], "exclude": ["thumbs"]},
            "x": {"include": ["x/*"], "all_files": True},
            "hidden": {"hidden": True, "exclude": ["x", "y/*"]},
        }.items():
            heard = Heard()
            registry.ingest_many([library], dry_run=True, told=heard.append, **options)
            took[key] = {p for p, s in heard.states(library).items() if s == "new"}
            assert heard.states(library)["home"] == "left-out" or key in {"png", "x"}
    assert took == {
        "all": {"a.png", "x/b.png", "x/thumbs/c.png", "y/d.jpg"},
        "png": {"a.png", "x/b.png"},
        "x": {"x/b.png", "x/thumbs/c.png", "x/f.txt"},
        "hidden": {"a.png", ".h/e.png"},
    }


def test_what_no_record_could_say_is_refused_before_anything_is_read(
    registry: Registry, library: Path
) -> None:
    heard = Heard()
    for paths, options, code in (
        ([], {}, "ingest.paths"),
        ([library, library / "nowhere"], {}, "ingest.paths"),
        ([library], {"project": "No Slug"}, "schema.invalid"),
        ([library], {"note": "\ud800"}, "input.text"),
    ):
        with pytest.raises(InputError) as error:
            registry.ingest_many(paths, told=heard.append, **options)
        assert error.value.code == code
    assert heard == []


def test_one_project_is_filled_by_one_run_at_a_time(registry: Registry, library: Path) -> None:
    refused = []

    def again(_: FileOutcome) -> None:
        with pytest.raises(ConflictError) as error:
            registry.ingest_many([library])
        refused.append(error.value.code)

    registry.ingest_many([library / "a.png"], told=again)
    assert refused == ["ingest.running"]


def many(folder: Path, count: int) -> list[Path]:
    """Make files that count as pictures and cost no decoding."""
    folder.mkdir()
    files = [folder / f"{number:03}.psd" for number in range(count)]
    for number, file in enumerate(files):
        file.write_bytes(b"8BPS" + number.to_bytes(2, "big"))
    return files


def test_a_copy_that_comes_long_after_is_a_duplicate_and_not_known(
    registry: Registry, tmp_path: Path
) -> None:
    files = many(tmp_path / "lib", 120)
    shutil.copy(files[0], tmp_path / "lib" / "copy.psd")
    report = registry.ingest_many([tmp_path / "lib"])
    assert (report.new, report.known) == (120, 0)
    assert [(one.path, one.same_as) for one in report.duplicates] == [
        (str(tmp_path / "lib" / "copy.psd"), str(files[0]))
    ]


def test_a_run_that_was_killed_goes_on_and_nothing_is_recorded_twice(
    home: Path, tmp_path: Path
) -> None:
    files = many(tmp_path / "lib", 120)
    create_registry(home, name="test").close()
    command = [sys.executable, "-m", "registry.cli", "ingest", str(tmp_path / "lib"), "--lines"]
    reader, writer = os.pipe()
    fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)  # a full pipe holds the run up in its middle
    with subprocess.Popen(
        [*command, "--home", str(home), "--jobs", "2"], stdout=writer, cwd=ROOT
    ) as running:
        os.close(writer)
        with os.fdopen(reader, "rb") as lines:
            told = json.loads(lines.readline())
            running.send_signal(signal.SIGKILL)
            running.wait()
    assert told["state"] == "new"
    with open_home(home) as registry:
        before = len(records_by_asset(registry))
        assert 0 < before < len(files)
        assert registry.get(told["record"]).id == told["asset"]
        report = registry.ingest_many([tmp_path / "lib"])
        assert (report.known, report.new, report.ok) == (before, len(files) - before, True)
        recorded = records_by_asset(registry)
        assert len(recorded) == len(set(recorded)) == len(files)
        assert registry.check_log(blobs=True).ok


def deadly(batch: pool.Batch) -> object:
    """Read a batch, in a process that dies of a certain file."""
    if any(found.name == "deadly" for found in batch):
        os.kill(os.getpid(), signal.SIGKILL)
    return pool._read(batch)


def test_a_file_that_its_process_dies_of_is_reported_and_the_others_are_read(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [*many(tmp_path / "lib", 19), tmp_path / "lib" / "last.jpg"]
    files[-1].write_bytes(OTHER)
    found = [Found(str(file), file.name) for file in files]
    found[3] = replace(found[3], name="deadly")
    task = Task(registry.settings, "brand", all_files=False, again=False, keep=True)
    monkeypatch.setattr(pool, "_read", deadly)
    readings = [
        reading
        for batch in pool.read_in_processes(task, 1, [found[:10], found[10:]])
        for reading in batch
    ]
    ready = {reading.found: reading.taken for reading in readings if isinstance(reading, Ready)}
    (dead,) = [reading for reading in readings if isinstance(reading, FileOutcome)]
    assert (dead.path, dead.code) == (str(files[3]), "image.crashed")
    assert ready.keys() == {*found[:3], *found[4:]}
    assert len(readings) == len(files)
    assert ready[found[-1]].fingerprints == prints_of(OTHER, Limits()).values


def test_a_file_that_went_away_is_reported(registry: Registry, tmp_path: Path) -> None:
    task = Task(registry.settings, "brand", all_files=False, again=False, keep=True)
    reader = Reader(task, registry.log.engine, registry._services.vault)
    (gone,) = reader.read([Found(str(tmp_path / "gone.png"), "gone.png")])
    reader.close()
    assert isinstance(gone, FileOutcome)
    assert (gone.state, gone.code) == ("failed", "file.unreadable")


def test_a_vault_that_cannot_store_ends_the_run(registry: Registry, library: Path) -> None:
    shutil.rmtree(registry.settings.home.vault)
    with pytest.raises(MaterialError) as error:
        registry.ingest_many([library])
    assert error.value.code == "vault.missing"
    assert registry.log.head().size == 1
