"""Mutators of archives: their entries and headers are changed, and the archive is written anew."""

from __future__ import annotations

import io
import stat
import tarfile
import zipfile
from collections.abc import Sequence
from random import Random

from registry.core import evidence_zip
from registry.core.digests import sha256_hex
from registry.core.exports import Manifest, encode_sums
from tests.fuzz import samples
from tests.fuzz.mutate import mutate_bytes, mutate_json, mutate_text

_NAMES = (
    "index.json", "README.txt", "../x.json", "/etc/x", "evidence/../x.json", "evidence/x.json",
    "a\0b",
    "checkpoint", "log.vkey", "SHA256SUMS", "manifest.json", "home/witnessed/conflicts",
    "x" * 300,
    "home/witnessed/conflicts/a", "home/keys/../../x", "tile/0/000", "tile/0/000.p/1", "C:\\x",
    "\udcff",
    f"blobs/aa/{'a' * 64}", "sealed/000000000001.bin", "home/keys/x/y", "sidecars/x.ndjson",
    ".", "",
)  # fmt: skip
_PAX = (
    {"size": "x"}, {"size": "9" * 30}, {"size": "-1"}, {"mtime": "x"}, {"mtime": "1e999"},
    {"path": "../x"}, {"path": "a\0b"}, {"linkpath": "/etc"}, {"uid": "-9"},
    {"hdrcharset": "BINARY"},
    {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}, {"GNU.sparse.size": "x"}, {"": "x"},
    {"GNU.sparse.map": "0,x"}, {"GNU.sparse.major": "0", "GNU.sparse.map": "1"}, {"atime": "nan"},
    {"GNU.sparse.realsize": "9" * 19, "GNU.sparse.major": "1"}, {"charset": "\u00e9"},
)  # fmt: skip
_TYPES = (
    tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE,
    tarfile.CONTTYPE, tarfile.GNUTYPE_SPARSE, tarfile.AREGTYPE, b"Z",
)  # fmt: skip


def sample_tar() -> bytes:
    """Return a tar with the files of a small export."""
    contents = {
        "checkpoint": samples.golden("checkpoint-10")[0],
        "home/witnessed/conflicts/a.checkpoint": b"a conflict",
        "log.vkey": samples.EXPECTED["vkey"].encode(),
        "tile/0/000.p/10": b"t" * 320,
    }
    listed = encode_sums({path: sha256_hex(data) for path, data in contents.items()})
    manifest = Manifest(
        "test", "0190", "brand", "default", ("home", "log"), 10, "ab" * 32, len(contents),
        sha256_hex(listed),
    )  # fmt: skip
    entries = {**contents, "SHA256SUMS": listed, "manifest.json": manifest.to_bytes()}
    return _tar([(_member(name, data), data) for name, data in entries.items()])


def mutate_tar(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change bytes of a tar, or one of its members, its name, its type or its headers."""
    if rng.random() < 0.4:
        return _flip_headers(data, rng, others)
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            members = [(info, _content(tar, info)) for info in tar]
        return _tar(_edit(members, rng))
    except (tarfile.TarError, ValueError, OSError, OverflowError):
        return mutate_bytes(data, rng, others)


def mutate_zip(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change bytes of a ZIP, or one of its entries in a ZIP that is otherwise as it should be."""
    roll = rng.random()
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
    except (zipfile.BadZipFile, ValueError, OSError, EOFError, NotImplementedError, RuntimeError):
        return mutate_bytes(data, rng, others)
    if roll < 0.4 or not entries:
        return mutate_bytes(data, rng, others)
    name = rng.choice(list(entries))
    if roll < 0.7:
        entries[name] = mutate_json(entries[name], rng, list(entries.values()))
    elif roll < 0.8:
        entries[rng.choice(_NAMES)] = entries.pop(name)
    elif roll < 0.9:
        del entries[name]
    else:
        return _foreign_zip(entries, rng)
    try:
        return evidence_zip._write(entries)
    except UnicodeError:
        return _foreign_zip(entries, rng)


def _foreign_zip(entries: dict[str, bytes], rng: Random) -> bytes:
    """Write a ZIP as other programs do: compressed, dated, with comments, links and repeats."""
    target = io.BytesIO()
    packing = rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2))
    with zipfile.ZipFile(target, "w", packing) as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name.encode("utf-8", "replace").decode())
            info.external_attr = rng.choice((0, stat.S_IFLNK << 16, 0o777 << 16))
            archive.writestr(info, data)
        archive.comment = rng.choice((b"", b"PK\x05\x06", b"x" * 100))
    return target.getvalue()


def _flip_headers(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Change a header of 512 bytes and mend its checksum, so that it is read."""
    block = rng.randrange(max(1, len(data) // 512)) * 512
    header = bytearray(mutate_bytes(data[block : block + 512], rng, others)[:512].ljust(512, b"\0"))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return data[:block] + bytes(header) + data[block + 512 :]


def _edit(
    members: list[tuple[tarfile.TarInfo, bytes]], rng: Random
) -> list[tuple[tarfile.TarInfo, bytes]]:
    at = rng.randrange(len(members))
    info, data = members[at]
    roll = rng.randrange(7)
    if roll == 0:
        members[at] = _member(rng.choice(_NAMES), data), data
    elif roll == 1:
        info.type = rng.choice(_TYPES)
        info.linkname = rng.choice(("/etc/passwd", "../..", "checkpoint"))
    elif roll == 2:
        info.pax_headers = dict(rng.choice(_PAX))
    elif roll == 3:
        members.insert(rng.randrange(len(members) + 1), (info, data))
    elif roll == 4:
        del members[at]
    else:
        edit = rng.choice((mutate_json, mutate_text, mutate_bytes))
        changed = edit(data, rng, ())
        members[at] = _member(info.name, changed), changed
        if rng.random() < 0.7:
            members = _listed_anew(members)
    return members


def _listed_anew(
    members: list[tuple[tarfile.TarInfo, bytes]],
) -> list[tuple[tarfile.TarInfo, bytes]]:
    """Name the members' digests in the list, and the list's in the manifest."""
    plain = {
        info.name: data
        for info, data in members
        if info.name not in {"SHA256SUMS", "manifest.json"}
    }
    listed = encode_sums({path: sha256_hex(data) for path, data in plain.items()})
    manifest = Manifest(
        "test", "0190", "brand", "default", ("home", "log"), 10, "ab" * 32, len(plain),
        sha256_hex(listed),
    )  # fmt: skip
    entries = {**plain, "SHA256SUMS": listed, "manifest.json": manifest.to_bytes()}
    return [(_member(name, data), data) for name, data in entries.items()]


def _member(name: str, data: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    return info


def _content(tar: tarfile.TarFile, info: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(info) if info.isreg() else None
    return file.read() if file is not None else b""


def _tar(members: Sequence[tuple[tarfile.TarInfo, bytes]]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data.ljust(info.size, b"\0")))
    return target.getvalue()
