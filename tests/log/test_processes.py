"""Several processes write one log, and none of them starves."""

from __future__ import annotations

import json
import multiprocessing
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from registry.core import checkpoints
from registry.log.locking import FairLock
from registry.log.outside import CheckpointFile
from tests.log.conftest import Lab, in_threads

RECORDS = 30

WRITE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.log.conftest import Lab, in_threads
lab = Lab(Path(sys.argv[2]))
sequencer = lab.sequencer()
submissions = [lab.generation() for _ in range(int(sys.argv[3]))]
print("ready", flush=True)
sys.stdin.readline()
receipts = in_threads(sequencer.submit, submissions, 3)
envelopes = [submission.envelope.decode() for submission in submissions]
print(json.dumps([[r.index, r.leaf_hash, data] for r, data in zip(receipts, envelopes)]))
"""


def test_every_record_is_there_when_processes_submit_at_once(lab: Lab) -> None:
    lab.fill(1)
    repository = str(Path(__file__).parents[2])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, repository, str(lab.root), str(RECORDS)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    mine = in_threads(lab.sequencer().submit, [lab.generation() for _ in range(20)], 4)
    told = [row for writer in writers for row in json.loads(writer.communicate(timeout=60)[0])]
    assert all(writer.returncode == 0 for writer in writers)
    indices = [row[0] for row in told] + [receipt.index for receipt in mine]
    assert sorted(indices) == list(range(1, 3 * RECORDS + 21))
    reader = lab.reader()
    for index, leaf, envelope in told:
        assert reader.index_of(bytes.fromhex(leaf)) == index
        assert reader.envelope_bytes(index).decode() == envelope


def _hog(path: Path, ready: Any, stop: Any, turns: Any) -> None:
    lock = FairLock(path, 30)
    while not stop.is_set():
        with lock.hold():
            turns.value += 1
            ready.set()
            time.sleep(0.04)  # long enough that a busy machine does not let three turns go by


def test_a_process_that_never_rests_does_not_keep_the_lock_to_itself(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    ready, stop, turns = context.Event(), context.Event(), context.Value("i", 0)
    hog = context.Process(target=_hog, args=(tmp_path / "lock", ready, stop, turns))
    hog.start()
    try:
        assert ready.wait(30)
        lock = FairLock(tmp_path / "lock", 30)
        waited = []
        for _ in range(8):
            before = turns.value
            with lock.hold():
                waited.append(turns.value - before)
        assert hog.is_alive()
    finally:
        stop.set()
        hog.join(30)
    assert max(waited) <= 3, "it was passed over, turn after turn"


def test_a_process_waits_until_the_checkpoint_file_of_another_is_written(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.fill(1)
    publishing, go = threading.Event(), threading.Event()
    publish = CheckpointFile.publish

    def slowly(file: CheckpointFile, note: bytes) -> None:
        if not publishing.is_set():
            publishing.set()
            go.wait(30)
        publish(file, note)

    monkeypatch.setattr(CheckpointFile, "publish", slowly)
    first, second = lab.sequencer(), lab.sequencer(engine=lab.open_engine())
    threads = [
        threading.Thread(target=sequencer.submit, args=(lab.generation(),))
        for sequencer in (first, second)
    ]
    threads[0].start()
    assert publishing.wait(30)
    threads[1].start()
    threads[1].join(0.3)
    overtaken = lab.size() > 2
    go.set()
    for thread in threads:
        thread.join(30)
    assert not overtaken
    assert checkpoints.verify(lab.home.checkpoint.read_bytes(), lab.vkey).size == lab.size() == 3


def test_threads_of_one_process_hold_the_lock_one_at_a_time(tmp_path: Path) -> None:
    lock = FairLock(tmp_path / "lock", 30)
    holders = 0
    guard = threading.Lock()

    def hold(_: int) -> bool:
        nonlocal holders
        with lock.hold():
            with guard:
                holders += 1
                alone = holders == 1
            time.sleep(0.001)
            with guard:
                holders -= 1
        return alone

    assert all(in_threads(hold, list(range(40)), 4))
