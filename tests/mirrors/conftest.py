"""Real parts for the mirrors' tests: signed records, a registry database, an MLflow server."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from sqlalchemy import Engine

from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, keyid, pae
from registry.core.entries import LogEntry
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.provenance import generation_payload, output_subjects
from registry.core.statements import (
    PREDICATE_GENERATION,
    Statement,
    Subject,
    build,
    build_uri,
    predicate_uri,
)
from registry.mirrors.contract import MirrorRecord
from registry.mirrors.mlflow import embedded_uri
from registry.mirrors.outbox import Outbox
from registry.mirrors.state import MirrorState
from registry.settings import Home, Settings
from registry.store.engine import open_engine

EPOCH_MS = 1_795_172_820_000
PROMPT = "a red bicycle for Jane Doe"
"""The text that every generation seals."""
SERVER_START_S = 120.0

MakeRecord = Callable[..., MirrorRecord]


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """Return a builder of signed and logged generations: `make(index, project=…, campaign=…)`."""
    key = ec.generate_private_key(ec.SECP256R1())
    spki = key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )

    made: dict[bytes, MirrorRecord] = {}

    def make(index: int, **changes: Any) -> MirrorRecord:
        """Sign each payload once: signatures are random, and a log has one of each."""
        payload = _payload(index, **changes)
        if payload not in made:
            made[payload] = log(index, payload)
        return made[payload]

    def log(index: int, payload: bytes) -> MirrorRecord:
        signature = Signature(
            keyid(spki), key.sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        )
        envelope = Envelope(payload, (signature,)).to_bytes()
        time_ms = EPOCH_MS + 1_000 * index
        entry = LogEntry(time_ms, sha256_hex(payload), sha256_hex(envelope))
        return MirrorRecord(
            index=index,
            record_id=entry.record_id,
            statement=Statement.parse(payload),
            envelope=envelope,
            entry=entry.to_bytes(),
            time_ms=time_ms,
        )

    return make


def _payload(
    index: int,
    *,
    project: str = "acme",
    campaign: str | None = "spring",
    outputs: int = 1,
    external: dict[str, Any] | None = None,
    times_ms: tuple[int, int] | None = None,
    loras: Sequence[str] = ("lora/brand",),
    predicate_type: str = PREDICATE_GENERATION,
) -> bytes:
    if predicate_type != PREDICATE_GENERATION:
        subject = Subject("out/0", sha256_hex(b"a subject"))
        return build([subject], predicate_type, {"invocationId": f"{index}"})
    started_ms, finished_ms = times_ms or (EPOCH_MS + index, EPOCH_MS + index + 500)
    chosen = {"prompt": Sealed(PROMPT), "seed": "7", "steps": 4, "guidance": 7.0, "eta": None}
    g = Generation(
        build_type=build_uri("diffusers"),
        external=external or chosen,
        internal={},
        materials=[_material("model/base", "model"), *(_material(name, "lora") for name in loras)],
        outputs=[Output(f"{project}/{index}/{n}".encode(), "image/png") for n in range(outputs)],
        started_ms=started_ms,
        finished_ms=finished_ms,
        builder_id="https://example.com/worker",
        campaign=campaign,
    )
    return generation_payload(
        g,
        output_subjects(g),
        project=project,
        actor={"pseudonym": "p", "authn": "key"},
        invocation_id=f"{project}-{index}",
        salts=lambda: b"0123456789abcdef",
    ).payload


def _material(name: str, kind: str) -> Material:
    return Material(name, kind, sha256_hex(name.encode()), uri=f"pkg:generic/{kind}")


@pytest.fixture
def sealed_text() -> str:
    """Return the prompt that every generation seals."""
    return PROMPT


@pytest.fixture
def taint_record(make_record: MakeRecord) -> MirrorRecord:
    """Return a record that is no generation."""
    return make_record(0, predicate_type=predicate_uri("taint"))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a home of its own."""
    return Settings(home=Home(tmp_path / "home"), name="tests", uuid="0" * 8)


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    """Return a registry's database with every table and nothing in it."""
    settings.home.root.mkdir()
    opened = open_engine(settings, create=True)
    yield opened
    opened.dispose()


@pytest.fixture
def outbox(engine: Engine) -> Outbox:
    """Return the registry's outbox."""
    return Outbox(engine)


@pytest.fixture
def state(engine: Engine) -> MirrorState:
    """Return the registry's memory for mirrors."""
    return MirrorState(engine)


class MlflowServer:
    """A tracking server of its own on loopback; `kill` is SIGKILL to its whole process group."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._port = _free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """The server's address, the same after a restart."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = [sys.executable, "-m", "mlflow", "server", "--workers", "1"]
        command += ["--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{self._folder / 'server.db'}"]
        command += ["--artifacts-destination", str(self._folder / "artifacts")]
        env = {
            **os.environ,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=env, stdout=log, stderr=log, start_new_session=True
            )
        self._wait()

    def kill(self) -> None:
        """Kill the server and everything that it started, at once."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + SERVER_START_S
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                break
            try:
                if httpx.get(f"{self.uri}/health", timeout=2).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.25)
        log = (self._folder / "server.log").read_text("utf-8", "replace")
        pytest.fail(f"the MLflow server did not start:\n{log[-4000:]}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's own empty database: its migrations take over a second, a copy of it none."""
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("empty-mlflow")
    MlflowClient(tracking_uri=embedded_uri(folder)).search_experiments()
    return folder / "mlflow.db"


@pytest.fixture(scope="package")
def server(
    tmp_path_factory: pytest.TempPathFactory, empty_database: Path
) -> Iterator[MlflowServer]:
    """Start one MLflow server for the tests that need one; it is gone whatever happens."""
    folder = tmp_path_factory.mktemp("mlflow-server")
    shutil.copyfile(empty_database, folder / "server.db")
    running = MlflowServer(folder)
    try:
        running.start()
        yield running
    finally:
        running.kill()
