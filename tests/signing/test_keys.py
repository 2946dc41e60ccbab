"""Private keys open only for their owner, with their passphrase, and sign what they say."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from registry.core import checkpoints, dsse
from registry.core.checkpoints import Checkpoint
from registry.core.merkle import EMPTY_ROOT
from registry.errors import InputError, KeyFileError
from registry.signing.keys import (
    FileSigner,
    KeyKind,
    generate_key,
    note_key,
    open_signer,
    public_path,
    public_pem,
)

KINDS: list[KeyKind] = ["p256", "ed25519"]


def test_a_p256_signature_verifies_under_the_key_id_that_it_names(keys: Path) -> None:
    signer = generate_key(keys / "generator.pem", "p256")
    signature = signer.sign(b"message")
    assert dsse.verify_p256(signer.spki_der, b"message", signature)
    assert not dsse.verify_p256(signer.spki_der, b"another message", signature)
    assert signer.keyid == dsse.keyid(dsse.spki_from_pem(public_pem(keys / "generator.pem")))


def test_an_ed25519_key_signs_checkpoints_under_its_origin(keys: Path) -> None:
    signer = generate_key(keys / "log.pem", "ed25519")
    vkey = note_key(signer, "studio/1")
    note = checkpoints.sign(Checkpoint("studio/1", 0, EMPTY_ROOT), vkey, signer.sign)
    assert checkpoints.verify(note, str(vkey)).size == 0


def test_a_p256_key_is_no_checkpoint_key(keys: Path) -> None:
    with pytest.raises(InputError) as error:
        note_key(generate_key(keys / "a.pem", "p256"), "studio/1")
    assert error.value.code == "key.kind"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_a_key_read_back_is_the_key_that_was_made(
    keys: Path, kind: KeyKind, passphrase: str | None
) -> None:
    made = generate_key(keys / "a.pem", kind, passphrase)
    for name in (keys / "a.pem", str(keys / "a.pem"), (keys / "a.pem").as_uri()):
        assert open_signer(name, passphrase).keyid == made.keyid


def test_only_the_owner_can_reach_a_new_key(keys: Path) -> None:
    generate_key(keys / "a.pem", "p256")
    assert stat.S_IMODE((keys / "a.pem").stat().st_mode) == 0o600


def test_an_encrypted_key_holds_no_plain_key(keys: Path) -> None:
    generate_key(keys / "a.pem", "p256", "correct horse")
    assert b"ENCRYPTED" in (keys / "a.pem").read_bytes()


@pytest.mark.parametrize("passphrase", [None, "", "wrong"])
def test_a_wrong_or_missing_passphrase_is_told_as_such(keys: Path, passphrase: str | None) -> None:
    generate_key(keys / "a.pem", "p256", "correct horse")
    with pytest.raises(KeyFileError) as error:
        FileSigner(keys / "a.pem", passphrase)
    assert error.value.code == "key.passphrase"


def test_a_passphrase_for_a_plain_key_is_ignored(keys: Path) -> None:
    made = generate_key(keys / "a.pem", "p256")
    assert FileSigner(keys / "a.pem", "not needed").keyid == made.keyid


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_reach_is_refused(keys: Path, mode: int) -> None:
    generate_key(keys / "a.pem", "p256")
    (keys / "a.pem").chmod(mode)
    with pytest.raises(KeyFileError) as error:
        FileSigner(keys / "a.pem")
    assert error.value.code == "key.permissions"


def test_a_missing_key_is_told_as_such(keys: Path) -> None:
    with pytest.raises(KeyFileError) as error:
        open_signer(keys / "a.pem")
    assert error.value.code == "key.missing"


def test_making_a_key_never_replaces_one(keys: Path) -> None:
    made = generate_key(keys / "a.pem", "p256")
    with pytest.raises(KeyFileError) as error:
        generate_key(keys / "a.pem", "p256")
    assert error.value.code == "key.exists"
    assert FileSigner(keys / "a.pem").keyid == made.keyid


def foreign_keys() -> list[bytes]:
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    plain = serialization.NoEncryption()
    return [
        b"",
        b"not a key",
        ec.generate_private_key(ec.SECP384R1()).private_bytes(*pem, plain),
        rsa.generate_private_key(65537, 2048).private_bytes(*pem, plain),
    ]


@pytest.mark.parametrize("data", foreign_keys(), ids=["empty", "text", "p384", "rsa"])
def test_a_file_that_is_no_key_of_ours_is_unusable(keys: Path, data: bytes) -> None:
    (keys / "a.pem").write_bytes(data)
    (keys / "a.pem").chmod(0o600)
    with pytest.raises(KeyFileError) as error:
        FileSigner(keys / "a.pem")
    assert error.value.code == "key.unusable"


def test_a_damaged_public_half_is_unusable(keys: Path) -> None:
    generate_key(keys / "a.pem", "p256")
    public_path(keys / "a.pem").write_text("-----BEGIN PUBLIC KEY-----\nAAAA\n")
    with pytest.raises(KeyFileError) as error:
        public_pem(keys / "a.pem")
    assert error.value.code == "key.unusable"


@pytest.mark.parametrize("uri", ["gcpkms://project/key", "file://elsewhere/key.pem"])
def test_a_scheme_without_a_signer_is_refused(uri: str) -> None:
    with pytest.raises(InputError) as error:
        open_signer(uri)
    assert error.value.code == "key.scheme"


def test_no_secret_is_shown(keys: Path) -> None:
    signer = generate_key(keys / "a.pem", "p256", "correct horse")
    secret = (keys / "a.pem").read_text().splitlines()[1]
    assert "horse" not in repr(signer)
    assert secret not in repr(vars(signer))
