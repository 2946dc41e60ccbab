"""Registries that witness each other: homes, static folders, forks, what is kept and shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from registry.core import checkpoints
from registry.core.cosignatures import CosignerKey, verified
from registry.core.notes import SignedNote
from registry.errors import (
    FormatError,
    GenopsError,
    HomeError,
    InputError,
    IntegrityError,
    NotFoundError,
    RollbackError,
    TrustError,
    UnavailableError,
)
from registry.factory import create_registry, open_home
from registry.sdk import Registry

TARGET = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The homes of a studio with a few records and of an auditor with a witness key."""
    root = tmp_path_factory.mktemp("homes")
    with create_registry(root / "studio", name="studio") as studio:
        grow(studio, 3)
    with create_registry(root / "auditor", name="auditor") as auditor:
        auditor.witness.key()
    return root


def grow(registry: Registry, records: int) -> None:
    for _ in range(records):
        registry.taint(TARGET, reason="a complaint")


@dataclass
class Scene:
    """Two open registries in a folder, and copies of the studio."""

    root: Path
    stack: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        self.studio = self.open("studio")
        self.auditor = self.open("auditor")

    def open(self, name: str) -> Registry:
        return self.stack.enter_context(open_home(self.root / name))

    def copy(self, name: str) -> Path:
        """Return a copy of the studio's home as it is now: the same log, for a while."""
        return shutil.copytree(self.root / "studio", self.root / name)

    @property
    def vkey(self) -> str:
        return (self.root / "studio/keys/log.vkey").read_text().strip()

    @property
    def cosigner(self) -> CosignerKey:
        return CosignerKey.parse(self.auditor.witness.key().vkey)

    def follow(self, where: str | Path = "studio", **options: Any) -> Any:
        return self.auditor.witness.follow(self.root / where, [self.vkey], **options)

    def acquaint(self) -> None:
        self.studio.witness.add(self.auditor.witness.key().vkey)

    def conflicts(self) -> dict[str, bytes]:
        folder = self.root / "auditor/witnessed/conflicts"
        return {path.suffix: path.read_bytes() for path in folder.glob("*")}


@pytest.fixture
def scene(templates: Path, tmp_path: Path) -> Iterator[Scene]:
    for home in templates.iterdir():
        shutil.copytree(home, tmp_path / home.name)
    made = Scene(tmp_path)
    with made.stack:
        yield made


def refusal(act: Callable[[], Any]) -> GenopsError:
    with pytest.raises(GenopsError) as refused:
        act()
    return refused.value


def test_a_witness_cosigns_what_goes_on_and_the_log_keeps_it(scene: Scene) -> None:
    scene.acquaint()
    first = scene.follow()
    assert (first.size, first.last_size, first.handed_back) == (4, None, True)
    grow(scene.studio, 2)
    second = scene.follow()
    assert (second.size, second.last_size, second.handed_back) == (6, 4, True)
    head = scene.studio.witness.head(at_least=1)
    note = SignedNote.parse(head.checkpoint.encode())
    assert checkpoints.verify(head.checkpoint.encode(), scene.vkey).size == 6
    assert [c.key for c in verified(note, [scene.cosigner])] == [scene.cosigner]
    assert [c.witness for c in head.cosignatures] == [scene.cosigner.name]


def test_a_log_that_does_not_know_the_witness_keeps_nothing(scene: Scene) -> None:
    assert scene.follow().handed_back is False
    assert scene.studio.witness.head().cosignatures == ()


def test_a_fork_is_refused_and_both_checkpoints_are_kept(scene: Scene) -> None:
    scene.copy("fork")
    grow(scene.studio, 2)
    seen = scene.follow()
    with open_home(scene.root / "fork") as fork:
        grow(fork, 5)
        other = fork.log.checkpoint()
    refused = refusal(lambda: scene.follow("fork"))
    assert isinstance(refused, IntegrityError)
    assert refused.code == "witness.forked"
    before, after = scene.conflicts()[".before"], scene.conflicts()[".after"]
    assert checkpoints.verify(before, scene.vkey).root.hex() == seen.root
    assert after == other
    assert str(scene.root / "auditor/witnessed/conflicts") in refused.message
    assert (scene.auditor.witness.list().logs[0].size, scene.follow().last_size) == (6, 6)


def test_a_fork_of_the_same_size_is_refused(scene: Scene) -> None:
    scene.copy("fork")
    grow(scene.studio, 1)
    scene.follow()
    with open_home(scene.root / "fork") as fork:
        grow(fork, 1)
    assert refusal(lambda: scene.follow("fork")).code == "witness.forked"
    assert len(scene.conflicts()) == 2


def test_a_log_that_went_back_is_refused_and_both_checkpoints_are_kept(scene: Scene) -> None:
    scene.copy("old")
    grow(scene.studio, 1)
    scene.follow()
    assert refusal(lambda: scene.follow("old")).code == "witness.rolled-back"
    assert checkpoints.verify(scene.conflicts()[".after"], scene.vkey).size == 4


def test_a_witness_whose_database_was_restored_still_refuses_a_fork(scene: Scene) -> None:
    scene.follow()
    scene.copy("fork")
    scene.stack.close()
    home = scene.root / "auditor"
    saved = {path: path.read_bytes() for path in home.glob("registry.db*")}
    later = Scene(scene.root)
    with later.stack:
        grow(later.studio, 2)
        later.follow()
    for path in home.glob("registry.db*"):
        path.unlink()
    for path, data in saved.items():
        path.write_bytes(data)
    again = Scene(scene.root)
    with again.stack, open_home(scene.root / "fork") as fork:
        grow(fork, 2)
        assert refusal(lambda: again.follow("fork")).code == "witness.forked"
        grow(again.studio, 1)
        assert again.follow().last_size == 6


def test_tiles_that_do_not_give_the_signed_root_are_refused(scene: Scene) -> None:
    folder = scene.root / "site"
    scene.studio.witness.export_tiles(folder)
    tile = folder / "tile/0/000.p/4"
    good = tile.read_bytes()
    tile.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    assert refusal(lambda: scene.follow(folder)).code == "witness.tiles"
    tile.write_bytes(good[:-1])
    assert refusal(lambda: scene.follow(folder)).code == "tile.invalid"
    tile.unlink()
    assert refusal(lambda: scene.follow(folder)).code == "witness.source"
    tile.write_bytes(good)
    assert scene.follow(folder).last_size is None
    tile.write_bytes(bytes(len(good)))
    assert refusal(lambda: scene.follow(folder)).code == "witness.tiles"
    assert scene.conflicts() == {}


def test_only_a_checkpoint_that_the_log_signed_is_cosigned(scene: Scene) -> None:
    folder = scene.root / "site"
    scene.studio.witness.export_tiles(folder)
    checkpoint = folder / "checkpoint"
    good = checkpoint.read_bytes()
    for bad, kind, code in (
        (good.replace(b"\n4\n", b"\n5\n"), IntegrityError, "note.bad-signature"),
        (scene.auditor.log.checkpoint(), NotFoundError, "witness.unknown-log"),
        (good[:-2], FormatError, "note.invalid"),
        (b"x" * 2**19, InputError, "input.file"),
    ):
        checkpoint.write_bytes(bad)
        refused = refusal(lambda: scene.follow(folder))
        assert isinstance(refused, kind)
        assert refused.code == code
    assert scene.auditor.witness.list().logs == ()


def test_a_log_is_followed_by_an_added_key_and_by_any_of_several(scene: Scene) -> None:
    where = scene.root / "studio"
    unknown = refusal(lambda: scene.auditor.witness.follow(where))
    assert unknown.code == "witness.unknown-log"
    scene.auditor.witness.add_log(scene.vkey)
    assert scene.auditor.witness.follow(where).size == 4
    retired = scene.auditor.witness.add_log(other_key(scene.vkey))
    assert scene.auditor.witness.follow(where).size == 4
    (log,) = scene.auditor.witness.list().logs
    assert set(log.vkeys) == {scene.vkey, retired.vkey}


def other_key(vkey: str) -> str:
    from registry.core.notes import VerifierKey

    key = VerifierKey.parse(vkey)
    return str(VerifierKey(key.name, bytes(reversed(key.public))))


def test_a_registry_is_no_witness_of_itself(scene: Scene) -> None:
    where = scene.root / "studio"
    follow = refusal(lambda: scene.studio.witness.follow(where, [scene.vkey]))
    assert follow.code == "witness.own"
    own = scene.studio.witness.key().vkey
    assert refusal(lambda: scene.studio.witness.add(own)).code == "witness.own"


def test_the_witness_key_is_made_once_and_only_its_owner_reads_it(scene: Scene) -> None:
    first = scene.studio.witness.key()
    assert scene.studio.witness.key() == first
    assert first.witness == f"{scene.studio.settings.origin}/witness"
    private = scene.root / "studio/keys/witness.pem"
    assert private.stat().st_mode & 0o077 == 0
    assert CosignerKey.parse(first.vkey).public not in scene.vkey.encode()


@pytest.mark.parametrize("kind", ["add", "add_log"])
def test_keys_of_another_kind_and_damaged_key_files_are_refused(scene: Scene, kind: str) -> None:
    wrong = scene.vkey if kind == "add" else scene.cosigner
    add = getattr(scene.studio.witness, kind)
    assert refusal(lambda: add(str(wrong))).code == "vkey.invalid"
    folder = scene.root / "studio" / ("witnesses" if kind == "add" else "witnessed")
    folder.mkdir()
    (folder / "damaged.vkey").write_text("nonsense\n")
    refused = refusal(scene.studio.witness.list)
    assert refused.code == "witness.key-file"
    assert "damaged.vkey" in refused.message


def test_a_head_with_too_few_cosignatures_is_refused(scene: Scene) -> None:
    scene.acquaint()
    scene.follow()
    scene.studio.witness.head(at_least=1)
    refused = refusal(lambda: scene.studio.witness.head(at_least=2))
    assert isinstance(refused, TrustError)
    assert refused.code == "witness.too-few"
    grow(scene.studio, 1)
    assert refusal(lambda: scene.studio.witness.head(at_least=1)).code == "witness.too-few"
    older = scene.studio.witness.cosigned_head()
    assert (older.size, len(older.cosignatures)) == (4, 1)
    assert checkpoints.verify(older.checkpoint.encode(), scene.vkey).root.hex() == older.root
    assert refusal(lambda: scene.studio.witness.cosigned_head(2)).code == "witness.none"


def test_a_witness_that_no_longer_counts_is_not_shown(scene: Scene) -> None:
    scene.acquaint()
    scene.follow()
    (file,) = (scene.root / "studio/witnesses").iterdir()
    file.unlink()
    assert scene.studio.witness.head().cosignatures == ()
    assert "witness" not in scene.studio.witness.head().checkpoint


def test_a_cosigned_checkpoint_can_come_by_any_way(scene: Scene) -> None:
    folder = scene.root / "site"
    scene.studio.witness.export_tiles(folder)
    note = scene.follow(folder).checkpoint.encode()
    assert refusal(lambda: scene.studio.witness.keep(note)).code == "witness.unknown"
    scene.acquaint()
    grow(scene.studio, 1)
    kept = scene.studio.witness.keep(note)
    assert (kept.size, len(kept.cosignatures)) == (4, 1)
    assert scene.studio.witness.cosigned_head().size == 4
    assert refusal(lambda: scene.studio.witness.keep(b"x\n")).code == "note.invalid"


def test_a_cosigned_checkpoint_shows_that_the_log_has_forgotten(scene: Scene) -> None:
    scene.copy("old")
    grow(scene.studio, 1)
    note = scene.follow().checkpoint.encode()
    with open_home(scene.root / "old") as old:
        old.witness.add(scene.auditor.witness.key().vkey)
        refused = refusal(lambda: old.witness.keep(note))
        assert isinstance(refused, RollbackError)
        assert refused.code == "log.rolled-back"
        grow(old, 1)
        assert refusal(lambda: old.witness.keep(note)).code == "log.forked"


def test_consistency_with_a_kept_checkpoint(scene: Scene) -> None:
    scene.copy("old")
    grow(scene.studio, 1)
    kept = scene.studio.log.checkpoint()
    grow(scene.studio, 2)
    proof = scene.studio.witness.consistency_since(kept)
    assert (proof.old, proof.new) == (5, 7)
    assert proof == scene.studio.witness.consistency(5)
    with open_home(scene.root / "old") as old:
        assert refusal(lambda: old.witness.consistency_since(kept)).code == "log.rolled-back"
        grow(old, 4)
        assert refusal(lambda: old.witness.consistency_since(kept)).code == "log.forked"
    foreign = refusal(lambda: scene.auditor.witness.consistency_since(kept))
    assert foreign.code == "note.unsigned"


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [(0, None, "proof.range"), (3, 2, "proof.range"), (1, 9, "log.no-index")],
)
def test_sizes_that_cannot_be_compared_are_refused(
    scene: Scene, old: int, new: int | None, code: str
) -> None:
    assert refusal(lambda: scene.studio.witness.consistency(old, new)).code == code


def test_a_home_that_cannot_be_written_signs_nothing(scene: Scene) -> None:
    engine = scene.auditor._services.engine  # marked as `open_engine` marks a read-only home
    engine.update_execution_options(genops_read_only=True)
    assert isinstance(refusal(scene.follow), HomeError)
    add = refusal(lambda: scene.auditor.witness.add_log(scene.vkey))
    assert add.code == "home.read-only"


def test_nobody_at_the_other_end_is_said(scene: Scene) -> None:
    url = "http://127.0.0.1:9/tlog"
    follow = refusal(lambda: scene.auditor.witness.follow(url, [scene.vkey]))
    assert isinstance(follow, UnavailableError)
    assert refusal(lambda: scene.studio.witness.submit(url)).code == "witness.none"
    scene.acquaint()
    assert isinstance(refusal(lambda: scene.studio.witness.submit(url)), UnavailableError)
    empty = scene.root / "empty"
    empty.mkdir()
    assert refusal(lambda: scene.follow(empty)).code == "witness.source"
