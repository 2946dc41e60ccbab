"""Materials of a replay: each is laid out with the digest that the record names, or refused."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.core.generation import Generation, Material, Sealed
from registry.core.modelsets import modelset_digest
from registry.errors import IntegrityError, MaterialError
from registry.sdk import Registry
from registry.workflows.materialize import materialize
from registry.workflows.refs import folder_files
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

Make = Callable[..., Generation]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    model = tmp_path / "a model"
    (model / "unet").mkdir(parents=True)
    (model / "unet" / "weights.safetensors").write_bytes(b"weights")
    (model / "model_index.json").write_text("{}")
    return model


def laid_out(registry: Registry, made: Generation, out: Path, **given: Any) -> dict[str, Path]:
    receipt = registry.record(made, **given)
    services = registry._services
    opened = open_statement(services, receipt.index, RecordView(services, receipt.index).statement)
    return materialize(services, opened.document, out)


def model_of(folder: Path, storage: str) -> Material:
    files = folder_files(folder)
    return Material(
        "model/base",
        "model",
        modelset_digest(files),
        storage=storage,
        files=files,
        annotations={"path": Sealed(str(folder))},
    )


def test_a_vaulted_folder_is_laid_out_without_its_source(
    registry: Registry, generation: Make, folder: Path, tmp_path: Path
) -> None:
    made = generation(1, materials=(model_of(folder, "vaulted"),))
    blobs = [file for file in folder.rglob("*") if file.is_file()]
    found = laid_out(registry, made, tmp_path / "out", blobs=blobs)
    assert folder_files(found["model/base"]) == folder_files(folder)
    assert not found["model/base"].is_relative_to(folder)


def test_a_referenced_folder_is_used_where_it_lies(
    registry: Registry, generation: Make, folder: Path, tmp_path: Path
) -> None:
    made = generation(1, materials=(model_of(folder, "referenced"),))
    assert laid_out(registry, made, tmp_path / "out") == {"model/base": folder}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda f: (f / "unet" / "weights.safetensors").write_bytes(b"other"), "material.altered"),
        (lambda f: (f / "unet" / "weights.safetensors").rename(f / "renamed"), "material.altered"),
        (lambda f: (f / "added.bin").write_bytes(b"x"), "material.altered"),
        (lambda f: f.rename(f.with_name("moved")), "material.missing"),
    ],
    ids=["altered", "renamed", "added", "moved away"],
)
def test_a_referenced_folder_that_changed_is_refused_by_name(
    registry: Registry,
    generation: Make,
    folder: Path,
    tmp_path: Path,
    change: Callable[[Path], object],
    code: str,
) -> None:
    made = generation(1, materials=(model_of(folder, "referenced"),))
    change(folder)
    with pytest.raises(MaterialError) as caught:
        laid_out(registry, made, tmp_path / "out")
    assert caught.value.code == code
    assert "model/base" in caught.value.message


def test_an_altered_vaulted_material_is_refused(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    data = b"weights of a LoRA"
    digest = hashlib.sha256(data).hexdigest()
    made = generation(1, materials=(Material("lora/x", "lora", digest, storage="vaulted"),))
    receipt = registry.record(made, blobs=[data])
    blob = registry._services.blobs.get(digest)
    assert blob is not None
    path = registry._services.vault.path(blob)
    path.chmod(0o644)
    path.write_bytes(b"weights of a loRA")
    with pytest.raises(IntegrityError):
        registry.reproduce(receipt.record)


def test_a_material_that_is_only_named_cannot_be_fetched(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    made = generation(1, materials=(Material("model/hub", "model", "a" * 64, uri="hf:acme/m"),))
    with pytest.raises(MaterialError) as caught:
        laid_out(registry, made, tmp_path / "out")
    assert caught.value.code == "material.referenced"
