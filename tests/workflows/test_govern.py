"""Taint, impact, gate and erase: what derives from a source is blocked, and nothing else."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.core.evidence import verify_evidence
from registry.core.generation import Generation, Material
from registry.errors import InputError, MaterialError, NotFoundError
from registry.factory import open_home
from registry.sdk import Registry

pytestmark = pytest.mark.both_databases

Make = Callable[..., Generation]

BASE = b"weights of a base model"
LORA = b"weights of a LoRA"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def material(name: str, kind: str, data: bytes) -> Material:
    return Material(name, kind, digest(data), storage="vaulted")


@pytest.fixture
def studio(registry: Registry, generation: Make) -> dict[str, str]:
    """Four assets: plain, with a LoRA, made from the one with a LoRA, and unrelated."""
    registry.register_model(
        digest(BASE), name="base", kind="model", licence="Apache-2.0", approved=True
    )
    registry.register_model(digest(LORA), name="lora", kind="lora", licence="Apache-2.0")
    base, lora = material("model/base", "model", BASE), material("lora/x", "lora", LORA)

    def record(seed: int, *materials: Material, blobs: tuple[bytes, ...] = ()) -> str:
        made = generation(seed, materials=materials)
        return registry.record(made, blobs=[BASE, LORA, *blobs]).assets[0]

    plain = record(1, base)
    with_lora = record(2, base, lora)
    parent = Material("input/init", "image", with_lora.removeprefix("sha256:"), storage="vaulted")
    child = record(3, base, parent)
    return {"plain": plain, "lora": with_lora, "child": child, "other": record(4, base)}


def blocked(registry: Registry, studio: dict[str, str]) -> set[str]:
    report = registry.gate(list(studio.values()))
    names = {asset: name for name, asset in studio.items()}
    return {names[d.id] for d in report.decisions if d.verdict == "fail"}


def test_the_gate_passes_what_is_declared_and_clean(
    registry: Registry, studio: dict[str, str]
) -> None:
    report = registry.gate(list(studio.values()))
    assert report.verdict == "pass"
    assert report.tree_size <= registry.log.head().size
    for decision in report.decisions:
        assert decision.record is not None
        events = registry.get(decision.id).events
        assert (decision.record, "PASSED") in {(e.record, e.summary) for e in events}


def test_a_taint_blocks_exactly_what_derives_from_it(
    registry: Registry, studio: dict[str, str]
) -> None:
    registry.taint(digest(LORA), reason="a rights holder objects")
    impact = registry.impact(digest(LORA))
    assert {asset.id for asset in impact.assets} == {studio["lora"], studio["child"]}
    assert impact.count == 2
    assert blocked(registry, studio) == {"lora", "child"}
    assert {a.id for a in registry.list(tainted=True)} == {studio["lora"], studio["child"]}
    (taint,) = registry.get(studio["child"]).taints
    assert (taint.direct, taint.reason) == (False, "a rights holder objects")

    registry.clear_taint(digest(LORA), reason="a licence was bought")
    assert blocked(registry, studio) == set()
    assert registry.list(tainted=True) == []


def test_a_tainted_asset_blocks_itself_and_its_children(
    registry: Registry, studio: dict[str, str]
) -> None:
    registry.taint(studio["lora"], reason="shows a trademark")
    assert blocked(registry, studio) == {"lora", "child"}
    direct = {taint.direct for taint in registry.get(studio["lora"]).taints}
    assert direct == {True}


def test_a_source_can_be_tainted_before_anything_was_made_from_it(
    registry: Registry, generation: Make
) -> None:
    registry.taint(digest(LORA), reason="known to be bad")
    lora = material("lora/x", "lora", LORA)
    made = registry.record(generation(1, materials=(lora,)), blobs=[LORA])
    assert [a.id for a in registry.list(tainted=True)] == [made.assets[0]]


def test_the_gate_fails_an_undeclared_model(registry: Registry, generation: Make) -> None:
    base = material("model/base", "model", BASE)
    asset = registry.record(generation(1, materials=(base,)), blobs=[BASE]).assets[0]
    assert registry.gate([asset]).verdict == "fail"


def test_a_lora_that_was_taken_in_or_made_here_needs_a_licence_all_the_same(
    registry: Registry, studio: dict[str, str], generation: Make, tmp_path: Path
) -> None:
    file = tmp_path / "bought.safetensors"
    file.write_bytes(b"weights of a LoRA that was bought")
    registry.ingest(file)
    bought = material("lora/bought", "lora", file.read_bytes())
    made = generation(7, materials=(material("model/base", "model", BASE), bought))
    asset = registry.record(made, blobs=[BASE, file]).assets[0]
    (decision,) = registry.gate([asset]).decisions
    failed = {rule.rule: rule.message for rule in decision.rules if rule.outcome == "fail"}
    assert failed.keys() == {"lora-licences"}
    assert "lora/bought" in failed["lora-licences"]
    registry.register_model(file, name="bought", kind="lora", licence="Apache-2.0")
    assert registry.gate([asset]).verdict == "pass"


def test_the_gate_fails_an_altered_blob(registry: Registry, studio: dict[str, str]) -> None:
    path = Path(registry.get(studio["plain"]).path or "")
    path.chmod(0o644)
    path.write_bytes(b"something else")
    assert blocked(registry, studio) == {"plain"}


def test_a_dry_run_decides_and_writes_nothing(registry: Registry, studio: dict[str, str]) -> None:
    size = registry.log.head().size
    report = registry.gate([studio["plain"]], record=False)
    assert report.verdict == "pass"
    assert report.decisions[0].record is None
    assert registry.log.head().size == size


def test_a_taint_needs_a_reason_and_something_to_clear(
    registry: Registry, studio: dict[str, str]
) -> None:
    with pytest.raises(InputError):
        registry.taint(studio["plain"], reason="  ")
    with pytest.raises(InputError):
        registry.taint(studio["plain"], reason="x", severity="horrible")
    with pytest.raises(NotFoundError):
        registry.clear_taint(studio["plain"], reason="x")


def test_erased_texts_are_gone_everywhere_and_proofs_stay_valid(
    registry: Registry, generation: Make, home: Path
) -> None:
    receipt = registry.record(generation(1, prompt="a very private wish"))
    registry.record(generation(2, prompt="something else"))
    assert b"private wish" in _clear(registry.evidence(receipt.record))
    registry.erase(receipt.record, reason="request 2026-114")

    passport = registry.get(receipt.record)
    assert passport.text == "erased"
    assert set(passport.parameters["prompt"]) == {"sealed"}
    assert passport.actor.get("name") != registry.settings.actor
    assert "private" not in repr(passport) + repr(registry.list())
    assert b"private" not in _clear(registry.evidence(receipt.record))
    assert registry.reproduce(receipt.record).verdict == "erased"
    assert registry.verify(receipt.record).ok
    assert registry.check_log().ok
    registry.close()
    with open_home(home) as again:
        assert again.get(receipt.record).text == "erased"
        (other,) = [a for a in again.list() if a.record != receipt.record]
        assert again.get(other.record).parameters["prompt"] == "something else"


def test_erasing_twice_is_harmless_and_needs_a_reason(registry: Registry, generation: Make) -> None:
    receipt = registry.record(generation(1))
    with pytest.raises(InputError):
        registry.erase(receipt.record, reason="")
    registry.erase(receipt.record, reason="once")
    registry.erase(receipt.record, reason="twice")
    assert registry.get(receipt.record).text == "erased"


def test_evidence_verifies_with_nothing_but_the_public_key(
    registry: Registry, studio: dict[str, str]
) -> None:
    vkey = (registry.settings.home.keys / "log.vkey").read_text()
    data = registry.evidence(studio["child"])
    report = verify_evidence(data, log_vkey=vkey)
    assert report.ok, report.failed
    assert report.record_id == registry.get(studio["child"]).record
    withheld = verify_evidence(registry.evidence(studio["child"], texts=False), log_vkey=vkey)
    assert withheld.ok
    assert any(pointer.endswith("/prompt") for pointer in withheld.withheld)
    for position in range(0, len(data), max(1, len(data) // 60)):
        flipped = data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]
        assert not verify_evidence(flipped, log_vkey=vkey).ok, position


def test_lineage_goes_up_and_down(registry: Registry, studio: dict[str, str]) -> None:
    up = registry.lineage(studio["child"])
    assert {node.kind for node in up.nodes} >= {"generated", "model", "lora"}
    down = registry.lineage(digest(LORA), direction="down")
    assert {n.id for n in down.nodes} == {f"sha256:{digest(LORA)}", studio["lora"], studio["child"]}
    near = registry.lineage(studio["child"], depth=1)
    assert not near.complete
    assert {node.depth for node in near.nodes} == {0, 1}
    with pytest.raises(InputError):
        registry.lineage(studio["child"], direction="sideways")


def test_a_missing_material_is_named_when_reproducing(registry: Registry, generation: Make) -> None:
    lora = material("lora/x", "lora", LORA)
    receipt = registry.record(generation(1, materials=(lora,)), blobs=[LORA])
    for file in (registry.settings.home.vault / ".dvc" / "cache").rglob("*"):
        if file.is_file() and file.read_bytes() == LORA:
            file.unlink()
    with pytest.raises(MaterialError) as caught:
        registry.reproduce(receipt.record)
    assert "lora/x" in caught.value.message


def _clear(evidence: bytes) -> bytes:
    """Return an evidence file with its disclosures decoded beside it."""
    import base64
    import json

    texts = json.loads(evidence)["disclosures"]
    return evidence + b"".join(base64.urlsafe_b64decode(t + "=" * (-len(t) % 4)) for t in texts)
