"""Which files a library has: folder by folder, by name; links are not followed.

Looks at names and kinds only; opens no file, and knows nothing of pictures.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from registry.errors import InputError

HIDDEN = "hidden"
EXCLUDED = "excluded"
OWN = "the registry itself"


@dataclass(frozen=True, slots=True)
class Found:
    """A plain file: its path, and its name as the record keeps it, relative, with `/`."""

    path: str
    name: str


@dataclass(frozen=True, slots=True)
class Passed:
    """What is not taken: why, and a `code` where that is a failure."""

    path: str
    why: str
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which files of the given paths are wanted.

    A pattern with a `/` is compared with the path below the given folder, another one with the
    name alone; `*` stands for any characters, `/` too. Excluded folders are not entered. Names that
    begin with a dot are `hidden`. `own` is the registry's folder, which is never taken in.
    """

    paths: tuple[str, ...]
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    hidden: bool = False
    own: str | None = None


def check_paths(wanted: Wanted) -> None:
    """Refuse a run without paths, or with one that is not there; raises InputError."""
    if not wanted.paths:
        raise InputError("no file or folder was named", code="ingest.paths")
    for path in wanted.paths:
        if not Path(path).exists():
            raise InputError(
                f"there is no file or folder at {shown(path)}",
                code="ingest.paths",
                hint="nothing was registered; check the path",
            )


def walk(wanted: Wanted) -> Iterator[Found | Passed]:
    """Yield every file, and what is passed over; given paths may be links, others are not followed.

    A folder that cannot be read is passed over like a file.
    """
    for given in wanted.paths:
        path = Path(given)
        if path.is_dir():
            yield from _tree(given, wanted)
        else:
            yield _file(given, path.name) if path.is_file() else _special(given)


def shown(path: str) -> str:
    r"""Return a path as text that can be written anywhere; bytes that are no UTF-8 as `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _tree(root: str, wanted: Wanted) -> Iterator[Found | Passed]:
    """Walk a folder; without recursion, since folders can lie deeper than calls may."""
    own = _identity(wanted.own) if wanted.own else None
    top = Path(root).resolve().name
    left = [(root, "")]
    while left:
        folder, below = left.pop()
        try:
            if _identity(folder) == own:
                yield Passed(folder, OWN)
                continue
            with os.scandir(folder) as entries:
                listed = sorted(entries, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            yield Passed(folder, f"cannot list the folder: {error.strerror}", "folder.unreadable")
            continue
        folders = []
        for entry in listed:
            relative = f"{below}/{entry.name}" if below else entry.name
            if why := _unwanted(entry, relative, wanted):
                yield Passed(entry.path, why)
            elif entry.is_symlink():
                yield Passed(entry.path, "a link, which is not followed", "file.link")
            elif entry.is_dir(follow_symlinks=False):
                folders.append((entry.path, relative))
            elif entry.is_file(follow_symlinks=False):
                yield _file(entry.path, f"{top}/{relative}" if top else relative)
            else:
                yield _special(entry.path)
        left += reversed(folders)


def _unwanted(entry: os.DirEntry[str], relative: str, wanted: Wanted) -> str | None:
    """Say why an entry is left out; None when it is wanted, or a folder to look into."""
    if entry.name.startswith(".") and not wanted.hidden:
        return HIDDEN
    if _matches(wanted.exclude, entry.name, relative):
        return EXCLUDED
    if wanted.include and not entry.is_dir(follow_symlinks=False):
        return None if _matches(wanted.include, entry.name, relative) else EXCLUDED
    return None


def _matches(patterns: Sequence[str], name: str, relative: str) -> bool:
    return any(fnmatchcase(relative if "/" in p else name, p) for p in patterns)


def _file(path: str, name: str) -> Found | Passed:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return Passed(path, "its name is no UTF-8; rename it", "file.name")
    return Found(path, name)


def _special(path: str) -> Passed:
    return Passed(path, f"{_kind(path)}, not a file", "file.special")


def _kind(path: str) -> str:
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return "gone meanwhile"
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    return kinds.get(stat.S_IFMT(mode), "a device")


def _identity(path: str) -> tuple[int, int]:
    found = Path(path).stat()
    return found.st_dev, found.st_ino
