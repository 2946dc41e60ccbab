"""What all segments of a vault hold together: records by log index, blobs by digest, checkpoints.

Segments may overlap, and then they agree. Nothing of a record is read here, and no signature is
verified: that is for those who know the log's key.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from registry.core.generation import Blob
from registry.errors import FormatError, GenopsError, IntegrityError, MaterialError
from registry.vault.segments import FOLDER, Segment, read_segment
from registry.vault.store import Vault

Progress = Callable[[int, int], None]

_POINTER = re.compile(r"(0|[1-9]\d{0,15})-(0|[1-9]\d{0,15})(\.drafts)?\.dvc")
_RECORD = re.compile(r"(entries|envelopes|sealed)/(\d{12,16})\.(?:json|bin)")
_BLOB_FOLDERS = {"outputs", "materials", "facts"}


@dataclass(frozen=True, slots=True)
class Pointer:
    """A segment's pointer as its name tells: the first and the last log index, and its path.

    A segment of `drafts` holds what drafts made, and no record.
    """

    first: int
    last: int
    path: Path
    drafts: bool = False

    @property
    def name(self) -> str:
        """The segment's name, such as `0-99`."""
        return self.path.stem


@dataclass(frozen=True, slots=True)
class Held:
    """The blobs of one record: entry and envelope, either of which may be missing; sealed texts."""

    entry: Blob | None = None
    envelope: Blob | None = None
    sealed: Blob | None = None

    @property
    def whole(self) -> bool:
        """Tell whether entry and envelope are both there."""
        return self.entry is not None and self.envelope is not None


_KINDS = {"entries": "entry", "envelopes": "envelope", "sealed": "sealed"}


@dataclass(slots=True)
class Shelf:
    """Everything that the readable segments of a vault name.

    `checkpoints` are the segments' notes with the segment's name, in order. `unreadable` tells of
    segments that could not be read, and `disagreements` of records that two segments hold with
    other content.
    """

    vault: Vault
    records: dict[int, Held] = field(default_factory=dict)
    blobs: dict[str, Blob] = field(default_factory=dict)
    checkpoints: list[tuple[str, bytes]] = field(default_factory=list)
    segments: list[tuple[Pointer, Segment]] = field(default_factory=list)
    unreadable: list[GenopsError] = field(default_factory=list)
    disagreements: dict[int, str] = field(default_factory=dict)

    def record(self, index: int) -> tuple[bytes, bytes] | None:
        """Return a record's entry and envelope, None where one is missing; raises as `read`."""
        held = self.records.get(index)
        if held is None or held.entry is None or held.envelope is None:
            return None
        return self.vault.read(held.entry), self.vault.read(held.envelope)

    def sealed(self, index: int) -> bytes | None:
        """Return a record's encrypted texts, None where there are none; raises as `read`."""
        held = self.records.get(index)
        return None if held is None or held.sealed is None else self.vault.read(held.sealed)

    def take(self, pointer: Pointer, segment: Segment) -> None:
        """Add what a segment names; raises FormatError for a member outside of its range."""
        for path, blob in segment.members.items():
            match = _RECORD.fullmatch(path)
            if match is None:
                if path.partition("/")[0] in _BLOB_FOLDERS:
                    self.blobs[blob.sha256] = blob
                continue
            index = int(match[2])
            if not segment.first <= index <= segment.last:
                raise FormatError(
                    f"segment {pointer.name} holds {path}, which is outside of its range",
                    code="segment.invalid",
                )
            self._put(pointer, index, _KINDS[match[1]], blob)
        self.checkpoints.append((pointer.name, segment.checkpoint))
        self.segments.append((pointer, segment))

    def _put(self, pointer: Pointer, index: int, kind: str, blob: Blob) -> None:
        held = self.records.get(index, Held())
        there = getattr(held, kind)
        if there is None:
            parts = {name: getattr(held, name) for name in _KINDS.values()}
            self.records[index] = Held(**{**parts, kind: blob})
        elif there != blob:
            self.disagreements[index] = f"segment {pointer.name} holds another {kind} of it"


def indices_of(segment: Segment) -> set[int]:
    """Return the log indices of the records whose entries a segment holds."""
    found = (_RECORD.fullmatch(path) for path in segment.members)
    return {int(match[2]) for match in found if match and match[1] == "entries"}


def pointers(vault: Vault) -> list[Pointer]:
    """Return the pointers of the segments that hold records, by range, by their names alone."""
    return [pointer for pointer in _all_pointers(vault) if not pointer.drafts]


def draft_pointers(vault: Vault) -> list[Pointer]:
    """Return the pointers of the segments of drafts, by range, by their names alone."""
    return [pointer for pointer in _all_pointers(vault) if pointer.drafts]


def _all_pointers(vault: Vault) -> list[Pointer]:
    folder = vault.root / FOLDER
    if not folder.is_dir():
        return []
    found = [
        Pointer(int(match[1]), int(match[2]), path, drafts=match[3] is not None)
        for path in folder.iterdir()
        if (match := _POINTER.fullmatch(path.name))
    ]
    return sorted(found, key=lambda p: (p.first, p.last, p.drafts))


def read_pointer(vault: Vault, pointer: Pointer, *, lenient: bool = False) -> Segment:
    """Read a segment, which must have the range that its name says; see `read_segment`."""
    segment = read_segment(vault, pointer.path, lenient=lenient)
    if (segment.first, segment.last) != (pointer.first, pointer.last):
        raise FormatError(
            f"{pointer.path} names {segment.first}-{segment.last}", code="segment.invalid"
        )
    return segment


def read_shelf(vault: Vault, *, strict: bool = True, progress: Progress | None = None) -> Shelf:
    """Read every segment of a vault; unless `strict`, one that cannot be read is noted.

    Raises as `read_segment` does, and IntegrityError (`segment.disagree`) when two segments hold
    one record with other content.
    """
    shelf, found = Shelf(vault), _all_pointers(vault)
    for number, pointer in enumerate(found, start=1):
        try:
            shelf.take(pointer, read_pointer(vault, pointer, lenient=not strict))
        except (FormatError, IntegrityError, MaterialError) as error:
            if strict:
                raise
            shelf.unreadable.append(error)
        if progress is not None:
            progress(number, len(found))
    if strict:
        for index, why in shelf.disagreements.items():
            raise IntegrityError(
                f"the vault holds record {index} twice: {why}",
                code="segment.disagree",
                hint="the log forked, or the vault holds segments of two registries",
            )
    return shelf


def copy_blobs(
    blobs: Iterable[Blob],
    source: Vault,
    target: Vault,
    *,
    jobs: int,
    progress: Progress | None = None,
) -> int:
    """Copy blobs into another vault; return how many there are.

    Each is checked against its SHA-256 on the way. Raises IntegrityError (`vault.altered`),
    MaterialError (`material.missing`).
    """
    wanted = {blob.md5: blob for blob in blobs}
    with ThreadPoolExecutor(jobs) as pool:  # each waits for the disk, one after another
        copied = pool.map(lambda blob: _copy(source, target, blob), wanted.values())
        for number, _ in enumerate(copied, start=1):
            if progress is not None:
                progress(number, len(wanted))
    return len(wanted)


def _copy(source: Vault, target: Vault, blob: Blob) -> None:
    try:
        found = target.put_file(source.path(blob))
    except MaterialError:
        source.verify(blob)  # says the same of the blob, by its digest
        raise
    if found != blob:
        source.verify(blob)
        raise IntegrityError(
            f"the vault's copy of sha256:{blob.sha256} is under another MD5 than its own",
            code="vault.altered",
            hint="fetch it again with `dvc pull`",
        )
