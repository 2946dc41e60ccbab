"""Evidence for many: one checkpoint, every record once, nothing of what was erased."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from registry.client import RemoteRegistry
from registry.core.evidence import Evidence, verify_evidence
from registry.core.evidence_zip import BundleReport, verify_bundle
from registry.core.generation import Generation
from registry.errors import InputError, NotFoundError
from registry.sdk import Registry
from tests.test_client import Server

Make = Callable[..., Generation]


def verified(registry: Registry, bundle: bytes) -> BundleReport:
    report = verify_bundle(bundle, log_vkey=registry.log.trust().log_vkey)
    assert report.ok, report
    return report


@pytest.fixture
def records(registry: Registry, generation: Make) -> list[str]:
    return [registry.record(generation(n, prompt=f"wish {n}")).record for n in range(3)]


def test_a_bundle_proves_every_record_once_against_one_checkpoint(
    registry: Registry, records: list[str]
) -> None:
    asset = registry.get(records[1]).id
    bundle = registry.evidence_bundle([*records, asset])
    assert {found.record_id for found in verified(registry, bundle).files.values()} == set(records)
    assert bundle.count(registry.log.checkpoint().splitlines()[2]) == 2 * len(records)
    assert registry.evidence_bundle(records[::-1]) == bundle
    for record in records:
        assert registry.evidence(record) in bundle


def test_texts_are_withheld_on_request_and_gone_once_erased(
    registry: Registry, records: list[str]
) -> None:
    registry.erase(records[0], reason="asked for")
    told = verified(registry, registry.evidence_bundle(records))
    shown = {found.record_id: json.dumps(found.document) for found in told.files.values()}
    assert "wish 0" not in shown[records[0]]
    assert "wish 1" in shown[records[1]]
    told = verified(registry, registry.evidence_bundle(records, texts=False))
    assert all(found.withheld for found in told.files.values())


def test_a_bundle_of_nothing_or_of_something_unknown_is_refused(
    registry: Registry, records: list[str]
) -> None:
    with pytest.raises(InputError) as error:
        registry.evidence_bundle([])
    assert error.value.code == "evidence.bundle"
    with pytest.raises(NotFoundError):
        registry.evidence_bundle([*records, "rec:" + "0" * 64])


def test_a_served_registry_gives_the_same_bundle(registry: Registry, records: list[str]) -> None:
    with Server(registry) as server, RemoteRegistry(server.url) as remote:
        assert remote.evidence_bundle(records) == registry.evidence_bundle(records)


def test_evidence_holds_the_trust_records_up_to_its_checkpoint(
    registry: Registry, records: list[str]
) -> None:
    file = Evidence.parse(registry.evidence(records[2]))
    assert [item.proof.index for item in file.trust] == list(registry.log.trust_indices())
    assert verify_evidence(file.to_bytes(), log_vkey=registry.log.trust().log_vkey).ok
