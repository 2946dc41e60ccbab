"""The one place that talks to MLflow: its database directly, or its server over HTTP.

Both are MLflow's own tracking store behind one interface; only spans go to a server as an OTLP
export. Knows traces and runs, but no outbox and no records.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from registry.errors import GenopsError, InputError, MissingExtraError, UnavailableError
from registry.mirrors import otlp
from registry.mirrors.contract import describe
from registry.mirrors.trace import StoredTrace, TraceCopy

LINKS_PER_CALL = 100
"""MLflow's own limit of `link_traces_to_run`."""

_MOST_FOUND = 10
_HTTP = frozenset({"http", "https"})
_DATABASES = frozenset({"sqlite", "postgresql", "mysql", "mssql"})
_NOT_THE_BATCH = frozenset({401, 403, 408, 429})
"""Client errors that say nothing of what was sent: no access, or not now."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment's id, and whether it was not deleted."""

    id: str
    active: bool


class Tracking:
    """MLflow's tracking store at a URI. Every method raises UnavailableError when it is not there.

    Writing is idempotent for traces and links, not for runs. Not for use by two threads at once.
    """

    def __init__(self, uri: str, artifacts: Path | None, timeout_s: float) -> None:
        self._remote = urlsplit(uri).scheme in _HTTP
        self._timeout_s = timeout_s
        self._store = _open_store(uri, artifacts)

    def probe(self) -> None:
        """Ask a server for a sign of life: at once, since MLflow's own calls retry for minutes."""
        if self._remote:
            status = self._http("/health", "GET").status_code
            if status != 200:
                raise _failure(503, f"/health was answered with status {status}")

    def experiment(self, name: str) -> Experiment | None:
        """Return the experiment of this name, deleted or not."""
        found = self._store.get_experiment_by_name(name)
        if found is None:
            return None
        return Experiment(str(found.experiment_id), found.lifecycle_stage == "active")

    def create_experiment(self, name: str) -> Experiment:
        """Make an experiment; give the one that another process made meanwhile, if one did."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  heavy extra

        try:
            return Experiment(str(self._store.create_experiment(name, None, [])), active=True)
        except MlflowException:
            found = self.experiment(name)
            if found is None:
                raise
            return found

    def is_active_run(self, run_id: str) -> bool:
        """Tell whether a run exists and was not deleted."""
        from mlflow.exceptions import MlflowException  # noqa: PLC0415  heavy extra

        try:
            return bool(self._store.get_run(run_id).info.lifecycle_stage == "active")
        except MlflowException as error:
            if error.get_http_status_code() == 404:
                return False
            raise

    def find_run(self, experiment_id: str, tag: str, value: str) -> str | None:
        """Return the oldest active run that carries a tag; `value` is hex."""
        from mlflow.entities import ViewType  # noqa: PLC0415  heavy extra

        runs = self._store.search_runs(
            [experiment_id],
            f"tags.`{tag}` = '{value}'",
            ViewType.ACTIVE_ONLY,
            1,
            ["attributes.start_time ASC"],
        )
        return str(runs[0].info.run_id) if runs else None

    def create_run(
        self, experiment_id: str, name: str, tags: Mapping[str, str], time_ms: int
    ) -> str:
        """Return the id of a new run, finished from the start: nobody knows a campaign's end."""
        from mlflow.entities import RunStatus, RunTag  # noqa: PLC0415  heavy extra

        run = self._store.create_run(
            experiment_id, "genops", time_ms, [RunTag(*item) for item in tags.items()], name
        )
        run_id = str(run.info.run_id)
        self._store.update_run_info(run_id, RunStatus.FINISHED, time_ms, name)
        return run_id

    def delete_run(self, run_id: str) -> None:
        """Delete a run that lost the race to become the campaign's."""
        self._store.delete_run(run_id)

    def write(self, experiment_id: str, traces: Sequence[TraceCopy]) -> None:
        """Store traces, in place of whatever had their ids."""
        spans = [otlp.span(trace) for trace in traces]
        if self._remote:
            headers = {
                "Content-Type": "application/x-protobuf",
                "x-mlflow-experiment-id": experiment_id,
            }
            answer = self._http(
                "/v1/traces", "POST", data=otlp.request(spans), extra_headers=headers
            )
            if answer.status_code != 200:
                raise _failure(answer.status_code, f"{answer.status_code} {answer.text[:200]}")
            return
        from mlflow.entities.span import Span  # noqa: PLC0415  heavy extra

        self._store.log_spans(experiment_id, [Span.from_otel_proto(span) for span in spans])

    def link(self, mlflow_ids: Sequence[str], run_id: str) -> None:
        """Put traces into a run."""
        for start in range(0, len(mlflow_ids), LINKS_PER_CALL):
            self._store.link_traces_to_run(list(mlflow_ids[start : start + LINKS_PER_CALL]), run_id)

    def fetch(self, mlflow_ids: Sequence[str]) -> dict[str, StoredTrace]:
        """Return the traces that exist, by MLflow id."""
        found = self._store.batch_get_traces(list(mlflow_ids))
        return {str(trace.info.trace_id): _stored(trace) for trace in found}

    def search(self, head: str, tag: str, value: str) -> list[str]:
        """Return the ids of traces that carry a tag, in active experiments named from `head` on.

        At most ten; `value` holds no quotes.
        """
        found = self._store.search_experiments(filter_string=f"name LIKE '{head}%'")
        experiments = [str(one.experiment_id) for one in found]
        if not experiments:
            return []
        traces, _ = self._store.search_traces(
            experiments, f"tags.`{tag}` = '{value}'", max_results=_MOST_FOUND
        )
        return [str(trace.trace_id) for trace in traces]

    def _http(self, path: str, method: str, **options: Any) -> Any:
        """Make one request with MLflow's own credentials and TLS settings, without a retry."""
        from mlflow.utils.rest_utils import http_request  # noqa: PLC0415  heavy extra

        credentials = self._store.get_host_creds()
        return http_request(
            credentials, path, method, max_retries=0, timeout=self._timeout_s, **options
        )


@contextmanager
def translated() -> Iterator[None]:
    """Turn errors of MLflow, its database and its files into ours: refused or unreachable."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415  heavy extra

    try:
        yield
    except MlflowException as error:
        raise _failure(error.get_http_status_code(), describe(error)) from error
    except (SQLAlchemyError, OSError) as error:
        raise _failure(503, describe(error)) from error


def _failure(status: int, said: str) -> GenopsError:
    """Return the error for an HTTP status: refused if it blames the batch, else unreachable."""
    if 400 <= status < 500 and status not in _NOT_THE_BATCH:
        return GenopsError(f"MLflow refused a batch: {said}", code="mirror.refused")
    return UnavailableError(
        f"MLflow cannot be reached: {said}",
        code="mirror.unreachable",
        hint="check the server, its address (GENOPS_MLFLOW_URI) and your access to it",
    )


def require_mlflow() -> None:
    """Raise MissingExtraError unless MLflow is installed; slow on the first call (1 to 4 s)."""
    # MLflow reads this at import; a mirror of a lineage log must not report to a third party.
    # It has no other switch that works before the import. A value set by the user stands.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow  # noqa: F401, PLC0415  heavy extra
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the MLflow mirror needs a package that is not installed: {error.name}",
            hint="pip install 'genops-registry[mlflow]'",
        ) from None


def check_uri(uri: str) -> None:
    """Raise InputError for a URI whose MLflow store cannot hold traces."""
    scheme = urlsplit(uri).scheme.partition("+")[0]
    if scheme not in _HTTP | _DATABASES:
        raise InputError(
            f"MLflow cannot keep traces at {scheme or 'a path'!r}",
            code="mirror.uri",
            hint="use http(s)://…, sqlite:///…, or the URL of another database",
        )


def _open_store(uri: str, artifacts: Path | None) -> Any:
    require_mlflow()
    from mlflow.tracking._tracking_service.utils import _get_store  # noqa: PLC0415  heavy extra

    file = _sqlite_file(uri)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
    with _without_setup_notes():
        store = _get_store(uri, str(artifacts) if artifacts else None)
    if file is not None:
        _use_wal(file)
    return store


def _sqlite_file(uri: str) -> Path | None:
    url = make_url(uri) if uri.startswith("sqlite") else None
    return Path(url.database) if url is not None and url.database else None


def _use_wal(file: Path) -> None:
    """Set WAL, which stays with the file: a third of the time for a write, and readers go on."""
    connection = sqlite3.connect(file)
    # Only speed is lost when someone else holds the file just now; the next process tries again.
    with suppress(sqlite3.OperationalError):
        connection.execute("PRAGMA journal_mode=WAL")
    connection.close()


@contextmanager
def _without_setup_notes() -> Iterator[None]:
    """Keep MLflow's notes on creating its tables off the user's terminal."""
    logger = logging.getLogger("mlflow.store.db.utils")
    level = logger.level
    logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        logger.setLevel(level)


def _stored(trace: Any) -> StoredTrace:
    root = next((span for span in trace.data.spans if span.parent_id is None), trace.data.spans[0])
    return StoredTrace(
        experiment_id=str(trace.info.experiment_id),
        name=str(root.name),
        start_ns=root.start_time_ns,
        end_ns=root.end_time_ns,
        spans=len(trace.data.spans),
        attributes=root.attributes,
        tags=trace.info.tags,
    )
