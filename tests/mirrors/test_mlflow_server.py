"""A tracking server that dies: nothing is lost, nothing is doubled."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from registry.mirrors.contract import MirrorRecord
from registry.mirrors.mlflow import MlflowMirror
from registry.mirrors.outbox import Outbox
from registry.mirrors.state import MirrorState
from registry.mirrors.trace import trace_copy
from registry.mirrors.worker import FIRST_RETRY_MS, Drained, drain

pytestmark = pytest.mark.slow

MakeRecord = Callable[..., MirrorRecord]


def _client(uri: str) -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def test_a_killed_server_gets_every_record_once_when_it_is_back(
    server: Any, engine: Engine, outbox: Outbox, make_record: MakeRecord
) -> None:
    def load(index: int) -> MirrorRecord:
        return make_record(index, project="killed")

    mirror = MlflowMirror(server.uri, MirrorState(engine), timeout_s=10)
    outbox.requeue("mlflow", range(3))
    assert drain(outbox, mirror, load, lambda: 0) == Drained(sent=3)

    server.kill()
    outbox.requeue("mlflow", range(3, 6))
    result = drain(outbox, mirror, load, lambda: 0)
    assert (result.sent, result.failed, result.stopped) == (0, 3, True)
    assert outbox.waiting("mlflow") == {3, 4, 5}
    backlog = outbox.backlog("mlflow")
    assert backlog.failed == 3
    assert backlog.error.startswith("mirror.unreachable")
    assert outbox.due("mlflow", 9, FIRST_RETRY_MS - 1) == ()

    server.start()
    # As after a crash between the server's answer and our commit: one that it has comes again.
    outbox.requeue("mlflow", [2])
    assert drain(outbox, mirror, load, lambda: FIRST_RETRY_MS) == Drained(sent=4)
    assert outbox.pending("mlflow") == 0

    records = [load(index) for index in range(6)]
    client = _client(server.uri)
    experiment = client.get_experiment_by_name("genops/killed").experiment_id
    (run,) = client.search_runs([experiment])
    found = {
        trace.info.trace_id: trace.data.spans[0].attributes["genops.envelope"].encode("utf-8")
        for trace in client.search_traces(locations=[experiment], run_id=run.info.run_id)
    }
    assert found == {trace_copy(record).mlflow_id: record.envelope for record in records}
    assert len(client.search_traces(locations=[experiment])) == 6
    assert mirror.check(records) == ()
