"""MLflow as the engineers' window: a trace per generation, in its project and campaign.

Sends what was signed and logged and nothing else, so sealed texts stay sealed, and checks the
copies against the log, since nothing in MLflow is immutable.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Engine

from registry.mirrors.compare import compare
from registry.mirrors.contract import Difference, MirrorRecord
from registry.mirrors.places import Places
from registry.mirrors.state import MirrorState
from registry.mirrors.trace import (
    ENTRY,
    ENVELOPE,
    EXPERIMENT_HEAD,
    INDEX_TAG,
    Group,
    group_of,
    is_mirrored,
    trace_copy,
)
from registry.mirrors.tracking import Tracking, check_uri, require_mlflow, translated
from registry.settings import Settings

TARGET = "mlflow"
MAX_EXPORT_BYTES = 8 * 1024 * 1024
"""Envelope bytes that one export carries, unless a single envelope is larger."""
MAX_EXPORT_TRACES = 100
TIMEOUT_S = 30.0
"""Longest wait for a server's answer, seconds."""


def embedded_uri(folder: Path) -> str:
    """Return the URI of the MLflow database in a registry's `mlflow` folder."""
    return f"sqlite:///{folder / 'mlflow.db'}"


def open_mlflow(settings: Settings, engine: Engine) -> MlflowMirror:
    """Return the mirror that the settings ask for: `mlflow_uri`, or the home's own database."""
    folder = settings.home.mlflow
    state = MirrorState(engine)
    if settings.mlflow_uri is not None:
        return MlflowMirror(settings.mlflow_uri, state)
    return MlflowMirror(embedded_uri(folder), state, artifacts=folder / "artifacts")


class MlflowMirror:
    """A `Mirror` that writes to an MLflow database or server; MLflow is loaded at first use.

    `uri` is `sqlite:///…` (or another database) without a server, or `http(s)://…`. `artifacts` is
    where a database's experiments keep files; the mirror itself writes none.
    """

    def __init__(
        self,
        uri: str,
        state: MirrorState,
        *,
        artifacts: Path | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> None:
        check_uri(uri)
        self._uri = uri
        self._state = state
        self._artifacts = artifacts
        self._timeout_s = timeout_s
        self._opened: Tracking | None = None

    @property
    def target(self) -> str:
        """The name of this mirror in the outbox."""
        return TARGET

    def send(self, batch: Sequence[MirrorRecord]) -> None:
        """Store a trace for every generation in the batch; other records have none.

        Sent again, a record replaces its own trace. Raises UnavailableError when MLflow cannot be
        reached, MissingExtraError when it is not installed, and GenopsError (`mirror.refused`,
        `mirror.experiment-deleted`) when it will not take the batch.
        """
        groups = _grouped(batch)
        if not groups:
            return
        with self._session() as tracking:
            places = Places(tracking, self._state, self._uri)
            for group, members in groups.items():
                for part in _exports(members):
                    _send_part(tracking, places, group, part)

    def check(self, records: Sequence[MirrorRecord]) -> tuple[Difference, ...]:
        """Compare the traces of generations with the log; faithful copies give nothing.

        Whether a trace is linked to its campaign's run is not compared. Raises like `send`.
        """
        groups = _grouped(records)
        if not groups:
            return ()
        differences: list[Difference] = []
        with self._session() as tracking:
            for group, members in groups.items():
                found = tracking.experiment(group.experiment)
                home = found.id if found is not None and found.active else None
                for part in _exports(members):
                    differences += _check_part(tracking, home, part)
        return tuple(differences)

    def copies(self, index: int) -> tuple[tuple[bytes, bytes], ...]:
        """Return the log entry and envelope of every trace that says it is of this log index.

        Several registries may share one MLflow, and nothing in it is immutable: the caller
        compares. Raises like `send`.
        """
        with self._session() as tracking:
            ids = tracking.search(EXPERIMENT_HEAD, INDEX_TAG, str(index))
            stored = tracking.fetch(ids) if ids else {}
        pairs = (
            (trace.attributes.get(ENTRY), trace.attributes.get(ENVELOPE))
            for trace in stored.values()
        )
        return tuple(
            (entry.encode("utf-8"), envelope.encode("utf-8"))
            for entry, envelope in pairs
            if isinstance(entry, str) and isinstance(envelope, str)
        )

    @contextmanager
    def _session(self) -> Iterator[Tracking]:
        """Give the tracking store, opened once and found alive."""
        require_mlflow()
        with translated():
            if self._opened is None:
                self._opened = Tracking(self._uri, self._artifacts, self._timeout_s)
            self._opened.probe()
            yield self._opened


def _grouped(records: Sequence[MirrorRecord]) -> dict[Group, list[MirrorRecord]]:
    groups: defaultdict[Group, list[MirrorRecord]] = defaultdict(list)
    for record in records:
        if is_mirrored(record):
            groups[group_of(record)].append(record)
    return dict(groups)


def _exports(records: Sequence[MirrorRecord]) -> Iterator[list[MirrorRecord]]:
    """Cut records into parts that fit one export."""
    part: list[MirrorRecord] = []
    size = 0
    for record in records:
        full = len(part) == MAX_EXPORT_TRACES or size + len(record.envelope) > MAX_EXPORT_BYTES
        if part and full:
            yield part
            part, size = [], 0
        part.append(record)
        size += len(record.envelope)
    if part:
        yield part


def _send_part(
    tracking: Tracking, places: Places, group: Group, part: Sequence[MirrorRecord]
) -> None:
    traces = [trace_copy(record) for record in part]
    experiment_id = places.experiment(group)
    tracking.write(experiment_id, traces)
    if group.campaign is not None:
        run_id = places.run(group, experiment_id, part[0].time_ms)
        tracking.link([trace.mlflow_id for trace in traces], run_id)


def _check_part(
    tracking: Tracking, experiment_id: str | None, part: Sequence[MirrorRecord]
) -> Iterator[Difference]:
    copies = [(record, trace_copy(record)) for record in part]
    stored = tracking.fetch([copy.mlflow_id for _, copy in copies])
    for record, copy in copies:
        for where, how in compare(copy, stored.get(copy.mlflow_id), experiment_id):
            yield Difference(record.record_id, copy.mlflow_id, where, how)
