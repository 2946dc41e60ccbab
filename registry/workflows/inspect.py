"""Listings and passports: all that is known of an asset, gathered from every room."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping

from registry.catalog import queries
from registry.catalog.drafts import BECOMES, PREDICATE_DRAFT, state_of
from registry.catalog.projector import ASSET_KINDS
from registry.core.answers import (
    AssetSummary,
    Event,
    MaterialView,
    Passport,
    TaintView,
)
from registry.core.bank_predicates import PREDICATE_BANK_ENTRY_V2, PREDICATE_MATCH_VERDICT_V2
from registry.core.digests import asset_id, record_id
from registry.core.disclosures import sealed_digest
from registry.core.generation import Blob
from registry.core.statements import Statement, predicate_name, predicate_uri
from registry.core.times import format_time
from registry.errors import InputError
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.personal import is_personal, lacking, read_row
from registry.workflows.services import Services
from registry.workflows.standing import standing
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

ARGUMENTS = "arguments"
"""The external parameter in which adapters put the arguments of a call."""
PREDICATE_REVIEW = predicate_uri("review")
_DECIDED_IN = {
    PREDICATE_REVIEW: "verdict",
    PREDICATE_DRAFT: "action",
    PREDICATE_BANK_ENTRY_V2: "action",
    PREDICATE_MATCH_VERDICT_V2: "verdict",
}
_OWN_ELSEWHERE = {"subject", "materials", "seed", "batch_index"}


def list_assets(
    services: Services, chosen: queries.ListFilter, *, limit: int, offset: int
) -> list[AssetSummary]:
    """Return a page of outputs, newest first."""
    most = services.settings.limits.page_rows
    with read(services.engine) as conn:
        rows = queries.list_outputs(conn, chosen, limit=min(limit, most), offset=offset)
        return summaries(services, conn, rows)


def summaries(
    services: Services, conn: Connection, rows: Sequence[RowMapping]
) -> list[AssetSummary]:
    """Turn output rows into listing lines."""
    tainted = queries.tainted_nodes(conn, [row["node_id"] for row in rows])
    return [_summary(services, row, row["node_id"] in tainted) for row in rows]


def passport(services: Services, text: str) -> Passport:
    """Return all that is known of the output that `text` names.

    Raises NotFoundError or AmbiguousError for a reference that names no one output.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
        taints = queries.taints_of(conn, row["sha256"])
        about = queries.records_about(conn, row["sha256"])
        on = queries.records_on(conn, row["leaf_hash"])
        others = {r["idx"]: r for r in (*about, *on) if r["idx"] != row["record_idx"]}
        verdicts = queries.verdicts_of(conn, list(others))
        draft = state_of(conn, row["record_idx"], row["position"])
    verdicts |= _decided(services, others.values())
    view = RecordView(services, row["record_idx"])
    statement = view.statement
    opened = open_statement(services, row["record_idx"], statement)
    predicate = opened.document["predicate"]
    return Passport(
        id=asset_id(row["sha256"].hex()),
        kind=row["kind"],
        record=record_id(row["leaf_hash"].hex()),
        index=row["record_idx"],
        time=format_time(row["time_ms"]),
        project=row["project"],
        campaign=row["campaign"],
        path=_path(services, row),
        media_type=row["media_type"],
        width=row["width"],
        height=row["height"],
        size=row["size"],
        pixels=row["pixels"].hex() if row["pixels"] else None,
        seed=row["seed"],
        build_type=(predicate.get("buildDefinition") or {}).get("buildType"),
        actor=dict(predicate.get("genops_actor", {})),
        signer=signer_of(services, view),
        reproducible=row["reproducible"],
        reasons=tuple((predicate.get("genops_reproducible") or {}).get("reasons", ())),
        text=opened.state,
        parameters=_parameters(predicate, row["position"]),
        setup=_setup(predicate),
        internals=dict((predicate.get("buildDefinition") or {}).get("internalParameters", {})),
        materials=materials(services, statement, row["position"]),
        taints=tuple(_taint(services, taint) for taint in taints),
        events=tuple(_event(r, verdicts) for _, r in sorted(others.items())),
        log=_log(services, row["record_idx"]),
        encrypted=is_personal(statement.subjects[row["position"]]),
        draft=draft,
    )


def materials(services: Services, statement: Statement, position: int) -> tuple[MaterialView, ...]:
    """Return the materials of one output, with what is declared about each."""
    found = list(_dependencies(statement, position))
    digests = [bytes.fromhex(dep["digest"]["sha256"]) for dep in found]
    with read(services.engine) as conn:
        declared = queries.declared_models(conn, digests)
        tainted = queries.tainted_digests(conn, digests)
    return tuple(
        _material(dep, declared.get(digest), digest in tainted)
        for dep, digest in zip(found, digests, strict=True)
    )


def text_of(services: Services, index: int, field: str) -> str | None:
    """Return one sealed text of a record's predicate, or None where it cannot be read."""
    opened = open_statement(services, index, RecordView(services, index).statement)
    value = opened.document["predicate"].get(field)
    return value if isinstance(value, str) else None


def _summary(services: Services, row: RowMapping, tainted: bool) -> AssetSummary:
    return AssetSummary(
        id=asset_id(row["sha256"].hex()),
        record=record_id(row["leaf_hash"].hex()),
        index=row["record_idx"],
        kind=row["kind"],
        path=_path(services, row),
        project=row["project"],
        campaign=row["campaign"],
        media_type=row["media_type"],
        width=row["width"],
        height=row["height"],
        time=format_time(row["time_ms"]),
        reproducible=row["reproducible"],
        tainted=tainted,
    )


def _path(services: Services, row: RowMapping) -> str | None:
    """Return where the vault keeps the bytes, whether or not they are still there."""
    if row["md5"] is None:
        return None
    blob = Blob(row["sha256"].hex(), row["md5"].hex(), row["size"] or 0)
    return str(services.vault.path(blob))


def signer_of(services: Services, view: RecordView) -> dict[str, Any]:
    """Return who signed a record: key id, its roles, and whether it is trusted now.

    Where the key was compromised by then: since when, and the records that vouch all the same.
    """
    found = standing(services, view)
    told: dict[str, Any] = {
        "keyid": found.keyid,
        "roles": list(found.roles),
        "trusted": found.trusted,
    }
    if found.since_ms is not None:
        told["compromised_since"] = format_time(found.since_ms)
        told["reattested_by"] = list(found.reattested_by)
    return told


def _log(services: Services, index: int) -> dict[str, Any]:
    head = services.reader.head()
    return {
        "origin": head.origin,
        "index": index,
        "tree_size": head.size,
        "root": head.root.hex(),
    }


def _parameters(predicate: Mapping[str, Any], position: int) -> dict[str, Any]:
    """Return what the caller asked for; for an ingested file, what was said of it."""
    definition = predicate.get("buildDefinition")
    if definition is None:
        said = ("source", "note", "contributions")
        return {key: predicate[key] for key in said if key in predicate}
    external = definition["externalParameters"]
    asked = dict(external.get(ARGUMENTS, external))
    if external.get("loras"):
        asked["loras"] = external["loras"]
    own = {
        key: value
        for key, value in _own(predicate, position).items()
        if key not in _OWN_ELSEWHERE and not _same(value, asked.get(key))
    }
    return asked | ({"output": own} if own else {})


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values say the same; of two sealed ones nobody can tell any more."""
    return one == other or (sealed_digest(one) is not None and sealed_digest(other) is not None)


def _setup(predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rest of the caller's choices: pipeline, scheduler, components, function."""
    external = (predicate.get("buildDefinition") or {}).get("externalParameters", {})
    if ARGUMENTS not in external:
        return {}
    return {key: value for key, value in external.items() if key not in {ARGUMENTS, "loras"}}


def _own(predicate: Mapping[str, Any], position: int) -> Mapping[str, Any]:
    """Return what the record says of one output alone."""
    outputs: Sequence[Mapping[str, Any]] = predicate.get("genops_outputs", ())
    return next((o for o in outputs if o["subject"] == f"out/{position}"), {})


def _dependencies(statement: Statement, position: int) -> Iterable[Mapping[str, Any]]:
    predicate = statement.predicate
    if predicate_name(statement.predicate_type) != "generation":
        for number, parent in enumerate(predicate.get("parents", ())):
            notes = {"genops_kind": "asset", "genops_storage": "vaulted"}
            if "output_of" in parent:
                notes["genops_output_of"] = parent["output_of"]
            digest = {"sha256": parent["digest"]}
            yield {"name": f"parent/{number}", "digest": digest, "annotations": notes}
        return
    mine = _own(predicate, position)
    for dep in predicate["buildDefinition"].get("resolvedDependencies", ()):
        if "materials" not in mine or dep["name"] in mine["materials"]:
            yield dep


def _material(dep: Mapping[str, Any], declared: RowMapping | None, tainted: bool) -> MaterialView:
    notes = dep.get("annotations", {})
    uri = dep.get("uri", "")
    return MaterialView(
        name=dep["name"],
        kind=notes.get("genops_kind", "material"),
        id=asset_id(dep["digest"]["sha256"]),
        uri=uri if sealed_digest(uri) is None else "",
        storage=notes.get("genops_storage", "referenced"),
        licence=declared["licence"] if declared else None,
        approved=bool(declared["approved"]) if declared else False,
        tainted=tainted,
        output_of=notes.get("genops_output_of"),
    )


def _taint(services: Services, row: RowMapping) -> TaintView:
    return TaintView(
        id=asset_id(row["sha256"].hex()),
        name=row["name"],
        severity=row["severity"],
        record=record_id(row["leaf_hash"].hex()),
        direct=bool(row["direct"]),
        reason=text_of(services, row["record_idx"], "reason"),
    )


def _decided(services: Services, rows: Iterable[RowMapping]) -> dict[int, str]:
    """Return what people said in reviews, of matches and in banks, and what became of drafts.

    By the index of the record.
    """
    found = {}
    for row in rows:
        if field := _DECIDED_IN.get(row["predicate_type"]):
            predicate = RecordView(services, row["idx"]).statement.predicate
            said = BECOMES.get(predicate[field], predicate[field])
            bank = predicate.get("bank")
            found[row["idx"]] = f"{said} ({bank})" if bank else said
    return found


def _event(row: RowMapping, verdicts: Mapping[int, str]) -> Event:
    name = predicate_name(row["predicate_type"]) or row["predicate_type"]
    kind = ASSET_KINDS.get(row["predicate_type"])
    summary = verdicts.get(row["idx"]) or (f"{kind} again" if kind else name)
    return Event(
        record=record_id(row["leaf_hash"].hex()),
        index=row["idx"],
        time=format_time(row["time_ms"]),
        predicate=name,
        summary=summary,
    )


def stored_bytes(services: Services, text: str) -> bytes:
    """Return the bytes of an asset, checked, and decrypted where it is personal.

    Raises as `stored_file` does, and ErasedError for a personal asset that was erased.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    return read_row(services, row)


def stored_file(services: Services, text: str) -> Path:
    """Return the stored file of an asset after checking its SHA-256.

    Raises MaterialError (`material.missing`) when it is gone, IntegrityError when it was altered,
    InputError (`blob.encrypted`) for a personal one: its bytes are never in a file of their own.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    if is_personal(RecordView(services, row["record_idx"]).statement.subjects[row["position"]]):
        raise InputError(
            f"{asset_id(row['sha256'].hex())} is personal, and stored encrypted",
            code="blob.encrypted",
            hint="read it with `Registry.read`, or `genops read ID --out FILE`",
        )
    blob = services.blobs.get(row["sha256"].hex())
    if blob is None:
        raise lacking(services, row["sha256"].hex())
    return services.vault.open_path(blob)
