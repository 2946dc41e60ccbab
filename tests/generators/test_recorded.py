"""A recorded pipeline is used like the pipeline, and each call leaves one record."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from generators import recorded
from generators.demo_model import lora_file
from generators.diffusers import Context, RecordedPipeline
from generators.encode import decode_image, encode_png, png_encoding
from registry.core.digests import asset_id, sha256_hex
from registry.core.generation import Sealed
from registry.errors import InputError
from registry.sdk import Registry

from .conftest import Memory

PROMPT = "a red mug on a blue table, studio light"
FEW = {"num_inference_steps": 2, "height": 64, "width": 64}


def test_a_recorded_call_returns_the_pictures_of_a_bare_one(
    load: Callable[..., Any], memory: Memory
) -> None:
    generator = torch.Generator().manual_seed(7)
    bare = load()(PROMPT, generator=generator, **FEW)
    proxied = recorded(load(), memory)(PROMPT, generator=generator.manual_seed(7), **FEW)
    assert type(proxied) is type(bare)
    assert proxied.images[0].tobytes() == bare.images[0].tobytes()
    assert proxied.receipt.assets == (asset_id(sha256_hex(memory.last.outputs[0].data)),)


def test_a_tuple_stays_a_tuple_and_carries_the_receipt(pipe: Any, memory: Memory) -> None:
    result = recorded(pipe, memory)(PROMPT, return_dict=False, **FEW)
    images, flagged = result
    assert isinstance(result, tuple)
    assert flagged is None
    assert len(images) == len(result.receipts) == 1


def test_each_image_of_a_batch_has_its_own_receipt_seed_and_prompt(
    pipe: Any, memory: Memory
) -> None:
    prompts = [PROMPT, "an empty blue table, night light"]
    result = recorded(pipe, memory)(prompts, num_images_per_prompt=2, seed=[3, 1, 4, 15], **FEW)
    assert len(result.images) == len(result.receipts) == len(result.receipt.assets) == 4
    outputs = memory.last.outputs
    assert [output.seed for output in outputs] == ["3", "1", "4", "15"]
    assert [output.batch_index for output in outputs] == [0, 1, 2, 3]
    assert [o.extra["prompt"] for o in outputs] == [Sealed(p) for p in prompts for _ in range(2)]
    for image, receipt in zip(result.images, result.receipts, strict=True):
        assert receipt.assets == (asset_id(sha256_hex(encode_png(image))),)


def test_the_material_of_an_input_is_the_output_that_it_was(
    load: Callable[..., Any], memory: Memory
) -> None:
    first = recorded(load(), memory)(PROMPT, seed=1, **FEW)
    edit = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    edit(PROMPT, image=first.images[0], num_inference_steps=2, seed=2)
    used = {material.name: material for material in memory.last.materials}
    assert (asset_id(used["input/image"].sha256),) == first.receipt.assets
    assert used["input/image"].kind == "image"
    assert used["input/image"].output_of == first.receipt.record


def test_an_input_that_two_records_made_names_neither(
    load: Callable[..., Any], memory: Memory
) -> None:
    proxy = recorded(load(), memory)
    first, _ = proxy(PROMPT, seed=1, **FEW), proxy(PROMPT, seed=1, **FEW)
    edit = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    edit(PROMPT, image=first.images[0], num_inference_steps=2, seed=2)
    assert {m.output_of for m in memory.last.materials} == {None}


def test_what_another_registry_recorded_is_not_named(load: Callable[..., Any]) -> None:
    one, other = Memory(), Memory()
    first = recorded(load(), one)(PROMPT, seed=1, **FEW)
    edit = recorded(load("StableDiffusionImg2ImgPipeline"), other)
    edit(PROMPT, image=first.images[0], num_inference_steps=2, seed=2)
    assert {m.output_of for m in other.last.materials} == {None}


def test_an_input_of_one_image_of_a_batch_is_no_material_of_the_others(
    load: Callable[..., Any], memory: Memory
) -> None:
    edit = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    colors = [Image.new("RGB", (64, 64), color) for color in ("red", "blue")]
    edit([PROMPT, PROMPT], image=colors, num_inference_steps=2, seed=2)
    assert [output.materials for output in memory.last.outputs] == [
        ("model/base", "input/image", "environment/lock"),
        ("model/base", "input/image-1", "environment/lock"),
    ]


def test_a_shared_input_is_a_material_of_every_image(
    load: Callable[..., Any], memory: Memory
) -> None:
    edit = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    picture = Image.new("RGB", (64, 64), "red")
    edit([PROMPT, PROMPT], image=picture, num_inference_steps=2, seed=2)
    every = ("model/base", "input/image", "environment/lock")
    assert [output.materials for output in memory.last.outputs] == [every, every]


def test_an_unseeded_image_gets_a_fresh_recorded_seed(pipe: Any, memory: Memory) -> None:
    drawn = iter([11, 12])
    proxy = RecordedPipeline(pipe, memory, Context(draw_seed=lambda: next(drawn)))
    loose = proxy(PROMPT, num_images_per_prompt=2, **FEW)
    assert [output.seed for output in memory.last.outputs] == ["11", "12"]
    seeded = proxy(PROMPT, num_images_per_prompt=2, seed=[11, 12], **FEW)
    assert seeded.receipt.assets == loose.receipt.assets


def test_one_seed_counts_up_over_a_batch(pipe: Any, memory: Memory) -> None:
    recorded(pipe, memory)(PROMPT, num_images_per_prompt=3, seed=2**64 - 2, **FEW)
    seeds = [output.seed for output in memory.last.outputs]
    assert seeds == [str(2**64 - 2), str(2**64 - 1), "0"]


@pytest.mark.parametrize("seed", [-1, 2**64, 1.0, True, "7", [1, -1]])
def test_an_unusable_seed_is_refused_before_anything_runs(
    pipe: Any, memory: Memory, seed: Any
) -> None:
    with pytest.raises(InputError) as caught:
        recorded(pipe, memory)(PROMPT, seed=seed, **FEW)
    assert caught.value.code == "input.seed"
    assert memory.generations == []


def test_a_seed_beside_a_generator_is_refused(pipe: Any, memory: Memory) -> None:
    with pytest.raises(InputError):
        recorded(pipe, memory)(PROMPT, seed=1, generator=torch.Generator(), **FEW)


def test_an_input_picture_of_an_unusual_mode_is_refused(
    load: Callable[..., Any], memory: Memory
) -> None:
    edit = recorded(load("StableDiffusionImg2ImgPipeline"), memory)
    with pytest.raises(InputError) as caught:
        edit(PROMPT, image=Image.new("CMYK", (64, 64)), num_inference_steps=2)
    assert caught.value.code == "input.image"


def test_attributes_and_loras_pass_through_to_the_pipeline(pipe: Any, memory: Memory) -> None:
    from diffusers import EulerDiscreteScheduler

    proxy = recorded(pipe, memory)
    proxy.scheduler = EulerDiscreteScheduler.from_config(proxy.scheduler.config)
    assert isinstance(pipe.scheduler, EulerDiscreteScheduler)
    proxy.load_lora_weights(lora_file("brand"), adapter_name="brand")
    assert proxy.get_active_adapters() == pipe.get_active_adapters() == ["brand"]
    assert proxy.to(torch.float32) is proxy
    assert proxy.unwrapped is recorded(proxy, memory).unwrapped is pipe
    assert "vae" in dir(proxy)


def test_a_failing_pipeline_leaves_no_record(pipe: Any, memory: Memory) -> None:
    with pytest.raises(ValueError, match="prompt"):
        recorded(pipe, memory)(7, num_inference_steps=1)
    assert memory.generations == []


def test_model_files_are_handed_over_once(pipe: Any, memory: Memory) -> None:
    proxy = recorded(pipe, memory)
    proxy(PROMPT, **FEW)
    proxy(PROMPT, **FEW)
    files = len(memory.last.materials[0].files)
    assert memory.handed == [files + 1, 0]  # with the lock
    assert {f.sha256 for f in memory.last.materials[0].files} <= set(memory.contents)


@pytest.mark.parametrize("output_type", ["np", "pt"])
def test_pictures_as_arrays_are_recorded_as_the_same_pictures(
    pipe: Any, memory: Memory, output_type: str
) -> None:
    proxy = recorded(pipe, memory)
    proxy(PROMPT, seed=7, **FEW)
    proxy(PROMPT, seed=7, output_type=output_type, **FEW)
    one, other = memory.generations
    assert one.outputs[0].data == other.outputs[0].data


def test_latents_are_recorded_as_arrays(pipe: Any, memory: Memory) -> None:
    recorded(pipe, memory)(PROMPT, output_type="latent", **FEW)
    (output,) = memory.last.outputs
    assert output.media_type == "application/x-npy"
    assert output.pixels is None


def test_calls_that_share_a_component_never_overlap(load: Callable[..., Any]) -> None:
    from diffusers import StableDiffusionImg2ImgPipeline

    memory, pipe = Memory(), load()
    other = StableDiffusionImg2ImgPipeline(**pipe.components)
    other.set_progress_bar_config(disable=True)
    running: list[int] = []
    most: list[int] = []

    def linger(*args: Any) -> Any:
        running.append(1)
        most.append(len(running))
        time.sleep(0.02)
        running.pop()
        return args[3]

    options = {"num_inference_steps": 4, "callback_on_step_end": linger}
    calls = [
        lambda: recorded(pipe, memory)(PROMPT, height=64, width=64, **options),
        lambda: recorded(other, memory)(PROMPT, image=Image.new("RGB", (64, 64)), **options),
    ] * 2
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(memory.generations) == 4
    assert max(most) == 1


def test_the_record_names_encoding_environment_times_and_campaign(
    pipe: Any, memory: Memory
) -> None:
    ticks = iter([1000, 1250])
    context = Context(campaign="mugs", clock=lambda: next(ticks))
    RecordedPipeline(pipe, memory, context)(PROMPT, **FEW)
    generation = memory.last
    assert (generation.started_ms, generation.finished_ms) == (1000, 1250)
    assert generation.campaign == "mugs"
    assert generation.internal["encoding"] == png_encoding()
    assert generation.internal["environment"]["libraries"]["torch"] == torch.__version__
    picture = decode_image(generation.outputs[0].data)
    assert (picture.width, picture.height) == (64, 64)


def test_a_real_registry_records_and_reproduces(pipe: Any, registry: Registry) -> None:
    proxy = recorded(pipe, registry, project="brand", campaign="mugs")
    proxy.load_lora_weights(lora_file("brand"), adapter_name="brand")
    proxy.set_adapters("brand", 0.8)
    result = proxy(PROMPT, seed=7, **FEW)
    again = proxy(PROMPT, seed=7, **FEW)
    assert again.receipt.assets == result.receipt.assets
    assert again.receipt.record != result.receipt.record
    stored = Path(registry.blob(result.receipt.assets[0]))
    assert stored.read_bytes() == encode_png(result.images[0])
    assert registry.reproduce(result.receipt.assets[0]).verdict == "identical"


def test_what_was_not_captured_reaches_passport_gate_and_replay(
    pipe: Any, registry: Registry
) -> None:
    pipe.unet.mid_block.register_forward_hook(lambda module, args, output: output)
    asset = recorded(pipe, registry)(PROMPT, seed=7, **FEW).receipt.assets[0]
    passport = registry.get(asset)
    assert passport.reproducible is False
    assert passport.reasons == ("unet has 1 forward hooks",)
    report = registry.gate([asset], record=False)
    (decision,) = report.decisions
    (rule,) = [result for result in decision.rules if result.rule == "reproducible"]
    assert rule.outcome != "pass"
    assert "forward hooks" in rule.message
    assert registry.reproduce(asset).verdict == "not-reproducible"
