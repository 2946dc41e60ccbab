"""Keys, salts and a small log in memory, shared by the tests of the core."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.core import checkpoints, merkle, predicates, trust_predicates
from registry.core.checkpoints import Checkpoint
from registry.core.disclosures import Disclosure
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, keyid, pae, spki_to_pem
from registry.core.entries import LogEntry
from registry.core.evidence import EvidenceItem
from registry.core.ids import uuid7
from registry.core.notes import VerifierKey
from registry.core.predicates import Head, SealedPayload, seal_statement
from registry.core.proofs import TlogProof
from registry.core.schemas import SchemaSet
from registry.core.statements import Subject, predicate_uri
from registry.core.trust import TrustKey, TrustState

ROOT = Path(__file__).resolve().parents[2]
ORIGIN = "test/01890a5d-ac96-774b-bcce-b302099a8057"
NOW = 1_795_172_820_000


class P256:
    """A signing key made from a small number."""

    def __init__(self, number: int) -> None:
        self.private = ec.derive_private_key(number, ec.SECP256R1())
        self.spki = self.private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.keyid = keyid(self.spki)

    def signature(self, payload: bytes) -> Signature:
        sig = self.private.sign(pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256()))
        return Signature(self.keyid, sig)

    def envelope(self, payload: bytes, *others: P256) -> Envelope:
        return Envelope(payload, tuple(key.signature(payload) for key in (self, *others)))

    def trusted(self, *roles: str, since: int = NOW, until: int | None = None) -> TrustKey:
        return TrustKey(self.keyid, spki_to_pem(self.spki), roles, since, until)


@dataclass
class Book:
    """A log in memory, one second an entry, whose first record is a trust record."""

    admin: P256
    maker: P256
    log: Ed25519PrivateKey = field(
        default_factory=lambda: Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    )
    origin: str = ORIGIN
    entries: list[LogEntry] = field(default_factory=list)
    envelopes: list[Envelope] = field(default_factory=list)
    disclosures: list[tuple[Disclosure, ...]] = field(default_factory=list)

    @property
    def vkey(self) -> VerifierKey:
        return VerifierKey(self.origin, self.log.public_key().public_bytes_raw())

    @property
    def leaves(self) -> list[bytes]:
        return [entry.leaf_hash() for entry in self.entries]

    def head(self) -> Head:
        number = len(self.entries)
        actor = predicates.actor("u-1", "key", "Ada Lovelace")
        return Head(uuid7(NOW + number, number.to_bytes(10, "big")), "test", actor)

    def trust(self, *keys: TrustKey, supersedes: str | None = None, **other: Any) -> SealedPayload:
        predicate = predicates.trust(
            self.head(),
            origin=other.get("origin", self.origin),
            log_vkey=other.get("log_vkey", str(self.vkey)),
            keys=keys,
            supersedes=supersedes,
        )
        return self.seal("trust", predicate)

    def taint(self, reason: str = "unlicensed") -> SealedPayload:
        predicate = predicates.taint(
            self.head(),
            kind="asset",
            target="sha256:" + "ab" * 32,
            action="taint",
            severity="high",
            reason=reason,
        )
        return self.seal("taint", predicate)

    def trust_v2(self, state: TrustState, supersedes: str | None = None) -> SealedPayload:
        predicate = trust_predicates.trust(
            self.head(), state, supersedes=supersedes, reason="a change"
        )
        return self.seal("trust", predicate, 2)

    def seal(self, name: str, predicate: dict[str, Any], version: int = 1) -> SealedPayload:
        subject = Subject("out/0", "ab" * 32)
        numbers = count(len(self.entries) * 100)
        salts = lambda: next(numbers).to_bytes(16, "big")  # noqa: E731
        return seal_statement([subject], predicate_uri(name, version), predicate, salts)

    def add(self, sealed: SealedPayload, *keys: P256, time_ms: int | None = None) -> str:
        first, *others = keys or (self.admin,)
        envelope = first.envelope(sealed.payload, *others)
        at = NOW + 1000 * len(self.entries) if time_ms is None else time_ms
        self.entries.append(LogEntry(at, envelope.payload_sha256, envelope.sha256))
        self.envelopes.append(envelope)
        self.disclosures.append(sealed.disclosures)
        return self.entries[-1].record_id

    def node(self, level: int, index: int) -> bytes:
        return merkle.subtree_root(self.leaves[index << level : (index + 1) << level])

    def checkpoint(self, size: int | None = None) -> bytes:
        leaves = self.leaves[:size]
        head = Checkpoint(self.origin, len(leaves), merkle.subtree_root(leaves))
        return checkpoints.sign(head, self.vkey, self.log.sign)

    def item(self, index: int) -> EvidenceItem:
        path = merkle.inclusion_proof(index, len(self.entries), self.node)
        proof = TlogProof(index, tuple(path), self.checkpoint())
        return EvidenceItem(self.envelopes[index], self.entries[index], proof)


@pytest.fixture(scope="session")
def keys() -> Callable[[int], P256]:
    return P256


@pytest.fixture
def book() -> Book:
    """A log with its trust record: an admin, and a maker who generates and reviews."""
    made = Book(P256(1001), P256(1002))
    made.add(made.trust(made.admin.trusted("admin"), made.maker.trusted("generator", "reviewer")))
    return made


@pytest.fixture(scope="session")
def schemas() -> SchemaSet:
    documents = {
        f"{path.parent.name}/{path.stem}": json.loads(path.read_text("utf-8"))
        for path in ROOT.glob("schemas/*/v*.json")
        if path.parent.name != "cli"
    }
    return SchemaSet(documents)


@pytest.fixture
def salts() -> Callable[[], bytes]:
    numbers = count()
    return lambda: next(numbers).to_bytes(16, "big")
