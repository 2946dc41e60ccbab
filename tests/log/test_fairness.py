"""Writers of one log take turns in the order of arrival, and a dead one holds up nobody."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from registry.log.locking import FairLock
from registry.log.tickets import TicketQueue
from tests.log.conftest import Lab, in_threads

PROCESSES = 16
RECORDS = 30

WRITERS = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from tests.log.conftest import Lab
import registry.log.sequencer
root, processes, records = Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
readers = []
start, go = os.pipe()
for _ in range(processes):
    told, tell = os.pipe()
    if os.fork() == 0:
        lab = Lab(root)
        sequencer = lab.sequencer()
        submissions = [lab.generation() for _ in range(records)]
        os.write(tell, b"ready\\n")
        os.read(start, 1)
        indices = [sequencer.submit(submission).index for submission in submissions]
        os.write(tell, json.dumps(indices).encode())
        os._exit(0)
    os.close(tell)
    readers.append(os.fdopen(told, "rb", buffering=0))
for reader in readers:
    assert reader.readline() == b"ready\\n"
os.write(go, bytes(processes))
print(json.dumps([json.loads(reader.read()) for reader in readers]))
"""

HOLD = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from registry.log.tickets import TicketQueue
with TicketQueue(Path(sys.argv[2])).turn(60):
    print("has it", flush=True)
    sys.stdin.read()
"""


def repository() -> str:
    return str(Path(__file__).parents[2])


def test_each_of_sixteen_processes_gets_its_share(lab: Lab) -> None:
    lab.fill(1)
    command = [sys.executable, "-c", WRITERS, repository(), str(lab.root)]
    done = subprocess.run(
        [*command, str(PROCESSES), str(RECORDS)], stdout=subprocess.PIPE, check=True, timeout=120
    )
    written = json.loads(done.stdout)
    writer = {index: number for number, indices in enumerate(written) for index in indices}
    assert sorted(writer) == list(range(1, PROCESSES * RECORDS + 1))
    # While all of them are at work: from when each has begun until the first is done.
    begin = max(indices[0] for indices in written)
    end = min(indices[-1] for indices in written)
    shares = Counter(writer[index] for index in range(begin, end + 1))
    mean = (end + 1 - begin) / PROCESSES
    assert mean >= RECORDS / 3
    # Half and twice are promised; in order of arrival shares are nearly equal, by chance not.
    assert all(0.75 * mean <= shares[n] <= 1.33 * mean for n in range(PROCESSES)), shares


def last_number(path: Path) -> int:
    return int.from_bytes(path.read_bytes()[:8], "little")


def test_turns_come_in_the_order_of_arrival(tmp_path: Path) -> None:
    queue, order = TicketQueue(tmp_path / "queue"), list[int]()

    def wait(number: int) -> None:
        with queue.turn(60):
            order.append(number)

    waiting = [threading.Thread(target=wait, args=(number,)) for number in range(12)]
    with queue.turn(60):
        for place, thread in enumerate(waiting, last_number(tmp_path / "queue") + 1):
            thread.start()
            while last_number(tmp_path / "queue") < place:
                thread.join(0.001)
        assert order == []
    for thread in waiting:
        thread.join(60)
    assert order == list(range(12))


def test_a_turn_is_over_in_time_or_given_up(tmp_path: Path) -> None:
    queue = TicketQueue(tmp_path / "queue")
    with queue.turn(60), pytest.raises(TimeoutError), queue.turn(0.01):
        pass
    with queue.turn(60):
        pass


def holder(path: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, repository(), str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def test_a_process_that_dies_frees_its_turn_and_its_place_in_the_queue(tmp_path: Path) -> None:
    path = tmp_path / "queue"
    first = holder(path)
    assert first.stdout is not None
    assert first.stdout.readline() == b"has it\n"
    second = holder(path)
    number = last_number(path)
    while last_number(path) == number:
        assert second.poll() is None
    for process in (second, first):  # who waits, and then who has the turn
        with pytest.raises(TimeoutError), TicketQueue(path).turn(0):
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
    with TicketQueue(path).turn(0):
        pass


def test_a_turn_does_not_live_on_in_a_forked_child(tmp_path: Path) -> None:
    lock = FairLock(tmp_path / "lock", 5)
    with lock.hold():
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(write)
            os.read(read, 1)  # until the parent closes its end
            os._exit(0)
        os.close(read)
    try:
        with lock.hold():
            pass
    finally:
        os.close(write)
        os.waitpid(child, 0)


def test_a_counter_that_was_set_back_or_lost_gives_no_turn_to_two(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    lock, holders, most = FairLock(path, 60), [0], [0]
    guard = threading.Lock()

    def hold(number: int) -> None:
        if number % 5 == 0:
            path.with_name("lock.queue").write_bytes(b"")
        with lock.hold():
            with guard:
                holders[0] += 1
                most[0] = max(most[0], holders[0])
            threading.Event().wait(0.0005)
            with guard:
                holders[0] -= 1

    in_threads(hold, range(60), 6)
    assert most == [1]
