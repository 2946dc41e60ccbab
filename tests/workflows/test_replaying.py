"""The replay process: what it is told, what it answers, and what it must not inherit."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.core.answers import Difference
from registry.errors import GenopsError, MissingExtraError, revive
from registry.workflows.replay.environs import differences, replay_environ
from registry.workflows.replay.worker import ReplayWorker, Request
from registry.workflows.replaying import load_adapter

BUILD = "https://w3id.org/genops/build/callable/v1"


def statement(**variables: str) -> dict[str, Any]:
    internal = {"environment": {"variables": variables}}
    definition = {"buildType": BUILD, "externalParameters": {}, "internalParameters": internal}
    return {"predicate": {"buildDefinition": definition}}


def test_a_replay_inherits_no_secret_and_only_the_recorded_numeric_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENOPS_PASSPHRASE", "correct horse")
    monkeypatch.setenv("GENOPS_API_TOKEN", "token")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    environ = replay_environ(statement(OMP_NUM_THREADS="1", LD_PRELOAD="/evil.so", PATH="/evil"))
    assert environ["OMP_NUM_THREADS"] == "1"
    assert not {"GENOPS_PASSPHRASE", "GENOPS_API_TOKEN", "ONEDNN_MAX_CPU_ISA"} & environ.keys()
    assert environ.get("LD_PRELOAD") != "/evil.so"
    assert environ["PATH"] != "/evil"


def test_a_replay_here_keeps_the_present_numeric_settings_and_inherits_no_secret(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("GENOPS_PASSPHRASE", "correct horse")
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    environ = replay_environ(statement(OMP_NUM_THREADS="1"), "present")
    assert (environ["ONEDNN_MAX_CPU_ISA"], environ["OMP_NUM_THREADS"]) == ("AVX2", "7")
    assert "GENOPS_PASSPHRASE" not in environ


def test_an_unknown_build_type_is_named() -> None:
    with pytest.raises(MissingExtraError) as caught:
        load_adapter("https://example.org/build/unknown/v1")
    assert caught.value.code == "replay.no-adapter"


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
from registry.workflows.replaying import main
main()
"""


def test_a_missing_library_is_an_answer_and_not_a_traceback(tmp_path: Path) -> None:
    document = statement()
    document["predicate"]["buildDefinition"]["buildType"] = BUILD.replace("callable", "diffusers")
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        input=Request(document, {}, tmp_path).line(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    error = revive(json.loads(done.stdout)["error"])
    assert isinstance(error, GenopsError)
    assert error.code == "install.missing-extra"
    assert "torch" in error.message


def call(name: str, folder: Path, *arguments: str, **variables: str) -> Request:
    """Ask for one of the functions of `FUNCTIONS`, in a folder of its own."""
    from registry.core.digests import sha256_hex

    code = folder.parent / "misfits.py"
    if not code.exists():
        code.write_text(FUNCTIONS)
    folder.mkdir()
    document = statement(**variables)
    definition = document["predicate"]["buildDefinition"]
    names = ("first", "second")
    definition["externalParameters"] = {
        "function": f"misfits:{name}",
        "arguments": dict(zip(names, arguments, strict=False)),
    }
    definition["resolvedDependencies"] = [
        {"name": "code/function", "digest": {"sha256": sha256_hex(code.read_bytes())}}
    ]
    return Request(document, {"code/function": code}, folder)


FUNCTIONS = """
import os, signal, sys, time


def process():
    print("noise on standard output")
    return f"{os.getpid()} {os.environ.get('OMP_NUM_THREADS')}"


def stumble(first):
    raise ValueError(first)


def die(first):
    print(first, file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)


def hang():
    time.sleep(600)
"""


@pytest.fixture
def worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplayWorker]:
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    with ReplayWorker(timeout_s=60) as made:
        yield made


def process_of(worker: ReplayWorker, folder: Path, **variables: str) -> tuple[int, str]:
    """Return the id of the process that answers, and the threads it was given."""
    pid, threads = (
        worker.replay(call("process", folder, **variables)).output(0).file.read_text().split()
    )
    return int(pid), threads


def test_a_worker_answers_many_jobs_in_one_process(worker: ReplayWorker, tmp_path: Path) -> None:
    answers = [process_of(worker, tmp_path / str(n), OMP_NUM_THREADS="1") for n in range(5)]
    assert len(set(answers)) == 1


def test_a_failed_job_leaves_the_worker_as_it_was(worker: ReplayWorker, tmp_path: Path) -> None:
    before = process_of(worker, tmp_path / "before")
    with pytest.raises(GenopsError) as caught:
        worker.replay(call("stumble", tmp_path / "stumbles", "a stone"))
    assert caught.value.code == "reproduce.failed"
    assert "ValueError: a stone" in caught.value.message
    with pytest.raises(GenopsError):
        worker.replay(Request(statement(), {}, tmp_path))
    assert process_of(worker, tmp_path / "after") == before


def test_a_record_with_other_numeric_settings_gets_a_process_of_its_own(
    worker: ReplayWorker, tmp_path: Path
) -> None:
    first = process_of(worker, tmp_path / "1", OMP_NUM_THREADS="1")
    other = process_of(worker, tmp_path / "2", OMP_NUM_THREADS="2")
    assert (first[1], other[1]) == ("1", "2")
    assert first[0] != other[0]


def test_a_worker_that_dies_says_how_and_the_next_job_gets_another(
    worker: ReplayWorker, tmp_path: Path
) -> None:
    before = process_of(worker, tmp_path / "before")
    with pytest.raises(GenopsError) as caught:
        worker.replay(call("die", tmp_path / "dies", "last words"))
    assert caught.value.code == "reproduce.died"
    assert f"signal {int(signal.SIGKILL)}" in caught.value.message
    assert "last words" in caught.value.message
    assert process_of(worker, tmp_path / "after") != before


def test_a_job_that_takes_too_long_is_stopped(tmp_path: Path, worker: ReplayWorker) -> None:
    worker.timeout_s = 0.5
    with pytest.raises(GenopsError) as caught:
        worker.replay(call("hang", tmp_path / "hangs"))
    assert caught.value.code == "reproduce.timeout"
    assert not worker.running


def test_differences_of_environments_are_told_where_the_record_said_something() -> None:
    recorded = {"python": "3.11.2", "variables": {"MKL_CBWR": "AUTO"}, "torch": {"threads": 1}}
    found = {
        "python": "3.11.7",
        "variables": {"OMP_NUM_THREADS": "1"},
        "torch": {"threads": 1, "asked-later": True, "cuda": {"version": "13"}},
    }
    assert list(differences(recorded, found)) == [
        Difference("python", "3.11.2", "3.11.7"),
        Difference("torch.cuda", None, {"version": "13"}),
        Difference("variables.MKL_CBWR", "AUTO", None),
        Difference("variables.OMP_NUM_THREADS", None, "1"),
    ]
