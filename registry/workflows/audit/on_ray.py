"""Seats on Ray: an actor each, on this machine or on a cluster that the environment names.

`RAY_ADDRESS` names a running cluster, whose machines see the home's folder under the same path and
have this distribution installed. Otherwise Ray is started here, on loopback, and ended at the end.
"""

from __future__ import annotations

import importlib
import logging
from contextlib import suppress
from typing import Any

from registry.errors import GenopsError, MissingExtraError, UnavailableError
from registry.settings import cluster_address, without_secrets
from registry.workflows.audit.executors import Executor, Factory, Seat

_STORE_BYTES = 100 * 1024 * 1024
_GOODBYE_S = 10


class Hosted:
    """A station inside an actor."""

    def __init__(self, factory: Factory) -> None:
        self._station = factory()

    def run(self, task: Any) -> Any:
        """Do one task."""
        return self._station.run(task)

    def close(self) -> None:
        """Close the station."""
        self._station.close()


class RayExecutor(Executor):
    """Opens an actor for each seat; ends Ray where it started it."""

    name = "ray"

    def __init__(self, factory: Factory, jobs: int) -> None:
        super().__init__(factory, jobs)
        address = cluster_address("ray")
        self._ray = _load()
        self._started = not self._ray.is_initialized()
        if self._started:
            _start(self._ray, address, jobs)

    def seat(self) -> Seat:
        """Start an actor."""
        return _ActorSeat(self._ray, self.factory)

    def close(self) -> None:
        """End Ray, if it was started here."""
        if self._started and self._ray.is_initialized():
            self._ray.shutdown()


class _ActorSeat:
    def __init__(self, ray: Any, factory: Factory) -> None:
        self._ray = ray
        kind = ray.remote(Hosted).options(num_cpus=1, max_restarts=0, max_task_retries=0)
        self._actor = kind.remote(factory)

    def run(self, task: Any) -> Any:
        try:
            return self._ray.get(self._actor.run.remote(task))
        except self._ray.exceptions.RayActorError as error:
            raise GenopsError(
                "a worker on Ray died", code="audit.worker-died", hint=str(error).splitlines()[0]
            ) from None

    def close(self) -> None:
        with suppress(Exception):  # it may be dead, or busy
            self._ray.get(self._actor.close.remote(), timeout=_GOODBYE_S)
        self._ray.kill(self._actor)


def _load() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError:
        raise MissingExtraError(
            "Ray is not installed", hint="pip install 'genops-registry[ray]'"
        ) from None


def _start(ray: Any, address: str | None, jobs: int) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        options |= {
            "num_cpus": jobs,
            "include_dashboard": False,
            "object_store_memory": _STORE_BYTES,
            "_node_ip_address": "127.0.0.1",
        }
    try:
        with without_secrets():
            ray.init(**options)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UnavailableError(
            f"Ray does not start: {str(error).splitlines()[0]}",
            code="audit.unreachable",
            hint="Is the cluster of RAY_ADDRESS up? Unset, one is started here.",
        ) from error
