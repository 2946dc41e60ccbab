"""From accepted records to projection rows: a pure function of the log, batch by batch.

Handed to the sequencer, which runs it inside its transaction; run again over exported entries it
gives equal rows. Must not read clocks, files or anything that is not on the log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

from sqlalchemy import Connection, update

from registry.catalog.banks import project_banks
from registry.catalog.drafts import PREDICATE_DRAFT, project_drafts, project_marks
from registry.catalog.graph import GraphWriter
from registry.catalog.holds import project_holds
from registry.catalog.signers import project_reattestations
from registry.core.statements import (
    PREDICATE_DECISION,
    PREDICATE_GENERATION,
    Statement,
    invocation_id,
    predicate_uri,
)
from registry.store.bulk import insert_rows
from registry.store.catalog_tables import (
    DecisionRow,
    ErasureRow,
    ModelRow,
    OutputRow,
    RecordRow,
    ReproductionRow,
    SubjectRow,
    TaintRow,
)
from registry.store.types import table_of

Row = dict[str, Any]

PREDICATE_INGEST = predicate_uri("ingest")
PREDICATE_TAINT = predicate_uri("taint")
ASSET_KINDS: Mapping[str, str] = {
    PREDICATE_GENERATION: "generated",
    PREDICATE_INGEST: "ingested",
    predicate_uri("ingest", 2): "ingested",
}


class Logged(Protocol):
    """What the projector needs of an accepted record."""

    @property
    def index(self) -> int:
        """Log index."""

    @property
    def time_ms(self) -> int:
        """Log time, epoch milliseconds."""

    @property
    def leaf_hash(self) -> bytes:
        """RFC 9162 leaf hash, 32 bytes."""

    @property
    def payload_sha256(self) -> bytes:
        """SHA-256 of the statement's bytes, 32 bytes."""

    @property
    def keyid(self) -> str:
        """The signer that was authorised."""

    @property
    def statement(self) -> Statement:
        """The parsed statement."""


def project(conn: Connection, batch: Sequence[Logged]) -> None:
    """Write the projection rows of a batch of records, in log order."""
    insert_rows(conn, table_of(RecordRow), [_record_row(item) for item in batch])
    insert_rows(conn, table_of(SubjectRow), [row for item in batch for row in _subject_rows(item)])
    assets = [item for item in batch if item.statement.predicate_type in ASSET_KINDS]
    _project_assets(conn, assets)
    project_marks(conn, assets)
    project_banks(conn, batch)
    for predicate_type, project_one in _OTHERS.items():
        chosen = [item for item in batch if item.statement.predicate_type == predicate_type]
        if chosen:
            project_one(conn, chosen)


def _record_row(item: Logged) -> Row:
    predicate = item.statement.predicate
    definition = predicate.get("buildDefinition") or {}
    reproducible = predicate.get("genops_reproducible") or {}
    actor = predicate.get("genops_actor") or {}
    return {
        "idx": item.index,
        "leaf_hash": item.leaf_hash,
        "payload_sha256": item.payload_sha256,
        "time_ms": item.time_ms,
        "predicate_type": item.statement.predicate_type,
        "build_type": definition.get("buildType"),
        "keyid": item.keyid,
        "project": predicate.get("genops_project", ""),
        "campaign": predicate.get("genops_campaign"),
        "actor": actor.get("pseudonym", ""),
        "invocation_id": invocation_id(item.statement),
        "reproducible": reproducible.get("reproducible"),
    }


def _subject_rows(item: Logged) -> Iterable[Row]:
    for position, subject in enumerate(item.statement.subjects):
        yield {
            "record_idx": item.index,
            "position": position,
            "sha256": bytes.fromhex(subject.sha256),
        }


def _project_assets(conn: Connection, batch: Sequence[Logged]) -> None:
    if not batch:
        return
    used = [{m["name"]: m for m in _materials(item.statement)} for item in batch]
    graph = GraphWriter(conn, _digests(batch, used))
    rows: list[Row] = []
    for item, materials in zip(batch, used, strict=True):
        for position, subject in enumerate(item.statement.subjects):
            names = _materials_of(item.statement, subject.name, materials)
            sha256 = bytes.fromhex(subject.sha256)
            node = graph.add_output(
                record_idx=item.index,
                position=position,
                record_hash=item.leaf_hash,
                sha256=sha256,
                kind=ASSET_KINDS[item.statement.predicate_type],
                name=subject.name,
                materials=[materials[name] for name in names],
            )
            rows.append(_output_row(item, node, position, sha256))
    graph.flush()
    insert_rows(conn, table_of(OutputRow), rows)


def _digests(batch: Sequence[Logged], used: Sequence[Mapping[str, Row]]) -> Iterable[bytes]:
    """Yield the digests of all subjects and materials of a batch."""
    for item, materials in zip(batch, used, strict=True):
        yield from (bytes.fromhex(subject.sha256) for subject in item.statement.subjects)
        yield from (material["sha256"] for material in materials.values())


def named_materials(statement: Statement, position: int) -> dict[bytes, tuple[str, str]]:
    """Return what one output was made from, as its record says: (kind, name) by digest."""
    materials = {material["name"]: material for material in _materials(statement)}
    names = _materials_of(statement, statement.subjects[position].name, materials)
    return {materials[name]["sha256"]: (materials[name]["kind"], name) for name in names}


def _materials(statement: Statement) -> Iterable[Row]:
    """Yield the materials that matter for a blast radius, by name."""
    if statement.predicate_type == PREDICATE_GENERATION:
        for dep in statement.predicate["buildDefinition"].get("resolvedDependencies", ()):
            notes = dep.get("annotations", {})
            if notes.get("genops_kind") != "environment":
                yield {
                    "name": dep["name"],
                    "kind": notes.get("genops_kind", "material"),
                    "sha256": bytes.fromhex(dep["digest"]["sha256"]),
                    "uri": dep.get("uri", ""),
                    "storage": notes.get("genops_storage", "referenced"),
                    "output_of": notes.get("genops_output_of"),
                }
        return
    for number, parent in enumerate(statement.predicate.get("parents", ())):
        yield {
            "name": f"parent/{number}",
            "kind": "asset",
            "sha256": bytes.fromhex(parent["digest"]),
            "uri": "",
            "storage": "vaulted",
            "output_of": parent.get("output_of"),
        }


def _materials_of(
    statement: Statement, subject: str, materials: Mapping[str, Row]
) -> Iterable[str]:
    """Return the names of the materials of one subject: its own where the record says so."""
    for output in statement.predicate.get("genops_outputs", ()):
        if output["subject"] == subject and "materials" in output:
            return [name for name in output["materials"] if name in materials]
    return list(materials)


def _output_row(item: Logged, node: int, position: int, sha256: bytes) -> Row:
    subject = item.statement.subjects[position]
    notes = subject.annotations or {}
    pixels = notes.get("pixels-v1")
    outputs = item.statement.predicate.get("genops_outputs", ())
    mine: Mapping[str, Any] = next((o for o in outputs if o["subject"] == subject.name), {})
    return {
        "node_id": node,
        "record_idx": item.index,
        "sha256": sha256,
        "pixels": bytes.fromhex(pixels) if pixels else None,
        "media_type": subject.media_type,
        "width": notes.get("width"),
        "height": notes.get("height"),
        "size": notes.get("size"),
        "seed": mine.get("seed"),
    }


def _project_taints(conn: Connection, batch: Sequence[Logged]) -> None:
    for item in batch:
        predicate = item.statement.predicate
        for subject in item.statement.subjects:
            sha256 = bytes.fromhex(subject.sha256)
            if predicate["action"] == "taint":
                row = {
                    "record_idx": item.index,
                    "sha256": sha256,
                    "severity": predicate["severity"],
                    "cleared_by": None,
                }
                insert_rows(conn, table_of(TaintRow), [row])
            else:
                table = table_of(TaintRow)
                standing = (table.c.sha256 == sha256) & table.c.cleared_by.is_(None)
                conn.execute(update(table).where(standing).values(cleared_by=item.index))


def _project_decisions(conn: Connection, batch: Sequence[Logged]) -> None:
    rows = [
        {
            "record_idx": item.index,
            "sha256": bytes.fromhex(item.statement.subjects[0].sha256),
            "verdict": item.statement.predicate["verificationResult"],
            "policy": item.statement.predicate["policy"].get("uri", ""),
        }
        for item in batch
    ]
    insert_rows(conn, table_of(DecisionRow), rows)


def _project_reproductions(conn: Connection, batch: Sequence[Logged]) -> None:
    rows = [
        {
            "record_idx": item.index,
            "of_record": _record_hash(item.statement.predicate["record"]),
            "verdict": item.statement.predicate["verdict"],
        }
        for item in batch
    ]
    insert_rows(conn, table_of(ReproductionRow), rows)


def _project_models(conn: Connection, batch: Sequence[Logged]) -> None:
    rows = [
        {
            "record_idx": item.index,
            "sha256": bytes.fromhex(item.statement.subjects[0].sha256),
            "name": item.statement.predicate["name"],
            "kind": item.statement.predicate["kind"],
            "licence": item.statement.predicate["licence"],
            "approved": item.statement.predicate["approved"],
        }
        for item in batch
    ]
    insert_rows(conn, table_of(ModelRow), rows)


def _project_erasures(conn: Connection, batch: Sequence[Logged]) -> None:
    rows = [
        {
            "record_idx": item.index,
            "of_record": _record_hash(item.statement.predicate["record"]),
        }
        for item in batch
    ]
    insert_rows(conn, table_of(ErasureRow), rows)


def _record_hash(record: str) -> bytes:
    return bytes.fromhex(record.removeprefix("rec:"))


_OTHERS: Mapping[str, Callable[[Connection, Sequence[Logged]], None]] = {
    PREDICATE_TAINT: _project_taints,
    PREDICATE_DECISION: _project_decisions,
    predicate_uri("reproduction"): _project_reproductions,
    predicate_uri("model"): _project_models,
    predicate_uri("erasure"): _project_erasures,
    predicate_uri("hold"): project_holds,
    predicate_uri("reattestation"): project_reattestations,
    PREDICATE_DRAFT: project_drafts,
}
