"""Who may sign what, and when: the trust records of the log folded into a state.

A pure state machine in the manner of TUF's trusted metadata set. It reads parsed statements and
their envelopes; where they come from, and whether the log holds them, is the caller's to prove.
`trust/v2` says all that `trust/v1` says, and two things more: how many admins a change of trust
needs, and since when the signatures of a stolen key are not believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from registry.core.digests import is_sha256
from registry.core.dsse import Envelope, keyid, spki_from_pem, verify_p256
from registry.core.notes import VerifierKey
from registry.core.statements import (
    OWN_PREDICATES,
    PREDICATE_DECISION,
    PREDICATE_GENERATION,
    Statement,
    predicate_uri,
)
from registry.core.times import format_time, parse_time
from registry.errors import FormatError, TrustError

ROLES = ("generator", "policy", "reviewer", "log", "admin")
ALGORITHM = "ecdsa-p256-sha256"
"""The one signature algorithm of records."""
MAX_KEYS = 256
MAX_THRESHOLD = 16
"""Most signatures that a change of trust can need: an envelope takes no more."""
PREDICATE_TRUST = predicate_uri("trust")
PREDICATE_TRUST_V2 = predicate_uri("trust", 2)
TRUST_VERSIONS: Mapping[str, int] = {PREDICATE_TRUST: 1, PREDICATE_TRUST_V2: 2}
"""The predicate types of trust records, and the version of each."""

_ROLE_OF_OWN = {
    "ingest": "generator",
    "claim": "generator",
    "reproduction": "generator",
    "audit": "generator",
    "publication": "generator",
    "trust": "admin",
    "erasure": "admin",
}
ROLE_FOR: Mapping[str, str] = {
    PREDICATE_GENERATION: "generator",
    PREDICATE_DECISION: "policy",
    **{predicate_uri(name): _ROLE_OF_OWN.get(name, "reviewer") for name in OWN_PREDICATES},
    PREDICATE_TRUST_V2: "admin",
    predicate_uri("ingest", 2): "generator",
    predicate_uri("bank-entry", 2): "reviewer",
    predicate_uri("match-verdict", 2): "reviewer",
    predicate_uri("calibration", 2): "reviewer",
}
"""The role that a signer needs, by predicate type."""


@dataclass(frozen=True, slots=True)
class TrustKey:
    """A signer's public key, what it may sign, and from and until when (log time, epoch ms).

    The window is half-open: valid when `not_before_ms` <= log time < `not_after_ms`.
    """

    keyid: str
    spki_pem: str
    roles: tuple[str, ...]
    not_before_ms: int
    not_after_ms: int | None = None
    algorithm: str = ALGORITHM

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> TrustKey:
        """Read a key of a trust predicate; raises FormatError (`trust.invalid`)."""
        try:
            until = document.get("notAfter")
            key = cls(
                document["keyid"],
                document["publicKeyPem"],
                _roles(document["roles"]),
                parse_time(document["notBefore"]),
                None if until is None else parse_time(until),
                document["algorithm"],
            )
            der = key.spki_der
        except (AttributeError, KeyError, TypeError) as error:
            raise _invalid(f"a key is malformed: {error!r}") from None
        if key.keyid != keyid(der) or key.algorithm != ALGORITHM:
            raise _invalid(f"key {key.keyid!r} does not have the id or algorithm that it claims")
        return key

    def to_document(self) -> dict[str, Any]:
        """Return the key as a JSON-ready object."""
        document: dict[str, Any] = {
            "keyid": self.keyid,
            "algorithm": self.algorithm,
            "publicKeyPem": self.spki_pem,
            "roles": list(self.roles),
            "notBefore": format_time(self.not_before_ms),
        }
        if self.not_after_ms is not None:
            document["notAfter"] = format_time(self.not_after_ms)
        return document

    @property
    def spki_der(self) -> bytes:
        """The public key as SubjectPublicKeyInfo in DER."""
        return spki_from_pem(self.spki_pem)

    def valid_at(self, log_time_ms: int) -> bool:
        """Tell whether the key's window holds this log time."""
        if log_time_ms < self.not_before_ms:
            return False
        return self.not_after_ms is None or log_time_ms < self.not_after_ms


@dataclass(frozen=True, slots=True)
class TrustState:
    """Everything that the log's newest trust record says: origin, log key, signers by key id.

    `threshold` is how many admins must sign the next trust record; `compromised` gives, by key id,
    the log time (epoch ms) since which a key's signatures are not believed. A `version` 1 record
    says neither: one admin, and none.
    """

    origin: str
    log_vkey: str
    keys: Mapping[str, TrustKey]
    version: int = 1
    threshold: int = 1
    compromised: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def from_predicate(cls, predicate: Mapping[str, Any], version: int = 1) -> TrustState:
        """Read the state that a trust predicate announces, without trusting it.

        Raises FormatError (`trust.invalid`): malformed keys, a key twice, no admin key, a log key
        that is not called after the origin, or a threshold that cannot be.
        """
        try:
            origin, vkey = predicate["origin"], VerifierKey.parse(predicate["log"]["vkey"])
            listed = predicate["keys"]
            threshold = predicate["thresholds"]["admin"] if version > 1 else 1
            compromised = predicate["compromised"] if version > 1 else []
        except (AttributeError, KeyError, TypeError) as error:
            raise _invalid(f"it lacks {error}") from None
        if vkey.name != origin:
            raise _invalid("the log's key is not called after the origin")
        if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_KEYS:
            raise _invalid(f"it does not have 1..{MAX_KEYS} keys")
        keys = {key.keyid: key for key in map(TrustKey.from_document, listed)}
        if len(keys) != len(listed):
            raise _invalid("a key stands twice")
        if not any("admin" in key.roles for key in keys.values()):
            raise _invalid("no key has the role admin, so that it could never be changed again")
        if type(threshold) is not int or not 1 <= threshold <= MAX_THRESHOLD:
            raise _invalid(f"its threshold is not within 1..{MAX_THRESHOLD}")
        return cls(origin, str(vkey), keys, version, threshold, _compromised(compromised))

    @classmethod
    def genesis(cls, statement: Statement, envelope: Envelope) -> TrustState:
        """Return the state of the record at index 0, which admin keys inside it must sign.

        Raises TrustError as `authorize` does (windows aside: there is no earlier log time), and
        FormatError for a malformed predicate.
        """
        predicate = _trust_predicate(statement, envelope)
        if "supersedes" in predicate:
            raise _invalid("the first one cannot supersede another")
        state = cls.from_predicate(predicate, TRUST_VERSIONS[statement.predicate_type])
        admins = [key for key in state._signers(envelope) if "admin" in key.roles]
        if not admins:
            raise _missing_role("admin", envelope)
        if len(admins) < state.threshold:
            raise _too_few(len(admins), state.threshold)
        return state

    def apply(self, statement: Statement, envelope: Envelope, log_time_ms: int) -> TrustState:
        """Return the state after a later trust record, which replaces the whole of this one.

        It must be signed by as many admins as *this* state asks for, valid at its own log time,
        and name the record before it in `supersedes`, so that a gap shows. Raises TrustError as
        `authorize` does, `trust.origin` for a change of origin, and what `_follow` raises;
        FormatError for a malformed predicate.
        """
        predicate = _trust_predicate(statement, envelope)
        if "supersedes" not in predicate:
            raise _invalid("it does not name the trust record that it supersedes")
        self.authorize(envelope, statement.predicate_type, log_time_ms)
        state = TrustState.from_predicate(predicate, TRUST_VERSIONS[statement.predicate_type])
        if state.origin != self.origin:
            raise TrustError(
                f"trust record is for {state.origin}, not for {self.origin}", code="trust.origin"
            )
        state._follow(self, log_time_ms)
        return state

    def authorize(self, envelope: Envelope, predicate_type: str, log_time_ms: int) -> TrustKey:
        """Return the key whose signature makes this envelope count at this log time.

        Signatures by unknown keys are ignored; every signature by a known key must verify. A trust
        record needs `threshold` admins, everything else one signer. Raises TrustError:
        `trust.unknown-predicate`, `trust.unknown-key`, `trust.bad-signature`,
        `trust.missing-role`, `trust.outside-window`, `trust.compromised`, `trust.threshold`.
        """
        role = ROLE_FOR.get(predicate_type)
        if role is None:
            raise TrustError(
                f"no role may sign predicate {predicate_type!r}", code="trust.unknown-predicate"
            )
        entitled = [key for key in self._signers(envelope) if role in key.roles]
        if not entitled:
            raise _missing_role(role, envelope)
        counting = [key for key in entitled if self.counts(key, log_time_ms)]
        needed = self.threshold if predicate_type in TRUST_VERSIONS else 1
        if len(counting) >= needed:
            return counting[0]
        if counting:
            raise _too_few(len(counting), needed)
        raise self._refusal(entitled[0], log_time_ms)

    def counts(self, key: TrustKey, log_time_ms: int) -> bool:
        """Tell whether a signature that this key makes at this log time counts."""
        return key.valid_at(log_time_ms) and self.doubted(key.keyid, log_time_ms) is None

    def doubted(self, keyid: str, log_time_ms: int) -> int | None:
        """Return since when (epoch ms) the key is compromised, if that covers this log time."""
        since = self.compromised.get(keyid)
        return since if since is not None and log_time_ms >= since else None

    def admins_at(self, log_time_ms: int) -> tuple[TrustKey, ...]:
        """Return the admins whose signatures count at this log time."""
        admins = (key for key in self.keys.values() if "admin" in key.roles)
        return tuple(key for key in admins if self.counts(key, log_time_ms))

    def _follow(self, before: TrustState, log_time_ms: int) -> None:
        """Refuse a state that forgets what the one before said, or that could never be changed.

        A `trust/v1` record after another has no more to fulfil than when it was made. Raises
        TrustError: `trust.version`, `trust.compromise-undone`, `trust.unreachable`.
        """
        if self.version < before.version:
            raise TrustError(
                f"a trust/v{self.version} record cannot follow one of version {before.version}",
                code="trust.version",
                hint="write it with this release",
            )
        for stolen, since in before.compromised.items():
            if self.compromised.get(stolen, since + 1) > since:
                raise TrustError(
                    f"key {stolen} was declared compromised since {format_time(since)}, and that"
                    " cannot be taken back",
                    code="trust.compromise-undone",
                    hint="re-attest the records that are sound: `genops keys reattest`",
                )
        usable = len(self.admins_at(log_time_ms))
        if self.version > 1 and usable < self.threshold:
            raise TrustError(
                f"the change asks for {self.threshold} admins from now on, and leaves {usable}",
                code="trust.unreachable",
                hint="add admin keys first, or in the same change",
            )

    def _refusal(self, key: TrustKey, log_time_ms: int) -> TrustError:
        since = self.doubted(key.keyid, log_time_ms)
        if since is not None:
            return compromise_error(key.keyid, since)
        return TrustError(
            f"key {key.keyid} is not valid at {format_time(log_time_ms)}",
            code="trust.outside-window",
            hint="sign with a key whose window holds the log time, or extend it by a trust record",
        )

    def _signers(self, envelope: Envelope) -> list[TrustKey]:
        """Return the known keys that signed, each once.

        Refuses a signature that one of them did not make.
        """
        found: dict[str, TrustKey] = {}
        for signature in envelope.signatures:
            key = self.keys.get(signature.keyid)
            if key is None:
                continue
            if not verify_p256(key.spki_der, envelope.signed_bytes, signature.sig):
                raise TrustError(
                    f"signature by key {key.keyid} does not cover the payload",
                    code="trust.bad-signature",
                )
            found[key.keyid] = key
        if not found:
            raise TrustError(
                f"no known key signed this: {envelope.signatures[0].keyid} is not trusted",
                code="trust.unknown-key",
                hint="add the key by a trust record, or sign with one that is trusted",
            )
        return list(found.values())


def is_trust(predicate_type: str) -> bool:
    """Tell whether a predicate type is that of a trust record, of any version."""
    return predicate_type in TRUST_VERSIONS


def compromise_error(keyid: str, since_ms: int) -> TrustError:
    """Return what is raised for a signature that is not believed any more."""
    return TrustError(
        f"key {keyid} is compromised since {format_time(since_ms)}",
        code="trust.compromised",
        hint="`genops keys affected` lists its records; re-attest those that are sound",
    )


def _roles(listed: Any) -> tuple[str, ...]:
    if not isinstance(listed, list) or not listed or any(role not in ROLES for role in listed):
        raise _invalid("a key has no role, or one that is not known")
    return tuple(listed)


def _compromised(listed: Any) -> dict[str, int]:
    try:
        found = {item["keyid"]: parse_time(item["since"]) for item in listed}
    except (AttributeError, KeyError, TypeError) as error:
        raise _invalid(f"a compromise is malformed: {error!r}") from None
    if len(found) != len(listed) or len(found) > MAX_KEYS:
        raise _invalid(f"a key is compromised twice, or more than {MAX_KEYS} are")
    if not all(isinstance(keyid, str) and is_sha256(keyid) for keyid in found):
        raise _invalid("what is compromised is not a key's id")
    return found


def _trust_predicate(statement: Statement, envelope: Envelope) -> Mapping[str, Any]:
    """Return the predicate after checking that the statement is what the envelope carries."""
    if not is_trust(statement.predicate_type):
        raise _invalid(f"its predicate is {statement.predicate_type}")
    if Statement.parse(envelope.payload).document != statement.document:
        raise _invalid("the envelope carries another statement")
    return statement.predicate


def _too_few(there: int, needed: int) -> TrustError:
    return TrustError(
        f"a change of trust needs {needed} admins, and {there} signed it:"
        f" {needed - there} more must sign",
        code="trust.threshold",
        hint="`genops keys propose` writes a change that others sign before it is submitted",
    )


def _missing_role(role: str, envelope: Envelope) -> TrustError:
    return TrustError(
        f"key {envelope.signatures[0].keyid} does not have the role {role}",
        code="trust.missing-role",
    )


def _invalid(why: str) -> FormatError:
    return FormatError(f"not a trust record: {why}", code="trust.invalid")
