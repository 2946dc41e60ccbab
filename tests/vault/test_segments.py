"""A segment carries its members, and DVC's own commands carry the segment."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.core.generation import Blob
from registry.errors import FormatError, InputError, IntegrityError, MaterialError
from registry.vault.segments import Segment, read_segment, segment_path, write_segment
from registry.vault.store import Vault

Dvc = Callable[..., str]
CHECKPOINT = b"studio/1\n2\nAAAA\n\n- studio/1 AAAA\n"
CONTENTS = {
    "outputs/fox.png": b"a red fox",
    "outputs/owl.png": bytes(range(256)) * 999,
    "envelopes/0.json": b"{}",
    "models/brand lora \u00e9.safetensors": b"weights",
}


def put_all(vault: Vault) -> dict[str, Blob]:
    return {path: vault.put(data) for path, data in CONTENTS.items()}


@pytest.fixture
def pointer(vault: Vault) -> Path:
    return write_segment(vault, 0, 1, put_all(vault), CHECKPOINT)


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_a_segment_reads_back_as_it_was_written(vault: Vault, pointer: Path) -> None:
    assert read_segment(vault, pointer) == Segment(0, 1, put_all(vault), CHECKPOINT)
    assert pointer == segment_path(vault, 0, 1) == vault.root / "segments/0-1.dvc"


def test_writing_the_same_segment_again_changes_nothing(vault: Vault, pointer: Path) -> None:
    before = pointer.read_bytes()
    assert write_segment(vault, 0, 1, put_all(vault), CHECKPOINT) == pointer
    assert pointer.read_bytes() == before


def test_the_order_of_members_does_not_matter(vault: Vault, pointer: Path) -> None:
    members = dict(reversed(put_all(vault).items()))
    assert write_segment(vault, 0, 1, members, CHECKPOINT) == pointer


@pytest.mark.parametrize("path", ["outputs/fox.png", "outputs/new.png"])
def test_a_range_is_not_written_twice_with_other_content(
    vault: Vault, pointer: Path, path: str
) -> None:
    with pytest.raises(IntegrityError) as error:
        write_segment(vault, 0, 1, {**put_all(vault), path: vault.put(b"a cat")}, CHECKPOINT)
    assert error.value.code == "segment.conflict"
    assert path in error.value.message
    assert read_segment(vault, pointer).members == put_all(vault)


def test_a_repeated_delivery_finds_the_segment_as_it_was_written(
    vault: Vault, pointer: Path
) -> None:
    """A mirror sends again what it sent: by then the log has grown, and a text may be erased."""
    fewer = put_all(vault)
    del fewer["envelopes/0.json"]
    assert write_segment(vault, 0, 1, fewer, b"a newer checkpoint") == pointer
    assert read_segment(vault, pointer) == Segment(0, 1, put_all(vault), CHECKPOINT)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/etc/passwd",
        "../up",
        "a/../../up",
        "./a",
        "a//b",
        "a/",
        "checkpoint",
        "SHA256SUMS",
        "two\nlines",
        "back\\slash",
        "outputs/fox.png/below",
    ],
)
def test_a_path_that_no_file_may_have_is_refused(vault: Vault, path: str) -> None:
    members = put_all(vault)
    with pytest.raises(InputError) as error:
        write_segment(vault, 0, 1, {**members, path: members["envelopes/0.json"]}, CHECKPOINT)
    assert error.value.code == "segment.path"
    assert not segment_path(vault, 0, 1).exists()


@pytest.mark.parametrize(("first", "last"), [(-1, 3), (2, 1)])
def test_a_range_runs_forward(vault: Vault, first: int, last: int) -> None:
    with pytest.raises(InputError) as error:
        write_segment(vault, first, last, {}, CHECKPOINT)
    assert error.value.code == "segment.range"


@pytest.mark.parametrize("name", ["manifest", "sums", "checkpoint"])
def test_an_altered_part_of_a_segment_is_noticed(vault: Vault, pointer: Path, name: str) -> None:
    part = hidden_part(vault, pointer, name)
    data = part.read_bytes()
    overwrite(part, data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(IntegrityError) as error:
        read_segment(vault, pointer)
    assert error.value.code == "vault.altered"


@pytest.mark.parametrize("name", ["manifest", "sums", "checkpoint"])
def test_a_missing_part_of_a_segment_is_told_as_such(
    vault: Vault, pointer: Path, name: str
) -> None:
    hidden_part(vault, pointer, name).unlink()
    with pytest.raises(MaterialError):
        read_segment(vault, pointer)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "outs: []\n",
        "{",
        "outs:\n- md5: 1\nmeta: {genops: {format: other}}\n",
        "a: b\n",
        "a: 2001-99-99\n",
        "a: !!bool x\n",
        "a: !!timestamp x\n",
        "a: !!int ''\n",
        f"a: {'9' * 5000}\n",
        "[" * 5000,
    ],
    ids=lambda text: text[:20].strip(),
)
def test_a_pointer_that_is_not_ours_is_refused(vault: Vault, pointer: Path, text: str) -> None:
    pointer.write_text(text)
    with pytest.raises(FormatError) as error:
        read_segment(vault, pointer)
    assert error.value.code == "segment.invalid"


def hidden_part(vault: Vault, pointer: Path, name: str) -> Path:
    """Return where a segment keeps its manifest, its sums or its checkpoint."""
    cache = vault.root / ".dvc/cache/files/md5"
    digest = next(
        line.split()[-1]
        for line in pointer.read_text().splitlines()
        if line.strip().startswith(f"{name}_sha256")
    )
    return next(
        path
        for path in cache.rglob("*")
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest
    )


@pytest.mark.slow
def test_dvc_pushes_and_pulls_a_segment_into_a_fresh_copy(
    vault: Vault, pointer: Path, dvc: Dvc, tmp_path: Path
) -> None:
    assert dvc(vault.root, "checkout") is not None
    assert "up to date" in dvc(vault.root, "status")
    dvc(vault.root, "remote", "add", "-d", "backup", str(tmp_path / "remote"))
    dvc(vault.root, "push")
    assert "in sync" in dvc(vault.root, "status", "--cloud")

    copy = tmp_path / "copy"
    shutil.copytree(vault.root, copy, ignore=shutil.ignore_patterns("cache", "tmp", "0-1"))
    dvc(copy, "pull")
    for path, data in CONTENTS.items():
        assert (copy / "segments/0-1" / path).read_bytes() == data
    subprocess.run(
        ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"],
        cwd=copy / "segments/0-1",
        check=True,
    )
    restored = Vault(copy)
    segment = read_segment(restored, copy / "segments/0-1.dvc")
    assert segment == read_segment(vault, pointer)
    for path, blob in segment.members.items():
        assert restored.read(blob) == CONTENTS[path]


@pytest.mark.slow
def test_dvc_writes_the_same_manifest_for_the_same_files(
    vault: Vault, pointer: Path, dvc: Dvc, tmp_path: Path
) -> None:
    dvc(vault.root, "checkout")
    other = Vault(tmp_path / "other")
    other.init()
    shutil.copytree(vault.root / "segments/0-1", other.root / "0-1")
    dvc(other.root, "add", "0-1")
    texts = (pointer.read_text(), (other.root / "0-1.dvc").read_text())
    ours, theirs = (re.findall(r"md5: [0-9a-f]{32}\.dir", text) for text in texts)
    assert len(ours) == 1
    assert ours == theirs


@pytest.mark.slow
def test_a_tampered_remote_is_noticed_where_dvc_does_not(
    vault: Vault, pointer: Path, dvc: Dvc, tmp_path: Path
) -> None:
    dvc(vault.root, "remote", "add", "-d", "backup", str(tmp_path / "remote"))
    dvc(vault.root, "push")
    blob = put_all(vault)["outputs/fox.png"]
    overwrite(tmp_path / "remote/files/md5" / blob.md5[:2] / blob.md5[2:], b"a blue fox")
    copy = tmp_path / "copy"
    shutil.copytree(vault.root, copy, ignore=shutil.ignore_patterns("cache", "tmp"))
    dvc(copy, "pull")
    with pytest.raises(IntegrityError) as error:
        Vault(copy).read(blob)
    assert error.value.code == "vault.altered"


def test_a_manifest_is_json_that_any_program_reads(vault: Vault, pointer: Path) -> None:
    rows = json.loads(hidden_part(vault, pointer, "manifest").read_bytes())
    assert [row["relpath"] for row in rows] == sorted([*CONTENTS, "checkpoint", "SHA256SUMS"])
