"""A change of passphrase: all secrets or none, whenever it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.errors import GenopsError, KeyFileError
from registry.signing import protected, rekey
from registry.signing.keys import generate_key, open_signer
from registry.signing.protected import read_protected, write_protected

SECRET = os.urandom(32)
NAMES = ("admin.pem", "generator-0a1b2c3d.pem", "log.pem")


class Crash(BaseException):
    """The machine stops here."""


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let passphrases cost little: they are protected again and again."""
    original = protected.protect
    for module in (protected, rekey):
        monkeypatch.setattr(module, "protect", lambda *args: original(*args, n=2**4))


def fill(folder: Path, passphrase: str | None) -> dict[str, str]:
    """Make keys and secrets; return the ids of the keys."""
    folder.mkdir(mode=0o700)
    made = {
        name: generate_key(
            folder / name, "ed25519" if name == "log.pem" else "p256", passphrase
        ).keyid
        for name in NAMES
    }
    write_protected(folder / "sealing.key", SECRET, passphrase)
    write_protected(folder / "pseudonym.key", SECRET, passphrase)
    (folder / "log.vkey").write_text("public")
    return made


def opens(folder: Path, ids: dict[str, str], passphrase: str | None) -> bool:
    """Tell whether a passphrase opens every secret; fails when it opens some of them."""
    tries: list[Callable[[], object]] = [
        *(lambda name=name: open_signer(folder / name, passphrase).keyid for name in ids),
        lambda: read_protected(folder / "sealing.key", passphrase),
        lambda: read_protected(folder / "pseudonym.key", passphrase),
    ]
    found = []
    for attempt in tries:
        try:
            found.append(attempt())
        except KeyFileError:
            found.append(None)
    wanted = [*ids.values(), SECRET, SECRET]
    assert found in (wanted, [None] * len(wanted)), "some open, and some do not"
    return found == wanted


@pytest.mark.parametrize(("old", "new"), [(None, "first"), ("first", "second"), ("first", None)])
def test_one_passphrase_opens_everything_and_the_other_nothing(
    tmp_path: Path, old: str | None, new: str | None
) -> None:
    folder = tmp_path / "keys"
    ids = fill(folder, old)
    assert rekey.rekey(folder, old, new) == 5
    assert opens(folder, ids, new)
    if new is not None:
        assert not opens(folder, ids, old)
    modes = {
        path.stat().st_mode & 0o777 for path in folder.glob("*.pem") if ".pub" not in path.name
    }
    assert modes == {0o600}
    assert not [path.name for path in folder.iterdir() if "rekey" in path.name]


def test_a_wrong_passphrase_changes_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    ids = fill(folder, "first")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    for wrong in (None, "wrong"):
        with pytest.raises(KeyFileError) as error:
            rekey.rekey(folder, wrong, "second")
        assert error.value.code == "key.passphrase"
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert opens(folder, ids, "first")


def test_a_key_under_another_passphrase_changes_nothing(tmp_path: Path) -> None:
    """Removing a passphrase must not leave plain copies of the keys that did open."""
    folder = tmp_path / "keys"
    fill(folder, "first")
    generate_key(folder / "zoe.pem", "p256", "hers")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(KeyFileError, match=r"zoe\.pem"):
        rekey.rekey(folder, "first", None)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_crash_at_any_step_leaves_the_old_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = []
    for stop in range(100):
        folder = tmp_path / f"home{stop}" / "keys"
        folder.parent.mkdir()
        ids = fill(folder, "first")
        with monkeypatch.context() as patch:
            steps = crash_after(patch, stop)
            try:
                rekey.rekey(folder, "first", "second")
            except Crash:
                pass
            else:
                break
        assert len(steps) == stop + 1
        rekey.finish(folder)
        is_new = opens(folder, ids, "second")
        assert is_new is not opens(folder, ids, "first")
        outcomes.append(is_new)
        rekey.rekey(folder, "second" if is_new else "first", "third")
        assert opens(folder, ids, "third")
    assert sorted(outcomes) == outcomes, "once it counts, it counts"
    assert {False, True} == set(outcomes)


def crash_after(patch: pytest.MonkeyPatch, count: int) -> list[str]:
    """Crash at a step of the change, counted from 0; return the steps that were begun."""
    steps: list[str] = []

    def step(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **more: Any) -> Any:
            if args and isinstance(args[0], Path) and "keys" not in args[0].parts:
                return real(*args, **more)  # the lock
            steps.append(name)
            if len(steps) > count:
                raise Crash
            return real(*args, **more)

        return counted

    patch.setattr(rekey, "write_secret", step("write", rekey.write_secret))
    patch.setattr(rekey, "sync_folder", step("sync", rekey.sync_folder))
    patch.setattr(Path, "replace", step("replace", Path.replace))
    patch.setattr(Path, "unlink", step("unlink", Path.unlink))
    return steps


def test_an_interrupted_change_in_a_folder_that_cannot_be_written_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "keys"
    fill(folder, None)
    (folder / rekey.MARKER).write_bytes(b"")
    (folder / "admin.pem.rekey").write_bytes(b"")

    def refuse(*_: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(GenopsError) as error:
        rekey.finish(folder)
    assert error.value.code == "key.rekey"
