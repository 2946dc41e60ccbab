"""What the vault holds is what was put in, whoever touched its files since."""

from __future__ import annotations

import hashlib
import os
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.core.generation import Blob
from registry.errors import InputError, IntegrityError, MaterialError, UnavailableError
from registry.vault.store import LEFT_BEHIND_S, Vault

# Wang, Feng, Lai and Yu (2004): two blocks with one MD5.
COLLISION = (
    """
    d131dd02c5e6eec4693d9a0698aff95c2fcab58712467eab4004583eb8fb7f89
    55ad340609f4b30283e488832571415a085125e8f7cdc99fd91dbdf280373c5b
    d8823e3156348f5bae6dacd436c919c6dd53e2b487da03fd02396306d248cda0
    e99f33420f577ee8ce54b67080a80d1ec69821bcb6a8839396f9652b6ff72a70
    """,
    """
    d131dd02c5e6eec4693d9a0698aff95c2fcab50712467eab4004583eb8fb7f89
    55ad340609f4b30283e4888325f1415a085125e8f7cdc99fd91dbd7280373c5b
    d8823e3156348f5bae6dacd436c919c6dd53e23487da03fd02396306d248cda0
    e99f33420f577ee8ce54b67080280d1ec69821bcb6a8839396f965ab6ff72a70
    """,
)


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def files_of(vault: Vault) -> list[Path]:
    return [path for path in (vault.root / ".dvc/cache").rglob("*") if path.is_file()]


def leftovers(vault: Vault) -> list[Path]:
    return list((vault.root / ".dvc/tmp/genops").iterdir())


@given(data=st.binary(max_size=5000))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_bytes_come_back_as_they_went_in(vault: Vault, data: bytes) -> None:
    blob = vault.put(data)
    assert blob.sha256 == hashlib.sha256(data).hexdigest()
    assert (blob.md5, blob.size) == (hashlib.md5(data).hexdigest(), len(data))
    assert vault.read(blob) == data
    assert vault.open_path(blob).read_bytes() == data


def test_a_file_and_its_bytes_are_one_blob(vault: Vault, tmp_path: Path) -> None:
    data = bytes(range(256)) * 9000
    (tmp_path / "model.bin").write_bytes(data)
    assert vault.put_file(tmp_path / "model.bin") == vault.put(data)
    assert len(files_of(vault)) == 1


def test_a_stored_blob_is_read_only_and_leaves_no_scratch(vault: Vault) -> None:
    blob = vault.put(b"pixels")
    assert stat.S_IMODE(vault.path(blob).stat().st_mode) == 0o444
    assert vault.path(blob).is_relative_to(vault.root / ".dvc/cache/files/md5" / blob.md5[:2])
    assert leftovers(vault) == []


def test_what_a_killed_process_left_behind_is_swept_after_a_day(vault: Vault) -> None:
    scratch = vault.root / ".dvc" / "tmp" / "genops"
    recent, old = scratch / "recent", scratch / "old"
    for path, age_s in ((recent, LEFT_BEHIND_S - 60), (old, LEFT_BEHIND_S + 60)):
        path.write_bytes(b"half a picture")
        os.utime(path, (time.time() - age_s,) * 2)
    vault.put(b"another")
    assert list(scratch.iterdir()) == [recent]


def test_putting_again_changes_nothing(vault: Vault) -> None:
    blob = vault.put(b"pixels")
    before = vault.path(blob).stat()
    assert vault.put(b"pixels") == blob
    after = vault.path(blob).stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


@pytest.mark.parametrize(
    "altered", [b"pixelz", b"pixel", b"pixels and more", b""], ids=["flip", "cut", "grown", "empty"]
)
def test_an_altered_blob_is_never_served_nor_overwritten(vault: Vault, altered: bytes) -> None:
    blob = vault.put(b"pixels")
    overwrite(vault.path(blob), altered)
    for use in (vault.read, vault.open_path, vault.verify):
        with pytest.raises(IntegrityError) as error:
            use(blob)
        assert error.value.code == "vault.altered"
    with pytest.raises(IntegrityError) as error:
        vault.put(b"pixels")
    assert error.value.code == "vault.altered"
    assert vault.path(blob).read_bytes() == altered


def test_a_missing_blob_is_told_as_such(vault: Vault) -> None:
    blob = vault.put(b"pixels")
    vault.path(blob).unlink()
    for use in (vault.read, vault.open_path, vault.verify):
        with pytest.raises(MaterialError) as error:
            use(blob)
        assert error.value.code == "material.missing"
    assert vault.read(vault.put(b"pixels")) == b"pixels"


def test_a_blob_is_asked_for_by_all_of_its_name(vault: Vault) -> None:
    blob = vault.put(b"pixels")
    with pytest.raises(IntegrityError):
        vault.read(Blob("0" * 64, blob.md5, blob.size))
    with pytest.raises(IntegrityError):
        vault.read(Blob(blob.sha256, blob.md5, blob.size + 1))


def test_the_second_of_two_files_with_one_md5_is_refused(vault: Vault) -> None:
    one, two = (bytes.fromhex(text) for text in COLLISION)
    assert hashlib.md5(one).digest() == hashlib.md5(two).digest()
    blob = vault.put(one)
    with pytest.raises(IntegrityError) as error:
        vault.put(two)
    assert error.value.code == "vault.collision"
    assert vault.read(blob) == one
    assert leftovers(vault) == []


def test_a_blob_over_the_limit_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    vault = Vault(tmp_path / "vault", max_bytes=10)
    vault.init()
    with pytest.raises(InputError) as error:
        vault.put(bytes(11))
    assert error.value.code == "vault.too-large"
    assert files_of(vault) == leftovers(vault) == []
    vault.put(bytes(10))


def test_a_missing_source_is_told_apart_from_a_missing_vault(vault: Vault, tmp_path: Path) -> None:
    with pytest.raises(MaterialError) as error:
        vault.put_file(tmp_path / "nowhere.bin")
    assert error.value.code == "material.missing"
    with pytest.raises(MaterialError) as error:
        Vault(tmp_path / "elsewhere").put(b"pixels")
    assert error.value.code == "vault.missing"


def test_a_disk_that_refuses_is_unavailable(vault: Vault, tmp_path: Path) -> None:
    folder = vault.root / ".dvc/cache/files/md5" / hashlib.md5(b"pixels").hexdigest()[:2]
    folder.rmdir()
    folder.write_bytes(b"a file where a folder should be")
    with pytest.raises(UnavailableError) as error:
        vault.put(b"pixels")
    assert error.value.code == "vault.unwritable"
    assert leftovers(vault) == []


def test_many_threads_put_the_same_and_other_bytes_at_once(vault: Vault) -> None:
    def put_all(_: int) -> list[Blob]:
        return [vault.put(b"blob %d" % number) for number in range(30)]

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(put_all, range(6)))
    assert all(answer == answers[0] for answer in answers)
    assert len(files_of(vault)) == 30
    assert leftovers(vault) == []


def test_init_keeps_the_settings_that_were_made_since(vault: Vault) -> None:
    config = vault.root / ".dvc/config"
    config.write_text(config.read_text() + "['remote \"s3\"']\n    url = s3://bucket\n")
    vault.init()
    assert "s3://bucket" in config.read_text()


def test_a_filesystem_without_links_still_stores(
    vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("os.link", refuse)
    blob = vault.put(b"pixels")
    assert vault.put(b"pixels") == blob
    assert vault.read(blob) == b"pixels"
    one, two = (bytes.fromhex(text) for text in COLLISION)
    vault.put(one)
    with pytest.raises(IntegrityError):
        vault.put(two)
