"""Nothing passes for something else: types, roles, versions, and the parts of evidence."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.core import jsonio
from registry.core.dsse import Envelope
from registry.core.evidence import Evidence, verify_evidence
from registry.core.statements import PREDICATES, Statement, predicate_uri
from registry.core.trust import ROLE_FOR, ROLES, TrustState, is_trust
from registry.errors import FormatError, SchemaError, TrustError
from registry.log.submission import Submission
from tests.core.conftest import NOW
from tests.fuzz import samples
from tests.log.conftest import Lab

DOCUMENTS: list[dict[str, Any]] = [json.loads(data) for data in samples.statements()]
BY_TYPE = {document["predicateType"]: document for document in DOCUMENTS}
UNKNOWN = (
    predicate_uri("trust", 3),
    predicate_uri("taint", 2),
    predicate_uri("taint") + "/",
    predicate_uri("Taint"),
    predicate_uri("taint").replace("https", "http"),
    predicate_uri("t\u0430int"),
    predicate_uri("erasure-certificate"),
    "https://slsa.dev/provenance/v2",
    "https://slsa.dev/provenance/v1 ",
    "",
)


def test_there_is_a_sample_of_every_predicate() -> None:
    assert BY_TYPE.keys() == PREDICATES


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d["predicateType"].split("/")[-2])
def test_a_predicate_under_another_type_does_not_fit_its_schema(document: dict[str, Any]) -> None:
    samples.schemas().check_statement(document)
    for other in PREDICATES - {document["predicateType"]}:
        with pytest.raises(SchemaError) as refused:
            samples.schemas().check_statement({**document, "predicateType": other})
        assert refused.value.code == "schema.invalid"


@pytest.mark.parametrize("kind", UNKNOWN)
def test_a_type_or_version_that_is_not_known_is_refused(kind: str) -> None:
    for document in BY_TYPE.values():
        with pytest.raises(SchemaError) as refused:
            samples.schemas().check_statement({**document, "predicateType": kind})
        assert refused.value.code == "schema.unknown-predicate"
    with pytest.raises(TrustError) as unsigned:
        _state().authorize(samples.ADMIN.envelope(b"{}"), kind, NOW + 1)
    assert unsigned.value.code == "trust.unknown-predicate"


def _state() -> TrustState:
    first = samples.world().book.envelopes[0]
    return TrustState.genesis(Statement.parse(first.payload), first)


def test_each_role_records_only_what_is_its_own(tmp_path: Path) -> None:
    """Submit a statement of every type by every role, to a real log."""
    lab = Lab(tmp_path)
    sequencer = lab.sequencer()
    lab.fill(1, sequencer)
    others = {kind: doc for kind, doc in BY_TYPE.items() if not is_trust(kind)}
    for kind, document in others.items():
        payload = jsonio.dumps(document)
        for role in set(ROLES) - {"log", ROLE_FOR[kind]}:
            with pytest.raises(TrustError) as refused:
                sequencer.submit(Submission(lab.envelope(payload, by=role)))
            assert refused.value.code == "trust.missing-role", (kind, role)
        assert sequencer.submit(Submission(lab.envelope(payload, by=ROLE_FOR[kind]))).new
    assert lab.size() == 1 + len(others)


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/vnd.in-toto", "APPLICATION/VND.IN-TOTO+JSON"]
)
def test_a_payload_of_another_type_is_no_envelope(kind: str) -> None:
    for data in samples.golden("record-*.dsse.json"):
        other = data.replace(b"application/vnd.in-toto+json", kind.encode())
        with pytest.raises(FormatError):
            Envelope.parse(other)


def test_the_parts_of_two_records_make_no_evidence() -> None:
    first, second = (Evidence.parse(data) for data in samples.world().evidence[:2])
    parts = ("envelope", "entry", "proof")
    for number in range(1, 2 ** len(parts) - 1):
        taken = {
            name: getattr(second.record, name) for at, name in enumerate(parts) if number >> at & 1
        }
        mixed = replace(first, record=replace(first.record, **taken))
        report = verify_evidence(mixed.to_bytes(), log_vkey=samples.world().vkey)
        assert not report.ok, taken.keys()
        assert report.document is None or report.record_id is None


def test_a_text_of_one_record_does_not_fit_another() -> None:
    first, second = (Evidence.parse(data) for data in samples.world().evidence[:2])
    mixed = replace(first, disclosures=second.disclosures)
    report = verify_evidence(mixed.to_bytes(), log_vkey=samples.world().vkey)
    assert [check.name for check in report.failed] == ["disclosures"]


def test_a_trust_record_stands_for_no_other_place() -> None:
    found = Evidence.parse(samples.world().evidence[3])
    first, second = found.trust
    for trust in ((second, first), (second,), (first, first), (first, found.record)):
        report = verify_evidence(
            replace(found, trust=trust).to_bytes(), log_vkey=samples.world().vkey
        )
        assert not report.ok
