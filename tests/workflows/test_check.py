"""A check of a registry finds what was altered in the log, the vault, the texts or the keys."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from registry.core import disclosures
from registry.core.answers import LogReport
from registry.core.generation import Material, ModelFile
from registry.core.modelsets import modelset_digest
from registry.errors import GenopsError, InputError
from registry.factory import create_registry, open_home
from registry.signing.sealing import Keyring, decrypt, encrypt
from registry.workflows.check import STATE_NAME
from tests.conftest import make_generation

WEIGHTS = b"weights"
TENSORS = b"tensors"
GENERATED, ERASED, ERASURE = 1, 2, 4


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with vaulted materials, sealed texts and an erasure, which each test copies."""
    home = tmp_path_factory.mktemp("pattern") / "home"
    files = (ModelFile("model.safetensors", len(TENSORS), digest(TENSORS)),)
    folder = Material("model/base", "model", modelset_digest(files), storage="vaulted", files=files)
    lora = Material("lora/brand", "lora", digest(WEIGHTS), storage="vaulted")
    with create_registry(home, name="test", project="brand") as registry:
        made = make_generation(1, materials=(folder, lora))
        registry.record(made, blobs=[WEIGHTS, TENSORS])
        other = registry.record(make_generation(2, prompt="to be erased"))
        registry.record(make_generation(3, materials=(lora,)))
        registry.erase(other.assets[0], reason="a request")
        assert registry.log.head().size == ERASURE + 1
    return home


@pytest.fixture
def home(pattern: Path, tmp_path: Path) -> Path:
    copied = tmp_path / "home"
    shutil.copytree(pattern, copied)
    return copied


def check(home: Path, **options: object) -> LogReport:
    with open_home(home) as registry:
        return registry.check_log(**options)


def what(report: LogReport) -> set[tuple[int | None, str]]:
    return {(finding.index, finding.what) for finding in report.findings}


def change(path: Path, *statements: str) -> None:
    """Change a database of the home behind its back; the log's own tables have no part in it."""
    conn = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        assert conn.execute(statement).rowcount != 0, statement
    conn.close()


def blob_file(home: Path, sha256: str) -> Path:
    conn = sqlite3.connect(home / "registry.db")
    row = conn.execute("SELECT hex(md5) FROM blobs WHERE hex(sha256) = ?", (sha256.upper(),))
    md5 = row.fetchone()[0].lower()
    conn.close()
    return home / "vault" / ".dvc" / "cache" / "files" / "md5" / md5[:2] / md5[2:]


def test_a_sound_registry_holds_with_blobs_and_texts(home: Path) -> None:
    steps: list[tuple[int, int]] = []
    report = check(home, blobs=True, blob_progress=lambda *step: steps.append(step))
    assert (report.ok, report.problems, report.first_bad) == (True, (), None)
    assert (report.blobs, report.texts, report.resumed_at) == ("checked", "checked", None)
    assert steps[-1] == (6, 6)  # three pictures, a LoRA, a folder's manifest and its file
    assert not (home / "work" / STATE_NAME).exists()


@pytest.mark.parametrize("data", [WEIGHTS, TENSORS])
def test_a_blob_that_is_gone_is_named_with_the_first_record_that_needs_it(
    home: Path, data: bytes
) -> None:
    blob_file(home, digest(data)).unlink()
    assert check(home).ok
    report = check(home, blobs=True)
    named = GENERATED if data == WEIGHTS else None  # a folder's file stands in its manifest only
    assert what(report) == {(named, "blob")}
    assert digest(data) in report.problems[0]


def test_an_altered_blob_is_named(home: Path) -> None:
    path = blob_file(home, digest(WEIGHTS))
    path.chmod(0o644)
    path.write_bytes(b"Weights")
    report = check(home, blobs=True)
    assert (report.first_bad, what(report)) == (GENERATED, {(GENERATED, "blob")})
    assert "was altered" in report.problems[0]


def test_bytes_in_the_place_of_another_md5_are_found(home: Path) -> None:
    """DVC would fetch them under a name that is not theirs."""
    path = blob_file(home, digest(WEIGHTS))
    moved = path.parent / ("f" * 30)
    path.rename(moved)
    md5 = path.parent.name + "f" * 30
    change(
        home / "registry.db",
        f"UPDATE blobs SET md5 = x'{md5}' WHERE sha256 = x'{digest(WEIGHTS)}'",
    )
    assert what(check(home, blobs=True)) == {(GENERATED, "blob")}


@pytest.mark.parametrize("data", [WEIGHTS, TENSORS])
def test_a_blob_that_the_index_forgot_is_found_at_every_record(home: Path, data: bytes) -> None:
    change(home / "registry.db", f"DELETE FROM blobs WHERE sha256 = x'{digest(data)}'")
    expected = {(GENERATED, "blob"), (3, "blob")} if data == WEIGHTS else {(GENERATED, "blob")}
    assert what(check(home, blobs=True)) == expected


SEALED = "SELECT payload_sha256 FROM log_entries WHERE idx = "


@pytest.mark.parametrize(
    ("database", "statement", "found"),
    [
        ("registry.db", "UPDATE sealed SET ciphertext = x'00' WHERE record_idx = 1", (1, "text")),
        ("registry.db", "DELETE FROM sealed WHERE record_idx = 1", (1, "text")),
        (
            "registry.db",
            f"INSERT INTO sealed VALUES (2, lower(hex(({SEALED}2))), x'00')",
            (2, "text"),
        ),
        ("keyring.db", "DELETE FROM sealing_keys WHERE key_id = '{key1}'", (1, "text")),
        (
            "keyring.db",
            "UPDATE sealing_keys SET wrapped = zeroblob(40) WHERE key_id = '{key1}'",
            (1, "text"),
        ),
        ("keyring.db", "DELETE FROM sealing_keys WHERE key_id = '{key2}'", (4, "erasure")),
        (
            "keyring.db",
            (
                "UPDATE sealing_keys SET wrapped = (SELECT wrapped FROM sealing_keys"
                " WHERE key_id = '{key1}') WHERE key_id = '{key2}'"
            ),
            (4, "erasure"),
        ),
    ],
)
def test_texts_and_keys_that_do_not_fit_the_log_are_found(
    home: Path, database: str, statement: str, found: tuple[int, str]
) -> None:
    conn = sqlite3.connect(home / "registry.db")
    keys = {f"key{index}": conn.execute(f"{SEALED}{index}").fetchone()[0].hex() for index in (1, 2)}
    conn.close()
    change(home / database, statement.format(**keys))
    assert found in what(check(home, blobs=True))


def test_texts_of_one_record_do_not_pass_for_those_of_another(home: Path) -> None:
    change(
        home / "registry.db",
        "UPDATE sealed SET ciphertext = (SELECT ciphertext FROM sealed WHERE record_idx = 3)"
        " WHERE record_idx = 1",
    )
    assert what(check(home, blobs=True)) == {(1, "text")}


def test_another_text_under_the_right_key_is_found(home: Path) -> None:
    """Who holds the keyring could put it there; the signed digest tells."""
    with open_home(home) as registry:
        key_id = registry.log.envelope(GENERATED).payload_sha256
        keyring = Keyring.open(home / "keyring.db", home / "keys")
        key = keyring.get(key_id)
        keyring.close()
    conn = sqlite3.connect(home / "registry.db")
    (sealed,) = conn.execute("SELECT ciphertext FROM sealed WHERE record_idx = 1").fetchone()
    conn.close()
    first, *rest = map(disclosures.parse, json.loads(decrypt(key, sealed, key_id)))
    other = disclosures.Disclosure(first.salt, first.name, "another text").encode()
    packed = json.dumps([other, *(one.text for one in rest)]).encode()
    changed = encrypt(key, packed, key_id).hex()
    change(
        home / "registry.db", f"UPDATE sealed SET ciphertext = x'{changed}' WHERE record_idx = 1"
    )
    report = check(home, blobs=True)
    assert what(report) == {(GENERATED, "text")}
    assert first.name in report.problems[0]


def test_without_the_keyring_texts_are_not_called_checked(home: Path) -> None:
    (home / "keys" / "sealing.key").unlink()
    report = check(home, blobs=True)
    assert (report.ok, report.blobs, report.texts) == (True, "checked", "locked")


def test_no_jobs_are_refused(home: Path) -> None:
    with pytest.raises(InputError) as error:
        check(home, jobs=0)
    assert error.value.code == "check.jobs"


class StoppedError(Exception):
    """Ends a check before its time."""


def stop(done: int, total: int) -> None:
    raise StoppedError


def test_a_check_of_blobs_goes_on_after_the_last_one_it_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry.workflows.check_blobs._BATCH", 2)
    first = min(digest(WEIGHTS), digest(TENSORS))
    for data in (WEIGHTS, TENSORS):
        blob_file(home, digest(data)).unlink()
    whole = check(home, blobs=True, fresh=True)

    def stop_late(done: int, total: int) -> None:
        if done == 4:
            raise StoppedError

    with pytest.raises(StoppedError):
        check(home, blobs=True, blob_progress=stop_late)
    steps: list[int] = []
    report = check(home, blobs=True, blob_progress=lambda done, _: steps.append(done))
    assert steps == [6]
    assert {f.detail for f in report.findings} == {f.detail for f in whole.findings}
    assert any(first in problem for problem in report.problems)
    fresh = check(home, blobs=True, fresh=True)
    assert fresh == whole


def test_a_grown_registry_has_all_of_its_blobs_looked_at(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new blob may come before the last one that was looked at: they are ordered by digest."""
    monkeypatch.setattr("registry.workflows.check_blobs._BATCH", 2)
    with pytest.raises(StoppedError):
        check(home, blobs=True, blob_progress=stop)
    with open_home(home) as registry:
        registry.record(make_generation(4))
    steps: list[tuple[int, int]] = []
    check(home, blobs=True, blob_progress=lambda *step: steps.append(step))
    assert steps == [(2, 7), (4, 7), (6, 7), (7, 7)]


def test_another_kind_of_check_does_not_go_on_from_it(home: Path) -> None:
    with pytest.raises(StoppedError):
        check(home, progress=stop)
    assert (home / "work" / STATE_NAME).exists()
    blob_file(home, digest(WEIGHTS)).unlink()
    report = check(home, blobs=True)
    assert (report.resumed_at, report.ok) == (None, False)


def test_fresh_begins_anew_and_a_whole_check_leaves_nothing_behind(home: Path) -> None:
    with pytest.raises(StoppedError):
        check(home, progress=stop)
    assert check(home, fresh=True).resumed_at is None
    assert not (home / "work" / STATE_NAME).exists()
    with pytest.raises(StoppedError):
        check(home, progress=stop)
    assert check(home).resumed_at == ERASURE + 1


def rewrite(home: Path, *statements: str) -> None:
    """Change the log's tables as the database's owner could: guards off, change, guards on."""
    conn = sqlite3.connect(home / "registry.db", isolation_level=None)
    guards = conn.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
    for name, _ in guards:
        conn.execute(f"DROP TRIGGER {name}")
    for statement in statements:
        assert conn.execute(statement).rowcount != 0, statement
    for _, statement in guards:
        conn.execute(statement)
    conn.close()


def genops(*words: str, patch: str = "") -> subprocess.CompletedProcess[str]:
    script = f"import sys\n{patch}\nfrom registry.cli.main import main\nsys.exit(main())"
    command = [sys.executable, "-c", script, *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_names_the_first_bad_record_and_ends_with_1(home: Path) -> None:
    rewrite(home, "UPDATE log_entries SET payload_sha256 = randomblob(32) WHERE idx IN (3, 4)")
    done = genops("log", "check", "--json", "--home", str(home))
    answer = json.loads(done.stdout)
    assert (done.returncode, answer["ok"], answer["first_bad"]) == (1, False, 3)
    assert [f["index"] for f in answer["findings"]] == [3, 4]
    told = genops("log", "check", "--blobs", "--home", str(home))
    assert told.returncode == 1
    assert "first bad  record 3" in told.stdout
    assert "record 3: entry: it does not have the digests stored beside it" in told.stdout
    assert "genops catalog check" in told.stdout


INTERRUPT = """
from registry.log import check
take = check._Check._take

def interrupt(self, pending):
    take(self, pending)
    raise KeyboardInterrupt

check._Check._take = interrupt
"""


def test_ctrl_c_says_where_the_next_check_goes_on(home: Path) -> None:
    stopped = genops("log", "check", "--home", str(home), patch=INTERRUPT)
    assert (stopped.returncode, stopped.stdout) == (130, "")
    assert "goes on at record 5" in stopped.stderr
    done = genops("log", "check", "--home", str(home))
    assert (done.returncode, done.stderr) == (0, "")  # no progress where there is no terminal
    assert "went on at record 5" in done.stdout


def test_a_damaged_database_is_found_or_told_in_one_line(home: Path) -> None:
    """Overwrite page after page of the file: there is never a traceback, and never a clean bill."""
    path = home / "registry.db"
    with open_home(home) as registry:
        registry.log.head()
    data = path.read_bytes()
    for page in range(len(data) // 4096):
        damaged = bytearray(data)
        damaged[page * 4096 : page * 4096 + 16] = b"\xff" * 16
        path.write_bytes(damaged)
        try:
            assert not check(home).ok, page
        except (GenopsError, DBAPIError):
            continue
