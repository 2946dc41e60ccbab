"""What a replay does not put on again: the record says so, and a saved pipeline is a way around.

LoRAs that were fused change components in place, and so do textual inversions and IP-adapters;
those that were loaded past the wrapper came from nowhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from generators import recorded
from registry.factory import create_registry
from registry.sdk import Registry
from registry.workflows.replay.worker import ReplayWorker
from registry.workflows.reproduce import Workplace, reproduce

from . import pipelines

TIMEOUT_S = 300.0
TAUGHT = f"a {pipelines.SPECIAL} mug"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("not-replayed")
    with create_registry(folder / "home", name="test", project="brand") as made:
        yield made


@pytest.fixture(scope="module")
def worker() -> Iterator[ReplayWorker]:
    with ReplayWorker(timeout_s=TIMEOUT_S) as made:
        yield made


def inversion(pipe: Any, folder: Path) -> None:
    file = pipelines.embedding_file(folder / "brand.safetensors")
    getattr(pipe, "unwrapped", pipe).load_textual_inversion(str(file))  # past the wrapper


def fused(pipe: Any, folder: Path) -> None:
    file = pipelines.lora_file(
        "txt2img", pipelines.load("txt2img", folder / "base"), folder / "lora.safetensors"
    )
    pipe.load_lora_weights(file, adapter_name="made")
    pipe.fuse_lora()


def fused_and_unloaded(pipe: Any, folder: Path) -> None:
    fused(pipe, folder)
    pipe.unload_lora_weights()


def ip_adapter(pipe: Any, folder: Path) -> None:
    file = pipelines.ip_adapter_file(pipe, folder / "ip.safetensors")
    pipe.unwrapped.load_ip_adapter(  # past the wrapper
        str(folder), subfolder="", weight_name=file.name, image_encoder_folder=None
    )


Dress = Callable[[Any, Path], None]
ADDITIONS: tuple[tuple[Dress, str, str], ...] = (
    (inversion, "txt2img", "tokenizer differs from the one in its folder"),
    (fused, "txt2img", "unet has a LoRA fused into its weights"),
    (fused_and_unloaded, "txt2img", "weights of unet differ from those in its folder"),
    (ip_adapter, "ip-adapter", "unet has other layers than its folder gives"),
)


def made(registry: Registry, pipe: Any, kind: str, prompt: str = TAUGHT) -> str:
    """Record a call of a wrapped pipeline; return its asset."""
    return str(pipe(**pipelines.arguments(kind, prompt=prompt), seed=3).receipt.assets[0])


@pytest.mark.parametrize(
    ("add", "kind", "reason"), ADDITIONS, ids=[add.__name__ for add, *_ in ADDITIONS]
)
def test_what_is_not_put_on_again_is_a_reason_and_nothing_is_run(
    registry: Registry, tmp_path: Path, add: Dress, kind: str, reason: str
) -> None:
    pipe = recorded(pipelines.load(kind, pipelines.save(kind, tmp_path / "base")), registry)
    add(pipe, tmp_path)
    with ReplayWorker(timeout_s=TIMEOUT_S) as idle:
        done = reproduce(registry._services, made(registry, pipe, kind), place=Workplace(idle))
        assert not idle.running
    assert (done.verdict, done.reproduced) == ("not-reproducible", None)
    assert reason in done.reasons


@pytest.mark.parametrize("add", [inversion, fused_and_unloaded])
def test_a_pipeline_that_was_saved_with_it_is_replayed_to_the_byte(
    registry: Registry, worker: ReplayWorker, tmp_path: Path, add: Dress
) -> None:
    pipe = pipelines.load("txt2img", pipelines.save("txt2img", tmp_path / "base"))
    before = recorded(pipelines.load("txt2img", tmp_path / "base"), registry, strict=True)
    plain = made(registry, before, "txt2img")
    add(pipe, tmp_path)
    pipe.save_pretrained(tmp_path / "with")
    again = recorded(pipelines.load("txt2img", tmp_path / "with"), registry, strict=True)
    asset = made(registry, again, "txt2img")
    assert asset != plain
    registry.blob(asset).unlink()
    done = reproduce(registry._services, asset, place=Workplace(worker))
    assert (done.verdict, done.reproduced) == ("identical", asset)
