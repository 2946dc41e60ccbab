"""The recorded environment is built from its lock: what differs, over what is installed here."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import sys
import sysconfig
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import pytest

from registry.core.answers import Receipt
from registry.core.digests import sha256_hex
from registry.core.generation import Generation, Material
from registry.core.locks import HEAD, NAME, Locked
from registry.errors import GenopsError, InputError
from registry.sdk import Registry
from registry.workflows.replay.recreate import missing
from registry.workflows.reproduce import How, Workplace, reproduce

PYTHON = f"{platform.python_implementation().lower()}-{platform.python_version()}"
CODE = '''"""Says which version of a package it was run with."""


def say():
    import genopstestwords

    return genopstestwords.WORD
'''


def wheel(folder: Path, version: str, word: str) -> None:
    """Write a wheel of a package that holds a word, as an installer reads it."""
    files = {
        "genopstestwords.py": f"WORD = {word!r}\n",
        f"genopstestwords-{version}.dist-info/METADATA": (
            f"Metadata-Version: 2.1\nName: genopstestwords\nVersion: {version}\n"
        ),
        f"genopstestwords-{version}.dist-info/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
    }
    lines = [
        f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b'=').decode()},{len(t)}"
        for name, t in files.items()
    ]
    record = f"genopstestwords-{version}.dist-info/RECORD"
    with zipfile.ZipFile(folder / f"genopstestwords-{version}-py3-none-any.whl", "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "\n".join([*lines, f"{record},,", ""]))


def locked(*lines: str, python: str = PYTHON) -> bytes:
    return "\n".join([f"{HEAD} {python} {sysconfig.get_platform()}", *lines, ""]).encode()


@dataclass
class Bench:
    """A registry with records of a function that says a word, and an index with its package."""

    registry: Registry
    folder: Path
    make: Callable[..., Generation]

    def record(self, lock: bytes | None, word: str = "old") -> Receipt:
        from registry.core.generation import Output

        code = (self.folder / "wordsmith.py").read_bytes()
        materials = [Material("code/function", "code", sha256_hex(code), storage="vaulted")]
        blobs = [code]
        if lock is not None:
            materials.append(Material(NAME, "environment", sha256_hex(lock), storage="vaulted"))
            blobs.append(lock)
        made = self.make(
            1,
            materials=tuple(materials),
            external={"function": "wordsmith:say", "arguments": {}},
            internal={"environment": {"python": platform.python_version()}},
            outputs=(Output(word.encode(), "text/plain; charset=utf-8"),),
        )
        return self.registry.record(made, blobs=blobs)

    def reproduce(self, receipt: Receipt, told: list[str] | None = None) -> str:
        place = Workplace(told=(told if told is not None else []).append)
        how = How(recreate=True)
        services = self.registry._services
        return reproduce(services, receipt.record, how=how, place=place).verdict


@pytest.fixture
def bench(
    registry: Registry,
    generation: Callable[..., Generation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Bench:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "wordsmith.py").write_text(CODE)
    index = tmp_path / "index"
    index.mkdir()
    wheel(index, "1.0", "old")
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return Bench(registry, folder, generation)


def test_a_record_is_replayed_with_the_versions_of_its_lock(bench: Bench) -> None:
    pytest.importorskip("pip")
    receipt, told = bench.record(locked("genopstestwords==1.0")), []
    assert bench.reproduce(receipt, told) == "identical"
    assert told == ["installing genopstestwords==1.0"]
    assert bench.reproduce(receipt, told) == "identical"
    assert len(told) == 1, "the environment was built twice"
    assert list(bench.registry.settings.home.work.glob("environment-*"))


def test_another_patch_version_of_diffusers_is_installed_and_used(
    registry: Registry,
    generation: Callable[..., Generation],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    other = "0.42.0" if metadata.version("diffusers") != "0.42.0" else "0.42.1"
    (tmp_path / "wordsmith.py").write_text(
        "import diffusers\n\n\ndef say():\n    return diffusers.__version__\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    made = Bench(registry, tmp_path, generation)
    receipt = made.record(locked(f"diffusers=={other}"), word=other)
    try:
        assert made.reproduce(receipt) == "identical"
    except GenopsError as error:
        if error.code != "environment.install":
            raise
        pytest.skip(f"diffusers {other} does not install here: {error.message}")
    plain = reproduce(registry._services, receipt.record, how=How(), place=Workplace())
    assert plain.verdict == "different", "the present version gives another word"


def test_what_cannot_be_installed_is_named_and_nothing_is_left(bench: Bench) -> None:
    pytest.importorskip("pip")
    receipt = bench.record(locked("genopstestwords==2.0"))
    with pytest.raises(GenopsError) as caught:
        bench.reproduce(receipt)
    assert caught.value.code == "environment.install"
    assert "genopstestwords==2.0" in caught.value.message
    assert not list(bench.registry.settings.home.work.glob("environment-*"))


@pytest.mark.parametrize(
    ("lock", "code"),
    [
        (None, "environment.no-lock"),
        (locked(python="cpython-3.99.1"), "environment.python"),
        (locked("# local genopstestwords==1.0"), "environment.unpublished"),
        (b"requests==2.0\n", "input.lock"),
    ],
    ids=["none", "python", "unpublished", "no-lock-at-all"],
)
def test_a_lock_that_cannot_be_followed_says_why(
    bench: Bench, lock: bytes | None, code: str
) -> None:
    with pytest.raises(InputError) as caught:
        bench.reproduce(bench.record(lock))
    assert caught.value.code == code


def test_what_agrees_is_not_installed_again() -> None:
    from importlib.metadata import version

    same = Locked("numpy", version("numpy"))
    other = Locked("pillow", "0.0.1")
    assert missing([same, other, Locked("genops-registry", "9.9", "editable")]) == [other]
    assert sys.version_info[:2] >= (3, 11)
