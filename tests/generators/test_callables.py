"""Any function's calls are recorded, and replayed by import while its code is the same."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from PIL import Image

from generators import recorded_callable
from generators.callables import adapter
from registry.core.digests import sha256_hex
from registry.core.generation import Sealed
from registry.errors import CaptureError, InputError, MaterialError

from .conftest import Memory, job

SOURCE = Path(__file__).with_name("sample_functions.py")
NAME = "genops_sample_functions"


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The sample functions as an installed module of their own."""
    (tmp_path / f"{NAME}.py").write_text(SOURCE.read_text())
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module(NAME)
    sys.modules.pop(NAME, None)


def replayed(memory: Memory, folder: Path, **overrides: Any) -> list[bytes]:
    request = job(memory, memory.last, folder / "job", overrides)
    return [output.data for output in adapter.replay(request)]


def test_a_call_returns_the_functions_value_and_leaves_a_record(
    functions: ModuleType, memory: Memory
) -> None:
    wrapped = recorded_callable(functions.gradient, memory)
    image, receipt = wrapped.with_receipt(16, seed=2**60)
    assert image.tobytes() == functions.gradient(16, seed=2**60).tobytes()
    assert wrapped(16).tobytes() == functions.gradient(16).tobytes()
    generation = memory.generations[0]
    assert generation.reasons == []
    assert generation.external == {
        "function": f"{NAME}:gradient",
        "arguments": {"width": 16, "height": 8, "seed": {"integer": str(2**60)}},
    }
    assert generation.outputs[0].seed == str(2**60)
    assert generation.outputs[0].pixels is not None
    assert receipt.assets == (f"sha256:{sha256_hex(generation.outputs[0].data)}",)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("gradient", {"width": 16, "seed": 5}),
        ("upscale", {"image": Image.effect_noise((8, 8), 50).convert("RGB")}),
        ("caption", {"subject": "a red \x00 mug \U0001fad6", "words": ["on", "a", "table"]}),
        ("Studio.blank", {"color": "teal"}),
    ],
)
def test_a_replay_gives_the_recorded_bytes(
    functions: ModuleType, memory: Memory, tmp_path: Path, name: str, arguments: dict[str, Any]
) -> None:
    function: Any = functions
    for part in name.split("."):
        function = getattr(function, part)
    recorded_callable(function, memory)(**arguments)
    assert memory.last.reasons == []
    assert replayed(memory, tmp_path) == [output.data for output in memory.last.outputs]


def test_declared_files_and_bytes_are_kept_and_replayed(
    functions: ModuleType, memory: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "picture.bin"
    file.write_bytes(b"content ")
    stamp = recorded_callable(functions.stamp, memory, inputs={"path": "image"})
    assert stamp(file, b"mark") == b"content mark"
    file.unlink()
    assert memory.last.reasons == []
    assert replayed(memory, tmp_path) == [b"content mark"]


def test_an_undeclared_path_is_a_reason(
    functions: ModuleType, memory: Memory, tmp_path: Path
) -> None:
    file = tmp_path / "picture.bin"
    file.write_bytes(b"")
    recorded_callable(functions.stamp, memory)(file, b"mark")
    assert memory.last.reasons == ["argument path is a path that is not declared as an input"]
    assert memory.last.external["arguments"]["path"] == Sealed(str(file))


def test_an_override_changes_the_call(
    functions: ModuleType, memory: Memory, tmp_path: Path
) -> None:
    gradient = recorded_callable(functions.gradient, memory)
    gradient(16, seed=1)
    request = job(memory, memory.last, tmp_path / "job", {"seed": "2"})
    gradient(16, seed=2)
    assert [output.data for output in adapter.replay(request)] == [memory.last.outputs[0].data]


def test_changed_code_is_refused_before_it_runs(
    functions: ModuleType, memory: Memory, tmp_path: Path
) -> None:
    recorded_callable(functions.gradient, memory)(16)
    sys.modules.pop(NAME)
    (tmp_path / f"{NAME}.py").write_text("raise SystemExit('ran')")
    with pytest.raises(MaterialError) as caught:
        replayed(memory, tmp_path)
    assert caught.value.code == "material.differs"


def closure() -> Any:
    return lambda: "text"


@pytest.mark.parametrize(
    "function", [lambda: "text", closure(), str.title.__get__("a text"), "a text".upper]
)
def test_a_function_without_an_importable_name_is_a_reason(memory: Memory, function: Any) -> None:
    recorded_callable(function, memory)()
    assert len(memory.last.reasons) == 1


def test_global_randomness_is_a_reason(functions: ModuleType, memory: Memory) -> None:
    recorded_callable(functions.unlucky, memory)()
    assert memory.last.reasons == ["global random state moved during the call"]


def test_a_strict_function_is_refused_before_it_runs(memory: Memory) -> None:
    ran = []
    with pytest.raises(CaptureError):
        recorded_callable(lambda: ran.append(1) or "text", memory, strict=True)()
    assert ran == []


@pytest.mark.parametrize("value", [None, 7, {"a": 1}, [1.5], object()])
def test_a_value_that_is_no_asset_is_refused(
    functions: ModuleType, memory: Memory, value: Any
) -> None:
    with pytest.raises(InputError) as caught:
        recorded_callable(functions.nothing, memory)(value)
    assert caught.value.code == "input.output"
    assert memory.generations == []


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"\x89PNG\r\n\x1a\nrest", "image/png"),
        (b"\xff\xd8\xffrest", "image/jpeg"),
        (b"rest", "application/octet-stream"),
    ],
)
def test_returned_bytes_are_kept_untouched(
    functions: ModuleType, memory: Memory, data: bytes, media_type: str
) -> None:
    assert recorded_callable(functions.nothing, memory)(data) is data
    assert (memory.last.outputs[0].data, memory.last.outputs[0].media_type) == (data, media_type)


def test_texts_are_sealed(functions: ModuleType, memory: Memory) -> None:
    recorded_callable(functions.caption, memory)("a secret mug", ["on a table"])
    assert memory.last.external["arguments"] == {
        "subject": Sealed("a secret mug"),
        "words": Sealed(["on a table"]),
    }


def test_a_returned_lone_surrogate_is_refused(functions: ModuleType, memory: Memory) -> None:
    with pytest.raises(InputError) as caught:
        recorded_callable(functions.nothing, memory)([chr(0xD800)])
    assert caught.value.code == "input.text"
