"""The release gate: gather facts against a verified checkpoint, decide, and log the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from registry.catalog import lineage as graph
from registry.catalog import queries
from registry.core import jsonio, predicates
from registry.core.answers import (
    GateDecision,
    GateReport,
    GateVerdict,
    RuleOutcome,
    Verification,
)
from registry.core.digests import asset_id, record_id
from registry.core.generation import Blob
from registry.core.predicates import DecisionRecord
from registry.core.statements import PREDICATE_DECISION, Statement, Subject
from registry.core.times import format_time
from registry.policy.decide import Decision, decide
from registry.policy.loader import load_bundle
from registry.policy.model import Bundle
from registry.resources import policy_dir, schema_set
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.inspect import materials, signer_of
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.verify import examine
from registry.workflows.view import RecordView

_WORST: tuple[GateVerdict, ...] = ("pass", "fail", "error")


@dataclass(frozen=True, slots=True)
class _Case:
    """One asset before the gate: its newest output and the facts on it."""

    row: RowMapping
    facts: Mapping[str, Any]
    payload_sha256: str


def gate(
    services: Services, texts: Sequence[str], *, policy: str = "default", record: bool = True
) -> GateReport:
    """Decide on every asset by one policy bundle; each decision is signed and logged.

    Decides only against a verified checkpoint and names its tree size. Raises PolicyError for a
    bundle that cannot be used, NotFoundError for an unknown asset, IntegrityError when the log's
    head does not verify.
    """
    bundle = load_policy(policy)
    judged = [_decide(services, bundle, text, record=record) for text in texts]
    decisions = [decision for decision, _ in judged]
    return GateReport(
        policy=bundle.name,
        policy_digest=f"sha256:{bundle.digest}",
        tree_size=max((size for _, size in judged), default=services.reader.verified_head().size),
        verdict=max((d.verdict for d in decisions), key=_WORST.index, default=_WORST[-1]),
        decisions=tuple(decisions),
    )


def load_policy(policy: str) -> Bundle:
    """Load a shipped bundle by name, or a bundle from a folder with a `policy.yaml`."""
    folder: Traversable | Path = Path(policy)
    if not (Path(policy) / "policy.yaml").is_file():
        folder = policy_dir(policy)
    return load_bundle(folder, schema_set())


def _decide(
    services: Services, bundle: Bundle, text: str, *, record: bool
) -> tuple[GateDecision, int]:
    """Decide on one asset; also return the tree size of the checkpoint that covers its facts."""
    case = _case(services, text, bundle)
    tree_size = services.reader.verified_head().size  # after the facts, so that it covers them all
    decision = decide(bundle, case.facts)
    logged = _log(services, bundle, case, decision, tree_size) if record else None
    answer = GateDecision(
        id=asset_id(case.row["sha256"].hex()),
        verdict=decision.verdict,
        record=logged,
        rules=tuple(
            RuleOutcome(r.rule, r.severity, r.outcome, r.message) for r in decision.results
        ),
    )
    return answer, tree_size


def _case(services: Services, text: str, bundle: Bundle) -> _Case:
    with read(services.engine) as conn:
        row = refs.output(conn, text)
        taints = queries.taints_of(conn, row["sha256"])
        ancestors = graph.ancestors_of(conn, row["sha256"])
        declared = queries.declared_models(conn, [a["sha256"] for a in ancestors])
    view = RecordView(services, row["record_idx"])
    checked = examine(services, row, view)
    statement = view.statement
    facts = {
        "asset": _asset(row),
        "record": _record(row, statement),
        "signer": signer_of(services, view.envelope),
        "materials": [
            {
                "name": m.name,
                "kind": m.kind,
                "sha256": m.id.removeprefix("sha256:"),
                "uri": m.uri,
                "storage": m.storage,
                "licence": m.licence or "",
                "approved": m.approved,
                "declared": m.licence is not None,
            }
            for m in materials(services, statement, row["position"])
        ],
        "ancestors": [_ancestor(a, declared) for a in ancestors],
        "taints": [
            {
                "sha256": t["sha256"].hex(),
                "name": t["name"],
                "severity": t["severity"],
                "record": record_id(t["leaf_hash"].hex()),
                "direct": bool(t["direct"]),
            }
            for t in taints
        ],
        "verified": _verified(checked),
        "lists": bundle.lists,
        "now": format_time(services.now()),
    }
    return _Case(row, facts, view.envelope.payload_sha256)


def _asset(row: RowMapping) -> dict[str, Any]:
    return {
        "id": asset_id(row["sha256"].hex()),
        "sha256": row["sha256"].hex(),
        "mediaType": row["media_type"] or "",
        "project": row["project"],
        "kind": row["kind"],
    }


def _record(row: RowMapping, statement: Statement) -> dict[str, Any]:
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


def _ancestor(row: RowMapping, declared: Mapping[bytes, RowMapping]) -> dict[str, Any]:
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


def _log(
    services: Services, bundle: Bundle, case: _Case, decision: Decision, tree_size: int
) -> str:
    """Put the facts into the vault and the decision on the log; return its record id."""
    head = services.head(case.row["project"])
    blob: Blob = services.vault.put(jsonio.canonical(case.facts))
    digest = case.row["sha256"].hex()
    predicate = predicates.decision(
        head,
        DecisionRecord(
            verifier_id=f"https://w3id.org/genops/registry/{services.settings.uuid}",
            verified_ms=services.now(),
            resource_uri=asset_id(digest),
            policy_uri=f"genops:policy/{bundle.name}",
            passed=decision.verdict == "pass",
            facts_sha256=blob.sha256,
            tree_size=tree_size,
            bundle={"name": bundle.name, "version": bundle.version, "sha256": bundle.digest},
            rules=[
                {"id": r.rule, "severity": r.severity, "outcome": r.outcome, "message": r.message}
                for r in decision.results
            ],
            inputs=[
                {
                    "uri": record_id(case.row["leaf_hash"].hex()),
                    "digest": {"sha256": case.payload_sha256},
                }
            ],
        ),
    )
    receipt = declare(
        services,
        [Subject("out/0", digest)],
        PREDICATE_DECISION,
        predicate,
        role="policy",
        blobs=[blob],
    )
    return receipt.record
