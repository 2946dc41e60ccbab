"""The demo model: its data is a function of its seed, and the shipped weights do what they say."""

from __future__ import annotations

import hashlib
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from generators.demo_model import BASE, CONTROLNET, STYLES, UPSCALER, WEIGHTS, lora_file, scenes
from generators.demo_model.controlnet import outlines
from generators.demo_model.lora import TARGETS
from generators.demo_model.params import load_base, load_controlnet, load_lora, load_upscaler
from registry.errors import InputError

ROOT = Path(__file__).parents[2]
MAX_BYTES = 12_000_000


def pictures(seed: int, style: scenes.Style) -> list[bytes]:
    rng = random.Random(seed)
    return [scenes.render(scenes.sample(rng), 32, style).tobytes() for _ in range(3)]


@pytest.mark.parametrize("style", ["plain", "brand", "noir"])
def test_scenes_are_a_function_of_their_seed(style: scenes.Style) -> None:
    assert pictures(1, style) == pictures(1, style)
    assert pictures(1, style) != pictures(2, style)


@pytest.mark.parametrize("subject", [*scenes.SUBJECTS, None])
def test_every_subject_shows_in_every_style(subject: str | None) -> None:
    scene = scenes.Scene(subject, "red", "blue", "studio")
    empty = scenes.Scene(None, "red", "blue", "studio")
    for style in ("plain", "brand", "noir"):
        shown = scenes.render(scene, 64, style).tobytes()
        assert (shown != scenes.render(empty, 64, style).tobytes()) is (subject is not None)


def test_captions_name_what_is_drawn() -> None:
    scene = scenes.Scene("mug", "red", "blue", "studio")
    assert scene.caption == "a red mug on a blue table, studio light"
    assert scenes.Scene(None, "red", "blue", "night").caption == "an empty blue table, night light"


def test_the_projects_parameters_load() -> None:
    assert load_base(ROOT / "params.yaml").side == 64
    assert {load_lora(ROOT / "params.yaml", style).side for style in STYLES} == {64}
    assert load_upscaler(ROOT / "params.yaml").side == 64
    assert load_controlnet(ROOT / "params.yaml").side == 64


@pytest.mark.parametrize("line", ["      rank: 8\n", "      unknown: 1\n"])
def test_parameters_that_do_not_fit_are_named(tmp_path: Path, line: str) -> None:
    text = (ROOT / "params.yaml").read_text()
    head = "    brand:\n"
    changed = text.replace(line, "", 1) if line in text else text.replace(head, head + line)
    (tmp_path / "params.yaml").write_text(changed)
    with pytest.raises(InputError) as caught:
        load_lora(tmp_path / "params.yaml", "brand")
    assert line.split(":", maxsplit=1)[0].strip() in caught.value.message


# The shipped weights.


def test_the_weights_are_small_and_in_half_precision() -> None:
    from safetensors import safe_open

    files = [path for path in WEIGHTS.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= MAX_BYTES
    tensors = [path for path in files if path.suffix == ".safetensors"]
    assert len(tensors) == 3 + len(STYLES) + len((UPSCALER, CONTROLNET))
    for path in tensors:
        with safe_open(path, "pt") as opened:
            dtypes = {opened.get_slice(name).get_dtype() for name in opened.keys()}  # noqa: SIM118
        assert dtypes <= {"F16", "I64"}


@pytest.mark.parametrize("style", STYLES)
def test_every_layer_of_a_lora_reaches_the_model(load: Callable[..., Any], style: str) -> None:
    pipe = load()
    ending = re.compile(rf"(^|\.)({'|'.join(map(re.escape, TARGETS))})$")
    wanted = {name for name, _ in pipe.unet.named_modules() if ending.search(name)}
    pipe.load_lora_weights(lora_file(style), adapter_name=style)
    adapted = {name for name, module in pipe.unet.named_modules() if hasattr(module, "base_layer")}
    assert adapted == wanted


def shoot(pipe: Any, prompts: list[str]) -> list[Any]:
    generators = [torch.Generator().manual_seed(n) for n in range(len(prompts))]
    images = pipe(prompts, num_inference_steps=12, guidance_scale=3.0, generator=generators).images
    return [np.asarray(image).astype(float) for image in images]


def nearest(pixel: Any, colors: dict[str, Any]) -> str:
    return min(colors, key=lambda name: float(np.square(pixel - np.array(colors[name])).sum()))


def test_prompts_decide_table_and_light(pipe: Any) -> None:
    wanted = [("blue", "studio"), ("yellow", "studio"), ("white", "sunset"), ("red", "night")]
    found = []
    for table, light in wanted:
        (picture,) = shoot(pipe, [f"a green vase on a {table} table, {light} light"])
        wall = picture[4:12, 4:60].reshape(-1, 3).mean(axis=0)
        seen = nearest(wall, {name: color for name, (color, _) in scenes.LIGHTS.items()})
        _, tint = scenes.LIGHTS[light]
        tables = {name: np.array(color) * tint for name, color in scenes.COLORS.items()}
        found.append((nearest(np.median(picture[58:62].reshape(-1, 3), axis=0), tables), seen))
    assert found == wanted


@pytest.mark.parametrize("style", STYLES)
def test_a_lora_changes_the_whole_picture_and_more_so_with_its_weight(
    pipe: Any, style: str
) -> None:
    prompts = [
        "a red mug on a blue table, sunset light",
        "a pink ball on a teal table, night light",
    ]
    bare = shoot(pipe, prompts)
    pipe.load_lora_weights(lora_file(style), adapter_name=style)
    changes = []
    for weight in (0.4, 1.0):
        pipe.set_adapters(style, weight)
        pairs = zip(bare, shoot(pipe, prompts), strict=True)
        changes.append(np.mean([np.abs(one - other).mean() for one, other in pairs]))
    assert 2 < changes[0] < changes[1]
    assert changes[1] > 15


def outline_error(pipe: Any, scene: scenes.Scene, scale: float) -> float:
    """Return how far the outlines of a picture are from those that it was to follow."""
    lines = outlines(scenes.render(scene, 64))
    picture = pipe(
        "a red lamp on a teal table, studio light",
        image=lines,
        controlnet_conditioning_scale=scale,
        num_inference_steps=12,
        guidance_scale=3.0,
        generator=torch.Generator().manual_seed(5),
    ).images[0]
    found = [np.asarray(one.convert("L").reduce(4), float) for one in (outlines(picture), lines)]
    return float(np.abs(found[0] - found[1]).mean())


def test_the_controlnet_follows_outlines(load: Callable[..., Any]) -> None:
    from diffusers import ControlNetModel

    control = ControlNetModel.from_pretrained(
        CONTROLNET, local_files_only=True, dtype=torch.float32
    )
    pipe = load("StableDiffusionControlNetPipeline", controlnet=control)
    for x, scale in ((0.38, 0.9), (0.62, 1.1)):
        scene = scenes.Scene("lamp", "blue", "yellow", "studio", x, scale)
        assert outline_error(pipe, scene, 1.0) < 0.6 * outline_error(pipe, scene, 0.0)


def test_outlines_tell_shapes_and_not_colours() -> None:
    def lines(subject: str, color: str, table: str) -> Any:
        drawn = scenes.render(scenes.Scene(subject, color, table, "studio"), 64)
        return np.asarray(outlines(drawn), float)

    box = lines("box", "blue", "yellow")
    assert (box == box[..., :1]).all()
    colours = np.abs(box - lines("box", "red", "teal")).mean()
    shapes = np.abs(box - lines("lamp", "blue", "yellow")).mean()
    assert colours < shapes / 2


TRAIN_ALL = """
import sys
from pathlib import Path
from generators.demo_model import controlnet, lora, train, upscaler
folder, params = Path(sys.argv[1]), sys.argv[2]
given = ["--params", params, "--base", str(folder / "base")]
train.main(["--params", params, "--out", str(folder / "base")])
lora.main([*given, "--style", "noir", "--out", str(folder / "noir.safetensors")])
upscaler.main([*given, "--out", str(folder / "upscaler.safetensors")])
controlnet.main([*given, "--out", str(folder / "controlnet")])
"""


def train(folder: Path, params: Path) -> str:
    """Train every part for a few steps in a process of their own; return a digest of the files."""
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", TRAIN_ALL, str(folder), str(params)]
    subprocess.run(command, check=True, capture_output=True, cwd=ROOT, env=env)
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()


@pytest.mark.slow
def test_two_trainings_on_one_machine_give_the_same_files(tmp_path: Path) -> None:
    text = (ROOT / "params.yaml").read_text()
    text = re.sub(r"steps: \d+", "steps: 2", text)
    text = re.sub(r"scenes: \d+", "scenes: 40", text)
    params = tmp_path / "params.yaml"
    params.write_text(text)
    digests = {train(tmp_path / name, params) for name in ("one", "two")}
    assert len(digests) == 1


def test_the_model_card_names_every_shipped_file() -> None:
    card = (BASE.parents[1] / "README.md").read_text()
    for style in STYLES:
        assert f"lora/{style}.safetensors" in card
    for path in (UPSCALER, CONTROLNET):
        assert f"weights/{path.name}" in card
    for word in (*scenes.SUBJECTS, *scenes.COLORS, *scenes.LIGHTS):
        assert word in card
