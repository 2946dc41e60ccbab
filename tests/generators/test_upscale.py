"""The upscaler: better than Lanczos on scenes, exact in a replay, and polite to bad input."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from generators import recorded_callable, upscale
from generators.demo_model import UPSCALER, scenes
from generators.demo_model.params import load_upscaler
from generators.demo_model.upscaler import untrained
from generators.upscale import enlarge
from registry.errors import InputError

from .conftest import Memory, job, replay_afresh

ROOT = Path(__file__).parents[2]
LANCZOS = Image.Resampling.LANCZOS


def decibels(one: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(one, float) - np.asarray(other, float)
    return float(-10 * np.log10(np.square(difference).mean() / 255**2))


@pytest.mark.parametrize("style", ["plain", "brand", "noir"])
def test_it_restores_what_lanczos_blurs_on_scenes_it_never_saw(style: scenes.Style) -> None:
    rng = random.Random(77)
    gains = []
    for _ in range(6):
        whole = scenes.render(scenes.sample(rng), 128, style)
        small = whole.resize((64, 64))
        gains.append(decibels(enlarge(small, 2, UPSCALER), whole) - decibels(enlarge(small), whole))
    assert min(gains) > 0
    assert np.mean(gains) > 2.5


def test_without_weights_it_is_lanczos() -> None:
    picture = scenes.render(scenes.Scene("mug", "red", "blue", "studio"), 32)
    assert enlarge(picture, 3).tobytes() == picture.resize((96, 96), LANCZOS).tobytes()
    assert enlarge(picture, 1).tobytes() == picture.tobytes()


@pytest.mark.parametrize("weights", [None, UPSCALER])
@pytest.mark.parametrize(
    ("mode", "given"), [("RGB", "RGB"), ("L", "L"), ("RGBA", "RGBA"), ("P", "RGB"), ("1", "RGB")]
)
def test_every_mode_of_eight_bits_is_taken(weights: Path | None, mode: str, given: str) -> None:
    large = enlarge(Image.new("RGB", (5, 3), "red").convert(mode), 4, weights)
    assert (large.mode, large.size) == (given, (20, 12))


def test_what_is_transparent_stays_so() -> None:
    picture = Image.new("RGBA", (16, 16), (255, 0, 0, 0))
    picture.paste((255, 0, 0, 255), (0, 0, 8, 16))
    alpha = np.asarray(enlarge(picture, 2, UPSCALER).getchannel("A"))
    assert (alpha[:, :10] > 200).all()
    assert (alpha[:, 22:] == 0).all()


def test_stripes_do_not_show(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = scenes.render(scenes.Scene("lamp", "red", "teal", "sunset"), 96, "brand")
    whole = np.asarray(enlarge(picture, 2, UPSCALER)).astype(int)
    monkeypatch.setattr(upscale, "STRIPE", 17)
    striped = np.asarray(enlarge(picture, 2, UPSCALER)).astype(int)
    assert np.abs(whole - striped).max() <= 1  # kernels round by shape


@pytest.mark.parametrize(
    ("factor", "weights", "code"),
    [
        (0, None, "upscale.factor"),
        (9, None, "upscale.factor"),
        (True, None, "upscale.factor"),
        (3, UPSCALER, "upscale.factor"),
        (8, None, "upscale.size"),
    ],
)
def test_what_cannot_be_enlarged_is_refused(factor: int, weights: Path | None, code: str) -> None:
    with pytest.raises(InputError) as caught:
        enlarge(Image.new("L", (2048, 2048)), factor, weights)
    assert caught.value.code == code


def damaged(folder: Path, how: str) -> Path:
    file = folder / "weights.safetensors"
    tensors = load_file(UPSCALER)
    if how == "truncated":
        file.write_bytes(UPSCALER.read_bytes()[:5000])
        return file
    if how == "not finite":
        tensors["tail.bias"][0] = float("nan")
    if how == "a layer short":
        del tensors["block.1.1.weight"]
    if how == "another network":
        tensors = {"weight": torch.zeros(2)}
    if how != "missing":
        save_file(tensors, file)
    return file


@pytest.mark.parametrize(
    "how", ["missing", "truncated", "not finite", "a layer short", "another network"]
)
def test_weights_that_are_no_upscaler_are_named_in_one_line(tmp_path: Path, how: str) -> None:
    with pytest.raises(InputError) as caught:
        enlarge(Image.new("RGB", (4, 4)), 2, damaged(tmp_path, how))
    assert caught.value.code == "model.unusable"
    assert "weights.safetensors" in caught.value.message
    assert "\n" not in caught.value.message


def test_an_untrained_network_is_lanczos(tmp_path: Path) -> None:
    network = untrained(load_upscaler(ROOT / "params.yaml"))
    save_file({name: tensor.detach() for name, tensor in network.items()}, tmp_path / "w")
    picture = scenes.render(scenes.Scene("ball", "pink", "black", "night"), 32)
    assert enlarge(picture, 2, tmp_path / "w").tobytes() == enlarge(picture, 2).tobytes()


def test_a_recorded_call_names_the_weights_and_replays_to_the_byte(
    memory: Memory, tmp_path: Path
) -> None:
    larger = recorded_callable(enlarge, memory, inputs={"weights": "model"})
    picture = scenes.render(scenes.Scene("vase", "green", "white", "studio"), 64)
    _, receipt = larger.with_receipt(picture, weights=UPSCALER)
    made = memory.last
    assert list(made.reasons) == []
    kinds = {material.name: material.kind for material in made.materials}
    assert kinds["input/weights"] == "model"
    (digests,) = replay_afresh([job(memory, made, tmp_path / "job")], tmp_path)
    assert [f"sha256:{digest}" for digest in digests] == list(receipt.assets)


FIRST_USE = """
import json, sys
from types import SimpleNamespace
from PIL import Image
from generators import environment, recorded_callable
from generators.demo_model import UPSCALER
from generators.upscale import enlarge
environment.prepare()
seen = []
class Recorder:
    def record(self, generation, **options):
        seen.append(list(generation.reasons))
        return SimpleNamespace(assets=(), record="")
assert "torch" not in sys.modules
recorded_callable(enlarge, Recorder(), inputs={"weights": "model"})(
    Image.new("RGB", (4, 4)), weights=UPSCALER
)
print(json.dumps(seen))
"""


def test_a_call_that_is_the_first_to_import_torch_can_be_replayed_too() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIRST_USE],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[]]
