from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from registry.errors import GenopsError, MissingExtraError, UnavailableError
from registry.mirrors.contract import MAX_ERROR_CHARS, Mirror, MirrorRecord, describe
from registry.mirrors.outbox import Outbox
from registry.mirrors.worker import FIRST_RETRY_MS, LAST_RETRY_MS, Drained, backoff_ms, drain

MakeRecord = Callable[..., MirrorRecord]


@dataclass
class FolderMirror:
    """The smallest honest adapter: a file per record. It can be down, or refuse records."""

    folder: Path
    down: Exception | None = None
    refused: set[int] = field(default_factory=set)
    calls: list[list[int]] = field(default_factory=list)
    target: str = "folder"

    def send(self, batch: Sequence[MirrorRecord]) -> None:
        self.calls.append([record.index for record in batch])
        if self.down is not None:
            raise self.down
        for record in batch:
            if record.index in self.refused:
                raise GenopsError(f"record {record.index} is refused", code="mirror.refused")
            (self.folder / str(record.index)).write_bytes(record.envelope)

    def stored(self) -> set[int]:
        return {int(path.name) for path in self.folder.iterdir()}


@pytest.fixture
def mirror(tmp_path: Path) -> FolderMirror:
    folder = tmp_path / "copies"
    folder.mkdir()
    return FolderMirror(folder)


def test_drain_delivers_everything_in_batches_and_in_order(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord
) -> None:
    port: Mirror = mirror
    outbox.requeue("folder", range(5))
    assert drain(outbox, port, make_record, lambda: 0, limit=2) == Drained(sent=5)
    assert mirror.calls == [[0, 1], [2, 3], [4]]
    assert outbox.pending("folder") == 0
    assert drain(outbox, mirror, make_record, lambda: 0) == Drained()


def test_a_dead_mirror_loses_nothing_and_does_not_raise(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord
) -> None:
    outbox.requeue("folder", range(4))
    mirror.down = UnavailableError("nobody answers")
    result = drain(outbox, mirror, make_record, lambda: 100, limit=2)
    assert result.stopped
    assert (result.sent, result.failed) == (0, 2)
    assert "nobody answers" in result.error
    assert mirror.calls == [[0, 1]], "the rest must not be tried on a dead server"
    backlog = outbox.backlog("folder")
    assert (backlog.pending, backlog.failed) == (4, 2)
    assert "nobody answers" in backlog.error
    assert [row.index for row in outbox.due("folder", 9, 100)] == [2, 3]

    mirror.down = None
    assert drain(outbox, mirror, make_record, lambda: 100 + FIRST_RETRY_MS).sent == 4
    assert mirror.stored() == {0, 1, 2, 3}


def test_force_does_not_wait_for_the_back_off(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord
) -> None:
    outbox.requeue("folder", [1])
    mirror.down = UnavailableError("down")
    drain(outbox, mirror, make_record, lambda: 0)
    mirror.down = None
    assert drain(outbox, mirror, make_record, lambda: 0) == Drained()
    assert drain(outbox, mirror, make_record, lambda: 0, force=True) == Drained(sent=1)


def test_a_refused_record_fails_alone_and_is_tried_once_per_drain(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord
) -> None:
    outbox.requeue("folder", range(4))
    mirror.refused = {1}
    result = drain(outbox, mirror, make_record, lambda: 0, force=True)
    assert (result.sent, result.failed, result.stopped) == (3, 1, False)
    assert mirror.stored() == {0, 2, 3}
    assert outbox.waiting("folder") == {1}
    assert mirror.calls.count([1]) == 1
    assert "record 1 is refused" in outbox.backlog("folder").error


def test_a_mirror_that_dies_while_records_are_tried_singly_stops_the_drain(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = mirror.send

    def dies_after_the_first(batch: Sequence[MirrorRecord]) -> None:
        if len(mirror.calls) == 2:
            mirror.down = UnavailableError("died")
        send(batch)

    outbox.requeue("folder", range(4))
    mirror.refused = {3}
    monkeypatch.setattr(mirror, "send", dies_after_the_first)
    result = drain(outbox, mirror, make_record, lambda: 0)
    assert mirror.calls == [[0, 1, 2, 3], [0], [1]]
    assert (result.sent, result.failed, result.stopped) == (1, 1, True)
    assert outbox.waiting("folder") == {1, 2, 3}


def test_a_record_that_cannot_be_built_fails_alone(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord
) -> None:
    def load(index: int) -> MirrorRecord:
        if index == 0:
            raise RuntimeError("envelope is gone")
        return make_record(index)

    outbox.requeue("folder", range(2))
    result = drain(outbox, mirror, load, lambda: 0)
    assert (result.sent, result.failed) == (1, 1)
    assert "envelope is gone" in outbox.backlog("folder").error


def test_a_missing_extra_stops_the_drain_like_a_dead_server(
    outbox: Outbox, mirror: FolderMirror, make_record: MakeRecord
) -> None:
    outbox.requeue("folder", range(3))
    mirror.down = MissingExtraError("no mlflow here")
    assert drain(outbox, mirror, make_record, lambda: 0, limit=1).stopped
    assert mirror.calls == [[0]]


def test_back_off_doubles_up_to_its_bound() -> None:
    waits = [backoff_ms(n) for n in range(40)]
    assert waits[:3] == [FIRST_RETRY_MS, 2 * FIRST_RETRY_MS, 4 * FIRST_RETRY_MS]
    assert waits == sorted(waits)
    assert waits[-1] == LAST_RETRY_MS
    assert backoff_ms(10**6) == LAST_RETRY_MS


def test_errors_are_kept_short_on_one_line_and_without_credentials() -> None:
    text = describe(GenopsError("at https://bob:secret@host/x\nfailed " + "y" * 900, code="a.b"))
    assert text.startswith("a.b: at https://host/x failed")
    assert "secret" not in text
    assert "\n" not in text
    assert len(text) == MAX_ERROR_CHARS
