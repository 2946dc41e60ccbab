"""The log as static files, read by somebody who knows the C2SP texts and none of our code."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from registry.errors import GenopsError
from registry.factory import create_registry
from registry.sdk import Registry

TARGET = "sha256:" + "ab" * 32
FIRST = 300
LAST = 600


@pytest.fixture(scope="module")
def growing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry of 300 records, which one test brings to 600."""
    with create_registry(tmp_path_factory.mktemp("growing") / "home", name="growing") as made:
        grow(made, FIRST)
        yield made


def grow(registry: Registry, size: int) -> None:
    more = range(size - registry.log.head().size)
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda _: registry.taint(TARGET, reason="a complaint"), more))


class Reader:
    """A client of C2SP tlog-tiles on a folder; every step of the specification by hand."""

    def __init__(self, folder: Path, vkey: str) -> None:
        self.folder = folder
        text, _, signatures = (folder / "checkpoint").read_bytes().rpartition(b"\n\n")
        name, _, key = vkey.split("+", 2)
        line = next(s for s in signatures.decode().split("\n") if s.startswith(f"— {name} "))
        signature = base64.b64decode(line.rpartition(" ")[2])
        public = Ed25519PublicKey.from_public_bytes(base64.b64decode(key)[1:])
        public.verify(signature[4:], text + b"\n")
        origin, size, root = text.decode().split("\n")
        assert origin == name
        self.size, self.root = int(size), base64.b64decode(root)

    def path(self, level: str, index: int, width: int) -> Path:
        name = f"{index:03d}" if width == 256 else f"{index:03d}.p/{width}"
        return self.folder / "tile" / level / name

    def rows(self, level: str, count: int) -> list[bytes]:
        widths = [256] * (count // 256) + ([count % 256] if count % 256 else [])
        return [self.path(level, n, width).read_bytes() for n, width in enumerate(widths)]

    def entries(self) -> list[bytes]:
        found = []
        for data in self.rows("entries", self.size):
            at = 0
            while at < len(data):
                end = at + 2 + int.from_bytes(data[at : at + 2], "big")
                found.append(data[at + 2 : end])
                at = end
        return found

    def files(self) -> set[str]:
        """Return the tiles that the specification asks for at this size, as paths."""
        names = {str(self.path("entries", n, w)) for n, w in self.cut(self.size)}
        level, count = 0, self.size
        while count:
            names |= {str(self.path(str(level), n, w)) for n, w in self.cut(count)}
            level, count = level + 1, count // 256
        return names

    @staticmethod
    def cut(count: int) -> list[tuple[int, int]]:
        full = [(n, 256) for n in range(count // 256)]
        return [*full, (count // 256, count % 256)] if count % 256 else full


def root_of(leaves: list[bytes]) -> bytes:
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return hashlib.sha256(b"\1" + root_of(leaves[:k]) + root_of(leaves[k:])).digest()


def written(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every tile of a folder with its inode: one that is written anew has another."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != "checkpoint"]
    return {str(path): (path.stat().st_ino, path.read_bytes()) for path in files}


def vkey_of(registry: Registry) -> str:
    return (registry.settings.home.keys / "log.vkey").read_text().strip()


def check(folder: Path, registry: Registry) -> Reader:
    reader = Reader(folder, vkey_of(registry))
    leaves = [hashlib.sha256(b"\0" + entry).digest() for entry in reader.entries()]
    assert len(leaves) == reader.size == registry.log.head().size
    assert root_of(leaves) == reader.root
    assert b"".join(reader.rows("0", reader.size)) == b"".join(leaves)
    tops = [root_of(leaves[n : n + 256]) for n in range(0, reader.size - 255, 256)]
    assert b"".join(reader.rows("1", len(tops))) == b"".join(tops)
    return reader


def test_a_stranger_reads_the_log_from_static_files_as_it_grows(
    growing: Registry, tmp_path: Path
) -> None:
    folder = tmp_path / "www" / "log"
    first = growing.witness.export_tiles(folder)
    reader = check(folder, growing)
    before = written(folder)
    assert set(before) == reader.files()
    assert (first.size, first.written, first.present, first.removed) == (FIRST, 5, 0, 0)

    again = growing.witness.export_tiles(folder)
    assert (again.written, again.present) == (0, 5)
    assert written(folder) == before

    grow(growing, LAST)
    later = growing.witness.export_tiles(folder)
    after = written(folder)
    # What the older checkpoint needs of the tiles that are still partial stays.
    still = {str(check(folder, growing).path("1", 0, 1))}
    assert set(after) == Reader(folder, vkey_of(growing)).files() | still
    assert all(after[path] == before[path] for path in before.keys() & after.keys())
    gone = before.keys() - after.keys()
    assert {Path(path).parent.name for path in gone} == {"001.p"}
    assert later.removed == len(gone) == 2
    assert not list(folder.rglob(".*"))


@pytest.fixture(scope="module")
def served(growing: Registry) -> Callable[[str], bytes]:
    """Fetch from the application of the growing registry."""
    from starlette.testclient import TestClient

    from registry.web.app import create_app

    client = TestClient(create_app(growing, growing.settings), base_url="http://127.0.0.1:8765")
    return lambda path: client.get(path).content


def test_the_service_offers_what_is_exported(
    growing: Registry, tmp_path: Path, served: Callable[[str], bytes]
) -> None:
    growing.witness.export_tiles(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert served(f"/tlog/{path.relative_to(tmp_path)}") == path.read_bytes(), path


def test_the_service_offers_partial_tiles_of_every_width(served: Callable[[str], bytes]) -> None:
    hashes, entries = served("/tlog/tile/0/000"), served("/tlog/tile/entries/000")
    assert len(hashes) == 256 * 32
    for width in range(1, 256):
        assert served(f"/tlog/tile/0/000.p/{width}") == hashes[: width * 32]
    for width in (1, 2, 100, 254, 255):
        part = served(f"/tlog/tile/entries/000.p/{width}")
        assert entries.startswith(part)
        assert part.count(b'"envelope"') == width


def test_an_export_that_was_interrupted_has_no_checkpoint_and_is_finished_later(
    growing: Registry, tmp_path: Path
) -> None:
    def stop(done: int, total: int) -> None:
        if done == total - 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        growing.witness.export_tiles(tmp_path, stop)
    assert not (tmp_path / "checkpoint").exists()
    assert growing.witness.export_tiles(tmp_path).written == 1
    check(tmp_path, growing)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(GenopsError) as refused:
        act()
    return refused.value.code


def test_a_folder_with_something_else_is_left_alone(
    growing: Registry, registry: Registry, tmp_path: Path
) -> None:
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.html").write_text("hello")
    assert code_of(lambda: growing.witness.export_tiles(tmp_path / "www")) == "tiles.foreign"
    registry.witness.export_tiles(tmp_path / "other")
    before = written(tmp_path / "other")
    assert code_of(lambda: growing.witness.export_tiles(tmp_path / "other")) == "tiles.foreign"
    assert written(tmp_path / "other") == before


def test_an_export_of_a_log_that_forgot_records_is_not_overwritten(
    growing: Registry, tmp_path: Path
) -> None:
    from registry.core import checkpoints
    from registry.core.checkpoints import Checkpoint
    from registry.signing.keys import open_signer

    signer = open_signer(growing.settings.home.keys / "log.pem")
    growing.witness.export_tiles(tmp_path)
    for size, code in ((10**6, "log.rolled-back"), (5, "log.forked")):
        other = Checkpoint(growing.settings.origin, size, bytes(32))
        note = checkpoints.sign(other, vkey_of(growing), signer.sign)
        (tmp_path / "checkpoint").write_bytes(note)
        assert code_of(lambda: growing.witness.export_tiles(tmp_path)) == code
        assert (tmp_path / "checkpoint").read_bytes() == note


def test_a_file_in_the_way_is_said(growing: Registry, tmp_path: Path) -> None:
    (tmp_path / "www").write_text("a file")
    assert code_of(lambda: growing.witness.export_tiles(tmp_path / "www")) == "tiles.unwritable"
