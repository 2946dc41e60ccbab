"""Keys in devices: a real token over PKCS #11 (SoftHSM), and every way it can refuse."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from registry.core.dsse import keyid, spki_from_pem, verify_p256
from registry.errors import FormatError, GenopsError, InputError, MissingExtraError
from registry.signing.keys import generate_key, public_pem
from registry.signing.managed import SCHEMES, ManagedSigner

LIBRARY = Path("/usr/lib/softhsm/libsofthsm2.so")
PIN = "735914"
URI = "hsm:2?label=genops"


@dataclass
class Token:
    """A token with a P-256 key of id 2."""

    public_pem: str


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Token]:
    """A SoftHSM token in a folder of its own; its library reads the folder once a process."""
    pytest.importorskip("pkcs11", reason="python-pkcs11 is not installed")
    tool = shutil.which("softhsm2-util")
    if tool is None or not LIBRARY.exists():
        pytest.skip("SoftHSM (Debian: softhsm2) is not installed")
    folder = tmp_path_factory.mktemp("hsm")
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder / 'tokens'}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", str(folder / "softhsm2.conf"))
        patch.setenv("PYKCS11LIB", str(LIBRARY))
        new = [
            tool,
            "--init-token",
            "--free",
            "--label",
            "genops",
            "--so-pin",
            "99999",
            "--pin",
            PIN,
        ]
        subprocess.run(new, check=True, capture_output=True)
        yield Token(make_key())


def make_key() -> str:
    """Make a P-256 key on the token; return its public half in PEM."""
    import pkcs11
    from pkcs11.util.ec import encode_ec_public_key, encode_named_curve_parameters

    found = pkcs11.lib(str(LIBRARY)).get_token(token_label="genops")
    curve = {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")}
    with found.open(rw=True, user_pin=PIN) as session:
        params = session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True)
        public, _ = params.generate_keypair(store=True, id=b"\x02", label="generator")
        der = encode_ec_public_key(public)
    key = load_der_public_key(der)
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode("ascii")


def refused(uri: str, pem: str, pin: str | None = PIN) -> GenopsError:
    with pytest.raises(GenopsError) as error:
        ManagedSigner(uri, pem, pin).sign(b"message")
    assert PIN not in f"{error.value}{error.value.hint}{error.value.__cause__}"
    return error.value


def test_a_token_signs_under_our_own_key_id(token: Token) -> None:
    signer = ManagedSigner(URI, token.public_pem, PIN)
    sig = signer.sign(b"message")
    assert signer.kind == "p256"
    assert signer.keyid == keyid(spki_from_pem(token.public_pem))
    assert verify_p256(signer.spki_der, b"message", sig)
    assert not verify_p256(signer.spki_der, b"another", sig)
    assert PIN not in repr(signer)


def test_threads_share_one_token(token: Token) -> None:
    signer = ManagedSigner(URI, token.public_pem, PIN)
    messages = [b"%d" % number for number in range(24)]
    with ThreadPoolExecutor(8) as pool:
        signed = list(pool.map(signer.sign, messages))
    assert all(map(verify_p256, [signer.spki_der] * 24, messages, signed))


@pytest.mark.parametrize(
    ("uri", "pin", "code"),
    [
        (URI, "000000", "key.pin"),
        (URI, "1", "key.pin"),
        (URI, None, "key.pin"),
        ("hsm:3?label=genops", PIN, "key.missing"),
        ("hsm:2?label=elsewhere", PIN, "key.missing"),
        ("hsm:two?label=genops", PIN, "key.unusable"),
    ],
)
def test_what_is_wrong_with_a_token_is_told(
    token: Token, uri: str, pin: str | None, code: str
) -> None:
    assert refused(uri, token.public_pem, pin).code == code


@pytest.mark.parametrize("library", [None, "/nowhere/lib.so"])
def test_a_missing_library_is_told(
    token: Token, monkeypatch: pytest.MonkeyPatch, library: str | None
) -> None:
    if library is None:
        monkeypatch.delenv("PYKCS11LIB")
    else:
        monkeypatch.setenv("PYKCS11LIB", library)
    assert refused(URI, token.public_pem).code == "key.module"


def test_a_token_with_another_key_is_told(token: Token, tmp_path: Path) -> None:
    generate_key(tmp_path / "other.pem", "p256")
    assert refused(URI, public_pem(tmp_path / "other.pem")).code == "key.mismatch"


def test_a_role_of_a_home_signs_by_a_token(token: Token, tmp_path: Path) -> None:
    """Run in a process of its own, with the PIN in the environment, as a service would."""
    script = Path(__file__).with_name("hsm_home.py")
    pem = tmp_path / "hsm.pub.pem"
    pem.write_text(token.public_pem)
    done = subprocess.run(
        [sys.executable, script, tmp_path / "home", pem, URI],
        env=os.environ | {"GENOPS_HSM_PIN": PIN},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [keyid(spki_from_pem(token.public_pem)), "True", "key.pin"]
    held = b"".join(p.read_bytes() for p in (tmp_path / "home").rglob("*") if p.is_file())
    assert PIN.encode() not in held


def test_a_file_behind_a_uri_signs_as_the_file_does(tmp_path: Path) -> None:
    made = generate_key(tmp_path / "a.pem", "p256")
    signer = ManagedSigner(f"file2:{tmp_path / 'a.pem'}", public_pem(tmp_path / "a.pem"))
    assert signer.keyid == made.keyid
    assert verify_p256(made.spki_der, b"m", signer.sign(b"m"))
    (tmp_path / "a.pem").unlink()
    gone = ManagedSigner(signer.uri, public_pem(tmp_path / "a.pem"))
    with pytest.raises(GenopsError) as error:
        gone.sign(b"m")
    assert error.value.code == "key.missing"


def test_only_known_schemes_and_p256_are_taken(tmp_path: Path) -> None:
    generate_key(tmp_path / "a.pem", "p256")
    generate_key(tmp_path / "log.pem", "ed25519")
    for uri in ("gnupg:AB", "tkey:", "https://host/key", "a.pem", ""):
        with pytest.raises(InputError):
            ManagedSigner(uri, public_pem(tmp_path / "a.pem"))
    with pytest.raises(FormatError):
        ManagedSigner(URI, public_pem(tmp_path / "log.pem"))


def test_a_cloud_without_its_library_names_the_extra(tmp_path: Path) -> None:
    pytest.importorskip("securesystemslib")
    generate_key(tmp_path / "a.pem", "p256")
    uris = {"awskms:alias/x": "boto3", "gcpkms:a/b": "google.cloud.kms", "hv:a/1": "hvac"}
    for uri, library in uris.items():
        if library.partition(".")[0] in sys.modules:
            continue
        error = refused(uri, public_pem(tmp_path / "a.pem"))
        assert isinstance(error, MissingExtraError)
        assert "genops-registry[kms]" in error.hint
    assert set(SCHEMES.values()) == {"kms", "hsm"}
