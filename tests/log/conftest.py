"""A log with real keys, real schemas and real files, without a registry around it."""

from __future__ import annotations

import itertools
import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from registry.core import predicates
from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae, spki_to_pem
from registry.core.generation import Generation, Material, Output
from registry.core.ids import uuid7
from registry.core.predicates import Head, SealedPayload, actor, seal_statement
from registry.core.provenance import generation_payload, output_subjects
from registry.core.statements import Subject, build_uri, predicate_uri
from registry.core.trust import TrustKey
from registry.log.check import check_log
from registry.log.head import read_head
from registry.log.reader import LogReader
from registry.log.sequencer import Sequencer
from registry.log.submission import Accepted, LogReceipt, Submission
from registry.resources import schema_set
from registry.settings import Home, Limits, Settings
from registry.signing.keys import Signer, generate_key, note_key, open_signer
from registry.signing.sealing import Keyring
from registry.store.engine import open_engine
from registry.store.guards import install_guards
from registry.store.transaction import read, write

ORIGIN = "studio/0190"
START_MS = 1_795_172_820_000
ROLES = ("admin", "generator", "reviewer", "policy")

_numbers = itertools.count()


def no_projection(conn: Connection, batch: Sequence[Accepted]) -> None:
    """Project nothing."""


@dataclass
class Lab:
    """A folder with a log's keys and files; opens any number of sequencers on it."""

    root: Path
    limits: Limits = field(default_factory=Limits)
    database_url: str | None = None
    now_ms: int = START_MS
    sound: bool = True

    def __post_init__(self) -> None:
        self.home = Home(self.root)
        if not self.home.keys.exists():
            self.home.keys.mkdir(parents=True)
            for role in ROLES:
                generate_key(self.home.keys / f"{role}.pem", "p256")
            generate_key(self.home.keys / "log.pem", "ed25519")
        self.signers: dict[str, Signer] = {
            role: open_signer(self.home.keys / f"{role}.pem") for role in ROLES
        }
        self.vkey = note_key(self.log_signer(), ORIGIN)
        self.engine = self.open_engine(create=True)
        self.keyring = Keyring.open(self.home.keyring, self.home.keys, create=True)

    def log_signer(self) -> Signer:
        return open_signer(self.home.keys / "log.pem")

    def open_engine(self, *, create: bool = False) -> Engine:
        settings = Settings(
            self.home, "studio", "0190", database_url=self.database_url, limits=self.limits
        )
        return open_engine(settings, create=create)

    def sequencer(self, **changes: Any) -> Sequencer:
        parts: dict[str, Any] = {
            "engine": self.engine,
            "keyring": self.keyring,
            "log_signer": self.log_signer,
            "vkey": self.vkey,
            "lock_path": self.home.lock,
            "checkpoint_path": self.home.checkpoint,
            "schemas": schema_set(),
            "projector": no_projection,
            "clock": lambda: self.now_ms,
            "limits": self.limits,
        }
        return Sequencer(**(parts | changes))

    def reader(self) -> LogReader:
        return LogReader(self.engine, ORIGIN, self.vkey)

    def key(self, role: str, *roles: str, **window: int | None) -> TrustKey:
        signer = self.signers[role]
        times: Mapping[str, Any] = {"not_before_ms": START_MS, **window}
        return TrustKey(signer.keyid, spki_to_pem(signer.spki_der), roles or (role,), **times)

    def trust(
        self,
        keys: Sequence[TrustKey] | None = None,
        *,
        supersedes: str | None = None,
        by: str = "admin",
        origin: str = ORIGIN,
        vkey: str | None = None,
    ) -> Submission:
        predicate = predicates.trust(
            make_head(),
            origin=origin,
            log_vkey=vkey or str(self.vkey),
            keys=[self.key(role) for role in ROLES] if keys is None else keys,
            supersedes=supersedes,
        )
        sealed = seal_statement(
            [Subject("out/0", sha256_hex(b"trust"))], predicate_uri("trust"), predicate, salt
        )
        return self.submission(sealed, by=by)

    def generation(self, number: int | None = None, *, by: str = "generator") -> Submission:
        return self.submission(generation_of(number), by=by)

    def taint(self, *, by: str = "reviewer") -> Submission:
        target = sha256_hex(os.urandom(8))
        predicate = predicates.taint(
            make_head(),
            action="taint",
            severity="high",
            reason="a complaint",
            kind="asset",
            target=f"sha256:{target}",
        )
        subjects = [Subject("out/0", target)]
        sealed = seal_statement(subjects, predicate_uri("taint"), predicate, salt)
        return self.submission(sealed, by=by)

    def submission(self, payload: SealedPayload, /, *, by: str, **more: Any) -> Submission:
        return Submission(self.envelope(payload.payload, by=by), **more)

    def envelope(self, payload: bytes, *, by: str) -> bytes:
        signer = self.signers[by]
        signature = Signature(signer.keyid, signer.sign(pae(PAYLOAD_TYPE, payload)))
        return Envelope(payload, (signature,)).to_bytes()

    def size(self) -> int:
        with read(self.engine) as conn:
            return read_head(conn).size

    def fill(self, count: int, sequencer: Sequencer | None = None) -> list[LogReceipt]:
        """Append the trust record and generations, `count` records in all."""
        chosen = sequencer or self.sequencer()
        receipts = [chosen.submit(self.trust())]
        rest = [self.generation() for _ in range(count - 1)]
        return [*receipts, *in_threads(chosen.submit, rest, 16)]

    def tamper(self, *statements: str) -> None:
        """Change the database as its owner could: guards off, change, guards on."""
        self.sound = False
        if self.database_url is not None:
            with write(self.engine) as conn:
                conn.execute(text("SET LOCAL session_replication_role = replica"))
                for statement in statements:
                    spelled = re.sub(r"x'([0-9a-f]*)'", r"'\\x\1'", statement)
                    assert conn.execute(text(spelled)).rowcount != 0, statement
            return
        self.engine.dispose()
        conn = sqlite3.connect(self.home.database, isolation_level=None)
        guards = conn.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in guards:
            conn.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            assert conn.execute(statement).rowcount != 0, statement
        conn.close()
        with write(self.engine) as guarded:
            install_guards(guarded)


def salt() -> bytes:
    return os.urandom(16)


def make_head() -> Head:
    invocation = uuid7(START_MS, os.urandom(10))
    return Head(invocation, "brand", actor("u-0f1e2d3c", "key", "Ada Lovelace"))


def generation_of(
    number: int | None = None, invocation: str | None = None, **external: Any
) -> SealedPayload:
    number = next(_numbers) if number is None else number
    made = Generation(
        build_type=build_uri("callable"),
        external={"steps": 20, "guidance": 7.5, "number": number, **external},
        internal={"dtype": "float16"},
        materials=[Material("model/base", "model", sha256_hex(b"model"))],
        outputs=[Output(b"pixels %d" % number, "image/png", seed=str(number))],
        started_ms=START_MS,
        finished_ms=START_MS,
        builder_id="https://example.com/worker/1",
    )
    return generation_payload(
        made,
        output_subjects(made),
        project="brand",
        actor=actor("u-0f1e2d3c", "key"),
        invocation_id=invocation or uuid7(START_MS, os.urandom(10)),
        salts=salt,
    )


def in_threads(
    call: Callable[[Any], Any], items: Sequence[Any], threads: int, *, errors: bool = False
) -> list[Any]:
    """Call for every item from several threads at once; answers in order, errors if asked for."""
    answers: list[Any] = [None] * len(items)
    todo = iter(enumerate(items))
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                place = next(todo, None)
            if place is None:
                return
            try:
                answers[place[0]] = call(place[1])
            except Exception as error:  # noqa: BLE001  # told to the test
                answers[place[0]] = error

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert not any(worker.is_alive() for worker in workers)
    failed = [answer for answer in answers if isinstance(answer, Exception)]
    if failed and not errors:
        raise failed[0]
    return answers


@pytest.fixture
def lab(tmp_path: Path, database: str | None) -> Iterator[Lab]:
    """An empty log; whatever a test did to it, it is sound in the end unless said otherwise."""
    made = Lab(tmp_path, database_url=database)
    yield made
    if made.sound:
        assert check_log(made.reader(), schema_set()).problems == ()
    made.engine.dispose()


@pytest.fixture
def sequencer(lab: Lab) -> Sequencer:
    """A sequencer whose log has its trust record."""
    made = lab.sequencer()
    made.submit(lab.trust())
    return made
