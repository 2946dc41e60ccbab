"""One request, one recorded picture; and what a damaged model or LoRA gets."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from generators.demo_model import BASE, lora_file
from generators.studio import Request, shoot
from registry.errors import InputError
from registry.sdk import Registry

WEIGHTS = Path("unet") / "diffusion_pytorch_model.safetensors"


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: truncate(folder / WEIGHTS),
        lambda folder: (folder / WEIGHTS).unlink(),
        lambda folder: (folder / WEIGHTS).rename(folder / "unet" / "renamed.safetensors"),
        lambda folder: (folder / "model_index.json").unlink(),
        lambda folder: (folder / "unet" / "config.json").write_text("{"),
    ],
    ids=["truncated", "missing", "renamed", "no index", "broken config"],
)
def test_a_damaged_model_is_refused_in_one_line_and_nothing_is_recorded(
    registry: Registry, tmp_path: Path, damage: Callable[[Path], object]
) -> None:
    model = shutil.copytree(BASE, tmp_path / "model")
    damage(model)
    with pytest.raises(InputError) as caught:
        shoot(registry, Request(prompt="a red mug", model=model, steps=2))
    assert caught.value.code == "model.unusable"
    assert str(model) in caught.value.message
    assert "\n" not in caught.value.message
    assert registry.log.head().size == 1


def test_a_damaged_lora_is_refused_and_nothing_is_recorded(
    registry: Registry, tmp_path: Path
) -> None:
    lora = tmp_path / "brand.safetensors"
    shutil.copyfile(lora_file("brand"), lora)
    truncate(lora)
    with pytest.raises(InputError) as caught:
        shoot(registry, Request(prompt="a red mug", loras={str(lora): 1.0}, steps=2))
    assert caught.value.code == "model.unusable"
    with pytest.raises(InputError) as caught:
        shoot(registry, Request(prompt="a red mug", loras={"nowhere": 1.0}, steps=2))
    assert caught.value.code == "input.lora"
    assert registry.log.head().size == 1


def test_a_picture_made_from_another_derives_from_it(registry: Registry, tmp_path: Path) -> None:
    first = shoot(registry, Request(prompt="a red mug", seed=1, steps=2))
    out = tmp_path / "second.png"
    request = Request(prompt="a red mug, sunset light", seed=2, image=first.assets[0], steps=4)
    second = shoot(registry, request, campaign="mugs", out=out)
    assert [a.id for a in registry.impact(first.assets[0]).assets] == [second.assets[0]]
    assert registry.resolve(out) == second.assets[0]
    assert registry.get(second.record).campaign == "mugs"
