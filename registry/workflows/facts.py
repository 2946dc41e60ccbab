"""The facts that a policy judges an asset by: plain maps, gathered from every room.

Their shape is the schema `policy-facts/v2`; a decision names them by digest, so that it can be
made again for ever.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import RowMapping

from registry.catalog import lineage as graph
from registry.catalog import queries
from registry.catalog.projector import named_materials
from registry.core.answers import MaterialView, Verification
from registry.core.digests import asset_id, record_id
from registry.core.statements import Statement
from registry.core.times import format_time
from registry.errors import IntegrityError
from registry.log.reader import Head
from registry.store.transaction import read
from registry.workflows.inspect import materials
from registry.workflows.services import Services
from registry.workflows.standing import standing
from registry.workflows.taint_ledger import Ledger
from registry.workflows.verify import examine
from registry.workflows.view import RecordView

Facts = dict[str, Any]
Similar = Callable[[RowMapping], list[Facts] | None]
"""Gives what an output looks like in each bank; None where that is not known."""
Named = Mapping[bytes, tuple[str, str]]
"""What records name as materials: kind and name by digest."""
WEIGHTS = frozenset({"model", "lora", "vae", "controlnet", "embedding"})
"""Kinds that an ancestor has by what was done with it, however it came to be."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What facts stand on: a verified head, and what the log itself says of taints there.

    `named` remembers what the records that were read name as materials, by index and position,
    and `hands` what they say that people did, by index.
    """

    head: Head
    ledger: Ledger
    named: dict[tuple[int, int], Named] = field(default_factory=dict)
    hands: dict[int, tuple[str, ...]] = field(default_factory=dict)


def gather(
    services: Services,
    row: RowMapping,
    view: RecordView,
    lists: Mapping[str, Sequence[Any]],
    ground: Ground,
    similar: Similar | None = None,
) -> Facts:
    """Return the facts on one output; its record is verified on the way.

    What it looks like is among them where `similar` is given, and can tell.
    Raises IntegrityError (`catalog.altered`) where the catalog's taints or lineage are not what
    the log says. The caller holds the snapshot that `ground` is of.
    """
    with read(services.engine) as conn:
        taints = queries.taints_of(conn, row["sha256"])
        ancestors = graph.ancestors_of(conn, row["sha256"])
        declared = queries.declared_models(conn, [a["sha256"] for a in ancestors])
    _compare_taints(row, taints, ancestors, ground.ledger)
    used = _compare_lineage(services, row, view, ancestors, ground)
    made_from = materials(services, view.statement, row["position"])
    alike = None if similar is None else similar(row)
    return {
        "asset": _asset(row) | {"human": _human(view.statement, ancestors, ground)},
        "record": _record(row, view.statement),
        "signer": _signer(services, view),
        "materials": [_material(material) for material in made_from],
        "ancestors": [_ancestor(ancestor, declared, used) for ancestor in ancestors],
        "taints": [_taint(taint) for taint in taints],
        "verified": _verified(examine(services, row, view, ground.head)),
        "lists": lists,
        "now": format_time(services.now()),
    } | ({} if alike is None else {"similar": alike})


def _signer(services: Services, view: RecordView) -> Facts:
    found = standing(services, view)
    return {"keyid": found.keyid, "roles": list(found.roles), "trusted": found.trusted}


def _compare_taints(
    row: RowMapping,
    taints: Sequence[RowMapping],
    ancestors: Sequence[RowMapping],
    ledger: Ledger,
) -> None:
    """Check that the catalog knows every standing taint above an output, and no others."""
    wanted = ledger.of([row["sha256"], *(a["sha256"] for a in ancestors)])
    found = {(t["record_idx"], t["sha256"], t["severity"]) for t in taints}
    if found != wanted:
        other = ", ".join(str(index) for index, _, _ in sorted(found ^ wanted)[:3])
        raise _altered(row, f"the taints of records {other} are not as the log says")


def _compare_lineage(
    services: Services,
    row: RowMapping,
    view: RecordView,
    ancestors: Sequence[RowMapping],
    ground: Ground,
) -> Named:
    """Check that everything which the signed statements above an output name is above it.

    Returns what they name; of a digest with several names, the one as weights. Which record made
    a material that is named by its digest alone is the catalog's word.
    """
    known = {ancestor["sha256"] for ancestor in ancestors}
    statements: list[Named] = [named_materials(view.statement, row["position"])]
    for ancestor in ancestors:
        place = ancestor["record_idx"], ancestor["position"]
        if place[0] is None:
            continue
        if place not in ground.named:
            above = RecordView(services, place[0]).statement
            ground.named[place] = named_materials(above, place[1])
            ground.hands[place[0]] = _contributions(above)
        statements.append(ground.named[place])
    named: dict[bytes, tuple[str, str]] = {}
    for found in statements:
        named |= {d: use for d, use in found.items() if d not in named or use[0] in WEIGHTS}
    if not named.keys() <= known:
        missing = min(named.keys() - known).hex()
        raise _altered(row, f"its lineage lacks sha256:{missing}, which a record names")
    return named


def _altered(row: RowMapping, why: str) -> IntegrityError:
    return IntegrityError(
        f"the catalog was altered: of {asset_id(row['sha256'].hex())}, {why}",
        code="catalog.altered",
        hint="see `genops catalog check`; `genops catalog rebuild` derives it anew from the log",
    )


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


def _human(statement: Statement, ancestors: Sequence[RowMapping], ground: Ground) -> bool:
    """Tell whether people contributed by hand: to the asset, or to anything it derives from."""
    above = (ground.hands.get(ancestor["record_idx"]) for ancestor in ancestors)
    return bool(_contributions(statement)) or any(above)


def _contributions(statement: Statement) -> tuple[str, ...]:
    return tuple(statement.predicate.get("contributions", ()))


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
        "contributions": list(_contributions(statement)),
    }


def _ancestor(row: RowMapping, declared: Mapping[bytes, RowMapping], used: Named) -> Facts:
    """Return the facts on an ancestor; a LoRA that was made or taken in here is a LoRA still."""
    model = declared.get(row["sha256"])
    kind, name = used.get(row["sha256"], ("", ""))
    if kind not in WEIGHTS:
        kind, name = row["kind"], row["name"]
    return {
        "sha256": row["sha256"].hex(),
        "kind": kind,
        "name": name,
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
