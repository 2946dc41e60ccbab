"""A failure at any step is told to those it hit, loses nothing, and the next submit works."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import Connection, select, text

from registry.core import checkpoints
from registry.errors import (
    GenopsError,
    HomeError,
    IntegrityError,
    KeyFileError,
    RollbackError,
    UnavailableError,
)
from registry.log.head import StoredHead, read_head
from registry.log.reader import LogReader
from registry.log.sequencer import Sequencer
from registry.log.submission import Accepted, LogReceipt, Submission
from registry.settings import Limits
from registry.store.log_tables import LogEntryRow
from registry.store.sidecar_tables import OutboxRow
from registry.store.transaction import read
from registry.store.types import table_of
from tests.folders import let_others_in
from tests.log.conftest import Lab, in_threads

KEY = bytes(range(32))
Fault = Callable[[pytest.MonkeyPatch, Lab], None]


def count(lab: Lab, model: type) -> int:
    with read(lab.engine) as conn:
        return len(conn.execute(select(table_of(model))).all())


def outside_size(lab: Lab) -> int:
    return checkpoints.verify(lab.home.checkpoint.read_bytes(), lab.vkey).size


def sealed_submission(lab: Lab) -> Submission:
    return replace(lab.taint(), sealed=b"ciphertext", seal_key=KEY)


def full_disk(*_: object, **__: object) -> None:
    raise OSError(28, "No space left on device")


def lost_database(*_: object, **__: object) -> None:
    raise UnavailableError("the disk is full", code="database.full")


BEFORE_COMMIT: dict[str, str] = {
    "the keyring": "registry.signing.sealing.Keyring.put_many",
    "the log's rows": "registry.log.sequencer.append_log",
    "the sidecars": "registry.log.sequencer.append_sidecars",
    "the head": "registry.log.sequencer.write_head",
}


@pytest.mark.parametrize("target", BEFORE_COMMIT.values(), ids=BEFORE_COMMIT.keys())
def test_a_failure_before_the_commit_leaves_nothing(
    lab: Lab, sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    submission = sealed_submission(lab)
    with monkeypatch.context() as broken:
        broken.setattr(target, lost_database)
        with pytest.raises(UnavailableError) as error:
            sequencer.submit(submission)
    assert error.value.code == "database.full"
    assert (lab.size(), count(lab, LogEntryRow), outside_size(lab)) == (1, 1, 1)
    receipt = sequencer.submit(submission)
    assert (receipt.index, receipt.new) == (1, True)


def test_a_failure_after_the_commit_is_told_and_submitting_again_finds_the_record(
    lab: Lab, sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    submission = lab.generation()
    with monkeypatch.context() as broken:
        broken.setattr(Path, "replace", full_disk)
        with pytest.raises(UnavailableError) as error:
            sequencer.submit(submission)
    assert error.value.code == "log.checkpoint-unwritten"
    assert (lab.size(), outside_size(lab)) == (2, 1)
    receipt = sequencer.submit(submission)
    assert (receipt.index, receipt.new) == (1, False)
    assert outside_size(lab) == 2


def test_a_lost_answer_of_a_commit_does_not_lose_or_repeat_the_record(
    lab: Lab, sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Failed but persisted: the database committed, and the answer never came."""
    submission = lab.generation()
    with monkeypatch.context() as broken:
        broken.setattr("registry.log.trust_state.TrustCache.keep", lost_database)
        with pytest.raises(UnavailableError):
            sequencer.submit(submission)
    assert lab.size() == 2
    receipt = sequencer.submit(submission)
    assert (receipt.index, receipt.new) == (1, False)
    assert sequencer.submit(lab.generation()).index == 2
    assert outside_size(lab) == 3


def test_a_projector_that_refuses_a_record_refuses_that_record_alone(lab: Lab) -> None:
    poison = lab.generation()

    def project(conn: Connection, batch: Sequence[Accepted]) -> None:
        for record in batch:
            conn.execute(
                text("INSERT INTO mirror_state VALUES (:k, '')"), {"k": record.payload_sha256.hex()}
            )
            if record.envelope.to_bytes() == poison.envelope:
                raise ValueError("a record that it cannot read")

    sequencer = lab.sequencer(projector=project)
    sequencer.submit(lab.trust())
    batch = [*(lab.generation() for _ in range(30)), poison, *(lab.generation() for _ in range(29))]
    answers = in_threads(sequencer.submit, batch, 30, errors=True)
    assert [isinstance(answer, LogReceipt) for answer in answers] == [True] * 30 + [False] + [
        True
    ] * 29
    assert answers[30].code == "log.failed"
    assert "a record that it cannot read" in answers[30].message
    assert sorted(a.index for a in answers if isinstance(a, LogReceipt)) == list(range(1, 60))
    with read(lab.engine) as conn:
        assert conn.scalar(text("SELECT count(*) FROM mirror_state")) == 60


def test_a_database_held_by_another_program_is_told_and_recovers(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(lock_wait_s=0.1))
    sequencer = lab.sequencer()
    lab.fill(2, sequencer)
    holder = sqlite3.connect(lab.home.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    answers = in_threads(sequencer.submit, [lab.generation() for _ in range(4)], 4, errors=True)
    assert {answer.code for answer in answers} == {"database.locked"}
    holder.execute("ROLLBACK")
    assert sequencer.submit(lab.generation()).index == 2


def test_a_log_held_by_another_process_is_told_and_recovers(tmp_path: Path) -> None:
    lab = Lab(tmp_path, limits=Limits(lock_wait_s=0.1))
    sequencer = lab.sequencer()
    lab.fill(2, sequencer)
    program = (
        "import sys, time; from filelock import FileLock\n"
        f"with FileLock({str(lab.home.lock)!r}): print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    with pytest.raises(UnavailableError) as error:
        sequencer.submit(lab.generation())
    assert error.value.code == "log.locked"
    holder.kill()
    holder.communicate()
    assert sequencer.submit(lab.generation()).index == 2


def test_without_the_logs_key_nothing_is_written(lab: Lab, sequencer: Sequencer) -> None:
    (lab.home.keys / "log.pem").rename(lab.home.keys / "elsewhere.pem")
    other = lab.sequencer()
    with pytest.raises(KeyFileError) as error:
        other.submit(lab.generation())
    assert error.value.code == "key.missing"
    assert lab.size() == 1
    (lab.home.keys / "elsewhere.pem").rename(lab.home.keys / "log.pem")
    assert other.submit(lab.generation()).index == 1


def test_another_logs_key_signs_nothing(lab: Lab, sequencer: Sequencer) -> None:
    other = Lab(lab.root / "other")
    with pytest.raises(KeyFileError) as error:
        lab.sequencer(log_signer=other.log_signer).submit(lab.generation())
    assert error.value.code == "key.mismatch"
    assert lab.size() == 1


def backup_of(lab: Lab) -> bytes:
    conn = sqlite3.connect(lab.home.database)
    conn.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    conn.close()
    return lab.home.database.read_bytes()


def restore(lab: Lab, data: bytes) -> None:
    lab.sound = False
    lab.engine.dispose()
    for suffix in ("-wal", "-shm"):
        Path(f"{lab.home.database}{suffix}").unlink(missing_ok=True)
    lab.home.database.write_bytes(data)


@pytest.mark.parametrize("running", [True, False], ids=["in use", "opened anew"])
def test_a_database_older_than_the_checkpoint_file_is_refused(
    lab: Lab, sequencer: Sequencer, running: bool
) -> None:
    old = backup_of(lab)
    sequencer.submit(lab.generation())
    newest = backup_of(lab)
    restore(lab, old)
    chosen = sequencer if running else lab.sequencer()
    with pytest.raises(RollbackError) as error:
        chosen.submit(lab.generation())
    assert error.value.code == "log.rolled-back"
    with pytest.raises(RollbackError):
        lab.reader().refuse_rollback(lab.home.checkpoint)
    restore(lab, newest)
    lab.reader().refuse_rollback(lab.home.checkpoint)
    assert chosen.submit(lab.generation()).index == 2


def test_a_restored_database_is_refused_while_in_use_even_without_the_file(
    lab: Lab, sequencer: Sequencer
) -> None:
    old = backup_of(lab)
    sequencer.submit(lab.generation())
    restore(lab, old)
    lab.home.checkpoint.unlink()
    with pytest.raises(RollbackError):
        sequencer.submit(lab.generation())


def test_a_log_that_forked_from_the_checkpoint_file_is_refused(
    lab: Lab, sequencer: Sequencer
) -> None:
    old = backup_of(lab)
    sequencer.submit(lab.generation())
    kept = lab.home.checkpoint.read_bytes()
    restore(lab, old)
    lab.home.checkpoint.unlink()
    forked = lab.sequencer()
    for _ in range(3):
        forked.submit(lab.generation())
    lab.home.checkpoint.write_bytes(kept)
    with pytest.raises(RollbackError) as error:
        lab.sequencer().submit(lab.generation())
    assert error.value.code == "log.forked"
    with pytest.raises(RollbackError):
        lab.reader().refuse_rollback(lab.home.checkpoint)


def test_a_verified_head_is_held_against_the_file_that_was_named(
    lab: Lab, sequencer: Sequencer
) -> None:
    reader = lab.reader()
    reader.refuse_rollback(lab.home.checkpoint)
    old = backup_of(lab)
    sequencer.submit(lab.generation())
    assert reader.verified_head().size == 2
    restore(lab, old)
    with pytest.raises(RollbackError):
        reader.verified_head()


def test_a_reader_takes_no_commit_beside_it_for_a_roll_back(
    lab: Lab, sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader = lab.reader()

    def commits_after(conn: Connection) -> StoredHead:
        """Read the head as ever; before anything else is read, a record is added."""
        stored = read_head(conn)
        sequencer.submit(lab.generation())
        return stored

    monkeypatch.setattr("registry.log.reader.read_head", commits_after)
    reader.refuse_rollback(lab.home.checkpoint)
    before = outside_size(lab)
    assert reader.verified_head().size == before < outside_size(lab)


@pytest.mark.parametrize("note", [None, b"", bytes(233)], ids=["missing", "empty", "zeros"])
def test_a_lost_checkpoint_file_is_written_again(
    lab: Lab, sequencer: Sequencer, note: bytes | None
) -> None:
    lab.home.checkpoint.unlink()
    if note is not None:
        lab.home.checkpoint.write_bytes(note)
    lab.reader().refuse_rollback(lab.home.checkpoint)
    sequencer.submit(lab.generation())
    assert outside_size(lab) == 2


def test_a_checkpoint_file_that_this_log_did_not_sign_stops_writing(
    lab: Lab, sequencer: Sequencer
) -> None:
    other = Lab(lab.root / "other")
    other.fill(3)
    kept = lab.home.checkpoint.read_bytes()
    for note in (other.home.checkpoint.read_bytes(), b"garbage", kept[:-3]):
        lab.home.checkpoint.write_bytes(note)
        with pytest.raises(GenopsError) as error:
            sequencer.submit(lab.generation())
        assert error.value.code == "log.checkpoint-file"
        with pytest.raises(IntegrityError):
            lab.reader().refuse_rollback(lab.home.checkpoint)
    lab.home.checkpoint.write_bytes(kept)
    assert sequencer.submit(lab.generation()).index == 1


def test_a_file_left_behind_by_a_crash_is_caught_up_with(lab: Lab, sequencer: Sequencer) -> None:
    kept = lab.home.checkpoint.read_bytes()
    for _ in range(5):
        sequencer.submit(lab.generation())
    lab.home.checkpoint.write_bytes(kept)
    again = lab.sequencer()
    submission = lab.generation()
    assert again.submit(submission).index == 6
    assert outside_size(lab) == 7


CRASH = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.log.conftest import Lab
from dataclasses import replace
import registry.log.sequencer as sequencer
from registry.log.outside import CheckpointFile
from registry.signing.sealing import Keyring
lab = Lab(Path(sys.argv[2]))
submission = replace(lab.taint(), sealed=b"ciphertext", seal_key=bytes(32))
Path(sys.argv[4]).write_bytes(submission.envelope)
def die(*_, **__): os._exit(9)
def die_after(call):
    def wrapped(*args, **kwargs):
        call(*args, **kwargs)
        os._exit(9)
    return wrapped
step = sys.argv[3]
if step == "keyring":
    Keyring.put_many = die_after(Keyring.put_many)
elif step == "rows":
    sequencer.append_log = die_after(sequencer.append_log)
elif step == "head":
    sequencer.write_head = die_after(sequencer.write_head)
elif step == "publish":
    CheckpointFile.publish = die
lab.sequencer().submit(submission)
"""


@pytest.mark.parametrize(
    ("step", "committed"),
    [("keyring", False), ("rows", False), ("head", False), ("publish", True), ("none", True)],
)
def test_a_process_that_dies_at_any_step_leaves_a_sound_log(
    lab: Lab, sequencer: Sequencer, tmp_path: Path, step: str, committed: bool
) -> None:
    sent = tmp_path / "sent"
    repository = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CRASH, repository, str(lab.root), step, str(sent)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == (0 if step == "none" else 9), done.stderr
    assert lab.size() == 1 + committed
    again = replace(Submission(sent.read_bytes()), sealed=b"ciphertext", seal_key=KEY)
    receipt = sequencer.submit(again)
    assert (receipt.index, receipt.new) == (1, not committed)
    payload = lab.reader().envelope(1).payload_sha256
    assert lab.keyring.get(payload) == (bytes(32) if committed else KEY)
    assert sequencer.submit(lab.generation()).index == 2
    assert outside_size(lab) == 3
    assert count(lab, OutboxRow) == 3 * 2


READ_ONLY = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from registry.errors import HomeError
from registry.log.reader import LogReader
from registry.settings import Home, Settings
from registry.core.notes import VerifierKey
from registry.store.engine import open_engine
os.setgid(65534), os.setuid(65534)
home = Home(Path(sys.argv[2]))
engine = open_engine(Settings(home, "studio", "0190"))
vkey = VerifierKey.parse(sys.argv[3])
reader = LogReader(engine, vkey.name, vkey)
reader.refuse_rollback(home.checkpoint)
print(reader.verified_head().size, len(list(reader.records())), reader.inclusion(1).index)
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)
def test_a_read_only_home_reads_and_proves(lab: Lab, tmp_path: Path) -> None:
    lab.fill(3)
    let_others_in(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            READ_ONLY,
            *map(str, (Path(__file__).parents[2], tmp_path, lab.vkey)),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["3", "3", "1"]


def test_a_read_only_home_refuses_to_write(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.fill(2)
    monkeypatch.setattr("os.access", lambda *_: False)
    engine = lab.open_engine()
    with pytest.raises(HomeError) as error:
        lab.sequencer(engine=engine).submit(lab.generation())
    assert error.value.code == "home.read-only"
    assert LogReader(engine, lab.vkey.name, lab.vkey).verified_head().size == 2
