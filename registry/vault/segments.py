"""Segments: one DVC directory per range of the log, so that DVC's own commands carry a registry.

What drafts made lies in segments of its own (`<first>-<last>.drafts`), which shrink and go when it
expires; every other segment is for good.

A segment names its members by MD5 for DVC, and by SHA-256 in its file `SHA256SUMS`, whose digest
stands in the pointer. A checked-out segment can be checked with `sha256sum --check`.
"""

from __future__ import annotations

import json
import os
import re
import secrets
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from registry.core.digests import is_sha256
from registry.core.generation import Blob
from registry.errors import FormatError, InputError, IntegrityError, MaterialError
from registry.files import sync_folder
from registry.vault.store import Vault

FORMAT = "genops-segment-v1"
FOLDER = "segments"
DRAFTS = ".drafts"
"""Ends the name of a segment of drafts."""
CHECKPOINT = "checkpoint"
SUMS = "SHA256SUMS"

_MD5 = re.compile(r"[0-9a-f]{32}")
_MANIFEST = re.compile(r"[0-9a-f]{32}\.dir")


@dataclass(frozen=True, slots=True)
class Segment:
    """The blobs of log indices `first` to `last`, by path, and the checkpoint that covers them."""

    first: int
    last: int
    members: Mapping[str, Blob]
    checkpoint: bytes


def segment_path(vault: Vault, first: int, last: int, *, drafts: bool = False) -> Path:
    """Return where the pointer of a segment lies."""
    return vault.root / FOLDER / f"{first}-{last}{DRAFTS if drafts else ''}.dvc"


def write_segment(
    vault: Vault,
    first: int,
    last: int,
    members: Mapping[str, Blob],
    checkpoint: bytes,
    *,
    drafts: bool = False,
) -> Path:
    """Write a segment and return its pointer, durable on return; its members are in the vault.

    Idempotent: a segment that was written with these members stays as it is, even if it covers
    an older checkpoint, or members that are gone since. Raises InputError (`segment.path`: a
    member's path cannot be a file's; `segment.range`), IntegrityError (`segment.conflict`: the
    range was written with other content), and whatever `Vault.put` does. A segment of `drafts`
    that has lost members may get them back.
    """
    if not 0 <= first <= last:
        raise InputError(f"no segment runs from {first} to {last}", code="segment.range")
    _check_paths(members)
    pointer = segment_path(vault, first, last, drafts=drafts)
    if pointer.exists():
        written = read_segment(vault, pointer, lenient=drafts)
        added = members.keys() - written.members.keys() if drafts else set()
        _refuse_other(written, {path: blob for path, blob in members.items() if path not in added})
        if not added:
            return pointer
        members = {**written.members, **members}
    _write(vault, pointer, first, last, members, checkpoint)
    return pointer


def shrink_segment(vault: Vault, pointer: Path, gone: AbstractSet[str]) -> int:
    """Take members (hex SHA-256) out of a segment of drafts; return how many there were.

    What is left is a segment as it was; of one without members nothing is left. The members'
    bytes stay. Durable and idempotent; raises as `read_segment` does.
    """
    segment = read_segment(vault, pointer, lenient=True)
    _, before = _own_parts(vault, pointer)
    left = {path: blob for path, blob in segment.members.items() if blob.sha256 not in gone}
    if len(left) == len(segment.members) and left:
        return 0
    if left:
        _write(vault, pointer, segment.first, segment.last, left, segment.checkpoint)
    else:
        pointer.unlink(missing_ok=True)
        sync_folder(pointer.parent)
    vault.remove(before.manifest)
    vault.remove(before.sums)  # the checkpoint may be that of other segments, too
    return len(segment.members) - len(left)


def _write(
    vault: Vault,
    pointer: Path,
    first: int,
    last: int,
    members: Mapping[str, Blob],
    checkpoint: bytes,
) -> None:
    sums = vault.put(_sums(members))
    files = {**members, CHECKPOINT: vault.put(checkpoint), SUMS: sums}
    manifest = vault.put_manifest(_manifest(files))
    document = _pointer(first, last, files, manifest, sums)
    document["outs"][0]["path"] = pointer.stem
    _write_pointer(pointer, document)


def read_segment(vault: Vault, pointer: Path, *, lenient: bool = False) -> Segment:
    """Read a segment from its pointer; its manifest, sums and checkpoint are checked.

    The members' bytes are not. Raises FormatError (`segment.invalid`), IntegrityError
    (`vault.altered`), MaterialError (`material.missing`: fetch it with `dvc pull` first); with
    `lenient`, a member that is missing is left out.
    """
    meta, parts = _own_parts(vault, pointer)
    manifest = _parse_manifest(pointer, vault.read(parts.manifest))
    del manifest[SUMS], manifest[CHECKPOINT]
    sums = _parse_sums(vault.read(parts.sums))
    if sums.keys() != manifest.keys():
        raise _invalid(pointer, f"its manifest and {SUMS} name different files")
    members = {}
    for path, md5 in manifest.items():
        with suppress(MaterialError) if lenient else nullcontext():
            members[path] = vault.blob_at(md5, sums[path])
    return Segment(meta["first"], meta["last"], members, vault.read(parts.checkpoint))


def read_checkpoint(vault: Vault, pointer: Path) -> bytes:
    """Return a segment's checkpoint without a look at its members; raises as `read_segment`."""
    _, parts = _own_parts(vault, pointer)
    return vault.read(parts.checkpoint)


def copy_segment(source: Vault, pointer: Path, target: Vault) -> None:
    """Copy a segment's pointer and its own files into another vault, which has its members.

    Raises as `read_segment` does.
    """
    _, parts = _own_parts(source, pointer)
    target.put_manifest(source.read(parts.manifest))
    target.put(source.read(parts.sums))
    target.put(source.read(parts.checkpoint))
    _place_pointer(target.root / FOLDER / pointer.name, pointer.read_bytes())


@dataclass(frozen=True, slots=True)
class _OwnParts:
    """What a segment is made of beside its members."""

    manifest: Blob
    sums: Blob
    checkpoint: Blob


def _own_parts(vault: Vault, pointer: Path) -> tuple[dict[str, Any], _OwnParts]:
    out, meta = _parse_pointer(pointer)
    manifest = vault.blob_at(out["md5"], meta["manifest_sha256"])
    listed = _parse_manifest(pointer, vault.read(manifest))
    if SUMS not in listed or CHECKPOINT not in listed:
        raise _invalid(pointer, f"its manifest lacks {SUMS} or {CHECKPOINT}")
    sums = vault.blob_at(listed[SUMS], meta["sums_sha256"])
    checkpoint = vault.blob_at(listed[CHECKPOINT], meta["checkpoint_sha256"])
    return meta, _OwnParts(manifest, sums, checkpoint)


def _refuse_other(written: Segment, members: Mapping[str, Blob]) -> None:
    """Refuse members that a segment does not have, or has with other content."""
    other = sorted(path for path, blob in members.items() if written.members.get(path) != blob)
    if other:
        raise IntegrityError(
            f"segment {written.first}-{written.last} was written before, with other content of"
            f" {', '.join(other[:3])}",
            code="segment.conflict",
            hint="the log forked, or the vault belongs to another registry",
        )


def _check_paths(members: Mapping[str, Blob]) -> None:
    """Refuse paths that are not plain, relative and POSIX, or that lie below another's."""
    for path in members:
        parts = path.split("/")
        if any(part in {"", ".", ".."} for part in parts) or not _printable(path):
            raise _unfit(path, "is not a plain relative path")
        if path in {CHECKPOINT, SUMS}:
            raise _unfit(path, "is taken by the segment itself")
        above = ("/".join(parts[:end]) for end in range(1, len(parts)))
        if any(other in members for other in above):
            raise _unfit(path, "lies below another member")


def _printable(path: str) -> bool:
    return path.isprintable() and "\\" not in path


def _sums(members: Mapping[str, Blob]) -> bytes:
    """Return lines of `<sha256>  <path>`, as `sha256sum` writes and checks them."""
    lines = (f"{members[path].sha256}  {path}\n" for path in sorted(members))
    return "".join(lines).encode("utf-8")


def _parse_sums(data: bytes) -> dict[str, str]:
    lines = [line.partition("  ") for line in data.decode("utf-8", "replace").splitlines()]
    sums = {path: digest for digest, _, path in lines}
    if len(sums) != len(lines) or not all(map(is_sha256, sums.values())):
        raise FormatError(f"{SUMS} is malformed", code="segment.invalid")
    return sums


def _manifest(files: Mapping[str, Blob]) -> bytes:
    """Return a DVC directory object, byte for byte as DVC writes it."""
    rows = [{"md5": files[path].md5, "relpath": path} for path in sorted(files)]
    return json.dumps(rows, sort_keys=True).encode("utf-8")


def _parse_manifest(pointer: Path, data: bytes) -> dict[str, str]:
    """Read a directory object; a name of a blob that is no MD5 could lead out of the vault."""
    try:
        listed = {row["relpath"]: row["md5"] for row in json.loads(data)}
        plain = all(_MD5.fullmatch(md5) and isinstance(path, str) for path, md5 in listed.items())
    except (ValueError, LookupError, TypeError, RecursionError):
        plain = False
    if not plain:
        raise _invalid(pointer, "its manifest is not one that DVC writes")
    return listed


def _pointer(
    first: int, last: int, files: Mapping[str, Blob], manifest: Blob, sums: Blob
) -> dict[str, Any]:
    out = {
        "md5": manifest.md5,
        "size": sum(blob.size for blob in files.values()),
        "nfiles": len(files),
        "hash": "md5",
        "path": f"{first}-{last}",
    }
    meta = {
        "format": FORMAT,
        "first": first,
        "last": last,
        "manifest_sha256": manifest.sha256,
        "sums_sha256": sums.sha256,
        "checkpoint_sha256": files[CHECKPOINT].sha256,
    }
    return {"outs": [out], "meta": {"genops": meta}}


def _parse_pointer(pointer: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        document = _load_yaml(pointer.read_text("utf-8"))
        out, meta = document["outs"][0], document["meta"]["genops"]
        texts = (out["md5"], *(meta[f"{name}_sha256"] for name in ("manifest", "sums", CHECKPOINT)))
        fits = meta["format"] == FORMAT and all(isinstance(text, str) for text in texts)
        fits = fits and all(isinstance(meta[name], int) for name in ("first", "last"))
        fits = fits and _MANIFEST.fullmatch(out["md5"]) is not None
    except FileNotFoundError:
        raise MaterialError(f"there is no segment at {pointer}", code="material.missing") from None
    except (ValueError, LookupError, TypeError) as error:
        raise _invalid(pointer, f"{type(error).__name__}: {str(error)[:200]}") from None
    if not fits:
        raise _invalid(pointer, f"it is not of format {FORMAT}")
    return out, meta


def _load_yaml(text: str) -> Any:
    """Return a YAML document; raises ValueError for whatever the library stumbles over."""
    import yaml  # noqa: PLC0415  # only segments need it

    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, RecursionError) as error:
        raise ValueError(f"not YAML: {error}") from None


def _write_pointer(pointer: Path, document: Mapping[str, Any]) -> None:
    import yaml  # noqa: PLC0415  # only segments need it

    _place_pointer(pointer, yaml.safe_dump(dict(document), sort_keys=False).encode("utf-8"))


def _place_pointer(pointer: Path, data: bytes) -> None:
    pointer.parent.mkdir(exist_ok=True)
    scratch = pointer.with_name(f".{pointer.name}.{secrets.token_hex(8)}")
    with scratch.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    scratch.replace(pointer)
    sync_folder(pointer.parent)
    sync_folder(pointer.parent.parent)


def _unfit(path: str, why: str) -> InputError:
    return InputError(f"segment member {path!r} {why}", code="segment.path")


def _invalid(pointer: Path, why: str) -> FormatError:
    return FormatError(f"{pointer} is no segment: {why}", code="segment.invalid")
