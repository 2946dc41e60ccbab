"""Writes the golden files of format version 1; run once, by hand, when the version was made.

Keys, salts, times and ids are fixed, and ECDSA is made deterministic (RFC 6979), so that a second
run gives the same bytes. Tests never run this: they verify what is committed.

    python tests/golden/make_v1.py tests/golden/v1
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.core import (
    checkpoints,
    digests,
    merkle,
    modelsets,
    pixels,
    predicates,
    provenance,
    tiles,
)
from registry.core.checkpoints import Checkpoint
from registry.core.disclosures import Disclosure
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, keyid, pae, spki_to_pem
from registry.core.entries import LogEntry
from registry.core.evidence import EvidenceItem, build_evidence
from registry.core.generation import Generation, Material, ModelFile, Output, Sealed
from registry.core.ids import uuid7
from registry.core.notes import VerifierKey
from registry.core.predicates import DecisionRecord, Head, SealedPayload, actor, seal_statement
from registry.core.proofs import TlogProof
from registry.core.statements import (
    PREDICATE_DECISION,
    Subject,
    build_uri,
    predicate_uri,
)
from registry.core.trust import TrustKey

ORIGIN = "golden/01890a5d-ac96-774b-bcce-b302099a8057"
START_MS = 1_795_172_820_000
PROMPT = "a red bicycle \u0000 under \u202eneon\u202c lights 🚲, café"
FILES = (
    ModelFile("unet/diffusion.safetensors", 12, digests.sha256_hex(b"unet weights")),
    ModelFile("model_index.json", 2, digests.sha256_hex(b"{}")),
    ModelFile("vae/é.bin", 3, digests.sha256_hex(b"vae")),
)
RGBA = bytes([255, 0, 0, 255, 0, 255, 0, 128, 1, 2, 3, 0, 9, 9, 9, 1])


class P256:
    """A signing key made from a small fixed number."""

    def __init__(self, number: int) -> None:
        self._key = ec.derive_private_key(number, ec.SECP256R1())
        self.spki = self._key.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def envelope(self, payload: bytes) -> Envelope:
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        sig = self._key.sign(pae(PAYLOAD_TYPE, payload), algorithm)
        return Envelope(payload, (Signature(keyid(self.spki), sig),))

    def trusted(self, *roles: str, until: int | None = None) -> TrustKey:
        return TrustKey(keyid(self.spki), spki_to_pem(self.spki), roles, START_MS, until)


ADMIN, MAKER, JUDGE = P256(1001), P256(1002), P256(1003)
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VKEY = VerifierKey(ORIGIN, LOG.public_key().public_bytes_raw())


def salts() -> Callable[[], bytes]:
    """Return a source of salts: 0, 1, 2, … as 16 bytes."""
    numbers = count()
    return lambda: next(numbers).to_bytes(16, "big")


class Book:
    """A log in memory: entries, leaf hashes and envelopes, one second apart."""

    def __init__(self) -> None:
        self.entries: list[LogEntry] = []
        self.envelopes: list[Envelope] = []
        self.disclosures: list[tuple[Disclosure, ...]] = []

    def add(self, key: P256, sealed: SealedPayload) -> str:
        envelope = key.envelope(sealed.payload)
        time_ms = START_MS + 1000 * len(self.entries)
        self.entries.append(LogEntry(time_ms, envelope.payload_sha256, envelope.sha256))
        self.envelopes.append(envelope)
        self.disclosures.append(sealed.disclosures)
        return self.entries[-1].record_id

    @property
    def leaves(self) -> list[bytes]:
        return [entry.leaf_hash() for entry in self.entries]

    def node(self, level: int, index: int) -> bytes:
        return merkle.subtree_root(self.leaves[index << level : (index + 1) << level])

    def checkpoint(self, size: int) -> bytes:
        root = merkle.subtree_root(self.leaves[:size])
        return checkpoints.sign(Checkpoint(ORIGIN, size, root), VKEY, LOG.sign)

    def item(self, index: int) -> EvidenceItem:
        size = len(self.entries)
        hashes_ = tuple(merkle.inclusion_proof(index, size, self.node))
        proof = TlogProof(index, hashes_, self.checkpoint(size))
        return EvidenceItem(self.envelopes[index], self.entries[index], proof)


def heads() -> Iterator[Head]:
    """Yield a head per record: fixed invocation ids, one project, one actor."""
    for number in count():
        invocation = uuid7(START_MS + number, number.to_bytes(10, "big"))
        yield Head(invocation, "golden", actor("u-0f1e2d3c", "key", "Ada Lovelace"))


def generation() -> Generation:
    """Return a batch of two pictures with a base model, a LoRA and an input picture."""
    return Generation(
        build_type=build_uri("diffusers"),
        external={
            "prompt": Sealed(PROMPT),
            "negative_prompt": Sealed(""),
            "num_inference_steps": 20,
            "guidance_scale": 7.5,
            "loras": [{"ref": "lora/brand", "scale": 0.8}],
        },
        internal={"dtype": "float16", "device": "cuda:0", "host": Sealed("render-07")},
        materials=[
            Material(
                "model/base",
                "model",
                modelsets.modelset_digest(FILES),
                uri="pkg:huggingface/example/base@1",
                files=FILES,
            ),
            Material("lora/brand", "lora", digests.sha256_hex(b"lora"), storage="vaulted"),
            Material(
                "input/init",
                "image",
                digests.sha256_hex(b"init"),
                storage="vaulted",
                media_type="image/png",
                output_of="rec:" + digests.sha256_hex(b"earlier record"),
                annotations={"file": Sealed("holiday at home.png")},
            ),
        ],
        outputs=[
            Output(
                b"first",
                "image/png",
                seed="9223372036854788153",
                width=2,
                height=2,
                pixels=pixels.pixels_v1(2, 2, RGBA),
                extra={"prompt": Sealed(PROMPT)},
            ),
            Output(
                b"second",
                "image/png",
                seed="0",
                batch_index=1,
                width=2,
                height=2,
                materials=("model/base", "lora/brand"),
            ),
        ],
        started_ms=START_MS - 2500,
        finished_ms=START_MS - 1,
        builder_id="https://example.org/genops/worker",
        builder_version={"genops-registry": "0.1.0"},
        campaign="spring",
    )


def fill(book: Book) -> None:
    """Add one record of each kind that the first release writes."""
    head, salt = heads(), salts()
    keys = [ADMIN.trusted("admin"), MAKER.trusted("generator"), JUDGE.trusted("policy", "reviewer")]
    origin = Subject("out/0", digests.sha256_hex(ORIGIN.encode("utf-8")))

    def say(key: P256, name: str, subject: Subject, predicate: predicates.Predicate) -> str:
        return book.add(key, seal_statement([subject], predicate_uri(name), predicate, salt))

    genesis = say(
        ADMIN,
        "trust",
        origin,
        predicates.trust(next(head), origin=ORIGIN, log_vkey=str(VKEY), keys=keys),
    )
    g, first = generation(), next(head)
    made = book.add(
        MAKER,
        provenance.generation_payload(
            g,
            provenance.output_subjects(g),
            project="golden",
            actor=first.actor,
            invocation_id=first.invocation_id,
            salts=salt,
        ),
    )
    picture = provenance.output_subjects(g)[0]
    lora = Subject("out/0", digests.sha256_hex(b"lora"))
    say(
        JUDGE,
        "model",
        lora,
        predicates.model(
            next(head),
            name="brand",
            kind="lora",
            digest_kind="sha256",
            licence="Apache-2.0",
            approved=True,
            uri="https://example.org/brand",
        ),
    )
    say(
        MAKER,
        "ingest",
        Subject("out/0", digests.sha256_hex(b"photo"), "image/jpeg"),
        predicates.ingest(
            next(head),
            source="family.jpg",
            media_type="image/jpeg",
            parents=[{"digest": picture.sha256, "output_of": made}],
            note="edited",
        ),
    )
    tainted = say(
        JUDGE,
        "taint",
        lora,
        predicates.taint(
            next(head),
            kind="material",
            target=digests.asset_id(lora.sha256),
            action="taint",
            severity="critical",
            reason="trained on unlicensed pictures",
        ),
    )
    book.add(
        JUDGE,
        seal_statement(
            [picture],
            PREDICATE_DECISION,
            predicates.decision(
                next(head),
                DecisionRecord(
                    verifier_id="https://example.org/genops/gate",
                    verified_ms=START_MS,
                    resource_uri=digests.asset_id(picture.sha256),
                    policy_uri="genops:policy/default",
                    passed=False,
                    facts_sha256=digests.sha256_hex(b"facts"),
                    tree_size=5,
                    bundle={
                        "name": "default",
                        "version": "1",
                        "sha256": digests.sha256_hex(b"bundle"),
                    },
                    rules=[{"id": "no-taint", "outcome": "fail", "severity": "block"}],
                    inputs=[{"uri": made, "digest": {"sha256": book.entries[1].payload_sha256}}],
                ),
            ),
            salt,
        ),
    )
    say(
        MAKER,
        "reproduction",
        picture,
        predicates.reproduction(
            next(head),
            record=made,
            verdict="equivalent",
            original_sha256=picture.sha256,
            differences=[{"name": "torch", "recorded": "2.6.0", "found": "2.7.0"}],
            measures=[{"name": "max-abs", "value": 1.5, "bound": 4}],
        ),
    )
    say(
        ADMIN,
        "trust",
        origin,
        predicates.trust(
            next(head),
            origin=ORIGIN,
            log_vkey=str(VKEY),
            keys=[*keys[:1], MAKER.trusted("generator", until=START_MS + 7000), keys[2]],
            supersedes=genesis,
        ),
    )
    say(
        ADMIN,
        "erasure",
        Subject("out/0", book.entries[1].payload_sha256),
        predicates.erasure(
            next(head),
            record=made,
            payload_sha256=book.entries[1].payload_sha256,
            pointers=[item.name for item in book.disclosures[1]],
            reason="asked for by the person",
        ),
    )
    say(
        JUDGE,
        "taint",
        lora,
        predicates.taint(
            next(head),
            kind="material",
            target=digests.asset_id(lora.sha256),
            action="clear",
            severity="critical",
            reason=f"a mistake, see {tainted}",
        ),
    )


def files() -> dict[str, bytes]:
    """Return every golden file by name."""
    book = Book()
    fill(book)
    size = len(book.entries)
    record, trust = book.item(1), [book.item(0), book.item(7)]
    expected = {
        "origin": ORIGIN,
        "vkey": str(VKEY),
        "keyids": {
            "admin": keyid(ADMIN.spki),
            "maker": keyid(MAKER.spki),
            "judge": keyid(JUDGE.spki),
        },
        "records": [entry.record_id for entry in book.entries],
        "roots": [merkle.subtree_root(book.leaves[:n]).hex() for n in range(size + 1)],
        "consistency_3": [h.hex() for h in merkle.consistency_proof(3, size, book.node)],
        "modelset-v1": modelsets.modelset_digest(FILES),
        "pixels-v1": pixels.pixels_v1(2, 2, RGBA),
        "rgba": RGBA.hex(),
        "prompt": PROMPT,
    }
    written = {
        "expected.json": (json.dumps(expected, indent=2, ensure_ascii=False) + "\n").encode(),
        "entries.bundle": tiles.encode_bundle([entry.to_bytes() for entry in book.entries]),
        "leaves.tile": b"".join(book.leaves),
        "frontier.bin": merkle.Frontier().extend(book.leaves).to_bytes(),
        "checkpoint-3": book.checkpoint(3),
        "checkpoint-10": book.checkpoint(size),
        "record-1.tlog-proof": record.proof.to_bytes(),
        "modelset.json": modelsets.modelset_manifest(FILES),
        "evidence-open.json": build_evidence(record, trust, book.disclosures[1]),
        "evidence-sealed.json": build_evidence(record, trust),
    }
    for index, envelope in enumerate(book.envelopes):
        written[f"record-{index}.dsse.json"] = envelope.to_bytes()
        texts = [item.encode() for item in book.disclosures[index]]
        written[f"record-{index}.disclosures.txt"] = "".join(f"{t}\n" for t in texts).encode()
    return written


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files().items():
        (folder / name).write_bytes(data)
