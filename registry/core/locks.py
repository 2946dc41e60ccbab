"""The lock of an environment (`genops-lock-v1`): a line for every installed distribution.

Values and their text form; what is installed here is no business of this module.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.errors import InputError

NAME = "environment/lock"
"""The material that every record of a pipeline names its lock by."""
HEAD = "# genops-lock-v1"
_LINE = re.compile(
    r"(?:# (?P<kept>editable|local) )?(?P<name>[a-z0-9-]+)"
    r"(?:==(?P<version>\S+)| @ (?P<url>\S+))(?: # (?P<notes>.*))?"
)


@dataclass(frozen=True, slots=True, order=True)
class Locked:
    """One distribution: normalised name, version, where it came from, what was installed.

    `origin` is empty for one from an index, `editable` or `local` for one that no index has, else
    the URL that it was installed from. `record` is the hex SHA-256 of the files that it brought,
    empty where its installer kept no list of them.
    """

    name: str
    version: str
    origin: str = ""
    record: str = ""

    def line(self) -> str:
        """Return the lock's line: a requirement, unless no installer could follow it."""
        record = f"record=sha256:{self.record}" if self.record else ""
        if self.origin in {"editable", "local"}:
            # A comment: an index could offer a stranger's work under the name.
            return f"# {self.origin} {self.name}=={self.version}" + (f" # {record}" * bool(record))
        if self.origin:
            return f"{self.name} @ {self.origin} # version={self.version} {record}".rstrip()
        return f"{self.name}=={self.version}" + (f" # {record}" * bool(record))


def parse(data: bytes) -> tuple[Locked, ...]:
    """Read a lock; InputError (`input.lock`) for what is none."""
    lines = _lines(data)
    return tuple(_parsed(line, number) for number, line in enumerate(lines[1:], 2) if line)


def interpreter(data: bytes) -> str:
    """Return the Python that a lock is of, such as `cpython-3.11.7`; InputError for no lock."""
    return _lines(data)[0].removeprefix(f"{HEAD} ").partition(" ")[0]


def _lines(data: bytes) -> list[str]:
    lines = data.decode("utf-8", errors="replace").splitlines()
    if not lines or not lines[0].startswith(f"{HEAD} "):
        raise InputError("this is no lock of an environment", code="input.lock")
    return lines


def _parsed(line: str, number: int) -> Locked:
    found = _LINE.fullmatch(line)
    if found is None:
        raise InputError(f"line {number} of the lock names no distribution", code="input.lock")
    notes = dict(note.partition("=")[::2] for note in (found["notes"] or "").split())
    return Locked(
        name=found["name"],
        version=found["version"] or notes.get("version", ""),
        origin=found["kept"] or found["url"] or "",
        record=notes.get("record", "").removeprefix("sha256:"),
    )
