"""From a captured generation, and from our own builders, to statements that fit their schemas."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from registry.core import (
    bank_predicates,
    digests,
    disclosures,
    modelsets,
    predicates,
    provenance,
    replay_predicates,
    statements,
    trust_predicates,
)
from registry.core.generation import Generation, Material, ModelFile, Output, Sealed
from registry.core.predicates import DecisionRecord, Head, SealedPayload
from registry.core.replay_predicates import AuditRecord
from registry.core.schemas import SchemaSet
from registry.core.statements import Statement, Subject, predicate_uri
from registry.errors import FormatError, InputError

Salts = Callable[[], bytes]
ID = "01890a5d-ac96-774b-bcce-b302099a8057"
HEX = "ef" * 32
REC, ASSET = "rec:" + HEX, "sha256:" + HEX
FILES = (ModelFile("a.safetensors", 3, HEX),)
PROMPT = "a house\x00 — дом 🏠"
ACTOR = predicates.actor("u-1", "oidc", "Ada Lovelace")
HEAD = Head(ID, "house", ACTOR)
BASE = Material(
    "model/base", "model", modelsets.modelset_digest(FILES), uri="pkg:x/y@1", files=FILES
)
LORA = Material("lora/x", "lora", HEX, storage="vaulted", annotations={"file": Sealed("me.st")})
INIT = Material("input/init", "image", HEX, media_type="image/png", output_of=REC)
GENERATION = Generation(
    build_type=statements.build_uri("callable"),
    external={"prompt": Sealed(PROMPT), "steps": 20, "scale": 7.5},
    internal={"dtype": "float16", "host": Sealed("render-07")},
    materials=[BASE, LORA, INIT],
    outputs=[
        Output(b"one", "image/png", seed="18446744073709551615", width=2, height=1, pixels=HEX),
        Output(b"two", "text/plain", batch_index=1, materials=("lora/x",),
               extra={"prompt": Sealed(PROMPT)}),
    ],
    started_ms=1,
    finished_ms=2,
    builder_id="https://example.org/worker",
    builder_version={"registry": "0.1.0"},
)  # fmt: skip


def payload(g: Generation, salts: Salts, **changes: Any) -> SealedPayload:
    wanted: dict[str, Any] = {
        "project": "house", "actor": ACTOR, "invocation_id": ID, "salts": salts
    }  # fmt: skip
    subjects = changes.pop("subjects", provenance.output_subjects(g))
    return provenance.generation_payload(g, subjects, **(wanted | changes))


def test_a_generation_is_slsa_provenance(salts: Salts, schemas: SchemaSet) -> None:
    sealed = payload(GENERATION, salts)
    statement = Statement.parse(sealed.payload)
    schemas.check_statement(statement.document)
    definition = statement.predicate["buildDefinition"]
    details = statement.predicate["runDetails"]
    assert statement.predicate_type == "https://slsa.dev/provenance/v1"
    assert definition.keys() == {
        "buildType", "externalParameters", "internalParameters", "resolvedDependencies"
    }  # fmt: skip
    assert details["metadata"] == {
        "invocationId": ID,
        "startedOn": "1970-01-01T00:00:00.001Z",
        "finishedOn": "1970-01-01T00:00:00.002Z",
    }
    assert details["builder"] == {
        "id": "https://example.org/worker", "version": {"registry": "0.1.0"}
    }  # fmt: skip
    assert statements.invocation_id(statement) == ID
    assert statement.predicate["genops_reproducible"] == {"reproducible": True, "reasons": []}
    assert "genops_campaign" not in statement.predicate


def test_materials_are_resource_descriptors(salts: Salts) -> None:
    statement = Statement.parse(payload(GENERATION, salts).payload)
    base, lora, init = statement.predicate["buildDefinition"]["resolvedDependencies"]
    assert base == {
        "name": "model/base",
        "uri": "pkg:x/y@1",
        "digest": {"sha256": BASE.sha256},
        "annotations": {
            "genops_kind": "model",
            "genops_storage": "referenced",
            "genops_digest": "modelset-v1",
        },
    }
    assert lora["annotations"]["genops_storage"] == "vaulted"
    assert lora["annotations"]["genops_digest"] == "sha256"
    assert disclosures.sealed_digest(lora["annotations"]["file"])
    assert init["mediaType"] == "image/png"
    assert init["annotations"]["genops_output_of"] == REC


def test_each_subject_has_its_own_seed_and_materials(salts: Salts) -> None:
    statement = Statement.parse(payload(GENERATION, salts).payload)
    one, two = statement.predicate["genops_outputs"]
    assert one == {
        "subject": "out/0",
        "seed": "18446744073709551615",
        "batch_index": 0,
        "materials": ["model/base", "lora/x", "input/init"],
    }
    assert two["materials"] == ["lora/x"]
    assert "seed" not in two
    assert statement.subjects[0] == Subject(
        "out/0",
        digests.sha256_hex(b"one"),
        "image/png",
        {"size": 3, "width": 2, "height": 1, "pixels-v1": HEX},
    )
    assert statement.subjects[1].annotations == {"size": 3}


def test_no_sealed_text_is_in_the_payload_and_all_of_it_comes_back(salts: Salts) -> None:
    sealed = payload(GENERATION, salts)
    for text in ("house\\u0000", "render-07", "me.st", "Ada Lovelace", PROMPT):
        assert text.encode() not in sealed.payload.replace(b'"house"', b"")
    document = json.loads(sealed.payload)
    assert {item.name for item in sealed.disclosures} == {
        "/predicate/buildDefinition/externalParameters/prompt",
        "/predicate/buildDefinition/internalParameters/host",
        "/predicate/buildDefinition/resolvedDependencies/1/annotations/file",
        "/predicate/genops_actor/name",
        "/predicate/genops_outputs/1/prompt",
    }
    opened = disclosures.unseal(document, sealed.disclosures)["predicate"]
    assert opened["buildDefinition"]["externalParameters"]["prompt"] == PROMPT
    assert opened["genops_outputs"][1]["prompt"] == PROMPT
    assert opened["genops_actor"]["name"] == "Ada Lovelace"


def test_what_cannot_be_replayed_says_why(salts: Salts, schemas: SchemaSet) -> None:
    g = dataclasses.replace(GENERATION, reasons=["a callback was given"], campaign="spring")
    statement = Statement.parse(payload(g, salts).payload)
    schemas.check_statement(statement.document)
    assert statement.predicate["genops_reproducible"] == {
        "reproducible": False, "reasons": ["a callback was given"]
    }  # fmt: skip
    assert statement.predicate["genops_campaign"] == "spring"


def with_material(**changes: Any) -> Generation:
    return dataclasses.replace(GENERATION, materials=[dataclasses.replace(LORA, **changes)])


@pytest.mark.parametrize(
    "g",
    [
        dataclasses.replace(GENERATION, materials=[LORA, LORA]),
        dataclasses.replace(GENERATION, materials=[]),
        with_material(sha256="ab"),
        with_material(name=""),
        with_material(storage="elsewhere"),
        with_material(files=FILES),
        with_material(annotations={"genops_kind": "model"}),
        dataclasses.replace(
            GENERATION, outputs=[Output(b"x", "text/plain", extra={"subject": "out/9"})]
        ),
    ],
)
def test_a_contradictory_generation_is_refused(g: Generation, salts: Salts) -> None:
    with pytest.raises(InputError) as refused:
        payload(g, salts)
    assert refused.value.code == "generation.invalid"


def test_there_is_one_subject_per_output(salts: Salts) -> None:
    with pytest.raises(InputError):
        payload(GENERATION, salts, subjects=provenance.output_subjects(GENERATION)[:1])
    swapped = provenance.output_subjects(GENERATION)[::-1]
    with pytest.raises(FormatError):
        payload(GENERATION, salts, subjects=swapped)


@pytest.mark.parametrize("value", [float("nan"), 2**53, object()])
def test_values_that_json_cannot_carry_are_refused(value: Any, salts: Salts) -> None:
    with pytest.raises(FormatError):
        payload(dataclasses.replace(GENERATION, external={"a": [value]}), salts)


def test_a_payload_over_a_mebibyte_is_refused_unless_its_text_is_sealed(salts: Salts) -> None:
    text = "x" * 2**20
    with pytest.raises(FormatError):
        payload(dataclasses.replace(GENERATION, external={"a": text}), salts)
    sealed = payload(dataclasses.replace(GENERATION, external={"a": Sealed(text)}), salts)
    assert len(sealed.payload) < 4096


DECISION = DecisionRecord(
    verifier_id="https://example.org/gate",
    verified_ms=5,
    resource_uri=ASSET,
    policy_uri="genops:policy/default",
    passed=True,
    facts_sha256=HEX,
    tree_size=7,
    bundle={"name": "default", "version": "1", "sha256": HEX},
    rules=[{"id": "r", "outcome": "pass"}],
)
OWN: dict[str, dict[str, Any]] = {
    "ingest": predicates.ingest(HEAD, source="a.png", media_type="image/png", note="n",
                                parents=[{"digest": HEX, "output_of": REC}]),
    "taint": predicates.taint(HEAD, kind="record", target=REC, action="clear", severity="low",
                              reason="r"),
    "erasure": predicates.erasure(HEAD, record=REC, payload_sha256=HEX, pointers=["/a"],
                                  reason="r"),
    "reproduction": predicates.reproduction(HEAD, record=REC, verdict="identical",
                                            original_sha256=HEX),
    "model": predicates.model(HEAD, name="n", kind="lora", digest_kind="sha256", licence="MIT",
                              approved=False),
    "review": predicates.review(HEAD, verdict="rejected", reason="r"),
    "waiver": predicates.waiver(HEAD, rule="r", requested_by="u-2", expires_ms=9, reason="r"),
    "claim": predicates.claim(HEAD, kind="licence", text="t"),
    "publication": predicates.publication(HEAD, channel="web", published_ms=9, location="here"),
    "release": predicates.release(HEAD, action="release", channel="web", decision=REC),
    "draft": predicates.draft(HEAD, action="expire", after_hours=720, reason="r"),
    "hold": predicates.hold(HEAD, action="lift", target=ASSET, reason="r"),
    "incident": predicates.incident(HEAD, incident_id=digests.incident_id(ID), state="closed",
                                    reason="r"),
    "bank-entry": predicates.bank_entry(HEAD, bank="b", action="remove",
                                        fingerprints={"phash256-v1": "00"}),
    "bank": bank_predicates.bank(HEAD, name="b", kind="negative", owner="o", description="d"),
    "match-verdict": predicates.match_verdict(HEAD, candidate=ASSET, fingerprint="p", distance=2,
                                              verdict="confirmed", reason="r"),
    "calibration": predicates.calibration(HEAD, name="n", fingerprint="p", samples=3,
                                          bounds={"a": 1.5}),
    "reattestation": trust_predicates.reattestation(HEAD, record=REC, payload_sha256=HEX,
                                                    trust_record=REC, reason="r"),
    "audit": replay_predicates.audit(HEAD, AuditRecord(
        {"treeSize": 3, "matching": 2, "chosen": 2}, 1, 2, "ray", 4, {"identical": 2}, HEX,
        reproductions=[REC, REC])),
}  # fmt: skip


@pytest.mark.parametrize("name", OWN)
def test_every_builder_fits_its_schema_and_keeps_its_invocation(
    name: str, salts: Salts, schemas: SchemaSet
) -> None:
    subject = Subject("out/0", HEX)
    sealed = predicates.seal_statement([subject], predicate_uri(name), OWN[name], salts)
    statement = Statement.parse(sealed.payload)
    schemas.check_statement(statement.document)
    assert statements.invocation_id(statement) == ID
    assert b"Ada Lovelace" not in sealed.payload
    assert sealed.payload_sha256 == digests.sha256_hex(sealed.payload)


def test_the_builders_are_all_tested() -> None:
    assert OWN.keys() | {"trust"} == set(statements.OWN_PREDICATES)


@pytest.mark.parametrize("passed", [True, False])
def test_a_decision_is_a_verification_summary(
    passed: bool, salts: Salts, schemas: SchemaSet
) -> None:
    record = dataclasses.replace(DECISION, passed=passed)
    predicate = predicates.decision(HEAD, record)
    kind = statements.PREDICATE_DECISION
    sealed = predicates.seal_statement([Subject("out/0", HEX)], kind, predicate, salts)
    statement = Statement.parse(sealed.payload)
    schemas.check_statement(statement.document)
    assert statements.invocation_id(statement) == ID
    assert statement.predicate["policy"]["digest"] == {"sha256": HEX}
    result = statement.predicate["verificationResult"], statement.predicate["verifiedLevels"]
    assert result == (("PASSED", ["GENOPS_CLEARED"]) if passed else ("FAILED", ["FAILED"]))
