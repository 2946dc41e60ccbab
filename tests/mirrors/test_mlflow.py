"""One contract for both ways into MLflow: its database in the home, and a server."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from registry.core.dsse import Envelope
from registry.errors import GenopsError, InputError, MissingExtraError, UnavailableError
from registry.mirrors import otlp
from registry.mirrors.contract import Mirror, MirrorRecord
from registry.mirrors.mlflow import MlflowMirror, embedded_uri, open_mlflow
from registry.mirrors.outbox import Outbox
from registry.mirrors.places import KEY_TAG
from registry.mirrors.state import MirrorState
from registry.mirrors.trace import Group, TraceCopy, trace_copy
from registry.mirrors.tracking import Tracking, require_mlflow
from registry.mirrors.worker import drain
from registry.settings import Settings

MakeRecord = Callable[..., MirrorRecord]


@pytest.fixture(
    params=["embedded", pytest.param("server", marks=pytest.mark.slow)],
)
def uri(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "server":
        return str(request.getfixturevalue("server").uri)
    lay_out(request.getfixturevalue("empty_database"), tmp_path / "mlflow")
    return embedded_uri(tmp_path / "mlflow")


def lay_out(database: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    shutil.copyfile(database, folder / "mlflow.db")


@pytest.fixture
def prepared(settings: Settings, engine: Engine, empty_database: Path) -> Settings:
    """The settings of a home, which `engine` made, with MLflow's empty database in it."""
    lay_out(empty_database, settings.home.mlflow)
    return settings


@pytest.fixture
def mirror(uri: str, state: MirrorState, tmp_path: Path) -> MlflowMirror:
    return MlflowMirror(uri, state, artifacts=tmp_path / "mlflow" / "artifacts")


@pytest.fixture
def project() -> str:
    """Return a project of the test's own: the server is shared."""
    return f"p{uuid.uuid4().hex[:8]}"


@pytest.fixture
def client(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)  # where a client of a database makes its `mlruns`
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri)


def traces_of(client: Any, project: str, run_id: str | None = None) -> list[Any]:
    experiment = client.get_experiment_by_name(f"genops/{project}")
    return list(client.search_traces(locations=[experiment.experiment_id], run_id=run_id))


def runs_of(client: Any, project: str) -> list[Any]:
    experiment = client.get_experiment_by_name(f"genops/{project}")
    return list(client.search_runs([experiment.experiment_id]))


def id_of(record: MirrorRecord) -> str:
    return trace_copy(record).mlflow_id


def wheres(mirror: MlflowMirror, *records: MirrorRecord) -> list[str]:
    return [difference.where for difference in mirror.check(records)]


def test_a_record_sent_twice_is_one_faithful_trace(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    port: Mirror = mirror
    record = make_record(1, project=project)
    port.send([record])
    port.send([record])
    port.send([record, make_record(2, project=project)])
    found = {trace.info.trace_id: trace for trace in traces_of(client, project)}
    assert found.keys() == {id_of(record), id_of(make_record(2, project=project))}
    trace = found[id_of(record)]
    assert len(trace.data.spans) == 1
    assert trace.info.tags["mlflow.traceName"] == "diffusers"
    assert str(trace.info.state) in {"OK", "TraceState.OK"}


def test_the_envelope_is_byte_for_byte_the_one_that_was_logged(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    record = make_record(1, project=project)
    mirror.send([record])
    attributes = client.get_trace(id_of(record)).data.spans[0].attributes
    assert attributes["genops.envelope"].encode("utf-8") == record.envelope
    assert attributes["genops.entry"].encode("utf-8") == record.entry
    assert Envelope.parse(attributes["genops.envelope"].encode()).payload
    assert mirror.check([record]) == ()


def test_inputs_and_outputs_are_those_of_the_statement(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    external = {"seed": str(2**70), "flag": True, "n": 3, "g": 7.0, "none": None, "l": [[], {}]}
    record = make_record(1, project=project, external=external, outputs=3)
    mirror.send([record])
    span = client.get_trace(id_of(record)).data.spans[0]
    assert json.dumps(span.inputs, sort_keys=True) == json.dumps(external, sort_keys=True)
    assert span.outputs == [f"sha256:{s.sha256}" for s in record.statement.subjects]
    assert span.name == "diffusers"


def test_traces_are_found_by_their_tags(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    plain = make_record(1, project=project, loras=())
    branded = make_record(2, project=project, loras=("lora/brand",))
    mirror.send([plain, branded])
    experiment = client.get_experiment_by_name(f"genops/{project}").experiment_id
    for query in (
        "tags.`genops.lora` LIKE '%lora/brand@%'",
        f"tags.`genops.record` = '{branded.record_id}'",
        f"tags.`genops.asset` LIKE '%{branded.statement.subjects[0].sha256}%'",
    ):
        found = client.search_traces(locations=[experiment], filter_string=query)
        assert [trace.info.trace_id for trace in found] == [id_of(branded)], query


def test_texts_that_look_like_json_or_filters_stay_texts(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    campaigns = ['{"a": 1}', "123", 'it\'s "quoted" `x`', "null", "[1]", "夏 ☀"]
    records = [make_record(n, project=project, campaign=c) for n, c in enumerate(campaigns)]
    mirror.send(records)
    mirror.send(records)
    assert mirror.check(records) == ()
    assert {run.data.tags["genops.campaign"] for run in runs_of(client, project)} == set(campaigns)
    for record, campaign in zip(records, campaigns, strict=True):
        assert client.get_trace(id_of(record)).info.tags["genops.campaign"] == campaign


def test_a_campaign_is_one_run_even_when_the_registry_forgot_it(
    mirror: MlflowMirror,
    client: Any,
    uri: str,
    engine: Engine,
    project: str,
    make_record: MakeRecord,
) -> None:
    mirror.send([make_record(1, project=project)])
    MlflowMirror(uri, MirrorState(engine)).send([make_record(2, project=project)])
    with engine.begin() as conn:
        conn.exec_driver_sql("DELETE FROM mirror_state")
    MlflowMirror(uri, MirrorState(engine)).send([make_record(3, project=project)])
    (run,) = runs_of(client, project)
    assert run.info.run_name == "spring"
    assert run.info.status == "FINISHED"
    assert len(traces_of(client, project, run.info.run_id)) == 3


def test_two_processes_that_start_a_campaign_agree_on_one_run(
    mirror: MlflowMirror,
    client: Any,
    state: MirrorState,
    uri: str,
    project: str,
    make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The other process registers its run after we found none and before we register ours."""
    other = MlflowMirror(uri, state)
    create = Tracking.create_run

    def overtaken(self: Tracking, *args: Any) -> str:
        monkeypatch.setattr(Tracking, "create_run", create)
        other.send([make_record(2, project=project)])
        return create(self, *args)

    monkeypatch.setattr(Tracking, "create_run", overtaken)
    mirror.send([make_record(1, project=project)])
    (run,) = runs_of(client, project)
    assert len(traces_of(client, project, run.info.run_id)) == 2


def test_a_run_deleted_under_a_running_mirror_is_replaced(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    mirror.send([make_record(1, project=project)])
    (old,) = runs_of(client, project)
    client.delete_run(old.info.run_id)
    mirror.send([make_record(2, project=project)])
    (new,) = runs_of(client, project)
    assert new.info.run_id != old.info.run_id
    assert new.data.tags[KEY_TAG] == Group(project, "spring").key
    assert len(traces_of(client, project, new.info.run_id)) == 1


def test_a_generation_without_campaign_makes_no_run(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    mirror.send([make_record(1, project=project, campaign=None)])
    assert runs_of(client, project) == []
    assert len(traces_of(client, project)) == 1


def test_more_records_than_one_export_holds_are_all_sent(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    records = [make_record(n, project=project) for n in range(101)]
    mirror.send(records)
    assert mirror.check(records) == ()
    (run,) = runs_of(client, project)
    experiment = client.get_experiment_by_name(f"genops/{project}").experiment_id
    found = client.search_traces(locations=[experiment], run_id=run.info.run_id, max_results=500)
    assert len(found) == 101


def test_a_deleted_trace_is_named_and_sent_again(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    kept, lost = make_record(1, project=project), make_record(2, project=project)
    mirror.send([kept, lost])
    experiment = client.get_experiment_by_name(f"genops/{project}").experiment_id
    client.delete_traces(experiment, trace_ids=[id_of(lost)])
    (difference,) = mirror.check([kept, lost])
    assert (difference.record_id, difference.where) == (lost.record_id, "trace")
    assert difference.copy_id == id_of(lost)
    assert lost.record_id in str(difference)
    mirror.send([lost])
    assert mirror.check([kept, lost]) == ()


def test_altered_tags_are_named_and_the_users_own_are_not(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    record = make_record(1, project=project)
    mirror.send([record])
    client.set_trace_tag(id_of(record), "reviewed-by", "bob")
    assert mirror.check([record]) == ()
    client.set_trace_tag(id_of(record), "genops.project", "other")
    client.delete_trace_tag(id_of(record), "genops.lora")
    client.set_trace_tag(id_of(record), "genops.approved", "yes")
    found = {d.where: d.message for d in mirror.check([record])}
    assert found == {
        "tag genops.project": "its value was changed",
        "tag genops.lora": "it was removed",
        "tag genops.approved": "it was added",
    }
    mirror.send([record])
    assert wheres(mirror, record) == ["tag genops.approved"]


def test_a_forged_copy_under_the_same_id_is_named(
    mirror: MlflowMirror,
    client: Any,
    uri: str,
    project: str,
    make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Anyone who may write to MLflow can write over a trace, or add a span to it."""
    record, forged = make_record(1, project=project), make_record(9, project=project)
    mirror.send([record])
    experiment = client.get_experiment_by_name(f"genops/{project}").experiment_id
    tracking = Tracking(uri, None, 10)
    genuine, other = otlp.span(trace_copy(record)), otlp.span(trace_copy(forged))
    other.trace_id, other.span_id = genuine.trace_id, genuine.span_id
    monkeypatch.setattr(otlp, "span", lambda _: other)
    tracking.write(experiment, [trace_copy(record)])
    named = set(wheres(mirror, record))
    assert {"attribute genops.envelope", "attribute genops.entry", "times"} <= named
    monkeypatch.undo()
    mirror.send([record])
    assert mirror.check([record]) == ()

    genuine.span_id, genuine.parent_span_id = b"\1" * 8, genuine.span_id
    monkeypatch.setattr(otlp, "span", lambda _: genuine)
    tracking.write(experiment, [trace_copy(record)])
    assert wheres(mirror, record) == ["spans"]


def test_a_deleted_experiment_is_named_and_not_written_to(
    mirror: MlflowMirror, client: Any, project: str, make_record: MakeRecord
) -> None:
    record = make_record(1, project=project)
    mirror.send([record])
    client.delete_experiment(client.get_experiment_by_name(f"genops/{project}").experiment_id)
    assert "experiment" in wheres(mirror, record) or "trace" in wheres(mirror, record)
    with pytest.raises(GenopsError) as caught:
        mirror.send([make_record(2, project=project)])
    assert caught.value.code == "mirror.experiment-deleted"
    assert "restore" in caught.value.hint


def test_an_export_is_bounded_in_traces_and_bytes(
    prepared: Settings, engine: Engine, make_record: MakeRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    write = Tracking.write

    def counted(self: Tracking, experiment_id: str, traces: Sequence[TraceCopy]) -> None:
        sizes.append(len(traces))
        write(self, experiment_id, traces)

    monkeypatch.setattr(Tracking, "write", counted)
    records = [make_record(n) for n in range(5)]
    room = len(records[0].envelope) + len(records[1].envelope)
    monkeypatch.setattr("registry.mirrors.mlflow.MAX_EXPORT_BYTES", room)
    open_mlflow(prepared, engine).send(records[:3])
    monkeypatch.setattr("registry.mirrors.mlflow.MAX_EXPORT_BYTES", 1)
    open_mlflow(prepared, engine).send(records[3:])
    monkeypatch.setattr("registry.mirrors.mlflow.MAX_EXPORT_BYTES", 10**9)
    monkeypatch.setattr("registry.mirrors.mlflow.MAX_EXPORT_TRACES", 4)
    open_mlflow(prepared, engine).send(records)
    assert sizes == [2, 1, 1, 1, 4, 1]
    assert open_mlflow(prepared, engine).check(records) == ()


def test_altered_span_content_in_the_database_is_named(
    prepared: Settings, engine: Engine, make_record: MakeRecord
) -> None:
    mirror, record = open_mlflow(prepared, engine), make_record(1)
    mirror.send([record])
    with sqlite3.connect(prepared.home.mlflow / "mlflow.db") as db:
        change = r"""UPDATE spans SET content = replace(content, '\"steps\": 4', '\"steps\": 5')"""
        db.execute(change)
    assert wheres(mirror, record) == ["attribute mlflow.spanInputs"]


def test_the_embedded_database_lies_in_the_home_in_wal_mode_and_nothing_elsewhere(
    settings: Settings,
    engine: Engine,
    make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    elsewhere = tmp_path / "cwd"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    open_mlflow(settings, engine).send([make_record(1)])
    assert list(elsewhere.iterdir()) == []
    with sqlite3.connect(settings.home.mlflow / "mlflow.db") as db:
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_sealed_texts_are_nowhere_in_mlflow(
    prepared: Settings, engine: Engine, make_record: MakeRecord, sealed_text: str
) -> None:
    mirror, record = open_mlflow(prepared, engine), make_record(1)
    inputs = record.statement.predicate["buildDefinition"]["externalParameters"]
    assert inputs["prompt"].keys() == {"sealed"}
    mirror.send([record])
    files = [path for path in prepared.home.mlflow.rglob("*") if path.is_file()]
    stored = b"".join(path.read_bytes() for path in files)
    assert record.record_id.encode() in stored
    assert sealed_text.encode() not in stored
    assert sealed_text.encode() not in Envelope.parse(record.envelope).payload


def test_records_that_are_no_generations_touch_nothing(
    settings: Settings, engine: Engine, taint_record: MirrorRecord
) -> None:
    mirror = open_mlflow(settings, engine)
    mirror.send([taint_record])
    assert mirror.check([taint_record]) == ()
    assert not settings.home.mlflow.exists()


def test_a_server_that_was_never_there_is_an_error_in_the_outbox_only(
    state: MirrorState, outbox: Outbox, make_record: MakeRecord
) -> None:
    mirror = MlflowMirror("http://user:secret@127.0.0.1:9", state, timeout_s=2)
    outbox.requeue("mlflow", range(3))
    result = drain(outbox, mirror, make_record, lambda: 0)
    assert (result.sent, result.failed, result.stopped) == (0, 3, True)
    assert result.error.startswith("mirror.unreachable")
    assert "secret" not in outbox.backlog("mlflow").error
    with pytest.raises(UnavailableError):
        mirror.check([make_record(1)])


def test_a_server_that_never_answers_is_given_up(
    state: MirrorState, outbox: Outbox, make_record: MakeRecord
) -> None:
    outbox.requeue("mlflow", [1])
    with socket.create_server(("127.0.0.1", 0)) as silent:
        uri = f"http://127.0.0.1:{silent.getsockname()[1]}"
        result = drain(outbox, MlflowMirror(uri, state, timeout_s=0.2), make_record, lambda: 0)
    assert (result.failed, result.stopped) == (1, True)
    assert "/health" in result.error, "asked first, since MLflow's own calls retry for minutes"


@pytest.mark.parametrize("wrong", ["/tmp/mlruns", "file:///tmp/mlruns", "databricks", ""])
def test_places_that_cannot_hold_traces_are_refused_at_once(state: MirrorState, wrong: str) -> None:
    with pytest.raises(InputError) as caught:
        MlflowMirror(wrong, state)
    assert caught.value.code == "mirror.uri"


def test_without_mlflow_the_error_says_what_to_install(
    state: MirrorState,
    make_record: MakeRecord,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    mirror = MlflowMirror(embedded_uri(tmp_path), state)
    with pytest.raises(MissingExtraError) as caught:
        mirror.send([make_record(1)])
    assert caught.value.hint == "pip install 'genops-registry[mlflow]'"


def test_mlflow_is_loaded_at_first_use_and_its_telemetry_is_off() -> None:
    script = (
        "import os, sys, registry.mirrors.mlflow, registry.mirrors.worker\n"
        "heavy = {'mlflow', 'opentelemetry', 'google.protobuf', 'numpy'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
        "from registry.mirrors.tracking import require_mlflow\n"
        "require_mlflow()\n"
        "assert 'mlflow' in sys.modules\n"
        "print(os.environ['MLFLOW_DISABLE_TELEMETRY'])\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "MLFLOW_DISABLE_TELEMETRY"}
    done = subprocess.run(
        [sys.executable, "-c", script], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "true"


def test_who_wants_the_telemetry_of_mlflow_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "false")
    require_mlflow()
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "false"
