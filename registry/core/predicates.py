"""Builders of the predicates that this registry defines, and of a gate's decision (SLSA VSA v1).

Each returns a plain predicate for `seal_statement`; their shapes are the schemas under `schemas/`.
Free text goes in as `Sealed`, so that it can be erased.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from registry.core import disclosures, jsonio, statements
from registry.core.digests import sha256_hex
from registry.core.disclosures import Disclosure
from registry.core.dsse import MAX_PAYLOAD_BYTES
from registry.core.generation import Sealed
from registry.core.statements import Subject
from registry.core.times import format_time
from registry.core.trust import TrustKey
from registry.errors import FormatError

Predicate = dict[str, Any]
CONTRIBUTIONS = (
    "retouched",
    "composited",
    "drawn",
    "typography",
    "logo",
    "layout",
    "graded",
    "written",
)
"""What people do to an asset by hand, in words that a registration of copyright can use."""
Severity = Literal["low", "medium", "high", "critical"]
Verdict = Literal[
    "identical", "identical-pixels", "equivalent", "different", "not-reproducible", "erased"
]


@dataclass(frozen=True, slots=True)
class SealedPayload:
    """A statement's bytes, ready to be signed, and the disclosures of its sealed fields."""

    payload: bytes
    disclosures: tuple[Disclosure, ...]

    @property
    def payload_sha256(self) -> str:
        """Hex SHA-256 of the payload."""
        return sha256_hex(self.payload)


@dataclass(frozen=True, slots=True)
class Head:
    """What every record says first: its invocation (UUIDv7), project (slug) and actor."""

    invocation_id: str
    project: str
    actor: Mapping[str, Any]

    def fields(self) -> Predicate:
        """Return the head's fields as they stand in our own predicates."""
        return {
            "invocationId": self.invocation_id,
            "genops_project": self.project,
            "genops_actor": self.actor,
        }


def actor(pseudonym: str, authn: Literal["key", "oidc"], name: str | None = None) -> Predicate:
    """Return an actor: a plain keyed pseudonym, how it was authenticated, and the sealed name."""
    return _fields({}, pseudonym=pseudonym, authn=authn, name=_sealed(name))


def seal_statement(
    subjects: Sequence[Subject],
    predicate_type: str,
    predicate: Mapping[str, Any],
    salts: Callable[[], bytes],
) -> SealedPayload:
    """Build a statement, seal every `Sealed` in it, and serialise it once.

    `salts` gives 16 fresh random bytes a call. Raises FormatError or InputError for values that
    cannot be carried, and for a payload over 1 MiB.
    """
    document, disclosed = disclosures.seal(
        statements.document_of(subjects, predicate_type, predicate), salts
    )
    payload = jsonio.dumps(document)
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise FormatError(
            f"statement has {len(payload)} bytes, over {MAX_PAYLOAD_BYTES}",
            code="statement.invalid",
            hint="put long lists into a blob named by digest",
        )
    return SealedPayload(payload, disclosed)


def trust(
    head: Head,
    *,
    origin: str,
    log_vkey: str,
    keys: Sequence[TrustKey],
    supersedes: str | None = None,
) -> Predicate:
    """Announce the whole new trust state; `supersedes` names the trust record before it."""
    return _fields(
        head.fields(),
        origin=origin,
        log={"vkey": log_vkey},
        keys=[key.to_document() for key in keys],
        supersedes=supersedes,
    )


def ingest(
    head: Head,
    *,
    source: str,
    media_type: str,
    parents: Sequence[Mapping[str, Any]] = (),
    note: str | None = None,
    campaign: str | None = None,
    contributions: Sequence[str] = (),
) -> Predicate:
    """Take in content made elsewhere; `parents` are {digest (hex), output_of?} of what it is from.

    The source, a file's name, and the note are sealed. With `contributions`, of `CONTRIBUTIONS`,
    it is an `ingest/v2`.
    """
    return _fields(
        head.fields(),
        source=Sealed(source),
        mediaType=media_type,
        parents=[dict(parent) for parent in parents],
        note=_sealed(note),
        genops_campaign=campaign,
        contributions=list(contributions) or None,
    )


def taint(
    head: Head,
    *,
    kind: Literal["asset", "material", "record"],
    target: str,
    action: Literal["taint", "clear"],
    severity: Severity,
    reason: str,
) -> Predicate:
    """Taint or clear an asset or material (`sha256:<hex>`) or a record (`rec:<hex>`)."""
    return _fields(
        head.fields(),
        target={"kind": kind, "id": target},
        action=action,
        severity=severity,
        reason=Sealed(reason),
    )


def erasure(
    head: Head, *, record: str, payload_sha256: str, pointers: Sequence[str], reason: str
) -> Predicate:
    """State that the sealed fields at these JSON Pointers of a record were erased for good."""
    return _fields(
        head.fields(),
        record=record,
        payload={"sha256": payload_sha256},
        pointers=list(pointers),
        reason=Sealed(reason),
    )


def reproduction(
    head: Head,
    *,
    record: str,
    verdict: Verdict,
    original_sha256: str,
    reasons: Sequence[str] = (),
    differences: Sequence[Mapping[str, Any]] = (),
    measures: Sequence[Mapping[str, Any]] = (),
) -> Predicate:
    """State how a replay of a record compared with its output.

    `differences` are {name, recorded?, found?} of inputs and environments; the values of a field
    that the record holds sealed are left out, or erasing the record would not erase them.
    `measures` are {name, value, bound?}: the distances that the verdict rests on.
    """
    return _fields(
        head.fields(),
        record=record,
        verdict=verdict,
        original={"sha256": original_sha256},
        reasons=list(reasons),
        differences=[dict(item) for item in differences],
        measures=[dict(item) for item in measures],
    )


def model(
    head: Head,
    *,
    name: str,
    kind: str,
    digest_kind: Literal["sha256", "modelset-v1"],
    licence: str,
    approved: bool,
    uri: str = "",
) -> Predicate:
    """Register a model, LoRA or dataset, by the subject's digest."""
    return _fields(
        head.fields(),
        name=name,
        kind=kind,
        digestKind=digest_kind,
        licence=licence,
        approved=approved,
        uri=uri or None,
    )


def review(
    head: Head,
    *,
    verdict: Literal["approved", "rejected"],
    reason: str,
    bundle_sha256: str | None = None,
) -> Predicate:
    """Approve or reject the subject; `bundle_sha256` names the policy that asked for a review."""
    return _fields(
        head.fields(), verdict=verdict, reason=Sealed(reason), bundle=_digest(bundle_sha256)
    )


def waiver(head: Head, *, rule: str, requested_by: str, expires_ms: int, reason: str) -> Predicate:
    """Waive a rule for the subject until a log time; the actor approves, another one requested."""
    return _fields(
        head.fields(),
        rule=rule,
        requestedBy=requested_by,
        expires=format_time(expires_ms),
        reason=Sealed(reason),
    )


def claim(
    head: Head, *, kind: str, text: str, evidence: Sequence[Mapping[str, Any]] = ()
) -> Predicate:
    """Claim something of the subject (licence, consent, …); `evidence` are {name, sha256} blobs."""
    return _fields(
        head.fields(), kind=kind, text=Sealed(text), evidence=[dict(item) for item in evidence]
    )


def publication(
    head: Head, *, channel: str, published_ms: int, location: str | None = None
) -> Predicate:
    """State that the subject left the house through a channel; the location is sealed."""
    return _fields(
        head.fields(),
        channel=channel,
        publishedOn=format_time(published_ms),
        location=_sealed(location),
    )


def release(
    head: Head,
    *,
    action: Literal["release", "withdraw"],
    channel: str,
    decision: str | None = None,
    reviews: Sequence[str] = (),
    reason: str | None = None,
) -> Predicate:
    """Release the subject for a channel on the strength of a decision, or withdraw it."""
    return _fields(
        head.fields(),
        action=action,
        channel=channel,
        decision=decision,
        reviews=list(reviews),
        reason=_sealed(reason),
    )


def draft(
    head: Head,
    *,
    action: Literal["keep", "expire"],
    after_hours: int | None = None,
    reason: str | None = None,
) -> Predicate:
    """Keep the subjects, which were drafts, or let them expire past an age in hours."""
    return _fields(head.fields(), action=action, afterHours=after_hours, reason=_sealed(reason))


def hold(head: Head, *, action: Literal["place", "lift"], target: str, reason: str) -> Predicate:
    """Place or lift a legal hold on an asset or a record, which then cannot be erased."""
    return _fields(head.fields(), action=action, target=target, reason=Sealed(reason))


def incident(
    head: Head,
    *,
    incident_id: str,
    state: str,
    reason: str,
    scope: Mapping[str, Any] | None = None,
    taints: Sequence[str] = (),
) -> Predicate:
    """Open an incident or move it on; `scope` is {sha256, count} of the frozen list's blob."""
    return _fields(
        head.fields(),
        incident=incident_id,
        state=state,
        reason=Sealed(reason),
        scope=scope,
        taints=list(taints),
    )


def bank_entry(
    head: Head,
    *,
    bank: str,
    action: Literal["add", "remove"],
    fingerprints: Mapping[str, str],
    reason: str | None = None,
) -> Predicate:
    """Put the subject's fingerprints (hex by algorithm name) into a bank, or take them out."""
    return _fields(
        head.fields(),
        bank=bank,
        action=action,
        fingerprints=dict(fingerprints),
        reason=_sealed(reason),
    )


def match_verdict(
    head: Head,
    *,
    candidate: str,
    fingerprint: str,
    distance: float,
    verdict: Literal["confirmed", "rejected"],
    reason: str,
) -> Predicate:
    """Say whether the subject really matches the candidate asset that a fingerprint found."""
    return _fields(
        head.fields(),
        candidate=candidate,
        fingerprint=fingerprint,
        distance=distance,
        verdict=verdict,
        reason=Sealed(reason),
    )


def calibration(
    head: Head,
    *,
    name: str,
    fingerprint: str,
    samples: int,
    bounds: Mapping[str, float],
) -> Predicate:
    """Fix the bounds of a bank or model, measured on `samples` pairs; the subject is the table."""
    return _fields(
        head.fields(), name=name, fingerprint=fingerprint, samples=samples, bounds=dict(bounds)
    )


@dataclass(frozen=True, slots=True)
class DecisionRecord:
    """What a gate's decision says: everything needed to make it again.

    `facts_sha256` names the blob of facts, `tree_size` the verified checkpoint, `bundle` the
    policy as {name, version, sha256}. `rules` are {id, outcome, severity?, subject?, message?}
    with outcome pass, fail, waived or error; `waivers` are record ids, `inputs` are
    {uri, digest: {sha256}} of records' payloads. `levels` are VSA levels; FAILED stands in their
    place when the decision did not pass.
    """

    verifier_id: str
    verified_ms: int
    resource_uri: str
    policy_uri: str
    passed: bool
    facts_sha256: str
    tree_size: int
    bundle: Mapping[str, str]
    rules: Sequence[Mapping[str, Any]]
    levels: Sequence[str] = ("GENOPS_CLEARED",)
    waivers: Sequence[str] = ()
    inputs: Sequence[Mapping[str, Any]] = field(default_factory=tuple)


def decision(head: Head, record: DecisionRecord) -> Predicate:
    """Build a SLSA Verification Summary v1 with our fields beside the standard ones."""
    return {
        "verifier": {"id": record.verifier_id},
        "timeVerified": format_time(record.verified_ms),
        "resourceUri": record.resource_uri,
        "policy": {"uri": record.policy_uri, "digest": {"sha256": record.bundle["sha256"]}},
        "inputAttestations": [dict(item) for item in record.inputs],
        "verificationResult": "PASSED" if record.passed else "FAILED",
        "verifiedLevels": list(record.levels) if record.passed else ["FAILED"],
        "slsaVersion": "1.0",
        "genops_invocation_id": head.invocation_id,
        "genops_project": head.project,
        "genops_actor": head.actor,
        "genops_facts": {"sha256": record.facts_sha256},
        "genops_tree_size": record.tree_size,
        "genops_bundle": dict(record.bundle),
        "genops_rules": [dict(rule) for rule in record.rules],
        "genops_waivers": list(record.waivers),
    }


def _fields(base: Predicate, **more: Any) -> Predicate:
    """Add the fields that have a value; an absent one is left out, never null."""
    return base | {name: value for name, value in more.items() if value is not None}


def _sealed(text: str | None) -> Sealed | None:
    return None if text is None else Sealed(text)


def _digest(hex_digest: str | None) -> dict[str, str] | None:
    return None if hex_digest is None else {"sha256": hex_digest}
