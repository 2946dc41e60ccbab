"""Secrets under a passphrase: opened by it alone, plain ones of old homes as before."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from registry.errors import GenopsError, InputError, KeyFileError
from registry.signing.protected import (
    MAGIC,
    is_protected,
    protect,
    read_protected,
    unprotect,
    write_protected,
)
from registry.signing.sealing import Keyring

SECRET = os.urandom(32)
N = 2**4
"""A cost that tests can pay."""


def code(path: Path, passphrase: str | None) -> str:
    with pytest.raises(KeyFileError) as error:
        read_protected(path, passphrase)
    return error.value.code


@pytest.mark.parametrize("passphrase", [None, "correct horse", "pässwörd ☃"])
def test_what_was_written_is_read(keys: Path, passphrase: str | None) -> None:
    path = keys / "a.key"
    write_protected(path, SECRET, passphrase)
    assert read_protected(path, passphrase) == SECRET
    assert (SECRET in path.read_bytes()) is (passphrase is None)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_plain_secret_needs_no_passphrase_and_takes_any(keys: Path) -> None:
    write_protected(keys / "a.key", SECRET, None)
    assert read_protected(keys / "a.key", "unused") == SECRET


def test_a_wrong_or_missing_passphrase_is_told_as_such(keys: Path) -> None:
    path = keys / "a.key"
    path.write_bytes(protect(SECRET, "right", "a.key", n=N))
    path.chmod(0o600)
    assert [code(path, given) for given in (None, "", "wrong")] == ["key.passphrase"] * 3
    assert read_protected(path, "right") == SECRET


def test_a_secret_opens_under_its_own_name_alone(keys: Path) -> None:
    data = protect(SECRET, "right", "sealing.key", n=N)
    with pytest.raises(KeyFileError):
        unprotect(data, "right", keys / "pseudonym.key")


def test_every_flipped_bit_is_found(keys: Path) -> None:
    data = protect(SECRET, "right", "a.key", n=N)
    path = keys / "a.key"
    for position in range(len(MAGIC), len(data)):
        changed = bytearray(data)
        changed[position] ^= 1
        with pytest.raises(GenopsError):
            unprotect(bytes(changed), "right", path)
    for end in range(len(MAGIC), len(data)):
        with pytest.raises(GenopsError):
            unprotect(data[:end], "right", path)


@pytest.mark.parametrize(
    "change",
    [
        (b'"n":16', b'"n":17'),
        (b'"n":16', b'"n":1073741824'),
        (b'"n":16', b'"n":true'),
        (b'"scrypt"', b'"argon2"'),
        (b'"p":1', b'"p":9'),
        (b"{", b"{ "),
    ],
)
def test_a_header_that_asks_for_more_is_refused_before_it_costs(
    keys: Path, change: tuple[bytes, bytes]
) -> None:
    data = protect(SECRET, "right", "a.key", n=N)
    assert change[0] in data
    with pytest.raises(KeyFileError) as error:
        unprotect(data.replace(*change, 1), "right", keys / "a.key")
    assert error.value.code == "key.unusable"


def test_an_empty_passphrase_protects_nothing() -> None:
    with pytest.raises(InputError):
        protect(SECRET, "", "a.key")


def test_two_protections_of_one_secret_do_not_look_alike() -> None:
    one, other = (protect(SECRET, "right", "a.key", n=N) for _ in range(2))
    assert one[-40:] != other[-40:]
    assert is_protected(one)
    assert not is_protected(SECRET)


def test_a_keyring_is_protected_from_the_start(tmp_path: Path, keys: Path) -> None:
    path = tmp_path / "keyring.db"
    Keyring.open(path, keys, create=True, passphrase="right").put_many({"a": SECRET})
    assert is_protected((keys / "sealing.key").read_bytes())
    assert Keyring.open(path, keys, passphrase="right").get("a") == SECRET
    for wrong in (None, "wrong"):
        with pytest.raises(KeyFileError) as error:
            Keyring.open(path, keys, passphrase=wrong).get("a")
        assert error.value.code == "key.passphrase"


def test_no_passphrase_is_shown(tmp_path: Path, keys: Path) -> None:
    keyring = Keyring.open(tmp_path / "keyring.db", keys, create=True, passphrase="s3cret-phrase")
    assert "s3cret-phrase" not in repr(keyring)
    with pytest.raises(KeyFileError) as error:
        read_protected(keys / "sealing.key", "other-phrase")
    assert "other-phrase" not in f"{error.value}{error.value.hint}{error.value.__cause__}"
