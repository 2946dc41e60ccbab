"""The facts that a policy judges an asset by: plain maps, gathered from every room.

Their shape is the schema `policy-facts/v1`; a decision names them by digest, so that it can be
made again for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import RowMapping

from registry.catalog import lineage as graph
from registry.catalog import queries
from registry.core.answers import MaterialView, Verification
from registry.core.digests import asset_id, record_id
from registry.core.statements import Statement
from registry.core.times import format_time
from registry.store.transaction import read
from registry.workflows.inspect import materials
from registry.workflows.services import Services
from registry.workflows.standing import standing
from registry.workflows.verify import examine
from registry.workflows.view import RecordView

Facts = dict[str, Any]


def gather(
    services: Services, row: RowMapping, view: RecordView, lists: Mapping[str, Sequence[Any]]
) -> Facts:
    """Return the facts on one output; its record is verified on the way."""
    with read(services.engine) as conn:
        taints = queries.taints_of(conn, row["sha256"])
        ancestors = graph.ancestors_of(conn, row["sha256"])
        declared = queries.declared_models(conn, [a["sha256"] for a in ancestors])
    made_from = materials(services, view.statement, row["position"])
    return {
        "asset": _asset(row),
        "record": _record(row, view.statement),
        "signer": _signer(services, view),
        "materials": [_material(material) for material in made_from],
        "ancestors": [_ancestor(ancestor, declared) for ancestor in ancestors],
        "taints": [_taint(taint) for taint in taints],
        "verified": _verified(examine(services, row, view)),
        "lists": lists,
        "now": format_time(services.now()),
    }


def _signer(services: Services, view: RecordView) -> Facts:
    found = standing(services, view)
    return {"keyid": found.keyid, "roles": list(found.roles), "trusted": found.trusted}


def _material(material: MaterialView) -> Facts:
    return {
        "name": material.name,
        "kind": material.kind,
        "sha256": material.id.removeprefix("sha256:"),
        "uri": material.uri,
        "storage": material.storage,
        "licence": material.licence or "",
        "approved": material.approved,
        "declared": material.licence is not None,
    }


def _taint(row: RowMapping) -> Facts:
    return {
        "sha256": row["sha256"].hex(),
        "name": row["name"],
        "severity": row["severity"],
        "record": record_id(row["leaf_hash"].hex()),
        "direct": bool(row["direct"]),
    }


def _asset(row: RowMapping) -> Facts:
    return {
        "id": asset_id(row["sha256"].hex()),
        "sha256": row["sha256"].hex(),
        "mediaType": row["media_type"] or "",
        "project": row["project"],
        "kind": row["kind"],
    }


def _record(row: RowMapping, statement: Statement) -> Facts:
    predicate = statement.predicate
    reproducible = predicate.get("genops_reproducible", {})
    return {
        "id": record_id(row["leaf_hash"].hex()),
        "index": row["record_idx"],
        "time": format_time(row["time_ms"]),
        "buildType": predicate.get("buildDefinition", {}).get("buildType", ""),
        "predicateType": statement.predicate_type,
        "reproducible": bool(reproducible.get("reproducible", False)),
        "reasons": list(reproducible.get("reasons", ())),
        "campaign": row["campaign"] or "",
    }


def _ancestor(row: RowMapping, declared: Mapping[bytes, RowMapping]) -> Facts:
    model = declared.get(row["sha256"])
    return {
        "sha256": row["sha256"].hex(),
        "kind": row["kind"],
        "name": row["name"],
        "licence": model["licence"] if model else "",
        "approved": bool(model["approved"]) if model else False,
        "declared": model is not None,
    }


def _verified(checked: Verification) -> dict[str, bool]:
    """Fold the named checks into the four that policies speak of."""
    passed = {check.name: check.ok for check in checked.checks}
    return {
        "signature": passed["signature"] and passed["envelope"] and passed["schema"],
        "inclusion": passed["inclusion"] and passed["entry"] and passed["subject"],
        "checkpoint": passed["checkpoint"],
        "blob": passed["blob"],
    }
