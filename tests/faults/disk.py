"""A disk that loses power: what may lie on it after any number of traced calls.

POSIX promises nothing of what was not synced: a write may be there, in part, or not at all, and
so may a name whose folder was not synced. Sectors of 512 bytes are written whole. A real file
system keeps more than this one does.
"""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.tracing import Call

SECTOR = 512
UMASK = 0o022


@dataclass(slots=True, eq=False)
class File:
    """A file's bytes that are safe, and what was done to it since: (offset, bytes or cut)."""

    mode: int = 0o644
    safe: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for at, data in self.since:
            _apply(self.safe, at, data)
        self.since.clear()


@dataclass(slots=True, eq=False)
class Folder:
    """A folder's names now, those that are safe, and the changes since, each one step."""

    now: dict[str, File | Folder] = field(default_factory=dict)
    safe: dict[str, File | Folder] = field(default_factory=dict)
    since: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        _rename(self.now, names)
        self.since.append(names)

    def sync(self) -> None:
        for names in self.since:
            _rename(self.safe, names)
        self.since.clear()


@dataclass(frozen=True, slots=True)
class Fate:
    """How much of what was not synced a power cut leaves: each a share of chance, 0 to 1.

    `names` of the changes to folders, `writes` of the writes; of a write that is left, each sector
    is torn out with the chance `torn`; what is lost still lengthens its file with the chance
    `zeros`, as a hole.
    """

    names: float
    writes: float
    torn: float = 0.0
    zeros: float = 0.0


FATES = {
    "nothing is left": Fate(0, 0),
    "all is left": Fate(1, 1),
    "names without bytes": Fate(1, 0),
    "names with zeros": Fate(1, 0, zeros=1),
    "bytes without names": Fate(0, 1),
    "half": Fate(0.5, 0.5, torn=0.1, zeros=0.3),
    "most, torn": Fate(0.9, 0.9, torn=0.3, zeros=0.5),
}


class Disk:
    """The file system below one folder. `apply` takes calls in order, `cut` loses the power."""

    def __init__(self) -> None:
        self.root = Folder()

    def apply(self, call: Call) -> None:
        """Do what a call did; its own durability is that of POSIX."""
        getattr(self, f"_{call.kind}")(call)

    def cut(self, target: Path, fate: Fate, dice: random.Random) -> None:
        """Write down what is left of everything; shared memory of SQLite never is."""
        for name, node in _left(self.root, fate, dice).items():
            _lay_out(node, target / name, fate, dice)

    def _mark(self, _: Call) -> None:
        pass

    def _create(self, call: Call) -> None:
        folder, name = self._place(call.path)
        if name not in folder.now:
            folder.change({name: File(call.at & ~UMASK)})

    def _write(self, call: Call) -> None:
        self._file(call.path).since.append((call.at, call.data))

    def _truncate(self, call: Call) -> None:
        self._file(call.path).since.append((call.at, None))

    def _sync(self, call: Call) -> None:
        self._node(call.path).sync()

    def _mkdir(self, call: Call) -> None:
        folder, name = self._place(call.path)
        folder.change({name: Folder()})

    def _rmdir(self, call: Call) -> None:
        self._unlink(call)

    def _unlink(self, call: Call) -> None:
        folder, name = self._place(call.path)
        folder.change({name: None})

    def _link(self, call: Call) -> None:
        folder, name = self._place(call.to)
        folder.change({name: self._file(call.path)})

    def _rename(self, call: Call) -> None:
        source, old = self._place(call.path)
        target, new = self._place(call.to)
        node = source.now[old]
        if source is target:
            source.change({old: None, new: node})
        else:
            target.change({new: node})
            source.change({old: None})

    def _file(self, path: str) -> File:
        node = self._node(path)
        assert isinstance(node, File), path
        return node

    def _node(self, path: str) -> File | Folder:
        node: File | Folder = self.root
        for part in Path(path).parts:
            assert isinstance(node, Folder), path
            node = node.now[part]
        return node

    def _place(self, path: str) -> tuple[Folder, str]:
        folder = self._node(str(Path(path).parent))
        assert isinstance(folder, Folder), path
        return folder, Path(path).name


def _left(folder: Folder, fate: Fate, dice: random.Random) -> dict[str, File | Folder]:
    names = dict(folder.safe)
    for change in folder.since:
        if dice.random() < fate.names:
            _rename(names, change)
    return names


def _lay_out(node: File | Folder, target: Path, fate: Fate, dice: random.Random) -> None:
    if isinstance(node, Folder):
        target.mkdir()
        for name, child in _left(node, fate, dice).items():
            _lay_out(child, target / name, fate, dice)
    elif not target.name.endswith("-shm"):
        target.write_bytes(_bytes_left(node, fate, dice))
        target.chmod(node.mode)


def _bytes_left(file: File, fate: Fate, dice: random.Random) -> bytes:
    data = bytearray(file.safe)
    for at, written in file.since:
        left = dice.random() < fate.writes
        if written is None:
            if left:
                _apply(data, at, None)
        elif left:
            for start, sector in _sectors(at, written):
                if dice.random() >= fate.torn:
                    _apply(data, start, sector)
        elif dice.random() < fate.zeros and at + len(written) > len(data):
            _apply(data, at + len(written), None)
    return bytes(data)


def _sectors(at: int, data: bytes) -> Iterable[tuple[int, bytes]]:
    """Yield the pieces of a write that the disk does or does not do, each whole."""
    end = at + len(data)
    while at < end:
        until = min(end, at - at % SECTOR + SECTOR)
        yield at, data[len(data) - (end - at) : len(data) - (end - until)]
        at = until


def _apply(data: bytearray, at: int, written: bytes | None) -> None:
    """Write at an offset; without bytes, cut or lengthen to that size."""
    size = at if written is None else at + len(written)
    if len(data) < size:
        data.extend(bytes(size - len(data)))
    if written is None:
        del data[at:]
    else:
        data[at:size] = written


def _rename(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node
