"""A backup opens whole and unaltered under its passphrase, or not at all."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import json
import random

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from registry.core.jsonio import dumps
from registry.errors import FormatError, GenopsError, InputError, IntegrityError, KeyFileError
from registry.signing.encrypted import (
    CHUNK_BYTES,
    MAGIC,
    TAG_BYTES,
    DecryptingReader,
    EncryptingWriter,
    is_encrypted,
)

CHEAP = 2
SEALED_CHUNK = CHUNK_BYTES + TAG_BYTES


def sealed(plain: bytes, passphrase: str = "right") -> bytes:
    target = io.BytesIO()
    writer = EncryptingWriter(target, passphrase, n=CHEAP)
    view = memoryview(plain)
    for start in range(0, len(view), 700_001):
        writer.write(view[start : start + 700_001])
    writer.close()
    return target.getvalue()


def opened(data: bytes, passphrase: str = "right") -> bytes:
    reader = DecryptingReader(io.BytesIO(data), passphrase)
    plain = b"".join(iter(lambda: reader.read(65_537), b""))
    reader.finish()
    return plain


def header_length(data: bytes) -> int:
    return data.index(b"\n", len(MAGIC)) + 1 + 32


PLAIN = random.Random(5).randbytes(3 * CHUNK_BYTES + 5)


@pytest.fixture(scope="module")
def backup() -> bytes:
    return sealed(PLAIN)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_what_was_sealed_opens_as_it_was(size: int) -> None:
    data = sealed(PLAIN[:size])
    assert is_encrypted(data)
    assert opened(data) == PLAIN[:size]


def test_the_format_is_what_the_documents_say() -> None:
    """Read without any of our code, after docs/formats.md."""
    data = sealed(PLAIN)
    magic, fields, rest = data.split(b"\n", 2)
    told = json.loads(fields)
    assert (magic, told["chunk"], told["r"], told["p"]) == (b"genops-backup-v1", 2**20, 8, 1)
    salt = base64.b64decode(told["salt"])
    derived = hashlib.scrypt(b"right", salt=salt, n=told["n"], r=8, p=1, dklen=64)
    lines, tag, body = magic + b"\n" + fields + b"\n", rest[:32], rest[32:]
    assert hmac.digest(derived[32:], lines, "sha256") == tag
    plain, count = b"", 0
    while body:
        chunk, body = body[: 2**20 + 16], body[2**20 + 16 :]
        nonce = count.to_bytes(11, "big") + (b"\0" if body else b"\1")
        plain += AESGCM(derived[:32]).decrypt(nonce, chunk, lines + tag)
        count += 1
    assert plain == PLAIN


def test_two_backups_of_the_same_have_nothing_in_common() -> None:
    first, second = sealed(b"the same"), sealed(b"the same")
    assert first[header_length(first) :] != second[header_length(second) :]


@pytest.mark.parametrize("passphrase", ["wrong", "", "Right", "right "])
def test_a_wrong_passphrase_is_told_from_damage(backup: bytes, passphrase: str) -> None:
    with pytest.raises(KeyFileError) as caught:
        opened(backup, passphrase)
    assert caught.value.code == "backup.passphrase"


def test_an_empty_passphrase_is_refused() -> None:
    with pytest.raises(InputError) as caught:
        sealed(b"x", "")
    assert caught.value.code == "backup.passphrase"


def test_a_backup_that_was_cut_at_any_place_does_not_open(backup: bytes) -> None:
    head = header_length(backup)
    ends = [head + n * SEALED_CHUNK + by for n in range(4) for by in (-1, 0, 1)]
    for end in [*ends, len(backup) - 1]:
        with pytest.raises(GenopsError) as caught:
            opened(backup[:end])
        cleanly = (end - head) % SEALED_CHUNK == 0 and end > head
        wanted = {"backup.truncated"} if cleanly else {"backup.altered", "backup.passphrase"}
        assert caught.value.code in wanted, end


def test_chunks_that_were_moved_repeated_or_left_out_do_not_open(backup: bytes) -> None:
    head = header_length(backup)
    first, second, third, last = (
        backup[head + n * SEALED_CHUNK : head + (n + 1) * SEALED_CHUNK] for n in range(4)
    )
    for chunks in (
        (second, first, third, last),
        (first, third, last),
        (first, first, second, third, last),
        (last,),
        (first, second, third, last, b"x"),
        (first, second, third, last, last),
    ):
        with pytest.raises(IntegrityError) as caught:
            opened(backup[:head] + b"".join(chunks))
        assert caught.value.code == "backup.altered"


def test_chunks_of_another_backup_do_not_open(backup: bytes) -> None:
    other = sealed(PLAIN)
    head = header_length(backup)
    with pytest.raises(IntegrityError):
        opened(backup[:head] + other[header_length(other) :])


def test_a_flipped_bit_anywhere_is_refused() -> None:
    data = sealed(b"a small secret")
    for place in range(len(data)):
        for bit in range(8):
            altered = bytearray(data)
            altered[place] ^= 1 << bit
            with pytest.raises(GenopsError):
                opened(bytes(altered))


def header(**changes: object) -> bytes:
    fields: dict[str, object] = {
        "chunk": CHUNK_BYTES,
        "cipher": "aes-256-gcm",
        "kdf": "scrypt",
        "n": 2,
        "p": 1,
        "r": 8,
        "salt": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    return MAGIC + dumps({**fields, **changes}) + b"\n" + bytes(64)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", "backup.invalid"),
        (b"something else\n", "backup.invalid"),
        (b"genops-backup-v2\n{}\n", "backup.newer"),
        (MAGIC, "json.syntax"),
        (MAGIC + b"[]\n", "backup.invalid"),
        (header(n=2**21), "backup.invalid"),
        (header(n=3), "backup.invalid"),
        (header(n=True), "backup.invalid"),
        (header(p=2), "backup.invalid"),
        (header(salt="AAAA"), "backup.invalid"),
        (header(salt=None), "backup.invalid"),
        (header(more=1), "backup.invalid"),
        (header().replace(b'"r":8', b'"r": 8'), "backup.invalid"),
        (header(), "backup.passphrase"),
    ],
)
def test_a_header_that_asks_for_something_else_is_refused(data: bytes, code: str) -> None:
    with pytest.raises((FormatError, KeyFileError)) as caught:
        DecryptingReader(io.BytesIO(data), "right")
    assert caught.value.code == code


def test_a_backup_that_was_abandoned_does_not_open() -> None:
    target = io.BytesIO()
    writer = EncryptingWriter(target, "right", n=CHEAP)
    writer.write(PLAIN)
    del writer
    with pytest.raises(IntegrityError):
        opened(target.getvalue())
