"""What a home remembers of a campaign: when it began, its secret, and what failed.

The log says what was made; a step's invocation id is derived from the campaign's secret, so that
the log does not tell what was asked for. Files are in the home's `campaigns` folder, 0600.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from registry.core import jsonio
from registry.core.ids import RANDOM_BYTES, uuid7
from registry.errors import ConflictError, HomeError, InputError

FOLDER = "campaigns"
KEPT = 9
"""Durations kept of each kind of step: their median is what the next is thought to take."""
SECONDS: Mapping[str, float] = {
    "copy": 3.0,
    "master": 0.7,
    "img2img": 0.6,
    "inpaint": 0.7,
    "clean": 0.7,
    "swap": 0.7,
    "outpaint": 0.9,
    "upscale": 0.3,
    "convert": 0.15,
    "approval": 0.05,
}
"""Seconds of a step where this home has not made one: measured on one core with the demo model."""


@dataclass(slots=True)
class State:
    """One campaign in one home. `errors` are the fields of an error by the key of its step."""

    path: Path
    started_ms: int
    secret: bytes
    errors: dict[str, dict[str, str]] = field(default_factory=dict)

    def invocation(self, step: str, decided_by: Any) -> str:
        """Return the invocation id (UUIDv7) of a step that these JSON values decide."""
        message = jsonio.canonical([step, decided_by])
        digest = hmac.new(self.secret, message, hashlib.sha256).digest()
        return uuid7(self.started_ms, digest[:RANDOM_BYTES])

    def save(self) -> None:
        """Write the state; durable on return."""
        document = {
            "v": 1,
            "started_ms": self.started_ms,
            "secret": self.secret.hex(),
            "errors": self.errors,
        }
        _write(self.path, document)


def find(home: Path, name: str) -> State | None:
    """Return what a home remembers of a campaign; None where it never began here.

    Raises InputError (`campaign.state`) for a file that cannot be read.
    """
    path = home / FOLDER / f"{name}.json"
    if not path.exists():
        return None
    try:
        document = json.loads(path.read_text("utf-8"))
        secret = bytes.fromhex(document["secret"])
        return State(path, int(document["started_ms"]), secret, dict(document["errors"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"cannot read the state of campaign {name} in {path}: {error}",
            code="campaign.state",
            hint="put it back from a copy; without it, the campaign begins anew",
        ) from None


def begin(home: Path, name: str) -> State:
    """Return what a home remembers of a campaign, which begins now where it did not before."""
    found = find(home, name)
    if found is None:
        path = home / FOLDER / f"{name}.json"
        found = State(path, time.time_ns() // 1_000_000, secrets.token_bytes(32))
        found.save()
    return found


@contextmanager
def alone(home: Path, name: str) -> Iterator[None]:
    """Keep other runs of the same campaign out; raises ConflictError (`campaign.running`)."""
    path = home / FOLDER / f"{name}.lock"
    _make_folder(path.parent)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ConflictError(
                f"campaign {name} is being run by another process",
                code="campaign.running",
                hint="wait for it; the lock is freed when it ends",
            ) from None
        yield


class Timings:
    """How long steps took in this home, by kind."""

    def __init__(self, home: Path) -> None:
        self._path = home / FOLDER / "timings.json"
        self._seconds: dict[str, list[float]] = {}
        try:
            kept = json.loads(self._path.read_text("utf-8"))
            self._seconds = {str(k): [float(s) for s in v] for k, v in kept.items()}
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # nothing was measured, or nothing that can be read: guesses do

    def add(self, kind: str, seconds: float) -> None:
        """Note how long a step took."""
        self._seconds[kind] = [*self._seconds.get(kind, ()), round(seconds, 3)][-KEPT:]

    def expect(self, kind: str) -> float:
        """Return the seconds that a step is thought to take."""
        measured = self._seconds.get(kind)
        return statistics.median(measured) if measured else SECONDS.get(kind, 1.0)

    def knows(self, kind: str) -> bool:
        """Tell whether a step of this kind was measured here."""
        return bool(self._seconds.get(kind))

    def save(self) -> None:
        """Keep what was measured."""
        _write(self._path, self._seconds)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise HomeError(
            f"cannot write {folder}: {error.strerror}", code="home.read-only"
        ) from error


def _write(path: Path, document: Any) -> None:
    """Replace a file as a whole; it is there, old or new, whenever the process dies."""
    _make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            json.dump(document, file)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise HomeError(f"cannot write {path}: {error.strerror}", code="home.read-only") from error
