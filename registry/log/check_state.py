"""How far a check has come, kept so that one that was killed goes on where it stopped.

Authenticated under a secret of the home: who edits the file cannot make a check skip a record. An
older file of the same check could be put back; so a check says that it was resumed, and only a
young one is.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from registry.core.merkle import Frontier
from registry.errors import GenopsError
from registry.log.findings import Finding, Findings
from registry.log.kept import KeptFile

MAX_STATE_BYTES = 1024 * 1024
_PURPOSE = b"genops log check, version 1"


@dataclass(frozen=True, slots=True)
class CheckState:
    """What was derived of the records before `at`, and what was found in them.

    `trust` are the indices of their trust records, `time_ms` the log time of the newest, `count`
    what was found in all. `began_ms` is when the check began, `blob` the hex SHA-256 of the last
    blob that was looked at.
    """

    at: int
    frontier: Frontier
    time_ms: int
    trust: tuple[int, ...]
    found: tuple[Finding, ...]
    count: int
    began_ms: int
    blob: str = ""

    @classmethod
    def fresh(cls, began_ms: int) -> CheckState:
        """Return the state of a check that begins at the first record."""
        return cls(0, Frontier(), 0, (), (), 0, began_ms)

    @property
    def findings(self) -> Findings:
        """A collector that goes on from what was found."""
        return Findings(list(self.found), self.count)


class StateFile:
    """One home's file. `subject` names all that a check depends on; of another it is not read."""

    def __init__(self, path: Path, secret: bytes, subject: str) -> None:
        key = hmac.new(secret, _PURPOSE, hashlib.sha256).digest()
        self._file = KeptFile(path, key, subject)

    def load(self, oldest_ms: int) -> CheckState | None:
        """Return the state, None when there is none that began since and is genuine."""
        try:
            state = _parse(self._file.load(MAX_STATE_BYTES))
        except (GenopsError, LookupError, TypeError, ValueError):
            return None
        return state if state.began_ms >= oldest_ms else None

    def save(self, state: CheckState) -> bool:
        """Put a newer state in place in one step; tell whether that could be done."""
        return self._file.save(_document(state))

    def clear(self) -> None:
        """Forget the state: the check is done, or begins anew."""
        self._file.clear()


def _document(state: CheckState) -> dict[str, Any]:
    return {
        "at": state.at,
        "size": state.frontier.size,
        "frontier": state.frontier.to_bytes().hex(),
        "time_ms": state.time_ms,
        "trust": list(state.trust),
        "found": [asdict(one) for one in state.found],
        "count": state.count,
        "began_ms": state.began_ms,
        "blob": state.blob,
    }


def _parse(body: Any) -> CheckState:
    return CheckState(
        at=body["at"],
        frontier=Frontier.from_bytes(body["size"], bytes.fromhex(body["frontier"])),
        time_ms=body["time_ms"],
        trust=tuple(body["trust"]),
        found=tuple(Finding(**one) for one in body["found"]),
        count=body["count"],
        began_ms=body["began_ms"],
        blob=body["blob"],
    )
