"""Sealed texts open with their key alone, and a destroyed key is gone from every file."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap

from registry.errors import (
    ErasedError,
    InputError,
    IntegrityError,
    KeyFileError,
    NotFoundError,
    UnavailableError,
)
from registry.signing.sealing import KEY_BYTES, Keyring, decrypt, encrypt
from tests.folders import let_others_in

KEY = bytes(range(32))
ONE, TWO = "1" * 64, "2" * 64


def everything_under(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in folder.rglob("*") if file.is_file())


def test_what_was_sealed_opens_again() -> None:
    assert decrypt(KEY, encrypt(KEY, b"a red fox", ONE), ONE) == b"a red fox"


def test_equal_texts_do_not_look_equal() -> None:
    assert encrypt(KEY, b"a red fox", ONE) != encrypt(KEY, b"a red fox", ONE)


@pytest.mark.parametrize("position", [0, 11, 12, 20, -1])
def test_a_changed_byte_does_not_open(position: int) -> None:
    sealed = bytearray(encrypt(KEY, b"a red fox", ONE))
    sealed[position] ^= 1
    with pytest.raises(IntegrityError) as error:
        decrypt(KEY, bytes(sealed), ONE)
    assert error.value.code == "text.altered"


@pytest.mark.parametrize(
    ("key", "key_id", "cut"), [(bytes(32), ONE, None), (KEY, TWO, None), (KEY, ONE, 12)]
)
def test_another_key_another_record_or_a_cut_text_does_not_open(
    key: bytes, key_id: str, cut: int | None
) -> None:
    with pytest.raises(IntegrityError):
        decrypt(key, encrypt(KEY, b"a red fox", ONE)[:cut], key_id)


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_only_256_bit_keys_are_taken(keyring: Keyring, size: int) -> None:
    for attempt in (
        lambda: encrypt(bytes(size), b"text", ONE),
        lambda: keyring.put_many({ONE: bytes(size)}),
    ):
        with pytest.raises(InputError):
            attempt()


def test_keys_outlive_the_process(keyring: Keyring, tmp_path: Path, keys: Path) -> None:
    keyring.put_many({ONE: KEY, TWO: bytes(32)})
    again = Keyring.open(tmp_path / "keyring.db", keys)
    assert (again.get(ONE), again.get(TWO)) == (KEY, bytes(32))


def test_an_unknown_key_is_not_an_erased_one(keyring: Keyring) -> None:
    with pytest.raises(NotFoundError) as error:
        keyring.get(ONE)
    assert error.value.code == "text.key-unknown"


def test_a_destroyed_key_stays_destroyed(keyring: Keyring, tmp_path: Path, keys: Path) -> None:
    keyring.put_many({ONE: KEY, TWO: KEY})
    keyring.destroy(ONE)
    keyring.destroy(ONE)
    for ring in (keyring, Keyring.open(tmp_path / "keyring.db", keys)):
        assert ring.is_destroyed(ONE)
        assert not ring.is_destroyed(TWO)
        with pytest.raises(ErasedError):
            ring.get(ONE)
        with pytest.raises(ErasedError):
            ring.put_many({ONE: KEY})
        assert ring.get(TWO) == KEY


def test_a_batch_with_a_destroyed_key_adds_nothing(keyring: Keyring) -> None:
    keyring.destroy(TWO)
    with pytest.raises(ErasedError):
        keyring.put_many({ONE: KEY, TWO: KEY})
    with pytest.raises(NotFoundError):
        keyring.get(ONE)


def test_no_file_holds_a_destroyed_key(keyring: Keyring, tmp_path: Path, keys: Path) -> None:
    all_keys = {f"{n:064d}": os.urandom(KEY_BYTES) for n in range(500)}
    keyring.put_many(all_keys)
    doomed = list(all_keys)[::7]
    sealing_key = (keys / "sealing.key").read_bytes()
    wrapped = {key_id: aes_key_wrap(sealing_key, key) for key_id, key in all_keys.items()}
    before = everything_under(tmp_path)
    assert all(wrapped[key_id] in before for key_id in all_keys)
    for key_id in doomed:
        keyring.destroy(key_id)
    after = everything_under(tmp_path)
    assert not [key_id for key_id in doomed if wrapped[key_id] in after]
    assert all(keyring.get(k) == key for k, key in all_keys.items() if k not in doomed)


def test_a_plain_key_never_reaches_a_file(keyring: Keyring, tmp_path: Path) -> None:
    keyring.put_many({ONE: KEY})
    assert KEY not in everything_under(tmp_path)


def test_destroying_says_when_a_reader_keeps_the_old_pages(tmp_path: Path, keys: Path) -> None:
    keyring = Keyring.open(tmp_path / "keyring.db", keys, create=True, wait_s=0.1)
    keyring.put_many({ONE: KEY})
    reader = sqlite3.connect(tmp_path / "keyring.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM sealing_keys").fetchall()
    with pytest.raises(UnavailableError) as error:
        keyring.destroy(ONE)
    assert error.value.code == "keyring.busy"
    reader.execute("COMMIT")
    keyring.destroy(ONE)
    wrapped = aes_key_wrap((keys / "sealing.key").read_bytes(), KEY)
    assert wrapped not in everything_under(tmp_path)


def test_a_backup_is_a_keyring(keyring: Keyring, tmp_path: Path, keys: Path) -> None:
    keyring.put_many({ONE: KEY})
    keyring.backup(tmp_path / "backup.db")
    assert Keyring.open(tmp_path / "backup.db", keys).get(ONE) == KEY
    assert stat.S_IMODE((tmp_path / "backup.db").stat().st_mode) == 0o600


def test_a_keyring_under_another_sealing_key_does_not_open(
    keyring: Keyring, tmp_path: Path, keys: Path
) -> None:
    keyring.put_many({ONE: KEY})
    (keys / "sealing.key").write_bytes(os.urandom(32))
    with pytest.raises(IntegrityError) as error:
        Keyring.open(tmp_path / "keyring.db", keys).get(ONE)
    assert error.value.code == "text.altered"


def test_a_lost_sealing_key_is_never_replaced_by_a_new_one(
    keyring: Keyring, tmp_path: Path, keys: Path
) -> None:
    keyring.close()
    (keys / "sealing.key").unlink()
    with pytest.raises(KeyFileError) as error:
        Keyring.open(tmp_path / "keyring.db", keys, create=True)
    assert error.value.code == "key.missing"


def test_a_lost_keyring_is_not_made_anew_by_opening(
    keyring: Keyring, tmp_path: Path, keys: Path
) -> None:
    keyring.close()
    (tmp_path / "keyring.db").unlink()
    with pytest.raises(KeyFileError) as error:
        Keyring.open(tmp_path / "keyring.db", keys).get(ONE)
    assert error.value.code == "key.missing"
    assert not (tmp_path / "keyring.db").exists()


@pytest.mark.parametrize("name", ["keyring.db", "keys/sealing.key"])
def test_only_the_owner_can_reach_the_files(keyring: Keyring, tmp_path: Path, name: str) -> None:
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_a_damaged_keyring_is_told_as_such(tmp_path: Path, keys: Path, keyring: Keyring) -> None:
    keyring.close()
    (tmp_path / "keyring.db").write_bytes(b"no database at all, yet long enough to be read" * 40)
    with pytest.raises(IntegrityError) as error:
        Keyring.open(tmp_path / "keyring.db", keys).get(ONE)
    assert error.value.code == "keyring.corrupt"


def test_threads_and_two_openings_put_keys_at_once(
    keyring: Keyring, tmp_path: Path, keys: Path
) -> None:
    rings = [keyring, Keyring.open(tmp_path / "keyring.db", keys)]

    def put(number: int) -> None:
        for step in range(20):
            rings[number % 2].put_many({f"{number:032d}{step:032d}": KEY})

    threads = [threading.Thread(target=put, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(keyring.get(f"{n:032d}{s:032d}") == KEY for n in range(6) for s in range(20))


def test_who_may_not_read_the_sealing_key_is_told_at_the_first_text(
    keyring: Keyring, tmp_path: Path, keys: Path
) -> None:
    keyring.put_many({ONE: KEY})
    (keys / "sealing.key").chmod(0o640)
    other = Keyring.open(tmp_path / "keyring.db", keys)
    with pytest.raises(KeyFileError) as error:
        other.get(ONE)
    assert error.value.code == "key.permissions"


READ_AS_NOBODY = """
import os, sys
from pathlib import Path
from registry.errors import GenopsError
from registry.signing.sealing import Keyring
os.setgid(65534), os.setuid(65534)
keyring = Keyring.open(Path(sys.argv[1]) / "keyring.db", Path(sys.argv[1]) / "keys")
print(keyring.get("1" * 64).hex())
for attempt in (lambda: keyring.put_many({"2" * 64: bytes(32)}), lambda: keyring.destroy("1" * 64)):
    try:
        attempt()
    except GenopsError as error:
        print(error.code)
"""


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can become another user"
)
@pytest.mark.parametrize("live", [True, False], ids=["beside a writer", "after a clean close"])
def test_a_read_only_keyring_reads_and_does_not_write(
    keyring: Keyring, tmp_path: Path, keys: Path, live: bool
) -> None:
    keyring.put_many({ONE: KEY})
    if not live:
        keyring.close()
    os.chown(keys / "sealing.key", 65534, 65534)
    let_others_in(tmp_path)
    for path in tmp_path.rglob("*"):
        if path.name != "sealing.key":
            path.chmod(0o755 if path.is_dir() else 0o644)
    done = subprocess.run(
        [sys.executable, "-c", READ_AS_NOBODY, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split() == [KEY.hex(), "home.read-only", "home.read-only"]
