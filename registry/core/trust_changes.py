"""Changes of trust: to the next state, in words, and as proposals that wait for signatures.

Pure. Whether a change counts is judged by `registry.core.trust` when it reaches the log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from registry.core import disclosures, jsonio
from registry.core.disclosures import Disclosure
from registry.core.dsse import MAX_ENVELOPE_BYTES, Envelope, Signature
from registry.core.statements import Statement
from registry.core.times import format_time
from registry.core.trust import TRUST_VERSIONS, TrustKey, TrustState, is_trust
from registry.errors import ConflictError, FormatError, NotFoundError

PROPOSAL_TYPE = "https://w3id.org/genops/proposal/v1"
MAX_PROPOSAL_BYTES = 2 * MAX_ENVELOPE_BYTES
"""Largest proposal: the envelope in JSON, and the texts of its sealed fields."""

_FIELDS = {"type", "envelope", "disclosures"}


@dataclass(frozen=True, slots=True)
class TrustChange:
    """What is to become of the keys.

    `add` are new keys; `close` ends windows (log time, epoch ms, by key id); `compromise` says
    since when keys are not believed (epoch ms); `threshold` is how many admins change trust.
    """

    add: tuple[TrustKey, ...] = ()
    close: Mapping[str, int] | None = None
    compromise: Mapping[str, int] | None = None
    threshold: int | None = None


def changed(state: TrustState, change: TrustChange) -> TrustState:
    """Return the state after a change, as the newest version of a trust record says it.

    A window is closed, never opened again, and a compromise only moved back in time. Raises
    NotFoundError (`trust.unknown-key`), ConflictError (`trust.key-exists`).
    """
    keys = dict(state.keys)
    for key in change.add:
        if key.keyid in keys:
            raise ConflictError(
                f"the log knows key {key.keyid} already",
                code="trust.key-exists",
                hint="`genops keys show` tells what it may sign; make a new key for a new window",
            )
        keys[key.keyid] = key
    for keyid, end in (change.close or {}).items():
        key = _known(keys, keyid)
        until = end if key.not_after_ms is None else min(end, key.not_after_ms)
        keys[keyid] = replace(key, not_after_ms=until)
    compromised = dict(state.compromised)
    for keyid, since in (change.compromise or {}).items():
        _known(keys, keyid)
        compromised[keyid] = min(since, compromised.get(keyid, since))
    threshold = state.threshold if change.threshold is None else change.threshold
    return replace(
        state,
        keys=keys,
        version=max(TRUST_VERSIONS.values()),
        threshold=threshold,
        compromised=compromised,
    )


def describe(before: TrustState, after: TrustState) -> tuple[str, ...]:
    """Say line by line what a new state changes, for those who are to sign it."""
    lines = []
    for keyid, key in after.keys.items():
        old = before.keys.get(keyid)
        roles = ", ".join(key.roles)
        until = f" until {format_time(key.not_after_ms)}" if key.not_after_ms is not None else ""
        if old is None:
            since = format_time(key.not_before_ms)
            lines.append(f"adds key {keyid} as {roles}, valid from {since}{until}")
        elif old != key:
            lines.append(f"changes key {keyid} to {roles},{until or ' without an end'}")
    lines += [f"removes key {keyid}" for keyid in before.keys if keyid not in after.keys]
    lines += [
        f"declares key {keyid} compromised since {format_time(since)}"
        for keyid, since in after.compromised.items()
        if before.compromised.get(keyid) != since
    ]
    if after.threshold != before.threshold:
        lines.append(f"asks for {after.threshold} admins from now on, before {before.threshold}")
    if after.log_vkey != before.log_vkey:
        lines.append(f"names another log key: {after.log_vkey}")
    return tuple(lines)


@dataclass(frozen=True, slots=True)
class Proposal:
    """A change of trust on its way between admins: the envelope, and its sealed texts in plain."""

    envelope: Envelope
    disclosures: tuple[Disclosure, ...] = ()

    @classmethod
    def parse(cls, data: bytes) -> Proposal:
        """Read a proposal. Raises FormatError (`proposal.invalid`, and of what is inside)."""
        document = jsonio.loads(data, max_bytes=MAX_PROPOSAL_BYTES)
        if not isinstance(document, dict) or document.keys() != _FIELDS:
            raise _invalid(f"it does not have exactly the fields {', '.join(sorted(_FIELDS))}")
        texts = document["disclosures"]
        if document["type"] != PROPOSAL_TYPE:
            raise _invalid(f"its type is not {PROPOSAL_TYPE}")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _invalid("its disclosures are not a list of texts")
        proposal = cls(
            Envelope.from_document(document["envelope"]), tuple(map(disclosures.parse, texts))
        )
        disclosures.unseal(proposal.statement.document, proposal.disclosures)
        return proposal

    def to_bytes(self) -> bytes:
        """Return the proposal's file."""
        document = {
            "type": PROPOSAL_TYPE,
            "disclosures": [item.encode() for item in self.disclosures],
            "envelope": self.envelope.to_document(),
        }
        return jsonio.dumps(document) + b"\n"

    @property
    def statement(self) -> Statement:
        """The trust statement; raises FormatError (`proposal.invalid`) for another one."""
        statement = Statement.parse(self.envelope.payload)
        if not is_trust(statement.predicate_type):
            raise _invalid(f"it carries a {statement.predicate_type}")
        return statement

    @property
    def state(self) -> TrustState:
        """The state of trust that it asks for."""
        statement = self.statement
        version = TRUST_VERSIONS[statement.predicate_type]
        return TrustState.from_predicate(statement.predicate, version)

    @property
    def supersedes(self) -> str:
        """The trust record that it builds on."""
        named = self.statement.predicate.get("supersedes")
        if not isinstance(named, str):
            raise _invalid("it does not say which trust record it supersedes")
        return named

    def signed(self, keyid: str, sig: bytes) -> Proposal:
        """Return the proposal with one more signature; a key that signed before signs once."""
        others = [s for s in self.envelope.signatures if s.keyid != keyid]
        envelope = Envelope(self.envelope.payload, (*others, Signature(keyid, sig)))
        envelope.check()
        return replace(self, envelope=envelope)


def _known(keys: Mapping[str, TrustKey], keyid: str) -> TrustKey:
    key = keys.get(keyid)
    if key is None:
        raise NotFoundError(
            f"the log trusts no key {keyid}",
            code="trust.unknown-key",
            hint="`genops keys list` names them",
        )
    return key


def _invalid(why: str) -> FormatError:
    return FormatError(f"not a proposal: {why}", code="proposal.invalid")
