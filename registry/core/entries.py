"""Log entries: the leaves of the Merkle tree, naming a record's payload and envelope by digest."""

from __future__ import annotations

import re
from dataclasses import dataclass

from registry.core.digests import is_sha256, record_id
from registry.core.merkle import leaf_hash
from registry.core.times import format_time, parse_time
from registry.errors import FormatError, InputError

MAX_ENTRY_BYTES = 1024
"""Largest entry (tlog-tiles gives an entry a 16-bit length)."""

_WIRE = re.compile(
    rb'\{"envelope":"([0-9a-f]{64})","payload":"([0-9a-f]{64})","time":"([0-9T:.Z-]{24})","v":1\}'
)


@dataclass(frozen=True, slots=True)
class LogEntry:
    """Log time (epoch ms), and the hex SHA-256 of the payload and of the envelope's bytes."""

    time_ms: int
    payload_sha256: str
    envelope_sha256: str

    def __post_init__(self) -> None:
        if not is_sha256(self.payload_sha256) or not is_sha256(self.envelope_sha256):
            raise InputError("a log entry names two hex SHA-256 digests", code="entry.invalid")

    def to_bytes(self) -> bytes:
        """Return the entry as RFC 8785 JSON; its four keys are written in canonical order."""
        return (
            f'{{"envelope":"{self.envelope_sha256}","payload":"{self.payload_sha256}",'
            f'"time":"{format_time(self.time_ms)}","v":1}}'
        ).encode("ascii")

    @classmethod
    def parse(cls, data: bytes) -> LogEntry:
        """Read an entry; raises FormatError for anything that `to_bytes` would not write."""
        match = _WIRE.fullmatch(data) if len(data) <= MAX_ENTRY_BYTES else None
        if match is None:
            raise FormatError("not a log entry of version 1", code="entry.invalid")
        envelope, payload, time = (group.decode("ascii") for group in match.groups())
        return cls(parse_time(time), payload, envelope)

    def leaf_hash(self) -> bytes:
        """Return the entry's RFC 9162 leaf hash, 32 bytes: the record's id."""
        return leaf_hash(self.to_bytes())

    @property
    def record_id(self) -> str:
        """The record's id, `rec:<hex leaf hash>`."""
        return record_id(self.leaf_hash().hex())
