"""Certificates whose records are logged and proved, and say nothing that they should."""

from __future__ import annotations

import json
from typing import Any

import pytest

from registry.core import jsonio
from registry.core.certificates import verify_certificate
from registry.errors import FormatError
from tests.fuzz import samples

ERASURE: dict[str, Any] = json.loads(samples.world().book.envelopes[2].payload)


def problems(document: dict[str, Any]) -> tuple[str, ...]:
    data = samples.certificate_of(jsonio.dumps(document))
    return verify_certificate(data, log_vkey=samples.world().vkey).problems


def test_a_certificate_of_a_proved_erasure_holds() -> None:
    assert problems(ERASURE) == ()


@pytest.mark.parametrize("other", [{}, {"record": "rec:" + "0" * 64}, {"record": ["a"]}], ids=str)
def test_an_erasure_that_names_no_such_record_proves_nothing(other: dict[str, Any]) -> None:
    predicate = {k: v for k, v in ERASURE["predicate"].items() if k != "record"} | other
    (told,) = problems(ERASURE | {"predicate": predicate})
    assert "is not its erasure" in told


def test_another_persons_name_and_another_line_do_not_hold() -> None:
    made = samples.world()
    assert verify_certificate(made.certificate, log_vkey=made.vkey, name=samples.PERSON).ok
    assert not verify_certificate(made.certificate, log_vkey=made.vkey, name="John Doe").ok


def test_a_certificate_has_one_spelling() -> None:
    made = samples.world()
    assert verify_certificate(made.certificate + b"\n", log_vkey=made.vkey).ok
    document = json.loads(made.certificate)
    for other in (
        json.dumps(document),
        f" {made.certificate.decode()}",
        json.dumps(document, indent=1),
    ):
        with pytest.raises(FormatError) as refused:
            verify_certificate(other.encode(), log_vkey=made.vkey)
        assert refused.value.code == "certificate.invalid"
