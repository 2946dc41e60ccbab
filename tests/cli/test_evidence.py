"""Evidence from the command line: one record or many, for a file or a pipe, checked by anybody."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.factory import create_registry

Genops = Callable[..., Any]  # see conftest
SCHEMA = json.loads(
    (Path(__file__).parents[2] / "schemas/cli" / schemas.file_name("verify-evidence")).read_text()
)


@pytest.fixture
def home(tmp_path: Path, generation: Callable[..., Any]) -> Path:
    """A registry with three generated pictures."""
    root = tmp_path / "home"
    with create_registry(root, name="test", project="brand") as registry:
        for seed in range(3):
            registry.record(generation(seed, prompt=f"mug number {seed}"))
    return root


@pytest.fixture
def ids(home: Path, genops: Genops) -> list[str]:
    return [asset["id"] for asset in genops("list", "--home", home, "--json").json]


def verified(genops: Genops, home: Path, file: Path) -> Any:
    ran = genops("verify-evidence", file, "--key", home / "keys" / "log.vkey", "--json")
    Draft202012Validator(SCHEMA).validate(ran.json)
    assert ran.code == (0 if ran.json["ok"] else 1)
    return ran.json


def test_evidence_of_several_is_a_zip_that_proves_each(
    genops: Genops, home: Path, ids: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "release.zip"
    assert genops("evidence", *ids, "--home", home, "--out", file).out == ""
    told = verified(genops, home, file)
    assert told["ok"] is True
    assert [check["name"] for check in told["checks"]] == ["archive", "index"]
    assert len(told["files"]) == 3
    texts = json.dumps([found["evidence"]["statement"] for found in told["files"]])
    assert all(f"mug number {seed}" in texts for seed in range(3))
    text = genops("verify-evidence", file, "--home", home)
    assert text.code == 0
    assert "the evidence holds, of 3 records" in text.out


def test_each_file_of_the_zip_verifies_alone(
    genops: Genops, home: Path, ids: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "release.zip"
    genops("evidence", *ids, "--home", home, "--out", file, "--no-texts")
    with zipfile.ZipFile(file) as archive:
        archive.extractall(tmp_path)
        inside = [name for name in archive.namelist() if name.startswith("evidence/")]
    assert len(inside) == 3
    for name in inside:
        told = verified(genops, home, tmp_path / name)
        assert told["ok"] is True
        assert told["withheld"]


def test_a_pipe_gets_the_same_bytes_as_a_file(
    spawn: Genops, genops: Genops, home: Path, ids: list[str], tmp_path: Path
) -> None:
    one, two = tmp_path / "one.json", tmp_path / "two.zip"
    genops("evidence", ids[0], "--home", home, "--out", one)
    genops("evidence", *ids, "--home", home, "--out", two)
    assert spawn("evidence", ids[0], "--home", home).out == one.read_text() + "\n"
    command = [sys.executable, "-m", "registry.cli", "evidence", *reversed(ids), "--home", home]
    # As bytes: read as text, every CR among them would come as a newline.
    assert subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout == two.read_bytes()
    piped_file = tmp_path / "piped.json"
    piped_file.write_text(one.read_text() + "\n")
    assert verified(genops, home, piped_file)["ok"] is True


def test_a_zip_is_not_printed_as_json(genops: Genops, home: Path, ids: list[str]) -> None:
    ran = genops("evidence", *ids, "--home", home, "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "usage.binary"


def test_a_changed_zip_ends_with_1_and_names_file_and_check(
    genops: Genops, home: Path, ids: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "release.zip"
    genops("evidence", *ids, "--home", home, "--out", file)
    data = file.read_bytes()
    at = data.index(b'"payload":"', data.index(b'"record":{')) + 99
    file.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    told = verified(genops, home, file)
    assert told["ok"] is False
    (bad,) = [found for found in told["files"] if not found["evidence"]["ok"]]
    text = genops("verify-evidence", file, "--home", home)
    assert text.code == 1
    assert "THE EVIDENCE DOES NOT HOLD" in text.out
    assert bad["file"].partition("/")[2][:16] in text.out
    assert "payload does not have the digest" in " ".join(text.out.split())


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"PK\x05\x06" + bytes(18), b"\xff" * 99])
def test_what_is_no_evidence_fails_its_checks(
    genops: Genops, home: Path, tmp_path: Path, data: bytes
) -> None:
    file = tmp_path / "file"
    file.write_bytes(data)
    assert verified(genops, home, file)["ok"] is False


def test_a_tool_that_packs_anew_makes_another_file_and_is_told_so(
    genops: Genops, home: Path, ids: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "release.zip"
    genops("evidence", *ids, "--home", home, "--out", file)
    stream = io.BytesIO()
    with zipfile.ZipFile(file) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    file.write_bytes(stream.getvalue())
    told = verified(genops, home, file)
    assert "compressed" in told["checks"][0]["detail"]
