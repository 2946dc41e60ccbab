"""Files of format version 1 are read, verified and explained by every later release, for ever.

The files are never regenerated: a failure here means that existing logs can no longer be read.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from registry.core import (
    checkpoints,
    digests,
    disclosures,
    evidence,
    jsonio,
    merkle,
    modelsets,
    notes,
    pixels,
    statements,
    tiles,
)
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.generation import Sealed
from registry.core.merkle import Frontier
from registry.core.proofs import TlogProof
from registry.core.schemas import SchemaSet
from registry.core.statements import Statement
from registry.core.trust import PREDICATE_TRUST, TrustState

FOLDER = Path(__file__).parent / "v1"
SCHEMAS = FOLDER.parents[2] / "schemas"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text("utf-8"))
INDICES = range(len(EXPECTED["records"]))
ENTRIES = [
    LogEntry.parse(data) for data in tiles.decode_bundle((FOLDER / "entries.bundle").read_bytes())
]
LEAVES = [entry.leaf_hash() for entry in ENTRIES]
SIZE = len(ENTRIES)


def read(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


def envelope(index: int) -> Envelope:
    return Envelope.parse(read(f"record-{index}.dsse.json"))


def texts(index: int) -> tuple[disclosures.Disclosure, ...]:
    lines = read(f"record-{index}.disclosures.txt").decode("ascii").splitlines()
    return tuple(map(disclosures.parse, lines))


def root(size: int) -> bytes:
    return bytes.fromhex(EXPECTED["roots"][size])


@pytest.mark.parametrize("index", INDICES)
def test_envelopes_entries_and_ids_belong_together(index: int) -> None:
    signed, entry = envelope(index), ENTRIES[index]
    assert signed.to_bytes() == read(f"record-{index}.dsse.json")
    assert entry.payload_sha256 == signed.payload_sha256
    assert entry.envelope_sha256 == signed.sha256 == digests.sha256_hex(signed.to_bytes())
    assert entry.record_id == EXPECTED["records"][index]


@pytest.mark.parametrize("index", INDICES)
def test_statements_serialise_and_fit_their_schemas_as_then(index: int) -> None:
    statement = Statement.parse(envelope(index).payload)
    assert jsonio.dumps(statement.document) == envelope(index).payload
    documents = {
        f"{p.parent.name}/v1": json.loads(p.read_text()) for p in SCHEMAS.glob("*/v1.json")
    }
    SchemaSet(documents).check_statement(statement.document)


@pytest.mark.parametrize("index", INDICES)
def test_sealed_texts_open(index: int) -> None:
    document = Statement.parse(envelope(index).payload).document
    opened = disclosures.unseal(document, texts(index))
    assert disclosures.sealed_pointers(opened) == {}
    assert opened != document


def test_a_prompt_with_nul_and_directional_marks_is_kept_to_the_byte() -> None:
    opened = disclosures.unseal(Statement.parse(envelope(1).payload).document, texts(1))
    prompt = opened["predicate"]["buildDefinition"]["externalParameters"]["prompt"]
    assert prompt == EXPECTED["prompt"]
    assert "\0" in prompt


def test_sealing_again_gives_the_same_digest() -> None:
    first = texts(1)[0]
    salt = base64.urlsafe_b64decode(first.salt + "==")
    document: Any = Sealed(first.value)
    for step in reversed(first.name.split("/")[1:]):
        document = {step: document}
    _, made = disclosures.seal(document, lambda: salt)
    assert made[0].encode() == first.encode()


def test_signers_had_authority_at_log_time() -> None:
    state = TrustState.genesis(Statement.parse(envelope(0).payload), envelope(0))
    signers = []
    for index in INDICES[1:]:
        statement, time_ms = Statement.parse(envelope(index).payload), ENTRIES[index].time_ms
        signers.append(state.authorize(envelope(index), statement.predicate_type, time_ms).keyid)
        if statement.predicate_type == PREDICATE_TRUST:
            state = state.apply(statement, envelope(index), time_ms)
    names = {keyid: name for name, keyid in EXPECTED["keyids"].items()}
    order = "maker judge maker judge judge maker admin admin judge"
    assert [names[keyid] for keyid in signers] == order.split()


def test_invocation_ids_are_found_and_distinct() -> None:
    found = {statements.invocation_id(Statement.parse(envelope(i).payload)) for i in INDICES}
    assert len(found) == SIZE


@pytest.mark.parametrize("size", range(SIZE + 1))
def test_roots_are_those_of_then(size: int) -> None:
    assert merkle.subtree_root(LEAVES[:size]) == root(size)


def test_tree_files_are_those_of_then() -> None:
    assert b"".join(LEAVES) == read("leaves.tile")
    assert Frontier.from_bytes(SIZE, read("frontier.bin")).root() == root(SIZE)
    assert tiles.encode_bundle([entry.to_bytes() for entry in ENTRIES]) == read("entries.bundle")


@pytest.mark.parametrize("size", [3, 10])
def test_checkpoints_verify(size: int) -> None:
    head = checkpoints.verify(read(f"checkpoint-{size}"), EXPECTED["vkey"])
    assert (head.origin, head.size, head.root) == (EXPECTED["origin"], size, root(size))
    assert notes.SignedNote.parse(read(f"checkpoint-{size}")).to_bytes() == read(
        f"checkpoint-{size}"
    )


def test_proofs_verify() -> None:
    proof = TlogProof.parse(read("record-1.tlog-proof"))
    assert proof.to_bytes() == read("record-1.tlog-proof")
    assert proof.verify(LEAVES[1], EXPECTED["vkey"]).size == SIZE
    path = [bytes.fromhex(text) for text in EXPECTED["consistency_3"]]
    merkle.verify_consistency(3, SIZE, path, root(3), root(SIZE))


@pytest.mark.parametrize(("name", "withheld"), [("open", 0), ("sealed", 6)])
def test_evidence_verifies_offline(name: str, withheld: int) -> None:
    data = read(f"evidence-{name}.json")
    report = evidence.verify_evidence(data, log_vkey=EXPECTED["vkey"])
    assert report.ok, report.checks
    assert report.record_id == EXPECTED["records"][1]
    assert len(report.withheld) == withheld
    assert evidence.Evidence.parse(data).to_bytes() == data


def test_digests_are_those_of_then() -> None:
    files = modelsets.parse_modelset(read("modelset.json"))
    assert modelsets.modelset_digest(files) == EXPECTED["modelset-v1"]
    assert pixels.pixels_v1(2, 2, bytes.fromhex(EXPECTED["rgba"])) == EXPECTED["pixels-v1"]
