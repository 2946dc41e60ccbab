"""Nothing that changes what a pipeline makes passes in silence, and its reason names the place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from generators import recorded
from registry.core.generation import Generation, Sealed

from . import pipelines
from .conftest import Memory
from .mutations import MUTATIONS, Mutation, Scene

SEED = 1
FEWEST = 45
"""Rows below which the list would have lost some."""


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Give a pipeline of a kind that nobody has touched: loaded once, then copied."""
    loaded: dict[str, Any] = {}

    def give(kind: str) -> Any:
        if kind not in loaded:
            folder = pipelines.save(kind, tmp_path_factory.mktemp("pipelines") / kind)
            loaded[kind] = pipelines.load(kind, folder)
        return copy.deepcopy(loaded[kind])

    return give


@pytest.fixture(scope="module")
def lora(fresh: Callable[[str], Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("loras") / "made.safetensors"
    return pipelines.lora_file("txt2img", fresh("txt2img"), file)


@pytest.fixture
def undoing() -> Iterator[tuple[ExitStack, pytest.MonkeyPatch]]:
    with ExitStack() as stack, pytest.MonkeyPatch.context() as patch:
        yield stack, patch


def described(generation: Generation) -> str:
    """Return what a record says of a generation, times and outputs aside."""
    contents = sorted((material.name, material.sha256) for material in generation.materials)
    document = [generation.external, generation.internal, contents]
    return json.dumps(document, sort_keys=True, default=_opened)


def _opened(value: Any) -> Any:
    assert isinstance(value, Sealed)
    return value.value


@pytest.mark.parametrize("row", MUTATIONS, ids=lambda row: row.name)
def test_a_mutation_shows_in_the_record_or_as_a_reason_that_names_the_place(
    fresh: Callable[[str], Any],
    lora: Path,
    memory: Memory,
    tmp_path: Path,
    undoing: tuple[ExitStack, pytest.MonkeyPatch],
    row: Mutation,
) -> None:
    pipe = fresh(row.kind)
    proxy = recorded(pipe, memory)
    if row.lora:
        proxy.load_lora_weights(str(lora), adapter_name="made")
    call = pipelines.arguments(row.kind, num_inference_steps=row.steps, seed=SEED)
    proxy(**call)
    before = memory.last
    assert before.reasons == ()
    stack, patch = undoing
    scene = Scene(pipe, proxy, patch, stack, tmp_path)
    row.change(scene)
    # Between two calls of one wrapper, and before a new one was put around the pipeline.
    for again in (proxy, recorded(pipe, memory)):
        again(**call | scene.options)
        after = memory.last
        if row.says is None:
            assert after.reasons == ()
            assert described(after) != described(before)
        else:
            assert any(row.says in reason for reason in after.reasons), after.reasons


def test_the_list_of_mutations_is_long_and_each_has_a_name_of_its_own() -> None:
    names = [row.name for row in MUTATIONS]
    assert len(names) >= FEWEST
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("kind", pipelines.KINDS)
def test_an_untouched_pipeline_of_any_kind_repeats_its_record(
    fresh: Callable[[str], Any], memory: Memory, tmp_path: Path, kind: str
) -> None:
    pipe = fresh(kind)
    proxy = recorded(pipe, memory)
    if kind == "ip-adapter":
        file = pipelines.ip_adapter_file(pipe, tmp_path / "ip.safetensors")
        proxy.load_ip_adapter(
            str(tmp_path), subfolder="", weight_name=file.name, image_encoder_folder=None
        )
    call = pipelines.arguments(kind, seed=SEED)
    proxy(**call)
    proxy(**call)
    first, second = memory.generations
    assert described(second) == described(first)
    assert second.outputs == first.outputs
    assert second.reasons == first.reasons == ()
