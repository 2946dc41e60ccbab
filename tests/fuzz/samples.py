"""Well-formed samples of every format: the golden files, the schemas' examples, a log in memory."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from registry.core import certificates, disclosures, jsonio, merkle, predicates
from registry.core.certificates import Certificate
from registry.core.cosignatures import CosignerKey
from registry.core.dsse import Envelope
from registry.core.evidence import Evidence
from registry.core.evidence_zip import build_bundle
from registry.core.exports import Manifest, encode_sums
from registry.core.notes import NoteSignature, SignedNote
from registry.core.privacy import Certified
from registry.core.proofs import TlogProof
from registry.core.schemas import SchemaSet
from registry.core.times import format_time
from registry.core.trust import TrustState
from registry.core.trust_changes import Proposal
from registry.core.witnessing import AddCheckpoint
from registry.resources import schema_set
from tests.core.conftest import NOW, P256, Book

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests/golden/v1"
EXPECTED: dict[str, Any] = json.loads((GOLDEN / "expected.json").read_text("utf-8"))
ADMIN, MAKER, SECOND = P256(1001), P256(1002), P256(1003)
PERSON = "Jane Doe"
POINTER = f"""\
outs:
- md5: {"0a" * 16}.dir
  size: 12345
  nfiles: 3
  hash: md5
  path: 0-9
meta:
  genops:
    format: genops-segment-v1
    first: 0
    last: 9
    manifest_sha256: {"ab" * 32}
    sums_sha256: {"cd" * 32}
    checkpoint_sha256: {"ef" * 32}
""".encode()
SEGMENT_MANIFEST = json.dumps(
    [
        {"md5": f"{at:032x}", "relpath": path}
        for at, path in enumerate(("SHA256SUMS", "checkpoint", "a/b"))
    ]
).encode()
SEGMENT_SUMS = f"{'ab' * 32}  a/b\n{'cd' * 32}  c d\n".encode()
CONFIG = b"""\
version = 1
name = "studio"
uuid = "01890a5d-ac96-774b-bcce-b302099a8057"
project = "brand"
policy = "default"

[signers.generator]
uri = "pkcs11:token=a;object=b"
public_key = "generator.pub.pem"
"""
ROWS = tuple(
    json.dumps(row).encode()
    for row in (
        {"sha256": "ab" * 32, "md5": "cd" * 16, "size": 7},
        {"target": "mlflow", "first": 0, "last": 9},
    )
)
POLICY = b"""\
name: fuzzed
version: "1"
rules:
  - id: licence-known
    title: Every model has a licence
    severity: block
    when: materials.exists(m, m.kind == "model")
    require: >-
      materials.all(m, m.kind != "model" || (m.licence != "" && !(m.licence in lists.banned)))
    message: a model has no licence
    show: materials.filter(m, m.licence == "").map(m, m.name)
"""


@dataclass(frozen=True)
class World:
    """A log of five records with everything that is made of one: trust, taints, an erasure."""

    book: Book
    evidence: tuple[bytes, ...]
    bundle: bytes
    certificate: bytes
    proposal: bytes
    cosigned: bytes
    witness: CosignerKey
    request: bytes

    @property
    def vkey(self) -> str:
        """The log's key."""
        return str(self.book.vkey)


def golden(pattern: str) -> tuple[bytes, ...]:
    """Return the golden files of a name, in order."""
    return tuple(path.read_bytes() for path in sorted(GOLDEN.glob(pattern)))


def examples(*names: str, valid: bool = True) -> tuple[bytes, ...]:
    """Return the examples of schemas, of all of them when none is named."""
    kind = "valid-*" if valid else "*"
    folders = names or ("*",)
    paths = (path for name in folders for path in ROOT.glob(f"schemas/{name}/examples/{kind}.json"))
    return tuple(path.read_bytes() for path in sorted(paths))


@functools.cache
def schemas() -> SchemaSet:
    """Return the schemas of the package."""
    return schema_set()


@functools.cache
def statements() -> tuple[bytes, ...]:
    """Return a payload of every kind: the golden ones and the schemas' valid examples."""
    payloads = [Envelope.parse(data).payload for data in golden("record-*.dsse.json")]
    for data in examples():
        document = json.loads(data)
        if isinstance(document, dict) and "predicateType" in document:
            payloads.append(jsonio.dumps(document))
    return tuple(dict.fromkeys(payloads))


@functools.cache
def disclosure_texts() -> tuple[bytes, ...]:
    """Return the golden disclosures, one a text."""
    lines = b"".join(golden("record-*.disclosures.txt")).splitlines()
    return tuple(dict.fromkeys(lines))


@functools.cache
def world() -> World:
    """Return the log, made once."""
    book = Book(ADMIN, MAKER)
    book.add(book.trust(ADMIN.trusted("admin"), MAKER.trusted("generator", "reviewer")))
    book.add(book.taint(), MAKER)
    book.add(_erasure(book))
    state = _second_state(book)
    book.add(book.trust_v2(state, book.entries[0].record_id))
    book.add(book.taint("again"), MAKER)
    trust = (book.item(0), book.item(3))
    files = tuple(
        Evidence(book.item(at), book.disclosures[at], trust).to_bytes() for at in (1, 2, 3, 4)
    )
    proposed = book.trust_v2(replace(state, threshold=1), book.entries[3].record_id)
    proposal = Proposal(ADMIN.envelope(proposed.payload), proposed.disclosures)
    witness = CosignerKey("witness.example/w", book.vkey.public)
    note = SignedNote.parse(book.checkpoint())
    lines = (*note.signatures, witness.cosign(note.text, NOW // 1000, book.log.sign))
    path = merkle.consistency_proof(2, len(book.entries), book.node)
    return World(
        book,
        files,
        build_bundle(files[:2]),
        _certificate(book, book.entries[1].record_id, 2),
        proposal.to_bytes(),
        SignedNote(note.text, lines).to_bytes(),
        witness,
        AddCheckpoint(2, tuple(path), book.checkpoint()).to_bytes(),
    )


def evidence_of(payload: bytes, signer: P256) -> bytes:
    """Return evidence of any payload at all: signed, logged and proved as if it were sound."""
    made = world().book
    book = Book(ADMIN, MAKER, log=made.log)
    book.entries, book.envelopes = made.entries[:1], made.envelopes[:1]
    book.add(predicates.SealedPayload(payload, ()), signer)
    trust = [book.item(0)]
    if b"/predicate/trust/" in payload:
        trust.append(book.item(1))
    return Evidence(book.item(1), (), tuple(trust)).to_bytes()


def certificate_of(payload: bytes) -> bytes:
    """Return a certificate whose one erasure is any payload at all, logged as if it were sound."""
    made = world().book
    book = Book(ADMIN, MAKER, log=made.log)
    book.entries, book.envelopes = made.entries[:1], made.envelopes[:1]
    book.add(predicates.SealedPayload(payload, ()), ADMIN)
    return _certificate(book, made.entries[1].record_id, 1)


def proofs() -> tuple[bytes, ...]:
    """Return proofs of inclusion with and without extra data."""
    proof = TlogProof.parse(golden("record-1.tlog-proof")[0])
    extra = TlogProof(proof.index, proof.hashes, proof.checkpoint, b"opaque")
    return proof.to_bytes(), extra.to_bytes(), world().book.item(3).proof.to_bytes()


def notes() -> tuple[bytes, ...]:
    """Return signed notes: checkpoints, a cosigned one, one with a foreign signature."""
    first = SignedNote.parse(golden("checkpoint-10")[0])
    stranger = NoteSignature("other.example", b"abcd", b"s" * 70)
    foreign = SignedNote(first.text, (stranger, *first.signatures)).to_bytes()
    return (*golden("checkpoint-*"), world().cosigned, foreign)


def vkeys() -> tuple[bytes, ...]:
    """Return verifier keys of logs and of a witness."""
    made = world()
    return EXPECTED["vkey"].encode(), made.vkey.encode(), str(made.witness).encode()


def sums() -> tuple[bytes, ...]:
    """Return a list of digests with a file of every kind."""
    a, b = "a" * 64, "bc" * 32
    names = (
        "checkpoint", "log.vkey", "tile/0/000", "tile/entries/x001/067.p/8", f"blobs/aa/{a}",
        f"envelopes/bc/{b}.json", "sealed/000000000012.bin", "sidecars/outbox.ndjson",
        "home/genops.toml", "home/keys/log.pem", "home/witnessed/conflicts/a.checkpoint",
    )  # fmt: skip
    return (encode_sums(dict.fromkeys(names, a)), encode_sums({"checkpoint": b}))


def manifest() -> bytes:
    """Return an export's manifest."""
    return Manifest(
        "test", "0190", "brand", "default", ("blobs", "home", "log", "texts"), 10, "ab" * 32, 11,
        "cd" * 32,
    ).to_bytes()  # fmt: skip


def files_of(folder: Path, pattern: str) -> tuple[bytes, ...]:
    """Return the files of a folder, in order."""
    return tuple(path.read_bytes() for path in sorted(folder.glob(pattern)))


def _erasure(book: Book) -> predicates.SealedPayload:
    predicate = predicates.erasure(
        book.head(),
        record=book.entries[1].record_id,
        payload_sha256=book.entries[1].payload_sha256,
        pointers=["/predicate/reason"],
        reason="asked for",
    )
    return book.seal("erasure", predicate)


def _second_state(book: Book) -> TrustState:
    keys = (ADMIN.trusted("admin"), SECOND.trusted("admin"), MAKER.trusted("generator", "reviewer"))
    return TrustState(
        book.origin, str(book.vkey), {key.keyid: key for key in keys}, 2, 2, {"ab" * 32: NOW}
    )


def _certificate(book: Book, record: str, at: int) -> bytes:
    erasure = book.entries[at]
    lines = (Certified(record, format_time(erasure.time_ms), erasure.record_id),)
    salt = bytes(range(16))
    certificate = Certificate(
        book.origin, NOW + 60_000, "u-1", salt, certificates.name_digest(salt, PERSON),
        len(book.entries), lines,
    )  # fmt: skip
    envelope = ADMIN.envelope(certificate.payload())
    return certificates.to_bytes(envelope, lines, [book.item(at)], [book.item(0)])


def opener(index: int) -> Callable[[bytes], Any]:
    """Return a function that puts one disclosure into a golden statement."""
    document = json.loads(Envelope.parse(golden(f"record-{index}.dsse.json")[0]).payload)
    return lambda text: disclosures.unseal(document, [disclosures.parse(text.decode("utf-8"))])
