"""What holds of a home whatever befell it: one check that ends every test of this folder.

A generation is named by a tag, from which its bytes and its text follow, so that a test can ask
for them again after a crash with nothing but the acknowledgement in hand.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from registry.core.digests import record_id, sha256_hex
from registry.core.fingerprint import FingerprintValue
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.ids import uuid7
from registry.core.merkle import leaf_hash
from registry.core.statements import PREDICATE_GENERATION, Statement, invocation_id
from registry.factory import open_home
from registry.sdk import Registry
from registry.store.sidecar_tables import OutboxRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.texts import open_statement

START_MS = 1_790_000_000_000
TARGETS = ("mlflow", "vault")
WEIGHTS = b"the weights that all of them share"
_OUTBOX = table_of(OutboxRow)


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """What a caller holds once `record()` has returned."""

    tag: str
    invocation: str
    record: str
    index: int

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def new_invocation() -> str:
    return uuid7(time.time_ns() // 1_000_000, os.urandom(10))


def pixels(tag: str) -> bytes:
    return f"pixels of {tag}, ".encode() * 40


def generation(tag: str, invocation: str) -> Generation:
    """Return a generation that touches every table and file a submission can touch."""
    data = pixels(tag)
    print_ = FingerprintValue(sha256_hex(data), "pdq-v1", sha256_hex(tag.encode())[:32].encode(), 9)
    return Generation(
        build_type="https://w3id.org/genops/build/callable/v1",
        external={"prompt": Sealed(f"a red mug, number {tag}"), "steps": 4},
        internal={"dtype": "float32"},
        materials=[Material("model/base", "model", sha256_hex(WEIGHTS), storage="vaulted")],
        outputs=[Output(data, "image/png", seed="1", fingerprints=(print_,))],
        started_ms=START_MS,
        finished_ms=START_MS,
        builder_id="https://w3id.org/genops/builder/test",
        invocation_id=invocation,
    )


def record(registry: Registry, tag: str, invocation: str | None = None) -> Acknowledged:
    """Record the generation of a tag, and return what its caller was told."""
    chosen = invocation or new_invocation()
    receipt = registry.record(generation(tag, chosen), blobs=[WEIGHTS])
    return Acknowledged(tag, chosen, receipt.record, receipt.index)


def assert_sound(
    home: Path,
    acknowledged: Iterable[Acknowledged] = (),
    *,
    erased: Iterable[str] = (),
    unsure: bool = False,
) -> dict[str, int]:
    """Check a home from the outside in; return the index of every invocation in its log.

    The log checks clean, the projection is what a rebuild gives, every record has its bytes, its
    text and its place in each mirror's queue, none is there twice, and all that was acknowledged
    is where its receipt says. The texts of the records in `erased` are gone; `unsure` says that
    another erasure was asked for and not answered.
    """
    with open_home(home) as registry:
        assert registry.check_log().problems == ()
        assert registry.check_catalog() == ()
        _assert_queued(registry)
        invocations: dict[str, int] = {}
        for index, entry, envelope in registry.log.records():
            statement = Statement.parse(envelope.payload)
            invocations[invocation_id(statement)] = index
            if statement.predicate_type == PREDICATE_GENERATION:
                gone = record_id(leaf_hash(entry).hex()) in erased
                _assert_whole(registry, index, statement, gone=gone, unsure=unsure)
        assert sorted(invocations.values()) == list(range(registry.log.head().size))
        for told in acknowledged:
            assert invocations.get(told.invocation) == told.index
            assert record_id(leaf_hash(registry.log.entry(told.index)).hex()) == told.record
            statement = Statement.parse(registry.log.envelope(told.index).payload)
            assert [one.sha256 for one in statement.subjects] == [sha256_hex(pixels(told.tag))]
    return invocations


def _assert_queued(registry: Registry) -> None:
    """Check that every record waits for every mirror once: nothing was mirrored in these homes."""
    with read(registry._services.engine) as conn:
        rows = conn.execute(select(_OUTBOX.c.record_idx, _OUTBOX.c.target)).all()
    indices = range(registry.log.head().size)
    assert sorted(map(tuple, rows)) == [(index, name) for index in indices for name in TARGETS]


def _assert_whole(
    registry: Registry, index: int, statement: Statement, *, gone: bool, unsure: bool
) -> None:
    """Check that a generation's bytes and text are there, acknowledged or not."""
    opened = open_statement(registry._services, index, statement)
    if not (unsure and opened.state == "erased"):
        assert opened.state == ("erased" if gone else "readable")
    for digest in (sha256_hex(WEIGHTS), *(one.sha256 for one in statement.subjects)):
        blob = registry._services.blobs.get(digest)
        assert blob is not None, f"the index of blobs does not know {digest}"
        registry._services.vault.verify(blob)
