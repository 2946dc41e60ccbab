"""Which outputs an audit replays: a function of the log up to some size, the filters and a seed."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import select

from registry.catalog.graph import NODES, RECORDS
from registry.core import jsonio
from registry.core.digests import record_id, sha256_hex
from registry.core.statements import PREDICATE_GENERATION
from registry.core.times import format_time
from registry.errors import InputError
from registry.store.transaction import read
from registry.workflows.materialize import SHELVED
from registry.workflows.services import Services
from registry.workflows.view import RecordView


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which generated outputs to audit; None means any.

    `since_ms` is a log time. `sample` is how many to choose at random, by `sample_seed` (a decimal
    string), or by a fresh seed that the summary states.
    """

    project: str | None = None
    campaign: str | None = None
    since_ms: int | None = None
    sample: int | None = None
    sample_seed: str | None = None

    def __post_init__(self) -> None:
        """Refuse a sample that cannot be drawn."""
        if self.sample is not None and self.sample < 1:
            raise InputError(f"a sample of {self.sample} shows nothing", code="audit.sample")
        if self.sample_seed is not None and self.sample is None:
            raise InputError(
                "a seed for a sample needs a sample", code="audit.sample", hint="add --sample N"
            )

    def document(self) -> dict[str, Any]:
        """Return what was asked for, JSON-ready."""
        since = None if self.since_ms is None else format_time(self.since_ms)
        named = {
            "project": self.project,
            "campaign": self.campaign,
            "since": since,
            "sample": self.sample,
            "seed": self.sample_seed,
        }
        return {name: value for name, value in named.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Chosen:
    """One output: its node in the catalog, its record and its place there."""

    node: int
    index: int
    position: int
    leaf_hash: bytes

    @property
    def record(self) -> str:
        """The record's id."""
        return record_id(self.leaf_hash.hex())

    @property
    def output(self) -> str:
        """The subject's name."""
        return f"out/{self.position}"


@dataclass(frozen=True, slots=True)
class Selection:
    """The chosen outputs in log order, and how many there were to choose from."""

    chosen: tuple[Chosen, ...]
    matching: int


def choose(services: Services, wanted: Wanted, size: int, seed: str) -> Selection:
    """Choose outputs among the first `size` records; raises InputError (`audit.empty`) for none.

    A sample is the outputs with the smallest SHA-256 over `<seed> <record> <output>`: the same
    seed over the same log chooses the same ones.
    """
    matching = _matching(services, wanted, size)
    if not matching:
        raise InputError(
            "no generated asset fits",
            code="audit.empty",
            hint="`genops list --kind generated` shows what there is",
        )
    chosen = matching
    if wanted.sample is not None:
        chosen = ranked(seed, matching)[: wanted.sample]
        chosen.sort(key=lambda one: (one.index, one.position))
    return Selection(tuple(chosen), len(matching))


def _matching(services: Services, wanted: Wanted, size: int) -> list[Chosen]:
    query = (
        select(NODES.c.id, RECORDS.c.idx, NODES.c.position, RECORDS.c.leaf_hash)
        .join(NODES, NODES.c.record_idx == RECORDS.c.idx)
        .where(RECORDS.c.predicate_type == PREDICATE_GENERATION, RECORDS.c.idx < size)
        .order_by(RECORDS.c.idx, NODES.c.position)
    )
    if wanted.project is not None:
        query = query.where(RECORDS.c.project == wanted.project)
    if wanted.campaign is not None:
        query = query.where(RECORDS.c.campaign == wanted.campaign)
    if wanted.since_ms is not None:
        query = query.where(RECORDS.c.time_ms >= wanted.since_ms)
    with read(services.engine) as conn:
        return [Chosen(*row) for row in conn.execute(query)]


def ranked(seed: str, outputs: Iterable[Chosen]) -> list[Chosen]:
    """Return outputs in an order that nobody chose: by SHA-256 over the seed and their names."""

    def rank(one: Chosen) -> str:
        return sha256_hex(f"{seed} {one.record} {one.output}".encode("ascii"))

    return sorted(outputs, key=rank)


def by_model(services: Services, chosen: Iterable[Chosen]) -> Iterator[Sequence[Chosen]]:
    """Yield the chosen outputs record by record, those of one model and its LoRAs together.

    A warm worker keeps one pipeline: it need not load another for every record.
    """
    records = [list(group) for _, group in groupby(chosen, key=lambda one: one.index)]
    keyed = [(_rig(services, group[0].index), group[0].index, group) for group in records]
    for _, _, group in sorted(keyed, key=lambda item: item[:2]):
        yield group


def _rig(services: Services, index: int) -> str:
    """Return what decides the pipeline and its process, as far as a sealed statement tells."""
    definition = RecordView(services, index).statement.predicate["buildDefinition"]
    models = sorted(
        dep["digest"]["sha256"]
        for dep in definition.get("resolvedDependencies", ())
        if dep.get("annotations", {}).get("genops_kind") in SHELVED
    )
    variables = definition.get("internalParameters", {}).get("environment", {}).get("variables")
    parts = [variables, definition["buildType"], models]
    return hashlib.sha256(jsonio.dumps(parts)).hexdigest()
