"""The port of every mirror: what it is given, what it promises, how it names a difference.

Knows neither the outbox nor any particular mirror.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from registry.core.statements import Statement
from registry.errors import GenopsError

MAX_ERROR_CHARS = 500
"""Longest error text that is kept with an outbox row."""

_USERINFO = re.compile(r"//[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class MirrorRecord:
    """A record as a mirror receives it: everything as logged, texts still sealed.

    `record_id` is `rec:<hex leaf hash>`; `envelope` and `entry` are the logged bytes; `time_ms` is
    log time. `outputs` pairs each output's hex SHA-256 with its file in the vault, where there is
    one.
    """

    index: int
    record_id: str
    statement: Statement
    envelope: bytes
    entry: bytes
    time_ms: int
    outputs: tuple[tuple[str, Path | None], ...] = ()


class Mirror(Protocol):
    """A place that holds copies of records.

    `send` is idempotent: a record that was sent before makes no second copy, and whatever of its
    copy was altered or removed is written again. It returns only when every record of the batch is
    stored. It may be called again with any part of a batch that failed, in any order. It raises
    UnavailableError when the place cannot be reached now, and any other GenopsError when it refuses
    what it was given. One thread at a time.
    """

    @property
    def target(self) -> str:
        """The name that outbox rows carry for this mirror."""

    def send(self, batch: Sequence[MirrorRecord]) -> None:
        """Store copies of the records."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One way in which a mirror's copy is not what the log says.

    `where` names the part of the copy: `trace`, `experiment`, `name`, `spans`, `times`, or an
    attribute or tag by its name.
    """

    record_id: str
    copy_id: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.copy_id} ({self.record_id}): {self.where}: {self.message}"


def describe(error: BaseException) -> str:
    """Return an error as one line for the outbox: cut, and without the credentials of a URL."""
    text = f"{error.code}: {error.message}" if isinstance(error, GenopsError) else repr(error)
    line = " ".join(_USERINFO.sub("//", text).split())
    return line if len(line) <= MAX_ERROR_CHARS else line[: MAX_ERROR_CHARS - 1] + "…"
