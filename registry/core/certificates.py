"""Certificates of erasure: signed statements of what was erased of a person, that verify offline.

The person stands in them as a pseudonym and a salted digest of the name: who knows the name can
check that it is meant, and nobody reads it there. Needs no registry, database or network.
"""

from __future__ import annotations

import base64
import hashlib
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.core import jsonio
from registry.core.digests import ASSET_HEAD, sha256_hex
from registry.core.dsse import Envelope
from registry.core.evidence import EvidenceItem, TrustRecords
from registry.core.notes import VerifierKey
from registry.core.privacy import CertificateView, Certified
from registry.core.statements import Statement, Subject, build, predicate_uri
from registry.core.times import format_time, parse_time
from registry.errors import FormatError, GenopsError

CERTIFICATE_TYPE = "https://w3id.org/genops/erasure-certificate/v1"
PREDICATE_CERTIFICATE = predicate_uri("erasure-certificate")
"""The type of the signed statement; it is handed out, never logged."""
PREDICATE_ERASURE = predicate_uri("erasure")
PREDICATE_HOLD = predicate_uri("hold")
MAX_CERTIFICATE_BYTES = 256 * 1024 * 1024

_FIELDS = {"type", "certificate", "lines", "records", "trust"}


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate's parts: who it is about, its lines, and the records that prove them.

    `salt` is 16 random bytes; `tree_size` that of the checkpoint that every proof is against.
    """

    origin: str
    made_ms: int
    pseudonym: str
    salt: bytes
    name_digest: str
    tree_size: int
    lines: tuple[Certified, ...]

    def payload(self) -> bytes:
        """Return the statement to be signed; its subject is the digest of the lines."""
        predicate = {
            "origin": self.origin,
            "made": format_time(self.made_ms),
            "pseudonym": self.pseudonym,
            "name": {"salt": _base64(self.salt), "sha-256": self.name_digest},
            "treeSize": self.tree_size,
        }
        subject = Subject("out/0", sha256_hex(_lines(self.lines)))
        return build([subject], PREDICATE_CERTIFICATE, predicate)


def name_digest(salt: bytes, name: str) -> str:
    """Return base64url SHA-256 over the salt and the name: NFKC, case folded, single spaces."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold())
    return _base64(hashlib.sha256(salt + " ".join(folded.split()).encode("utf-8")).digest())


def to_bytes(
    envelope: Envelope,
    lines: Sequence[Certified],
    records: Sequence[EvidenceItem],
    trust: Sequence[EvidenceItem],
) -> bytes:
    """Return the certificate file; `records` are the erasures and holds that the lines name."""
    return jsonio.dumps(
        {
            "type": CERTIFICATE_TYPE,
            "certificate": envelope.to_document(),
            "lines": [line.to_dict() for line in lines],
            "records": [item.to_document() for item in records],
            "trust": [item.to_document() for item in trust],
        }
    )


def verify_certificate(data: bytes, *, log_vkey: str, name: str | None = None) -> CertificateView:
    """Check a certificate against the log's public key, and whether a person is the one it means.

    Raises FormatError (`certificate.invalid`, or that of the part) for a file that is none, and
    for a malformed `log_vkey`; what does not hold is listed in the answer.
    """
    key = VerifierKey.parse(log_vkey)
    document = jsonio.loads(data, max_bytes=MAX_CERTIFICATE_BYTES)
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise _invalid("it does not have the fields of one")
    if document["type"] != CERTIFICATE_TYPE:
        raise _invalid(f"its type is not {CERTIFICATE_TYPE}")
    try:
        envelope = Envelope.from_document(document["certificate"])
        certificate = _certificate(envelope, document["lines"])
        records = [EvidenceItem.from_document(item) for item in document["records"]]
        trust = [EvidenceItem.from_document(item) for item in document["trust"]]
        if not trust:
            raise _invalid("it holds no trust record")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _invalid(f"a part of it is malformed: {error!r}") from None
    written = to_bytes(envelope, certificate.lines, records, trust)
    if data not in {written, written + b"\n"}:
        raise _invalid("it is not in normal form")
    problems = tuple(_problems(certificate, envelope, records, TrustRecords(trust, key)))
    named = None if name is None else name_digest(certificate.salt, name) == certificate.name_digest
    return view(certificate, named=named, problems=problems)


def view(
    certificate: Certificate, *, named: bool | None = None, problems: tuple[str, ...] = ()
) -> CertificateView:
    """Return what a certificate says, for people and programs."""
    return CertificateView(
        ok=not problems and named is not False,
        origin=certificate.origin,
        made=format_time(certificate.made_ms),
        pseudonym=certificate.pseudonym,
        named=named,
        erased=tuple(line for line in certificate.lines if line.erasure),
        held=tuple(line for line in certificate.lines if not line.erasure),
        problems=problems,
    )


def _certificate(envelope: Envelope, lines: Any) -> Certificate:
    statement = Statement.parse(envelope.payload)
    said = statement.predicate
    certificate = Certificate(
        origin=str(said["origin"]),
        made_ms=parse_time(said["made"]),
        pseudonym=str(said["pseudonym"]),
        salt=base64.urlsafe_b64decode(said["name"]["salt"] + "=="),
        name_digest=str(said["name"]["sha-256"]),
        tree_size=int(said["treeSize"]),
        lines=tuple(_line(line) for line in lines),
    )
    if certificate.payload() != envelope.payload:
        raise _invalid("its lines are not those that were signed")
    return certificate


def _line(document: Mapping[str, Any]) -> Certified:
    lists = {name: tuple(document[name]) for name in ("held_by", "why")}
    line = Certified(**{**document, **lists})
    texts = (line.record, line.time, line.erasure or "", *line.held_by, *line.why)
    if not all(isinstance(text, str) for text in texts):
        raise _invalid("a line holds something else than texts")
    return line


def _problems(
    certificate: Certificate,
    envelope: Envelope,
    records: Sequence[EvidenceItem],
    trust: TrustRecords,
) -> Iterator[str]:
    """Yield what does not hold: proofs first, then the signature, then each line."""
    proved: dict[str, EvidenceItem] = {}
    for item in records:
        if failed := trust.verify(item).failed:
            wrong = "; ".join(f"{check.name}: {check.detail}" for check in failed)
            yield f"{item.entry.record_id}: {wrong}"
        else:
            proved[item.entry.record_id] = item
    try:
        state = trust.chain().newest
        state.authorize(envelope, PREDICATE_ERASURE, certificate.made_ms)
        if state.origin != certificate.origin:
            yield f"the log is {state.origin}, not {certificate.origin}"
    except GenopsError as error:
        yield f"the certificate's signature: {error.message}"
    for line in certificate.lines:
        yield from _line_problems(line, proved)
    if not proved:
        yield "it proves no record"


def _line_problems(line: Certified, proved: Mapping[str, EvidenceItem]) -> Iterator[str]:
    """Yield what a line says without a record that says so."""
    if line.erasure is None and not line.held_by:
        yield f"{line.record} is neither erased nor held"
    for name in (line.erasure,) if line.erasure else line.held_by:
        item = proved.get(name)
        if item is None:
            yield f"{line.record}: {name} is not proved"
            continue
        statement = Statement.parse(item.envelope.payload)
        said = statement.predicate
        if line.erasure:
            erases = statement.predicate_type == PREDICATE_ERASURE
            told = erases and said.get("record") == line.record
            if not told or format_time(item.entry.time_ms) != line.time:
                yield f"{line.record}: {name} is not its erasure at {line.time}"
        elif statement.predicate_type != PREDICATE_HOLD or said.get("action") != "place":
            yield f"{line.record}: {name} places no hold"
        elif not _may_hold(said.get("target"), line.record):
            yield f"{line.record}: {name} is no hold on it"


def _may_hold(target: Any, record: str) -> bool:
    """Tell whether a hold on this target may keep a record: it names that, or an asset.

    Whether the record speaks of the asset is not told: the record itself is not handed out.
    """
    return target == record or (isinstance(target, str) and target.startswith(ASSET_HEAD))


def _lines(lines: Sequence[Certified]) -> bytes:
    return jsonio.dumps([line.to_dict() for line in lines])


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _invalid(why: str) -> FormatError:
    return FormatError(f"not a certificate of erasure: {why}", code="certificate.invalid")
