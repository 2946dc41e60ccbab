"""Training a LoRA is a generation: recorded with its pictures, trained again to the byte."""

from __future__ import annotations

import base64
import json
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generators.campaign import declare_demo_models
from generators.demo_model import BASE, lora, scenes
from generators.studio import Request, shoot
from generators.train_lora import recording
from generators.train_lora.dataset import Dataset, read_dataset
from generators.train_lora.recording import train_lora
from generators.train_lora.settings import LoraSettings
from generators.train_lora.trainer import Trainer, _Curve, fitted
from registry.core.answers import Receipt
from registry.errors import InputError, MaterialError
from registry.factory import create_registry
from registry.sdk import Registry

from .pipelines import save

SETTINGS = LoraSettings(seed=7, steps=2, batch=2)
PEOPLE = ("portrait of Ada Lovelace", "Ada-Lovelace")


def draw(folder: Path, count: int = 4, captions: bool = True) -> Path:
    """Write pictures under a person's name, each with a caption that names the person too."""
    rng = random.Random(5)
    folder.mkdir(parents=True)
    for number in range(count):
        scene = scenes.sample(rng)
        scenes.render(scene, 48, "brand").save(folder / f"Ada-Lovelace-{number}.png")
        if captions:
            text = f"portrait of Ada Lovelace with {scene.caption}"
            (folder / f"Ada-Lovelace-{number}.txt").write_text(text)
    return folder


@dataclass
class Studio:
    """A home in which a picture was ingested, a LoRA trained on it, and an asset made with that."""

    registry: Registry
    folder: Path
    picture: Path
    file: Path
    lora: Receipt
    asset: Receipt


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    place = tmp_path_factory.mktemp("studio")
    folder, file = draw(place / "shoot"), place / "ada.safetensors"
    picture = folder / "Ada-Lovelace-2.png"
    with create_registry(place / "home", name="test", project="brand") as registry:
        declare_demo_models(registry)
        registry.ingest(picture)
        made = train_lora(registry, read_dataset(folder), out=file, settings=SETTINGS)
        registry.register_model(file, name="ada", kind="lora", licence="Apache-2.0")
        asset = shoot(registry, with_lora(file))
        yield Studio(registry, folder, picture, file, made, asset)


def with_lora(file: Path) -> Request:
    return Request(prompt="a red mug", seed=1, steps=2, loras={str(file): 0.8})


def digest(dataset: Dataset) -> str:
    return dataset.material(keep=True, output_of=None).sha256


def derived(registry: Registry, ref: str | Path) -> set[str]:
    return {asset.id for asset in registry.impact(ref).assets}


def failed(registry: Registry, asset: str) -> set[str]:
    (decision,) = registry.gate([asset], record=False).decisions
    return {rule.rule for rule in decision.rules if rule.outcome == "fail"}


def test_a_taint_on_one_picture_reaches_the_lora_and_what_was_made_with_it(
    studio: Studio,
) -> None:
    registry, asset = studio.registry, studio.asset.assets[0]
    assert registry.get(asset).reasons == ()
    assert failed(registry, asset) == set()
    assert {studio.lora.assets[0], asset} <= derived(registry, studio.picture)
    other = shoot(registry, Request(prompt="a red mug", seed=1, steps=2)).assets[0]
    registry.taint(studio.picture, reason="no consent")
    assert failed(registry, asset) == {"no-taint"}
    assert failed(registry, studio.lora.assets[0]) == {"no-taint"}
    assert failed(registry, other) == set()
    registry.clear_taint(studio.picture, reason="consent came")
    assert failed(registry, asset) == set()


def test_the_record_names_model_dataset_settings_and_the_loss(studio: Studio) -> None:
    passport = studio.registry.get(studio.lora.record)
    assert passport.reproducible is True
    assert passport.build_type == recording.BUILD_TYPE
    assert [(one.name, one.kind, one.storage) for one in passport.materials] == [
        ("model/base", "model", "vaulted"),
        ("dataset/pictures", "dataset", "vaulted"),
    ]
    assert passport.parameters == SETTINGS.to_document()
    assert passport.setup["captions"] == read_dataset(studio.folder).captions
    loss = passport.internals["loss"]
    assert (loss["every"], len(loss["means"])) == (1, 2)
    assert passport.internals["layers"] > 100
    assert passport.internals["environment"]["torch"]["deterministic"] is True
    assert passport.id == studio.registry.resolve(studio.file)


def test_the_model_is_the_node_that_its_pictures_name(studio: Studio) -> None:
    trained, made = (studio.registry.get(one.record) for one in (studio.lora, studio.asset))
    assert trained.materials[0].id == made.materials[0].id


def test_names_and_captions_stand_nowhere_in_the_clear(studio: Studio) -> None:
    home = studio.registry.settings.home.root
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 10
    contents = [path.read_bytes() for path in files]
    for record in (studio.lora.record, studio.registry.get(studio.lora.record).materials[1].id):
        evidence = json.loads(studio.registry.evidence(record, texts=False))
        contents.append(base64.b64decode(evidence["record"]["envelope"]["payload"]))
        assert b"captions" in contents[-1] or b"names" in contents[-1]
    assert not any(text.encode() in data for text in PEOPLE for data in contents)


def test_trained_again_from_the_record_the_file_is_the_same_to_the_byte(
    studio: Studio, tmp_path: Path
) -> None:
    again = studio.registry.reproduce(studio.lora.assets[0], out=tmp_path, record=False)
    assert (again.verdict, again.environment) == ("identical", ())
    (kept,) = tmp_path.iterdir()
    assert kept.read_bytes() == studio.file.read_bytes()
    dataset = studio.registry.get(studio.lora.record).materials[1].id
    assert studio.registry.reproduce(dataset, record=False).verdict == "identical"


def test_a_late_record_ties_what_was_made_before(
    registry: Registry, studio: Studio, tmp_path: Path
) -> None:
    """The asset comes first, then the LoRA's training, then the picture that it was taught."""
    asset = shoot(registry, with_lora(studio.file)).assets[0]
    trained = train_lora(
        registry, read_dataset(studio.folder), out=tmp_path / "l", settings=SETTINGS
    )
    assert trained.assets == studio.lora.assets
    registry.ingest(studio.picture)
    assert {asset, trained.assets[0]} <= derived(registry, studio.picture)
    registry.taint(studio.picture, reason="no consent")
    assert "no-taint" in failed(registry, asset)
    nodes = {node.id: node for node in registry.lineage(asset).nodes}
    assert nodes[registry.resolve(studio.picture)].tainted
    assert registry.check_catalog() == ()


@pytest.fixture
def untaught(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the fitting out: what is recorded around it does not depend on it."""
    monkeypatch.setattr(lora, "fit", lambda *args: args[4](0.5))


@pytest.mark.usefixtures("untaught")
def test_a_dataset_is_recorded_once_and_is_the_same_under_other_names(
    registry: Registry, tmp_path: Path
) -> None:
    first, second = draw(tmp_path / "one"), draw(tmp_path / "two", captions=False)
    for number, path in enumerate(sorted(second.iterdir(), reverse=True)):
        path.rename(second / f"{number}.png")
    one, two = read_dataset(first), read_dataset(second, caption="a mug")
    assert digest(one) == digest(two)
    for dataset in (one, two):
        train_lora(registry, dataset, out=tmp_path / "l", settings=SETTINGS)
    kinds = [registry.get(asset.record).build_type for asset in registry.list()]
    assert sorted(kinds) == [recording.DATASET_BUILD_TYPE, *[recording.BUILD_TYPE] * 2]


@pytest.mark.usefixtures("untaught")
def test_a_large_dataset_takes_several_records_and_every_member_counts(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "MEMBERS_AT_ONCE", 2)
    folder = draw(tmp_path / "shoot", 5)
    made = train_lora(registry, read_dataset(folder), out=tmp_path / "l", settings=SETTINGS)
    assert registry.log.head().size == 1 + 3 + 1
    for picture in folder.glob("*.png"):
        assert made.assets[0] in derived(registry, picture)
    (material,) = [m for m in registry.get(made.record).materials if m.kind == "dataset"]
    assert registry.get(material.id).reasons == ("its 5 pictures are named in several records",)


@pytest.mark.usefixtures("untaught")
def test_pictures_that_are_not_kept_are_not_in_the_vault(
    registry: Registry, tmp_path: Path
) -> None:
    dataset = read_dataset(draw(tmp_path / "shoot"))
    made = train_lora(registry, dataset, out=tmp_path / "l", settings=SETTINGS, keep=False)
    passport = registry.get(made.record)
    assert passport.reproducible is False
    assert passport.reasons == ("the pictures are referenced, not kept",)
    stored = {
        path.read_bytes() for path in registry.settings.home.vault.rglob("*") if path.is_file()
    }
    assert not any(member.path.read_bytes() in stored for member in dataset.members)


@pytest.mark.usefixtures("untaught")
def test_a_training_leaves_the_process_as_it_found_it(tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    trained = Trainer(BASE).train(pictures, ["", ""], SETTINGS)
    assert torch.equal(state, torch.get_rng_state())
    assert not torch.are_deterministic_algorithms_enabled()
    other = Trainer(BASE).train(pictures, ["", ""], LoraSettings(seed=8, steps=2, batch=2))
    assert trained.data != other.data


def test_a_model_that_predicts_noise_is_taught_as_well(tmp_path: Path) -> None:
    folder = save("txt2img", tmp_path / "sd")
    trainer = Trainer(folder)
    assert trainer.scheduler.config.prediction_type == "epsilon"
    side = trainer.side(None)
    trained = trainer.train([Image.new("RGB", (side, side), "red")], ["a mug"], SETTINGS)
    file = tmp_path / "l.safetensors"
    file.write_bytes(trained.data)
    pipe = Trainer(folder).pipe
    pipe.load_lora_weights(file)
    assert sum(hasattr(one, "base_layer") for one in pipe.unet.modules()) == trained.layers > 0


def test_a_model_of_another_make_is_refused(tmp_path: Path) -> None:
    for kind in ("sdxl", "flux", "inpaint-9"):
        with pytest.raises(InputError) as caught:
            Trainer(save(kind, tmp_path / kind))
        assert caught.value.code == "train.model"
    with pytest.raises(InputError) as caught:
        Trainer(tmp_path)
    assert caught.value.code == "model.unusable"


def test_a_side_that_does_not_fit_is_refused_with_one_that_does() -> None:
    trainer = Trainer(BASE)
    assert (trainer.side(None), trainer.side(48)) == (64, 48)
    with pytest.raises(InputError) as caught:
        trainer.side(40)
    assert (caught.value.code, caught.value.hint) == ("train.side", "give a multiple of 16")


def test_a_training_that_diverges_says_so() -> None:
    curve = _Curve(200, None)
    for _ in range(7):
        curve.add(0.5)
    assert (curve.every, curve.points()) == (2, (0.5,) * 4)
    with pytest.raises(InputError) as caught:
        curve.add(float("nan"))
    assert caught.value.code == "train.diverged"


# Datasets.


def test_a_caption_is_read_from_beside_its_picture(tmp_path: Path) -> None:
    folder = draw(tmp_path / "shoot", 2, captions=False)
    (folder / "Ada-Lovelace-0.txt").write_bytes("\ufeffa mug \n".encode())
    (folder / "notes.md").write_text("not a picture")
    (folder / ".hidden.png").write_text("not seen")
    dataset = read_dataset(folder, caption="brand")
    assert sorted(dataset.captions) == ["a mug", "brand"]
    assert dataset.ignored == 1
    assert [file.path for file in dataset.files] == ["00000.png", "00001.png"]


def test_folders_that_are_no_dataset_are_refused(tmp_path: Path) -> None:
    def refused(folder: Path) -> str:
        with pytest.raises(InputError) as caught:
            read_dataset(folder)
        return caught.value.code

    assert refused(tmp_path / "nowhere") == "dataset.empty"
    assert refused(tmp_path) == "dataset.empty"
    folder = draw(tmp_path / "shoot", 1)
    (folder / "Ada-Lovelace-0.txt").write_bytes(b"\xff\xfe")
    assert refused(folder) == "dataset.caption"
    (folder / "Ada-Lovelace-0.txt").write_bytes(b"a" * 70_000)
    assert refused(folder) == "dataset.caption"


@pytest.mark.parametrize("how", ["truncated", "misnamed", "text"])
def test_a_damaged_picture_is_refused_and_nothing_is_recorded(
    registry: Registry, tmp_path: Path, how: str
) -> None:
    folder = draw(tmp_path / "shoot", 2)
    picture = folder / "Ada-Lovelace-1.png"
    if how == "truncated":
        picture.write_bytes(picture.read_bytes()[:500])
    elif how == "misnamed":
        picture.rename(folder / "Ada-Lovelace-1.jpg")
    else:
        picture.write_text("no picture")
    with pytest.raises(InputError):
        train_lora(registry, read_dataset(folder), out=tmp_path / "l", settings=SETTINGS)
    assert registry.log.head().size == 1
    assert not (tmp_path / "l").exists()


def test_a_picture_that_changes_meanwhile_is_refused(tmp_path: Path) -> None:
    folder = draw(tmp_path / "shoot", 1)
    (member,) = read_dataset(folder).members
    shutil.copyfile(folder / "Ada-Lovelace-0.txt", member.path)
    with pytest.raises(MaterialError) as caught:
        member.open(LimitsForTests)
    assert caught.value.code == "material.altered"


LimitsForTests: Any = None


def test_what_is_transparent_is_taught_as_white() -> None:
    picture = fitted(Image.new("RGBA", (30, 10), (255, 0, 0, 0)), 16)
    assert (picture.mode, picture.size) == ("RGB", (16, 16))
    assert picture.getextrema() == ((255, 255),) * 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"steps": 0},
        {"batch": True},
        {"side": -1},
        {"rate": 0.0},
        {"rate": float("nan")},
        {"caption_dropout": 1.5},
        {"layers": "some"},
        {"seed": -1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError) as caught:
        LoraSettings(**{"seed": 1, **wrong})
    assert caught.value.code == ("input.seed" if "seed" in wrong else "train.settings")


def test_settings_come_back_from_a_record() -> None:
    settings = LoraSettings(seed=2**63, side=48, layers="attention")
    assert LoraSettings.of(settings.to_document()) == settings
    with pytest.raises(InputError) as caught:
        LoraSettings.of(settings.to_document() | {"colour": "red"})
    assert caught.value.code == "replay.override"
