"""The same log on Postgres: one contract, and the head row as the lock among machines."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import text

from registry.core.notes import NoteSignature
from registry.errors import GenopsError, IntegrityError, RollbackError, UnavailableError
from registry.log.check import check_log
from registry.log.submission import LogReceipt
from registry.log.witness import WitnessLedger
from registry.resources import schema_set
from registry.settings import Limits
from registry.store.transaction import read, write
from tests.conftest import empty_database
from tests.log.conftest import Lab, in_threads
from tests.log.test_witness import OTHER, forked, of, sign

pytestmark = pytest.mark.slow

WORKERS = 4
RECORDS = 30

# A worker on a machine of its own: it has the database in common with the others, and neither lock
# file nor checkpoint. Its projector spoils some transactions, and loses the connection in others.
WORKER = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from sqlalchemy import text
from registry.errors import UnavailableError
from tests.log.conftest import Lab, in_threads

root, url, number, count = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
lab = Lab(root, database_url=url)
calls = []

def project(conn, batch):
    if hold:
        print("holds the head", flush=True)
        sys.stdin.read()
    for record in batch:
        external = record.statement.predicate["buildDefinition"]["externalParameters"]
        if external["number"] % 10 == 7:
            raise ValueError("poison")
    calls.append(batch[0].index)
    if len(calls) in (1, 4, 7):
        conn.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

def submit(submission):
    while True:
        try:
            return sequencer.submit(submission).index
        except UnavailableError as error:
            if error.code == "log.failed":
                return None
            assert error.code == "database.unreachable", error

hold = not count
sequencer = lab.sequencer(
    projector=project,
    lock_path=root / f"lock{number}",
    checkpoint_path=root / f"checkpoint{number}",
)
submissions = [lab.generation(1000 * number + n) for n in range(count or 1)]
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(in_threads(submit, submissions, 3)))
"""


@pytest.fixture
def lab(tmp_path: Path, postgres: str) -> Lab:
    empty_database(postgres)
    return Lab(tmp_path, database_url=postgres, limits=Limits(lock_wait_s=5))


def worker(lab: Lab, number: int, count: int) -> subprocess.Popen[str]:
    """Start a worker that submits so many records, or one that stops while it holds the head."""
    assert lab.database_url is not None
    repository = str(Path(__file__).parents[2])
    place = [repository, str(lab.root), lab.database_url, str(number), str(count)]
    started = subprocess.Popen(
        [sys.executable, "-c", WORKER, *place],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def go(started: subprocess.Popen[str]) -> None:
    assert started.stdin is not None
    started.stdin.write("go\n")
    started.stdin.flush()


def test_indices_stay_dense_when_workers_fail_and_lose_their_connections(lab: Lab) -> None:
    lab.fill(1)
    workers = [worker(lab, number, RECORDS) for number in range(WORKERS)]
    for started in workers:
        go(started)
    answers = [json.loads(started.communicate(timeout=120)[0]) for started in workers]
    for answer in answers:
        refused = [n for n, index in enumerate(answer) if index is None]
        assert refused == list(range(7, RECORDS, 10))
    told = [index for answer in answers for index in answer if index is not None]
    assert sorted(told) == list(range(1, WORKERS * (RECORDS - RECORDS // 10) + 1))
    assert lab.size() == len(told) + 1
    assert check_log(lab.reader(), schema_set()).problems == ()


def test_a_killed_worker_lets_go_of_the_head(lab: Lab) -> None:
    lab.fill(1)
    short = Lab(lab.root, database_url=lab.database_url, limits=Limits(lock_wait_s=0.1))
    dying = worker(lab, 0, 0)
    go(dying)
    assert dying.stdout is not None
    assert dying.stdout.readline() == "holds the head\n"
    with pytest.raises(UnavailableError) as held:
        short.sequencer().submit(lab.generation())
    assert held.value.code == "database.locked"
    dying.send_signal(signal.SIGKILL)
    dying.communicate()
    assert lab.sequencer().submit(lab.generation()).index == 1
    assert check_log(lab.reader(), schema_set()).problems == ()


def test_the_log_keeps_its_promises_on_postgres(lab: Lab, tmp_path: Path) -> None:
    here = lab.sequencer()
    here.submit(lab.trust())
    # Another machine has the database in common, and neither the lock file nor the checkpoint.
    there = lab.sequencer(
        engine=lab.open_engine(),
        lock_path=tmp_path / "other.lock",
        checkpoint_path=tmp_path / "other.checkpoint",
    )
    submissions = [lab.generation() for _ in range(300)]

    def submit(numbered: tuple[int, object]) -> LogReceipt:
        chosen = (here, there)[numbered[0] % 2]
        return chosen.submit(numbered[1])  # type: ignore[arg-type]

    receipts = in_threads(submit, list(enumerate(submissions)), 12)
    assert sorted(receipt.index for receipt in receipts) == list(range(1, 301))
    again = there.submit(submissions[0])
    assert (again.index, again.new) == (receipts[0].index, False)
    assert check_log(lab.reader(), schema_set()).problems == ()
    for statement in (
        "UPDATE log_entries SET entry = ''",
        "DELETE FROM envelopes",
        "TRUNCATE envelopes",
        "UPDATE log_head SET size = 1",
    ):
        refuse(lab, statement)
    refuse_old_state(lab, tmp_path)


def refuse(lab: Lab, statement: str) -> None:
    with pytest.raises(IntegrityError) as error, write(lab.engine) as conn:
        conn.execute(text(statement))
    assert error.value.code == "log.append-only"
    with pytest.raises(GenopsError) as refused, read(lab.engine) as conn:
        conn.execute(text(statement))
    assert refused.value.code == "home.read-only"


def refuse_old_state(lab: Lab, tmp_path: Path) -> None:
    """A head that went back is a roll-back; a dropped guard, and a held lock, are told."""
    with write(lab.engine) as conn:
        conn.execute(text("ALTER TABLE log_head DISABLE TRIGGER log_head_no_shrink"))
        conn.execute(text("UPDATE log_head SET size = 1, frontier = substr(frontier, 1, 32)"))
    with pytest.raises(RollbackError):
        lab.sequencer().submit(lab.generation())
    with write(lab.engine) as conn:
        conn.execute(text("ALTER TABLE envelopes DISABLE TRIGGER envelopes_no_change"))
    with pytest.raises(IntegrityError) as error:
        lab.open_engine()
    assert error.value.code == "log.unguarded"
    lab.open_engine(create=True)
    short = Lab(tmp_path, database_url=lab.database_url, limits=Limits(lock_wait_s=0.1))
    with write(lab.engine) as conn:
        conn.execute(text("SELECT * FROM log_head FOR UPDATE"))
        with pytest.raises(UnavailableError) as held:
            short.sequencer(lock_path=tmp_path / "third.lock").submit(short.generation())
    assert held.value.code == "database.locked"


def test_of_many_forks_at_once_a_witness_signs_one(lab: Lab, tmp_path: Path) -> None:
    ledgers = [WitnessLedger(lab.open_engine(), tmp_path / "witnessed") for _ in range(2)]
    start = threading.Barrier(8)

    def cosign(number: int) -> NoteSignature:
        start.wait()
        return ledgers[number % 2].advance(None, of(9, forked(number)), [], sign)

    answers = in_threads(cosign, range(8), 8, errors=True)
    signed = [n for n, answer in enumerate(answers) if isinstance(answer, NoteSignature)]
    assert len(signed) == 1
    assert ledgers[0].last(OTHER) == of(9, forked(signed[0]))
