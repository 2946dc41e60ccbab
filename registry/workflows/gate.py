"""The release gate: gather facts against a verified checkpoint, decide, and log the decision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from registry.core import jsonio, predicates
from registry.core.answers import (
    GateDecision,
    GateReport,
    GateVerdict,
    RuleOutcome,
)
from registry.core.digests import asset_id, record_id
from registry.core.generation import Blob
from registry.core.predicates import DecisionRecord
from registry.core.statements import PREDICATE_DECISION, Subject
from registry.log.reader import Head
from registry.policy.decide import Decision, decide
from registry.policy.loader import load_bundle
from registry.policy.model import Bundle
from registry.resources import policy_dir, schema_set
from registry.store.transaction import read, snapshot
from registry.workflows import refs
from registry.workflows.facts import Ground, Similar, gather
from registry.workflows.recovery.gate_ground import ground_of, heads_outside
from registry.workflows.services import Services
from registry.workflows.similar import asks_for_similar, similar_in
from registry.workflows.submit import declare
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

    Decides on one snapshot under its verified head, whose tree size the decisions name. Raises
    PolicyError for a bundle that cannot be used, NotFoundError for an unknown asset, StaleError
    (`gate.stale`) when the log is known to have gone on elsewhere, IntegrityError when the log's
    head does not verify, or when the catalog is not what the log says (`catalog.altered`).
    """
    bundle = load_policy(policy)
    head, judged = _judge(services, bundle, texts)
    decisions = [_decided(services, bundle, one, head.size, record=record) for one in judged]
    return GateReport(
        policy=bundle.name,
        policy_digest=f"sha256:{bundle.digest}",
        tree_size=head.size,
        verdict=max((d.verdict for d in decisions), key=_WORST.index, default=_WORST[-1]),
        decisions=tuple(decisions),
    )


def load_policy(policy: str) -> Bundle:
    """Load a shipped bundle by name, or a bundle from a folder with a `policy.yaml`."""
    folder: Traversable | Path = Path(policy)
    if not (Path(policy) / "policy.yaml").is_file():
        folder = policy_dir(policy)
    return load_bundle(folder, schema_set())


def _judge(
    services: Services, bundle: Bundle, texts: Sequence[str]
) -> tuple[Head, list[tuple[_Case, Decision]]]:
    """Gather the facts on all assets in one snapshot, under its verified head, and decide."""
    outside = heads_outside(services)  # before the snapshot, which must cover them
    with snapshot(services.engine) as conn:
        ground = ground_of(services, conn, outside)
        similar = similar_in(services) if asks_for_similar(bundle) else None
        judged = []
        for text in texts:
            case = _case(services, text, bundle, ground, similar)
            judged.append((case, decide(bundle, case.facts)))
    return ground.head, judged


def _decided(
    services: Services,
    bundle: Bundle,
    judged: tuple[_Case, Decision],
    tree_size: int,
    *,
    record: bool,
) -> GateDecision:
    """Log a decision, where that is wanted, and return it."""
    case, decision = judged
    return GateDecision(
        id=asset_id(case.row["sha256"].hex()),
        verdict=decision.verdict,
        record=_log(services, bundle, case, decision, tree_size) if record else None,
        rules=tuple(
            RuleOutcome(r.rule, r.severity, r.outcome, r.message) for r in decision.results
        ),
    )


def _case(
    services: Services, text: str, bundle: Bundle, ground: Ground, similar: Similar | None
) -> _Case:
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    view = RecordView(services, row["record_idx"])
    facts = gather(services, row, view, bundle.lists, ground, similar)
    return _Case(row, facts, view.envelope.payload_sha256)


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
