"""What a process asks of the file system, call by call, as `strace` saw it.

Only what changes files below one folder is kept, in the order in which the kernel answered; a sync
counts from where it was asked for, so that it covers no write that came later.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TRACED = (
    "open,openat,creat,close,lseek,read,write,pwrite64,writev,pwritev,ftruncate,truncate,fallocate,"
    "fsync,fdatasync,rename,renameat,renameat2,link,linkat,symlink,symlinkat,"
    "unlink,unlinkat,mkdir,mkdirat,rmdir,sendfile,copy_file_range"
)
_CALL = re.compile(r"^(\d+) +(\w+)\((.*)\) += (-?\d+)(?:<([^>]*)>)?")
_BEGUN = re.compile(r"^(\d+) +(\w+)\((.*) <unfinished \.\.\.>$")
_RESUMED = re.compile(r"^(\d+) +<\.\.\. (\w+) resumed>(.*)$")
_HANDLE = re.compile(r"^(-?\d+|AT_FDCWD)(?:<([^>]*)>)?(\(deleted\))?$")
_UNMODELLED = {"creat", "writev", "pwritev", "truncate", "fallocate", "symlink", "symlinkat"}
_UNMODELLED |= {"sendfile", "copy_file_range"}


@dataclass(frozen=True, slots=True)
class Call:
    """One call that changed a file below the folder, or made such changes durable.

    `kind` is create, write, truncate, sync, link, rename, unlink, mkdir or rmdir; `mark` stands for
    a line that the process wrote into its file of marks. Paths are relative to the folder.
    """

    kind: str
    path: str
    to: str = ""
    at: int = 0
    data: bytes = b""


@cache
def why_not() -> str:
    """Return why nothing can be traced here; empty when it can."""
    try:
        done = subprocess.run(
            ["strace", "-f", "-o", os.devnull, "true"], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        return "strace is not installed"
    return "" if done.returncode == 0 else f"strace is refused: {done.stderr.strip()[-200:]}"


def trace(command: Sequence[str], output: Path, *, cwd: Path) -> None:
    """Run a command under strace; every string is written whole, in hexadecimal."""
    shown = ["-f", "-y", "-xx", "-s", str(1 << 20), "-e", f"trace={TRACED}", "--seccomp-bpf"]
    done = subprocess.run(
        ["strace", *shown, "-o", str(output), *command],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def calls(output: Path, folder: Path, marks: Path) -> list[Call]:
    """Return the calls of a trace that concern `folder`, and the marks between them."""
    return list(_Reader(folder, marks).read(output))


class _Reader:
    """Follows descriptors through a trace: where each one stands in its file."""

    def __init__(self, folder: Path, marks: Path) -> None:
        self._folder = f"{folder}/"
        self._marks = str(marks)
        self._offsets: dict[int, int] = {}

    def read(self, output: Path) -> Iterator[Call]:
        begun: dict[str, str] = {}
        with output.open("r", encoding="ascii") as lines:
            for line in lines:
                if match := _BEGUN.match(line):
                    pid, name, start = match.groups()
                    begun[pid] = start
                    if name in {"fsync", "fdatasync"}:
                        yield from self._call(name, [start], 0, "")
                elif match := _RESUMED.match(line):
                    pid, name, rest = match.groups()
                    if name not in {"fsync", "fdatasync"}:
                        yield from self._line(f"{pid} {name}({begun.pop(pid)}{rest}")
                else:
                    yield from self._line(line)

    def _line(self, line: str) -> Iterator[Call]:
        match = _CALL.match(line)
        if match is None:  # a signal, an exit, a call that has no answer
            return
        _, name, arguments, answer, path = match.groups()
        if int(answer) >= 0:
            yield from self._call(name, arguments.split(", "), int(answer), _text(path or ""))

    def _call(self, name: str, given: list[str], answer: int, opened: str) -> Iterator[Call]:
        if name in {"open", "openat"}:
            yield from self._open(given[1:] if name == "openat" else given, answer, opened)
        elif name in {"close", "lseek", "read"}:
            self._move(name, given, answer)
        elif name in {"write", "pwrite64"}:
            yield from self._write(name, given, answer)
        elif name in {"ftruncate", "fsync", "fdatasync"}:
            path = self._below(_handle(given[0])[1])
            if path is not None:
                size = int(given[1]) if name == "ftruncate" else 0
                yield Call("truncate" if name == "ftruncate" else "sync", path, at=size)
        else:
            yield from self._name(name, given)

    def _open(self, given: list[str], handle: int, opened: str) -> Iterator[Call]:
        self._offsets[handle] = 0
        path = self._below(opened)
        flags = set(given[1].split("|"))
        if path is None or "O_DIRECTORY" in flags:
            return
        if "O_CREAT" in flags:
            yield Call("create", path, at=int(given[2], 8))
        if "O_TRUNC" in flags:
            yield Call("truncate", path, at=0)

    def _move(self, name: str, given: list[str], answer: int) -> None:
        handle = _handle(given[0])[0]
        if name == "lseek":
            self._offsets[handle] = answer
        elif name == "read":
            self._offsets[handle] = self._offsets.get(handle, 0) + answer

    def _write(self, name: str, given: list[str], answer: int) -> Iterator[Call]:
        handle, where = _handle(given[0])
        data = _bytes(given[1])[:answer]
        at = int(given[3]) if name == "pwrite64" else self._offsets.get(handle, 0)
        if name == "write":
            self._offsets[handle] = at + answer
        if where == self._marks:
            yield Call("mark", "", data=data)
        elif (path := self._below(where)) is not None:
            assert len(data) == answer, "the trace cut a string short"
            yield Call("write", path, at=at, data=data)

    def _name(self, name: str, given: list[str]) -> Iterator[Call]:
        """A call on names: with `at`, each path has the handle of a folder before it."""
        parts = [_bytes(one).decode() for one in given if one.startswith('"')]
        assert all(Path(one).is_absolute() for one in parts), f"{name} of a relative path"
        paths = [path for one in parts if (path := self._below(one)) is not None]
        if not paths:
            return
        assert name not in _UNMODELLED, f"{name} is not modelled"
        assert len(paths) == len(parts), f"{name} across the folder's border"
        kind = name.removesuffix("2").removesuffix("at")
        if kind == "unlink" and "AT_REMOVEDIR" in given[-1]:
            kind = "rmdir"
        yield Call(kind, *paths)

    def _below(self, path: str) -> str | None:
        """Return a path relative to the folder, None for one that is not below it."""
        return path[len(self._folder) :] if f"{path}/".startswith(self._folder) else None


def _handle(argument: str) -> tuple[int, str]:
    match = _HANDLE.match(argument)
    assert match is not None, argument
    number, path, deleted = match.groups()
    return -1 if number == "AT_FDCWD" else int(number), "" if deleted else _text(path or "")


def _bytes(argument: str) -> bytes:
    assert argument.endswith('"'), "the trace cut a string short"
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))


def _text(hexadecimal: str) -> str:
    return bytes.fromhex(hexadecimal.replace("\\x", "")).decode()
