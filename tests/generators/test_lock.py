"""The lock names what is installed, and nothing of the machine that it is installed on."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from generators import lock
from registry.core.digests import sha256_hex
from registry.core.locks import Locked, parse
from registry.errors import InputError

EVERY = metadata.distributions
RECORD = "acme/__init__.py,sha256=abc,10\n../../bin/acme,sha256=def,20\nacme/a.pyc,,\n"


@pytest.fixture(autouse=True)
def uncached() -> Any:
    for cached in (lock._lock, lock._digest):
        cached.cache_clear()
    yield
    for cached in (lock._lock, lock._digest):
        cached.cache_clear()


def install(
    site: Path, name: str, version: str, *, record: str = RECORD, url: dict[str, Any] | None = None
) -> None:
    folder = site / f"{name}-{version}.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (folder / "RECORD").write_text(record)
    if url is not None:
        (folder / "direct_url.json").write_text(json.dumps(url))


def installed(site: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Locked]:
    found = list(EVERY(path=[str(site)]))
    monkeypatch.setattr(metadata, "distributions", lambda: found)
    return {one.name: one for one in parse(lock.lock())}


def test_the_lock_names_every_distribution_with_its_version() -> None:
    named = {one.name: one for one in parse(lock.lock())}
    for name in ("torch", "diffusers", "numpy", "pillow"):
        assert named[name].version == metadata.version(name)
        assert len(named[name].record) == 64
    assert named["genops-registry"].origin == "editable"
    assert list(named) == sorted(named)


def test_the_material_is_the_lock_by_digest() -> None:
    material = lock.material()
    assert material.sha256 == sha256_hex(lock.lock())
    assert (material.name, material.kind) == ("environment/lock", "environment")
    assert (material.storage, material.media_type) == ("vaulted", "text/plain")


def test_no_path_of_this_machine_is_in_the_lock() -> None:
    text = lock.lock().decode()
    assert str(Path(__file__).parents[2]) not in text
    assert "file:" not in text


def test_the_same_wheel_is_the_same_wherever_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = "acme-1.0.dist-info/INSTALLER,sha256=x,4\nacme-1.0.dist-info/REQUESTED,sha256=y,0\n"
    install(tmp_path / "one", "acme", "1.0")
    install(tmp_path / "two", "acme", "1.0", record=RECORD.replace("def", "moved") + notes)
    install(tmp_path / "three", "acme", "1.0", record=RECORD.replace("abc", "edited"))
    digests = []
    for site in ("one", "two", "three"):
        lock._lock.cache_clear()
        digests.append(installed(tmp_path / site, monkeypatch)["acme"].record)
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize(
    ("url", "line"),
    [
        ({"url": "file:///home/ada/acme", "dir_info": {"editable": True}}, "# editable acme==1.0"),
        ({"url": "file:///home/ada/acme", "dir_info": {}}, "# local acme==1.0"),
        ({"url": "file:///home/ada/acme.whl", "archive_info": {}}, "# local acme==1.0"),
        (
            {
                "url": "https://ada:secret@example.org/acme.git?token=secret",
                "vcs_info": {"vcs": "git", "commit_id": "c0ffee"},
            },
            "acme @ git+https://example.org/acme.git@c0ffee # version=1.0",
        ),
        (
            {"url": "https://example.org/a.whl", "archive_info": {"hashes": {"sha256": "ab"}}},
            "acme @ https://example.org/a.whl#sha256=ab # version=1.0",
        ),
        ({"vcs_info": "broken"}, "# local acme==1.0"),
    ],
    ids=["editable", "folder", "wheel", "git", "archive", "broken"],
)
def test_an_origin_is_named_without_paths_or_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: dict[str, Any], line: str
) -> None:
    install(tmp_path, "acme", "1.0", url=url)
    found = installed(tmp_path, monkeypatch)["acme"]
    written = lock.lock().decode().splitlines()[1]
    assert written.startswith(line)
    assert "ada" not in written
    assert "secret" not in written
    assert found.version == "1.0"
    assert found.record != ""


def test_a_name_is_written_as_indexes_write_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(tmp_path, "Acme_Tools.X", "2.0")
    assert set(installed(tmp_path, monkeypatch)) == {"acme-tools-x"}


@pytest.mark.parametrize("data", [b"", b"acme==1.0\n", b"# genops-lock-v1 p x\nnot a line\n"])
def test_what_is_no_lock_is_refused(data: bytes) -> None:
    with pytest.raises(InputError) as caught:
        parse(data)
    assert caught.value.code == "input.lock"
