"""Statements: one reading of each payload, and nothing loose about subjects."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from registry.core import statements
from registry.core.statements import PREDICATES, Statement, Subject
from registry.errors import FormatError

HEX = "cd" * 32
SUBJECTS = (Subject("out/0", HEX, "image/png", {"width": 4}), Subject("out/1", HEX))
KIND = statements.predicate_uri("taint")


def payload(change: Callable[[dict[str, Any]], object] | None = None) -> bytes:
    document = json.loads(statements.build(SUBJECTS, KIND, {"invocationId": "x"}))
    if change is not None:
        before = copy.deepcopy(document)
        change(document)
        assert document != before
    return json.dumps(document).encode()


def test_what_is_built_is_parsed_to_the_same_values() -> None:
    parsed = Statement.parse(statements.build(SUBJECTS, KIND, {"invocationId": "x"}))
    assert (parsed.subjects, parsed.predicate_type) == (SUBJECTS, KIND)
    assert parsed.predicate == {"invocationId": "x"}
    assert statements.invocation_id(parsed) == "x"


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(extra=1),
        lambda d: d.pop("predicate"),
        lambda d: d.update(_type="https://in-toto.io/Statement/v0.1"),
        lambda d: d.update(predicateType=1),
        lambda d: d.update(predicate=[]),
        lambda d: d.update(subject=[]),
        lambda d: d.update(subject={}),
        lambda d: d["subject"].reverse(),
        lambda d: d["subject"].pop(0),
        lambda d: d["subject"].append("out/2"),
        lambda d: d["subject"][0].update(name="out/00"),
        lambda d: d["subject"][0].update(uri="x"),
        lambda d: d["subject"][0].update(mediaType=1),
        lambda d: d["subject"][0].update(annotations=[]),
        lambda d: d["subject"][0].pop("digest"),
        lambda d: d["subject"][0].update(digest=HEX),
        lambda d: d["subject"][0]["digest"].update(md5="00"),
        lambda d: d["subject"][0]["digest"].update(sha256=HEX.upper()),
        lambda d: d["subject"][0]["digest"].update(sha256=1),
        lambda d: d["subject"].extend(d["subject"][:1] * 255),
    ],
)
def test_a_loose_statement_is_refused(change: Callable[[dict[str, Any]], object]) -> None:
    with pytest.raises(FormatError) as refused:
        Statement.parse(payload(change))
    assert refused.value.code == "statement.invalid"


def test_a_statement_takes_256_subjects_and_no_more() -> None:
    subjects = [Subject(f"out/{n}", HEX) for n in range(257)]
    assert len(Statement.parse(statements.build(subjects[:256], KIND, {})).subjects) == 256
    with pytest.raises(FormatError):
        statements.build(subjects, KIND, {})


def test_a_payload_over_a_mebibyte_is_refused() -> None:
    with pytest.raises(FormatError):
        statements.build(SUBJECTS, KIND, {"text": "x" * 2**20})


@pytest.mark.parametrize(
    ("kind", "predicate"),
    [
        (
            statements.PREDICATE_GENERATION,
            {"runDetails": {"metadata": {"invocationId": "here"}}, "invocationId": "not here"},
        ),
        (
            statements.PREDICATE_DECISION,
            {"genops_invocation_id": "here", "invocationId": "not here"},
        ),
        (statements.predicate_uri("erasure"), {"invocationId": "here"}),
    ],
)
def test_the_invocation_id_has_one_place(kind: str, predicate: dict[str, Any]) -> None:
    assert statements.invocation_id(Statement(SUBJECTS, kind, predicate, {})) == "here"
    for empty in ({}, {"runDetails": 1}, {"invocationId": 7, "genops_invocation_id": ""}):
        with pytest.raises(FormatError):
            statements.invocation_id(Statement(SUBJECTS, kind, empty, {}))


def test_type_uris_are_fixed() -> None:
    assert statements.build_uri("diffusers") == "https://w3id.org/genops/build/diffusers/v1"
    assert KIND == "https://w3id.org/genops/predicate/taint/v1"
    assert len(PREDICATES) == 27
    assert statements.predicate_uri("trust", 2) == "https://w3id.org/genops/predicate/trust/v2"
    assert statements.schema_key(statements.predicate_uri("trust", 2)) == "trust/v2"
    assert {statements.predicate_name(uri) for uri in PREDICATES} >= {"generation", "decision"}
    assert statements.predicate_name("https://slsa.dev/provenance/v0.2") is None
