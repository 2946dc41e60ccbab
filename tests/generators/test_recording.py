"""A block of code leaves one record: what it was given, what it called, and what it made."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from generators import declared, recorded_callable, recording
from generators.blocks import NOT_CAPTURED
from registry.core.digests import sha256_hex
from registry.core.generation import Sealed
from registry.errors import InputError, NotFoundError
from registry.sdk import Registry
from tests.conftest import encode, make_picture

from .conftest import Memory


def shout(text: str) -> str:
    return text.upper()


def inputs_of(memory: Memory) -> dict[str, str]:
    return {material.name: material.sha256 for material in memory.last.materials}


def test_a_block_leaves_one_record_with_all_its_outputs(memory: Memory, tmp_path: Path) -> None:
    path = tmp_path / "secret-client.txt"
    path.write_text("brief")
    picture, made = make_picture(1), make_picture(2)
    with recording(
        memory,
        "grade",
        inputs={"brief": path, "plate": picture, "raw": b"abc", "curve": np.arange(3)},
        parameters={"look": "warm", "strength": 0.5, "seed": 7},
        campaign="mugs",
    ) as run:
        assert run.output(made) is made
        run.output("done", made_from=["brief"])
        run.output(b"%PDF-1.7")
    (generation,) = memory.generations
    assert generation.external["name"] == "grade"
    assert generation.external["arguments"]["look"] == Sealed("warm")
    assert generation.campaign == "mugs"
    assert list(generation.reasons) == [NOT_CAPTURED]
    assert [o.media_type for o in generation.outputs] == [
        "image/png", "text/plain; charset=utf-8", "application/pdf",
    ]  # fmt: skip
    assert [o.seed for o in generation.outputs] == ["7"] * 3
    assert generation.outputs[1].materials == ("input/brief",)
    assert inputs_of(memory)["input/brief"] == sha256_hex(b"brief")
    assert [m.kind for m in generation.materials] == ["text", "image", "asset", "asset"]
    assert {m.sha256 for m in generation.materials} <= memory.contents.keys()
    plain = repr([{**vars_of(m), "annotations": None} for m in generation.materials])
    assert "secret-client" not in plain
    assert len(run.receipt.assets) == 3


def vars_of(material: Any) -> dict[str, Any]:
    return {name: getattr(material, name) for name in material.__slots__}


def test_a_block_that_raises_leaves_no_record(memory: Memory) -> None:
    with pytest.raises(ZeroDivisionError), recording(memory, "grade") as run:
        run.output(str(1 / len(run.output(""))))
    assert memory.generations == []
    inner = recorded_callable(shout, memory)
    inner("after")  # no open recording takes notice of it any more
    assert len(memory.generations) == 1


def test_calls_inside_are_named_and_what_they_made_is_a_parent(memory: Memory) -> None:
    call = recorded_callable(shout, memory)
    call("before")
    with recording(memory, "outer") as outer:
        text, made = call.with_receipt("one")
        with recording(memory, "inner") as inner:
            call("two")
            inner.output("inner result")
        outer.output(text + "!")
    named = [call["calls"] for call in (g.internal for g in memory.generations[3:])]
    assert named[0] == ["rec:" + f"{3:064x}"]
    assert named[1] == [made.record, inner.receipt.record]
    parents = {m.output_of: m.sha256 for m in memory.last.materials}
    assert parents == {
        made.record: made.assets[0].removeprefix("sha256:"),
        inner.receipt.record: inner.receipt.assets[0].removeprefix("sha256:"),
    }


def test_an_input_that_a_call_made_names_that_record_once(memory: Memory) -> None:
    with recording(memory, "paint") as paint:
        picture = paint.output(make_picture(3))
    with recording(memory, "grade", inputs=[picture]) as run:
        run.output("graded")
    (material,) = memory.last.materials
    assert (material.name, material.output_of) == ("input/0", paint.receipt.record)
    with recording(memory, "late") as run:
        with recording(memory, "inside") as inside:
            made = inside.output(make_picture(4))
        run.input(made)
        run.output("late")
    (material,) = memory.last.materials
    assert (material.name, material.output_of) == ("input/0", inside.receipt.record)


def test_threads_and_tasks_keep_their_calls_apart(memory: Memory) -> None:
    call = recorded_callable(shout, memory)
    together = threading.Barrier(4, timeout=30)

    def block(name: str) -> tuple[str, Any]:
        with recording(memory, name) as run:
            together.wait()
            made = call.with_receipt(name)[1]
            together.wait()
            run.output(name)
        return made.record, run.receipt

    async def task(name: str) -> tuple[str, Any]:
        async with recording(memory, name) as run:
            await asyncio.sleep(0)
            made = (await asyncio.to_thread(call.with_receipt, name))[1]
            await asyncio.sleep(0)
            run.output(name)
        return made.record, run.receipt

    async def tasks() -> list[tuple[str, Any]]:
        return await asyncio.gather(*(task(f"task{n}") for n in range(4)))

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(block, ("a", "b", "c", "d")))
    found += asyncio.run(tasks())
    for inner, receipt in found:
        assert memory.generations[receipt.index].internal["calls"] == [inner]


def test_a_thread_that_gets_the_context_belongs_to_the_block(memory: Memory) -> None:
    call = recorded_callable(shout, memory)
    with ThreadPoolExecutor(1) as pool, recording(memory, "outer") as run:
        pool.submit(call, "elsewhere").result(timeout=30)
        pool.submit(copy_context().run, call, "here").result(timeout=30)
        run.output("done")
    assert memory.last.internal["calls"] == ["rec:" + f"{2:064x}"]


def test_inputs_that_change_meanwhile_are_found(
    memory: Memory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declared, "IN_MEMORY_BYTES", 16)
    small, large, same = (tmp_path / name for name in ("small", "large", "same"))
    small.write_bytes(b"small before")
    large.write_bytes(b"a file that is too large to be kept")
    same.write_bytes(b"same")
    folder = tmp_path / "set"
    folder.mkdir()
    (folder / "one").write_bytes(b"1")
    picture = make_picture(5)
    before = sha256_hex(encode_of(picture))
    given = {"small": small, "large": large, "same": same, "plate": picture, "set": folder}
    with recording(memory, "grade", inputs=given) as run:
        small.write_bytes(b"small after!")
        large.write_bytes(b"A FILE THAT IS TOO LARGE TO BE KEPT")
        (folder / "two").write_bytes(b"2")
        ImageDraw.Draw(picture).rectangle((0, 0, 9, 9), fill="red")
        run.output(picture)
    found = {material.name: material for material in memory.last.materials}
    assert found["input/small"].sha256 == sha256_hex(b"small before")
    assert found["input/plate"].sha256 == before
    assert found["input/same"].storage == "vaulted"
    assert {found[f"input/{n}"].storage for n in ("large", "set")} == {"referenced"}
    assert sorted(memory.last.reasons[1:]) == [
        "input/large changed while the block ran, and what it was is not kept",
        "input/plate changed while the block ran",
        "input/set changed while the block ran, and what it was is not kept",
        "input/small changed while the block ran",
    ]


def encode_of(picture: Image.Image) -> bytes:
    from generators.encode import encode_png

    return encode_png(picture)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"name": "for Jane Doe"}, "recording.name"),
        ({"name": "x", "inputs": {"a b": b""}}, "recording.name"),
        ({"name": "x", "inputs": ["no such file"]}, "recording.input"),
        ({"name": "x", "inputs": [object()]}, "recording.input"),
        ({"name": "x", "inputs": "path"}, "recording.input"),
        ({"name": "x", "parameters": {"plate": b"1"}, "inputs": {"plate": b"2"}}, "recording.name"),
        ({"name": "x"}, "recording.no-output"),
    ],
)
def test_what_no_record_can_hold_is_refused(
    memory: Memory, arguments: dict[str, Any], code: str
) -> None:
    with pytest.raises(InputError) as caught, recording(memory, **arguments):
        pass
    assert caught.value.code == code
    assert memory.generations == []


def test_registered_inputs_name_their_records(registry: Registry, tmp_path: Path) -> None:
    taken = tmp_path / "plate.png"
    taken.write_bytes(encode(make_picture(6)))
    plate = registry.ingest(taken)
    with recording(registry, "paint") as painted:
        painted.output(make_picture(7))
    with recording(
        registry, "join", inputs=[taken, painted.receipt.assets[0], plate.record]
    ) as run:
        run.output(tmp_path / "plate.png", made_from=["0"])
        run.output("a caption")
    passport = registry.get(run.receipt.assets[1])
    named = {material.name: material.output_of for material in passport.materials}
    assert named == {
        "input/0": plate.record,
        "input/1": painted.receipt.record,
        "input/2": plate.record,
    }
    assert registry.reproduce(run.receipt.assets[1]).verdict == "not-reproducible"
    registry.taint(plate.assets[0], reason="not ours")
    assert registry.get(run.receipt.assets[1]).taints
    assert registry.check_log(blobs=True).ok
    with pytest.raises(NotFoundError), recording(registry, "x", inputs=["0123456789abcdef"]):
        pass
