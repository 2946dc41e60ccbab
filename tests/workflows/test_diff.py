"""Two things side by side: what differs is named, what cannot be told is said so."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from generators import recorded_callable
from registry.core.generation import Material, Sealed
from registry.core.replay_answers import SideBySide
from registry.errors import InputError, NotFoundError
from registry.factory import create_registry
from registry.sdk import Registry
from tests.conftest import encode, make_generation, make_output, make_picture

HERE = str(Path(__file__).parent)
LORA = Material("lora/brand", "lora", "cd" * 32)


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("diff")
    with create_registry(folder / "home", name="test", project="brand") as registry:
        yield registry


def shot(registry: Registry, seed: int, **fields: object) -> str:
    external = {
        "arguments": {"prompt": Sealed(fields.pop("prompt", "a red mug")), "steps": 20},
        "pipeline": {"class": "Pipe"},
        "loras": [{"ref": "lora/brand", "scale": fields.pop("scale", 1.0)}],
        "generator": {"generators": [{"seed": str(seed)}], "uses": None},
    }
    internal = {"dtype": "float32", "environment": {"torch": {"threads": fields.pop("threads", 1)}}}
    made = make_generation(seed, external=external, internal=internal, **fields)
    return registry.record(made).assets[0]


def test_what_was_asked_and_from_what_is_compared_by_name(studio: Registry) -> None:
    first = shot(studio, 1, materials=(Material("model/base", "model", "ab" * 32), LORA))
    second = shot(
        studio, 2, prompt="a blue mug", scale=0.8, threads=2,
        materials=(Material("model/base", "model", "ef" * 32), LORA),
    )  # fmt: skip
    report = studio.replays.diff(first, second)
    assert report.parameters == (
        SideBySide("loras.lora/brand.scale", 1.0, 0.8),
        SideBySide("prompt", "a red mug", "a blue mug"),
    )
    assert report.seed == SideBySide("seed", "1", "2")
    assert report.materials == (
        SideBySide("model/base", "sha256:" + "ab" * 32, "sha256:" + "ef" * 32),
    )
    assert report.environment == (SideBySide("torch.threads", 1, 2),)
    assert (report.same, report.unknown, report.internals) == (False, (), ())
    assert report.pixels is not None
    assert report.pixels.fraction > 0.9


def test_the_same_asset_has_no_differences(studio: Registry) -> None:
    asset = shot(studio, 3)
    report = studio.replays.diff(asset, asset)
    assert report.same
    assert (report.parameters, report.seed, report.materials, report.notes) == ((), None, (), ())
    assert report.pixels is not None
    assert (report.pixels.max_level, report.pixels.box) == (0, None)


def test_a_text_that_was_erased_is_said_to_be_and_not_guessed(studio: Registry) -> None:
    first, second = shot(studio, 4, prompt="a person's name"), shot(studio, 5)
    studio.erase(first, reason="a request")
    for one, other, sides in (
        (first, second, ("(erased)", "a red mug")),
        (second, first, ("a red mug", "(erased)")),
    ):
        report = studio.replays.diff(one, other)
        assert report.unknown == (SideBySide("prompt", *sides),)
        assert report.parameters == ()
        assert "a person's name" not in str(report.to_dict())


def test_a_file_on_disk_is_compared_by_its_pixels(studio: Registry, tmp_path: Path) -> None:
    asset = shot(studio, 6)
    changed = make_picture(6).convert("RGB")
    changed.paste((0, 0, 0), (10, 20, 30, 50))
    file = tmp_path / "retouched.png"
    file.write_bytes(encode(changed))
    report = studio.replays.diff(asset, file, out=tmp_path / "both.png")
    assert report.second.kind == "file"
    assert report.second.record is None
    assert any("only its content" in note for note in report.notes)
    assert report.pixels is not None
    assert report.pixels.box == (10, 20, 30, 50)
    assert abs(report.pixels.fraction - 20 * 30 / 128**2) < 0.01
    with Image.open(tmp_path / "both.png") as shown:
        assert shown.width > 3 * 128


def test_a_rendition_has_the_same_pixels_in_other_bytes(studio: Registry, tmp_path: Path) -> None:
    asset = shot(studio, 7)
    file = tmp_path / "rendition.webp"
    file.write_bytes(encode(make_picture(7), "WEBP", lossless=True))
    report = studio.replays.diff(asset, file)
    assert report.pixels is not None
    assert (report.same, report.pixels.max_level) == (False, 0)


def test_texts_are_compared_line_by_line(studio: Registry, tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        import auditing

        write = recorded_callable(auditing.write, studio)
        first, second = (write("lamp", seed=seed) for seed in (1, 2))
    ids = [one.id for one in studio.list() if (one.media_type or "").startswith("text/")]
    report = studio.replays.diff(ids[1], ids[0])
    assert report.pixels is None
    changed = [line for line in report.lines if line[0] in "+-" and line[1:2] not in "+-"]
    assert changed == [f"-{first.splitlines()[1]}", f"+{second.splitlines()[1]}"]
    with pytest.raises(InputError) as caught:
        studio.replays.diff(ids[0], ids[1], out=tmp_path / "none.png")
    assert caught.value.code == "diff.no-picture"
    assert not (tmp_path / "none.png").exists()


def test_two_sizes_and_other_bytes_are_noted(studio: Registry, tmp_path: Path) -> None:
    asset = shot(studio, 8)
    small, noise, bomb = (tmp_path / name for name in ("small.png", "noise.bin", "bomb.png"))
    small.write_bytes(encode(make_picture(8).resize((32, 32))))
    noise.write_bytes(bytes(64))
    stream = io.BytesIO()
    Image.new("1", (60_000, 4_000)).save(stream, "PNG")
    bomb.write_bytes(stream.getvalue())
    for file, said in ((small, "two sizes"), (noise, "only bytes"), (bomb, "only bytes")):
        report = studio.replays.diff(asset, file)
        assert report.pixels is None
        assert any(said in note for note in report.notes)


def test_a_content_that_is_gone_is_said(studio: Registry) -> None:
    asset = shot(studio, 9)
    studio.blob(asset).unlink()
    report = studio.replays.diff(asset, shot(studio, 10))
    assert report.pixels is None
    assert any("not here any more" in note for note in report.notes)
    assert report.seed is not None


def test_an_ingested_file_has_no_parameters(studio: Registry, tmp_path: Path) -> None:
    file = tmp_path / "photo.png"
    file.write_bytes(make_output(11).data)
    studio.ingest(file)
    report = studio.replays.diff(file, shot(studio, 12))
    assert report.first.kind == "ingested"
    assert report.parameters == ()
    with pytest.raises(NotFoundError):
        studio.replays.diff("0" * 12, file)
    with pytest.raises(InputError):
        studio.replays.diff("no such thing", file)
