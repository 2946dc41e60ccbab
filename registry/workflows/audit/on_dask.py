"""Seats on Dask: tasks to workers that keep a station each.

`DASK_SCHEDULER_ADDRESS` names a running cluster, whose machines see the home's folder under the
same path and have this distribution installed. Otherwise a cluster of processes is started here,
on loopback, and ended at the end.
"""

from __future__ import annotations

import importlib
import logging
import threading
import uuid
from contextlib import suppress
from typing import Any

from registry.errors import GenopsError, MissingExtraError, UnavailableError
from registry.settings import cluster_address, without_secrets
from registry.workflows.audit.executors import Executor, Factory, Seat, Station

_START_S = 60
_FAIL_FAST = {"distributed.scheduler.allowed-failures": 0}
"""A task that took its worker with it is told, not tried again on the next one."""

_STATIONS: dict[str, Station] = {}
"""In a worker process: the station of each run, for as long as the run lasts."""
_TURN = threading.Lock()


class DaskExecutor(Executor):
    """Gives tasks to a cluster; ends the cluster where it started it."""

    name = "dask"

    def __init__(self, factory: Factory, jobs: int) -> None:
        super().__init__(factory, jobs)
        self._dask, self._distributed = _load()
        self._run = uuid.uuid4().hex
        self._cluster: Any = None
        address = cluster_address("dask")
        try:
            with self._dask.config.set(_FAIL_FAST):
                if address is None:
                    with without_secrets():
                        self._cluster = _start(self._distributed, jobs)
                self._client = self._distributed.Client(
                    address or self._cluster, timeout=_START_S, set_as_default=False
                )
        except (OSError, RuntimeError, ValueError) as error:
            self._end_cluster()
            raise UnavailableError(
                f"Dask does not start: {error}",
                code="audit.unreachable",
                hint="Is the cluster of DASK_SCHEDULER_ADDRESS up? Unset, one is started here.",
            ) from error

    def seat(self) -> Seat:
        """Return a place in the cluster's queue; whichever worker is free takes its task."""
        return _QueueSeat(self._distributed, self._client, self._run, self.factory)

    def close(self) -> None:
        """Close the stations, and the cluster if it was started here."""
        if self._client.status == "running":
            with suppress(Exception):  # a worker that is busy or gone takes its station along
                self._client.run(close_station, self._run)
        with suppress(Exception):
            self._client.close()
        self._end_cluster()

    def _end_cluster(self) -> None:
        if self._cluster is not None:
            self._cluster.close()


class _QueueSeat:
    def __init__(self, distributed: Any, client: Any, run: str, factory: Factory) -> None:
        self._killed = (distributed.KilledWorker, distributed.client.FutureCancelledError)
        self._client = client
        self._work = (run, factory)
        self._future: Any = None

    def run(self, task: Any) -> Any:
        self._future = self._client.submit(run_in_station, *self._work, task, pure=False, retries=0)
        try:
            return self._future.result()
        except self._killed as error:
            raise GenopsError(
                "a worker on Dask died",
                code="audit.worker-died",
                hint=str(error).partition(".")[0],
            ) from None
        finally:
            self._future = None

    def close(self) -> None:
        future = self._future
        if future is not None:
            future.cancel(force=True)


def run_in_station(run: str, factory: Factory, task: Any) -> Any:
    """Do a task in this worker process, in the station of its run. One at a time."""
    with _TURN:
        if run not in _STATIONS:
            _STATIONS[run] = factory()
        return _STATIONS[run].run(task)


def close_station(run: str) -> None:
    """Close this worker process's station of a run."""
    station = _STATIONS.pop(run, None)
    if station is not None:
        station.close()


def _load() -> tuple[Any, Any]:
    try:
        return importlib.import_module("dask"), importlib.import_module("distributed")
    except ImportError:
        raise MissingExtraError(
            "Dask is not installed", hint="pip install 'genops-registry[dask]'"
        ) from None


def _start(distributed: Any, jobs: int) -> Any:
    return distributed.LocalCluster(
        n_workers=jobs,
        threads_per_worker=1,
        processes=True,
        host="127.0.0.1",
        dashboard_address=None,
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
