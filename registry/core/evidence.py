"""Evidence: one JSON file that proves a record to somebody who holds only the log's public key.

Writes and verifies such files. Needs no registry, database or network, and must import nothing
but the core.
"""

from __future__ import annotations

import functools
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeVar

from registry.core import disclosures, jsonio
from registry.core.checkpoints import Checkpoint
from registry.core.checkpoints import verify as verify_checkpoint
from registry.core.disclosures import Disclosure
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.merkle import verify_inclusion
from registry.core.notes import VerifierKey
from registry.core.proofs import TlogProof
from registry.core.statements import Statement
from registry.core.trust import TrustKey, TrustState, compromise_error
from registry.errors import FormatError, GenopsError, IntegrityError, TrustError

EVIDENCE_TYPE = "https://w3id.org/genops/evidence/v1"
MAX_EVIDENCE_BYTES = 64 * 1024 * 1024
"""Largest evidence file: a record, its texts, and the trust records."""
MAX_TRUST_RECORDS = 4096

CheckState = Literal["passed", "failed", "skipped"]

_FIELDS = {"type", "record", "disclosures", "trust"}
_ITEM_FIELDS = {"envelope", "entry", "proof"}

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EvidenceItem:
    """A record with its proof of inclusion."""

    envelope: Envelope
    entry: LogEntry
    proof: TlogProof

    @classmethod
    def from_document(cls, document: Any) -> EvidenceItem:
        """Read an item of parsed JSON; raises FormatError."""
        fields = _closed(document, _ITEM_FIELDS)
        entry, proof = fields["entry"], fields["proof"]
        if not isinstance(entry, str) or not isinstance(proof, str):
            raise _invalid("an entry or a proof is not text")
        return cls(
            Envelope.from_document(fields["envelope"]),
            LogEntry.parse(entry.encode("utf-8")),
            TlogProof.parse(proof.encode("utf-8")),
        )

    def to_document(self) -> dict[str, Any]:
        """Return the item as a JSON-ready object; entry and proof stand verbatim as text."""
        return {
            "envelope": self.envelope.to_document(),
            "entry": self.entry.to_bytes().decode("ascii"),
            "proof": self.proof.to_bytes().decode("utf-8"),
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """A record, the disclosures that the holder may see, and the log's trust records."""

    record: EvidenceItem
    disclosures: tuple[Disclosure, ...]
    trust: tuple[EvidenceItem, ...]

    @classmethod
    def parse(cls, data: bytes) -> Evidence:
        """Read an evidence file; raises FormatError. Says nothing about its truth.

        Takes only what `to_bytes` writes, and a newline at the end: no byte may go unproved.
        """
        fields = _closed(jsonio.loads(data, max_bytes=MAX_EVIDENCE_BYTES), _FIELDS)
        texts, trust = fields["disclosures"], fields["trust"]
        if fields["type"] != EVIDENCE_TYPE:
            raise _invalid(f"its type is not {EVIDENCE_TYPE}")
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise _invalid("its disclosures are not a list of texts")
        _check_count(trust if isinstance(trust, list) else ())
        evidence = cls(
            EvidenceItem.from_document(fields["record"]),
            tuple(map(disclosures.parse, texts)),
            tuple(map(EvidenceItem.from_document, trust)),
        )
        evidence._refuse_other_spelling(data)
        return evidence

    def _refuse_other_spelling(self, data: bytes) -> None:
        _check_no_extra(self.record, *self.trust)
        written = self.to_bytes()
        if data != written and data != written + b"\n":
            raise _invalid(f"byte {first_difference(data, written)} is not in normal form")

    def to_bytes(self) -> bytes:
        """Return the file's bytes: the same evidence always gives the same file."""
        return jsonio.dumps(
            {
                "type": EVIDENCE_TYPE,
                "record": self.record.to_document(),
                "disclosures": [item.encode() for item in self.disclosures],
                "trust": [item.to_document() for item in self.trust],
            }
        )


@dataclass(frozen=True, slots=True)
class EvidenceCheck:
    """One named check. A check is skipped when an earlier one left nothing to check."""

    name: str
    state: CheckState
    detail: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceReport:
    """The outcome of every check, and what the evidence proves as far as it does.

    The values are None unless their checks passed. `document` is the statement with the disclosed
    texts in their places; `withheld` are JSON Pointers of fields that stayed sealed.
    """

    checks: tuple[EvidenceCheck, ...]
    record_id: str | None = None
    index: int | None = None
    log_time_ms: int | None = None
    tree_size: int | None = None
    signer: TrustKey | None = None
    document: Mapping[str, Any] | None = field(default=None, repr=False)
    withheld: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when every check passed."""
        return all(check.state == "passed" for check in self.checks)

    @property
    def failed(self) -> tuple[EvidenceCheck, ...]:
        """The checks that failed; skipped ones are not among them."""
        return tuple(check for check in self.checks if check.state == "failed")


def first_difference(data: bytes, wanted: bytes) -> int:
    """Return the offset of the first byte in which two different texts differ."""
    same, most = 0, min(len(data), len(wanted))
    while same < most:  # the half that differs is halved again: fast, however long the files are
        middle = (same + most + 1) // 2
        if data[same:middle] == wanted[same:middle]:
            same = middle
        else:
            most = middle - 1
    return same


def build_evidence(
    record: EvidenceItem,
    trust: Sequence[EvidenceItem],
    disclosed: Sequence[Disclosure] = (),
) -> bytes:
    """Return the evidence file of a record.

    `trust` holds every trust record that the checkpoint covers, by index, starting at 0; all proofs
    must be against one checkpoint. Raises FormatError when they are not.
    """
    if any(item.proof.checkpoint != record.proof.checkpoint for item in trust):
        raise _invalid("its proofs are against different checkpoints")
    return Evidence(record, tuple(disclosed), tuple(trust)).to_bytes()


def verify_evidence(data: bytes, *, log_vkey: str) -> EvidenceReport:
    """Check an evidence file against the log's public key (a C2SP vkey); never raises for it.

    Checks, in order: `format`, `checkpoint`, `payload`, `envelope`, `inclusion`, `statement`,
    `trust-records`, `trust-chain`, `log-key`, `signer`, `disclosures`. Raises FormatError only for
    a malformed `log_vkey`.

    What a file cannot prove: that its maker left out no trust record after the last one in it. A
    reader who needs that asks the log.
    """
    key = VerifierKey.parse(log_vkey)

    def read() -> _Case:
        evidence = Evidence.parse(data)
        trust = TrustRecords(evidence.trust, key)
        return _Case(evidence.record, trust, evidence.disclosures)

    return _Verification().run(read)


@dataclass(frozen=True, slots=True)
class TrustChain:
    """The states that the trust records of a log lead through, each from its index on."""

    starts: tuple[int, ...]
    states: tuple[TrustState, ...]

    @property
    def newest(self) -> TrustState:
        """The state after all of them."""
        return self.states[-1]

    def judging(self, index: int) -> TrustState:
        """Return the state that judges the record at an index: the one before it.

        The record at index 0, the first trust record, is judged by the state that it announces.
        """
        return self.states[max(bisect_left(self.starts, index) - 1, 0)]


class TrustRecords:
    """The trust records that come with one record or many; what is asked of them is found once.

    Nothing is known of them before it is asked for: `chain` does not say that the log holds them.
    """

    def __init__(self, items: Sequence[EvidenceItem], key: VerifierKey) -> None:
        self._items = tuple(items)
        self._key = key
        self._form = _once(lambda: _check_trust_form(self._items))
        self._head = _once(lambda: _one_checkpoint(self._items, key))
        self._logged = _once(lambda: _check_trust_records(self._items, self._head()))
        self._chain = _once(lambda: _fold_trust(self._items))

    def verify(self, record: EvidenceItem) -> EvidenceReport:
        """Check a record that they come with, as `verify_evidence` does; never raises for it."""

        def read() -> _Case:
            self._form()
            _check_no_extra(record)
            return _Case(record, self)

        return _Verification().run(read)

    def head(self, record: EvidenceItem) -> Checkpoint:
        """Return the checkpoint that every proof is against, the record's too.

        Raises IntegrityError.
        """
        if record.proof.checkpoint != self._items[0].proof.checkpoint:
            raise _other_checkpoint()
        return self._head()

    def check_logged(self) -> bool:
        """Check that the log holds every one, in its order, from index 0; IntegrityError if not."""
        return self._logged()

    def chain(self) -> TrustChain:
        """Return the states they lead through; raises TrustError and FormatError."""
        return self._chain()

    def check_log_key(self) -> bool:
        """Check that the newest one names the log key: an older one may have been rotated."""
        if self._chain().newest.log_vkey != str(self._key):
            raise TrustError("the trust records name another log key", code="trust.log-key")
        return True


@dataclass(frozen=True, slots=True)
class _Case:
    """What a verification is about."""

    record: EvidenceItem
    trust: TrustRecords
    disclosed: tuple[Disclosure, ...] = ()


class _Verification:
    """One pass over a record: each step names itself, and hands its result to the next."""

    def __init__(self) -> None:
        self._checks: list[EvidenceCheck] = []

    def run(self, read: Callable[[], _Case]) -> EvidenceReport:
        case = self._step("format", read)
        record = None if case is None else case.record
        head = self._step("checkpoint", lambda c: c.trust.head(c.record), case)
        whole = [
            self._step("payload", _check_payload, record),
            self._step("envelope", _check_envelope, record),
            self._step("inclusion", _check_inclusion, record, head),
        ]
        statement = self._step("statement", lambda r: Statement.parse(r.envelope.payload), record)
        logged = self._step("trust-records", lambda c, _: c.trust.check_logged(), case, head)
        chain = self._step("trust-chain", lambda c, _: c.trust.chain(), case, logged)
        self._step("log-key", lambda c, _: c.trust.check_log_key(), case, chain)
        signer = self._step("signer", _check_signer, chain, record, statement, whole[-1])
        opened = self._step("disclosures", _open, case, statement)
        return self._report(record, head, signer, opened, proved=None not in whole)

    def _step(self, name: str, check: Callable[..., _T], *needed: Any) -> _T | None:
        """Run a check on what earlier ones gave; skip it when one of them gave nothing."""
        if any(value is None for value in needed):
            self._checks.append(EvidenceCheck(name, "skipped", "an earlier check failed"))
            return None
        try:
            result = check(*needed)
        except GenopsError as error:
            self._checks.append(EvidenceCheck(name, "failed", f"{error.code}: {error.message}"))
            return None
        self._checks.append(EvidenceCheck(name, "passed"))
        return result

    def _report(
        self,
        record: EvidenceItem | None,
        head: Checkpoint | None,
        signer: TrustKey | None,
        opened: Mapping[str, Any] | None,
        *,
        proved: bool,
    ) -> EvidenceReport:
        checks = tuple(self._checks)
        if record is None or head is None or not proved:
            return EvidenceReport(checks)
        return EvidenceReport(
            checks,
            record.entry.record_id,
            record.proof.index,
            record.entry.time_ms,
            head.size,
            signer,
            opened,
            tuple(disclosures.sealed_pointers(opened)) if opened is not None else (),
        )


def _once(check: Callable[[], _T]) -> Callable[[], _T]:
    """Return a check that runs when it is first asked for, and ends the same way ever after."""

    @functools.cache
    def outcome() -> _T | GenopsError:
        try:
            return check()
        except GenopsError as error:
            return error

    def told() -> _T:
        found = outcome()
        if isinstance(found, GenopsError):
            raise found.with_traceback(None)
        return found

    return told


def _check_count(trust: Sequence[Any]) -> None:
    if not 1 <= len(trust) <= MAX_TRUST_RECORDS:
        raise _invalid(f"it does not hold 1..{MAX_TRUST_RECORDS} trust records")


def _check_no_extra(*items: EvidenceItem) -> None:
    if any(item.proof.extra is not None for item in items):
        raise _invalid("a proof carries extra data, which nothing proves")


def _check_trust_form(trust: Sequence[EvidenceItem]) -> bool:
    _check_count(trust)
    _check_no_extra(*trust)
    return True


def _one_checkpoint(trust: Sequence[EvidenceItem], key: VerifierKey) -> Checkpoint:
    note = trust[0].proof.checkpoint
    if any(item.proof.checkpoint != note for item in trust):
        raise _other_checkpoint()
    return verify_checkpoint(note, key)


def _check_payload(item: EvidenceItem) -> bool:
    if item.envelope.payload_sha256 != item.entry.payload_sha256:
        raise _mismatch("the payload does not have the digest that the log entry names")
    return True


def _check_envelope(item: EvidenceItem) -> bool:
    if item.envelope.sha256 != item.entry.envelope_sha256:
        raise _mismatch("the envelope does not have the digest that the log entry names")
    return True


def _check_inclusion(item: EvidenceItem, head: Checkpoint) -> bool:
    proof = item.proof
    verify_inclusion(item.entry.leaf_hash(), proof.index, head.size, proof.hashes, head.root)
    return True


def _check_trust_records(trust: Sequence[EvidenceItem], head: Checkpoint) -> bool:
    for item in trust:
        try:
            _check_payload(item)
            _check_envelope(item)
            _check_inclusion(item, head)
        except IntegrityError as error:
            where = f"trust record at index {item.proof.index}"
            raise IntegrityError(f"{where}: {error.message}", code=error.code) from None
    indices = [item.proof.index for item in trust]
    if indices[0] != 0 or any(a >= b for a, b in pairwise(indices)):
        raise _mismatch("the trust records are not in the log's order, starting at index 0")
    return True


def _fold_trust(trust: Sequence[EvidenceItem]) -> TrustChain:
    first = trust[0]
    states = [TrustState.genesis(Statement.parse(first.envelope.payload), first.envelope)]
    for previous, item in pairwise(trust):
        later = Statement.parse(item.envelope.payload)
        if later.predicate.get("supersedes") != previous.entry.record_id:
            raise TrustError(
                f"the trust record before that at index {item.proof.index} is missing",
                code="trust.gap",
            )
        states.append(states[-1].apply(later, item.envelope, item.entry.time_ms))
    return TrustChain(tuple(item.proof.index for item in trust), tuple(states))


def _check_signer(chain: TrustChain, item: EvidenceItem, statement: Statement, _: bool) -> TrustKey:
    """Check that the signer had the role, and that no later trust record says its key was stolen.

    A re-attestation is a record of its own, with evidence of its own.
    """
    time_ms = item.entry.time_ms
    judging = chain.judging(item.proof.index)
    key = judging.authorize(item.envelope, statement.predicate_type, time_ms)
    since = chain.newest.doubted(key.keyid, time_ms)
    if since is not None:
        raise compromise_error(key.keyid, since)
    return key


def _open(case: _Case, statement: Statement) -> Mapping[str, Any]:
    opened: Mapping[str, Any] = disclosures.unseal(statement.document, case.disclosed)
    return opened


def _closed(document: Any, fields: set[str]) -> Mapping[str, Any]:
    if not isinstance(document, dict) or document.keys() != fields:
        raise _invalid(f"an object does not have exactly the fields {', '.join(sorted(fields))}")
    return document


def _other_checkpoint() -> IntegrityError:
    return _mismatch("the proofs are against different checkpoints")


def _mismatch(why: str) -> IntegrityError:
    return IntegrityError(why, code="evidence.mismatch")


def _invalid(why: str) -> FormatError:
    return FormatError(f"not evidence: {why}", code="evidence.invalid")
