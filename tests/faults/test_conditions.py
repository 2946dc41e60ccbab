"""A full disk, one that turned read-only, a database that others hold: told clearly, nothing lost.

Real file systems, mounted for the test; where nobody may mount one, a limit of the process on the
size of its files stands in for the full disk.
"""

from __future__ import annotations

import json
import os
import resource
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.errors import GenopsError, UnavailableError
from registry.factory import create_registry, open_home
from registry.sdk import Registry
from tests.faults.soundness import Acknowledged, assert_sound, new_invocation, record

ROOT = Path(__file__).parents[2]
PAGE = 4096
DISK_BYTES = 24 * 1024 * 1024
FULL = {"vault.unwritable", "keyring.unavailable", "database.full", "log.checkpoint-unwritten"}
"""What a caller may be told when the disk is full."""


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A small file system of its own."""
    place = tmp_path / "disk"
    place.mkdir()
    try:
        mount("-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", place)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def make(home: Path) -> Acknowledged:
    with create_registry(home, name="test", project="brand") as registry:
        return record(registry, "before")


def picture(folder: Path, size: int = 20_000) -> Path:
    path = folder / "delivery.bin"
    path.write_bytes(os.urandom(size))
    return path


def genops(*words: object, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run a command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "registry.cli", *map(str, words)],
        cwd=ROOT,
        env=os.environ | environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=25,  # less than a wait for a lock that nobody set
    )


def fill(disk: Path, left: int) -> Path:
    """Take all of a disk but so many bytes."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(disk)
        os.posix_fallocate(file.fileno(), 0, max(free.f_bavail * free.f_bsize - left, PAGE))
    return filler


def attempt(registry: Registry, tag: str) -> Acknowledged | str:
    """Record, and return what the caller has in hand: an acknowledgement, or a code."""
    try:
        return record(registry, tag)
    except GenopsError as error:
        return error.code if error.hint else f"{error.code} without a hint"


def test_a_full_disk_is_told_at_every_step_and_loses_nothing(disk: Path) -> None:
    home = disk / "home"
    told: list[Acknowledged | str] = [make(home)]
    for pages in (*range(16), *range(16, 80, 4)):
        with open_home(home) as registry:
            filler = fill(disk, pages * PAGE)
            told.append(attempt(registry, f"with {pages} pages"))
            filler.unlink()
            after = attempt(registry, f"after {pages} pages")
        assert isinstance(after, Acknowledged)
        told.append(after)
    codes = {one for one in told if isinstance(one, str)}
    assert codes <= FULL
    assert codes >= {"vault.unwritable", "keyring.unavailable", "database.full"}
    assert_sound(home, [one for one in told if isinstance(one, Acknowledged)])


def test_the_command_line_tells_of_a_full_disk(disk: Path, tmp_path: Path) -> None:
    home = disk / "home"
    before, file = make(home), picture(tmp_path)
    filler = fill(disk, PAGE)
    failed = genops("record", file, "--home", home)
    assert failed.returncode != 0
    assert "error[database.full]: the disk is full" in failed.stderr
    assert "hint: free some space" in failed.stderr
    filler.unlink()
    assert genops("record", file, "--home", home).returncode == 0
    assert len(assert_sound(home, [before])) == 3


def test_a_limit_on_file_sizes_is_told_and_loses_nothing(tmp_path: Path) -> None:
    home = tmp_path / "home"
    before, file = make(home), picture(tmp_path, size=60_000)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    program = "import sys; from registry.cli.main import main; sys.exit(main())"
    for size, code in ((40_000, "vault.unwritable"), (80_000, "database.io")):
        limited = subprocess.run(
            [sys.executable, "-c", program, "record", str(file), "--home", str(home)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard)),  # noqa: B023
        )
        assert limited.returncode != 0
        assert code in limited.stderr
    assert genops("record", file, "--home", home).returncode == 0
    assert len(assert_sound(home, [before])) == 3


def test_a_disk_that_was_mounted_read_only(disk: Path, tmp_path: Path) -> None:
    home = disk / "home"
    before, file = make(home), picture(tmp_path)
    mount("-o", "remount,ro", disk)
    failed = genops("record", file, "--home", home)
    assert failed.returncode != 0
    assert "home.read-only" in failed.stderr
    shown = genops("show", before.record, "--home", home, "--json")
    assert json.loads(shown.stdout)["record"] == before.record
    assert genops("log", "check", "--home", home).returncode == 0
    mount("-o", "remount,rw", disk)
    assert genops("record", file, "--home", home).returncode == 0
    assert len(assert_sound(home, [before])) == 3


def test_a_disk_that_turns_read_only_under_an_open_registry(disk: Path) -> None:
    home = disk / "home"
    before = make(home)
    with open_home(home) as registry:
        mount("--bind", disk, disk)
        mount("-o", "remount,bind,ro", disk)
        refused = attempt(registry, "refused")
        subprocess.run(["umount", str(disk)], check=True)
        after = record(registry, "after")
    assert refused == "vault.unwritable"
    assert_sound(home, [before, after])


def hold(path: Path) -> Callable[[], None]:
    """Hold a database as another program would; return what lets it go."""
    conn = sqlite3.connect(path, isolation_level=None)
    conn.execute("BEGIN IMMEDIATE")
    return conn.close


@pytest.mark.parametrize(
    ("name", "code"), [("registry.db", "database.locked"), ("keyring.db", "keyring.unavailable")]
)
def test_a_database_that_others_hold(tmp_path: Path, name: str, code: str) -> None:
    home = tmp_path / "home"
    before, file = make(home), picture(tmp_path)
    let_go = hold(home / name)
    failed = genops("record", file, "--home", home, GENOPS_LIMIT_LOCK_WAIT_S="0.2")
    assert failed.returncode != 0
    assert code in failed.stderr
    assert "try again" in failed.stderr
    let_go()
    assert genops("record", file, "--home", home).returncode == 0
    assert len(assert_sound(home, [before])) == 3


def test_an_invocation_that_was_refused_for_want_of_space_is_taken_later(disk: Path) -> None:
    home = disk / "home"
    make(home)
    invocation = new_invocation()
    with open_home(home) as registry:
        filler = fill(disk, PAGE)
        with pytest.raises(UnavailableError):
            record(registry, "late", invocation)
        filler.unlink()
        late = record(registry, "late", invocation)
    assert_sound(home, [late])
