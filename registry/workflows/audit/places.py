"""Which executors there are, by name; Ray and Dask are extras and load when they are asked for."""

from __future__ import annotations

from registry.errors import InputError
from registry.workflows.audit.executors import Executor, Factory, ProcessPool


def executor_for(name: str, factory: Factory, jobs: int) -> Executor:
    """Return an executor by name; it starts what it needs at once.

    Raises InputError (`audit.executor`) for an unknown name or no jobs, MissingExtraError where
    Ray or Dask is not installed.
    """
    if jobs < 1:
        raise InputError(f"{jobs} jobs do no work", code="audit.jobs", hint="give 1 or more")
    if name == "processes":
        return ProcessPool(factory, jobs)
    if name == "ray":
        from registry.workflows.audit.on_ray import RayExecutor  # noqa: PLC0415  # an extra

        return RayExecutor(factory, jobs)
    if name == "dask":
        from registry.workflows.audit.on_dask import DaskExecutor  # noqa: PLC0415  # an extra

        return DaskExecutor(factory, jobs)
    raise InputError(
        f"there is no executor {name!r}", code="audit.executor", hint="processes, ray or dask"
    )
