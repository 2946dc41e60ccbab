"""Processes that record into one home while they are killed at random instants.

Run as a program, `python -m tests.faults.killing HOME FOLDER KILLS SEED`: it imports everything
once, starts no thread of its own, and forks the workers, so that a killed one is back in
milliseconds. A worker writes down what it is about to record, and then what it was told.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# Loaded late by the product: here once, for all workers.
import registry.log.sequencer
import registry.workflows.record  # noqa: F401
from registry.errors import ConflictError
from registry.factory import open_home
from registry.sdk import Registry
from tests.faults.soundness import Acknowledged, new_invocation, record

WORKERS = 8
THREADS = (1, 2)  # of even and of odd workers
LONGEST_S = 0.12  # between two kills
ALL_AT_ONCE = 0.1  # share of the kills that hit everyone


class Diary:
    """One thread's notes: lines of JSON that outlive the process, since the kernel holds them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)

    def write(self, **line: Any) -> None:
        os.write(self._file, json.dumps(line).encode() + b"\n")

    def read(self) -> list[dict[str, Any]]:
        lines = self._path.read_bytes().split(b"\n")
        return [json.loads(line) for line in lines[:-1]]  # a line without its end was not written


def told(folder: Path) -> tuple[list[Acknowledged], set[str], set[str]]:
    """Return what was acknowledged, what was found again after a kill, and all that was tried."""
    lines = [line for path in sorted(folder.glob("*.diary")) for line in Diary(path).read()]
    return (
        [Acknowledged(**line["told"]) for line in lines if "told" in line],
        {line["found"] for line in lines if "found" in line},
        {line["trying"] for line in lines if "trying" in line},
    )


def _work(registry: Registry, path: Path) -> None:
    """Record for ever; begin with what the thread before in this place was not told of."""
    diary = Diary(path)
    lines = diary.read()
    with _told_to_the_test(path):
        if lines and "trying" in lines[-1]:
            _record_again(registry, diary, lines[-1])
        for number in range(len(lines), sys.maxsize):
            tag, invocation = f"{path.stem} {number}", new_invocation()
            diary.write(trying=invocation, tag=tag)
            diary.write(told=record(registry, tag, invocation).to_dict())


def _record_again(registry: Registry, diary: Diary, line: dict[str, Any]) -> None:
    """Record an invocation that may be in the log: it is taken once, whoever was told."""
    try:
        diary.write(told=record(registry, line["tag"], line["trying"]).to_dict())
    except ConflictError:  # its salts are new, so that it is another payload
        diary.write(found=line["trying"])


def _worker(home: Path, folder: Path, number: int) -> None:
    """Run one worker until it is killed; what it cannot stand goes into a file."""
    paths = [folder / f"{number}-{thread}.diary" for thread in range(THREADS[number % 2])]
    with _told_to_the_test(paths[0]):
        registry = open_home(home)
    threads = [threading.Thread(target=_work, args=(registry, path)) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@contextmanager
def _told_to_the_test(path: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:  # noqa: BLE001  # whatever it is, the worker ends here
        path.with_suffix(".error").write_text(traceback.format_exc())
        os._exit(1)


def _fork(home: Path, folder: Path, number: int) -> int:
    pid = os.fork()
    if not pid:
        _worker(home, folder, number)
    return pid


def _kill(pids: list[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    for pid in pids:
        _, status = os.waitpid(pid, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"a worker ended by itself, with status {status}")


def main(home: Path, folder: Path, kills: int, seed: int) -> None:
    """Keep the workers at work, and kill them until that was done `kills` times."""
    dice = random.Random(seed)
    alive: dict[int, int] = {}
    try:
        while kills > 0:
            for number in set(range(WORKERS)) - alive.keys():
                alive[number] = _fork(home, folder, number)
            time.sleep(dice.uniform(0, LONGEST_S))  # the random instant
            everyone = dice.random() < ALL_AT_ONCE
            victims = list(alive) if everyone else [dice.choice(list(alive))]
            _kill([alive.pop(number) for number in victims])
            kills -= len(victims)
    finally:
        _kill(list(alive.values()))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
