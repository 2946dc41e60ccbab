"""What `record` promises: all or nothing, durable, sealed, and the same from any thread."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from registry.core.fingerprint import FingerprintValue
from registry.core.generation import Generation, Material, ModelFile, Output
from registry.core.modelsets import modelset_digest
from registry.errors import ConflictError, InputError, MaterialError
from registry.sdk import Registry

pytestmark = pytest.mark.both_databases

Make = Callable[..., Generation]


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_recorded_asset_is_listed_shown_and_verified(
    registry: Registry, generation: Make
) -> None:
    made = generation(7, campaign="mugs")
    receipt = registry.record(made)
    (line,) = registry.list(campaign="mugs")
    passport = registry.get(receipt.assets[0])
    assert line.id == receipt.assets[0] == f"sha256:{sha256(made.outputs[0].data)}"
    assert line.record == passport.record == receipt.record
    assert Path(line.path or "").read_bytes() == made.outputs[0].data
    assert (passport.seed, passport.campaign, passport.kind) == ("7", "mugs", "generated")
    assert passport.parameters["prompt"] == "a red mug on a blue table"
    assert registry.verify(receipt.record).ok


def test_threads_record_at_once_and_every_acknowledged_record_is_there(
    registry: Registry, generation: Make
) -> None:
    made = [generation(seed) for seed in range(40)]
    with ThreadPoolExecutor(8) as pool:
        receipts = list(pool.map(registry.record, made))
    assert sorted(receipt.index for receipt in receipts) == list(range(1, 41))
    assert {line.record for line in registry.list()} == {receipt.record for receipt in receipts}
    assert registry.check_log().ok


@pytest.mark.parametrize(
    "prompt",
    [
        "a" * 1_000_000,
        "nul \0 inside",
        "\u202eright to left\u202c",
        "🦊👩‍👩‍👧 emoji",
        "é vs e\u0301",
        "",
    ],
    ids=["a megabyte", "NUL", "right-to-left", "emoji", "not normalised", "empty"],
)
def test_any_unicode_prompt_comes_back_as_it_was(
    registry: Registry, generation: Make, prompt: str
) -> None:
    receipt = registry.record(generation(1, prompt=prompt))
    assert registry.get(receipt.record).parameters["prompt"] == prompt
    assert registry.verify(receipt.record).ok


@pytest.mark.parametrize("prompt", ["half \ud800 pair", "x" * (4 * 1024 * 1024 + 1)])
def test_an_unusable_prompt_is_refused_and_nothing_is_written(
    registry: Registry, generation: Make, prompt: str
) -> None:
    with pytest.raises(InputError) as caught:
        registry.record(generation(1, prompt=prompt))
    assert caught.value.code == "input.text"
    assert registry.log.head().size == 1
    assert registry.list() == []


def test_the_prompt_is_nowhere_in_the_database_in_the_clear(
    registry: Registry, generation: Make
) -> None:
    registry.record(generation(1, prompt="an unmistakable sentence"))
    for file in registry.settings.home.root.rglob("*"):
        if file.is_file():
            assert b"unmistakable" not in file.read_bytes(), file


def test_outputs_of_a_batch_keep_their_own_seed_and_materials(
    registry: Registry, generation: Make
) -> None:
    mask = b"mask of the second picture only"
    material = Material("input/mask", "mask", sha256(mask), storage="vaulted")
    outputs = tuple(
        Output(
            data=output.data,
            media_type="image/png",
            seed=str(number),
            batch_index=number,
            materials=("input/mask",) if number else (),
        )
        for number, output in enumerate(
            (generation(1).outputs[0], generation(2).outputs[0]), start=0
        )
    )
    receipt = registry.record(generation(1, outputs=outputs, materials=(material,)), blobs=[mask])
    first, second = (registry.get(asset) for asset in receipt.assets)
    assert (first.seed, second.seed) == ("0", "1")
    assert [m.name for m in first.materials] == []
    assert [m.name for m in second.materials] == ["input/mask"]
    assert [a.id for a in registry.impact(material.sha256).assets] == [receipt.assets[1]]


def test_a_picture_that_is_not_decoded_is_recorded_without_a_fingerprint(
    registry: Registry, generation: Make
) -> None:
    drawing = Output(data=b"<svg xmlns='http://www.w3.org/2000/svg'/>", media_type="image/svg+xml")
    receipt = registry.record(generation(1, outputs=(drawing,)))
    assert registry.verify(receipt.record).ok
    assert registry.find(registry.blob(receipt.assets[0]).read_bytes()).matches[0].kind == "exact"


def test_a_vaulted_material_without_its_bytes_is_refused(
    registry: Registry, generation: Make
) -> None:
    material = Material("lora/x", "lora", sha256(b"weights"), storage="vaulted")
    with pytest.raises(MaterialError) as caught:
        registry.record(generation(1, materials=(material,)))
    assert caught.value.code == "material.missing"
    assert "lora/x" in caught.value.message
    assert registry.log.head().size == 1


def test_a_model_folder_is_one_material_and_its_manifest_is_kept(
    registry: Registry, generation: Make
) -> None:
    parts = {"config.json": b"{}", "weights.safetensors": b"weights"}
    files = tuple(ModelFile(p, len(d), sha256(d)) for p, d in parts.items())
    material = Material(
        "model/base", "model", modelset_digest(files), storage="vaulted", files=files
    )
    receipt = registry.record(generation(1, materials=(material,)), blobs=list(parts.values()))
    (shown,) = registry.get(receipt.record).materials
    assert shown.id == f"sha256:{material.sha256}"
    assert registry.impact(material.sha256).count == 1


def test_the_same_invocation_with_another_payload_is_a_conflict(
    registry: Registry, generation: Make
) -> None:
    invocation = "01990000-0000-7000-8000-000000000001"
    registry.record(generation(1, invocation_id=invocation))
    with pytest.raises(ConflictError):
        registry.record(generation(2, invocation_id=invocation))
    assert registry.log.head().size == 2


@pytest.mark.parametrize("count", [0, 257])
def test_an_unfit_number_of_outputs_is_refused(
    registry: Registry, generation: Make, count: int
) -> None:
    output = generation(1).outputs[0]
    with pytest.raises(InputError) as caught:
        registry.record(generation(1, outputs=(output,) * count))
    assert caught.value.code == "record.outputs"


def test_the_same_bytes_made_twice_are_one_asset_with_two_records(
    registry: Registry, generation: Make
) -> None:
    first = registry.record(generation(1))
    second = registry.record(generation(1))
    assert first.assets == second.assets
    passport = registry.get(first.assets[0])
    assert passport.record == second.record
    assert first.record in {event.record for event in passport.events}


def test_the_actor_is_a_pseudonym_and_the_name_is_sealed(
    registry: Registry, generation: Make
) -> None:
    first = registry.record(generation(1), actor="Ada Lovelace")
    second = registry.record(generation(2), actor="Ada Lovelace")
    one, two = registry.get(first.record).actor, registry.get(second.record).actor
    assert one["pseudonym"] == two["pseudonym"]
    assert one["name"] == "Ada Lovelace"
    assert b"Lovelace" not in registry.log.envelope(first.index).payload


def test_a_fingerprint_of_other_bytes_is_refused(registry: Registry, generation: Make) -> None:
    other = FingerprintValue("a" * 64, "phash", b"12345678", 100)
    output = replace(generation(1).outputs[0], fingerprints=(other,))
    with pytest.raises(InputError) as caught:
        registry.record(generation(1, outputs=(output,)))
    assert caught.value.code == "record.fingerprint"
    assert registry.log.head().size == 1
