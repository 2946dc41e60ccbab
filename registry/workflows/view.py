"""One record as it is stored: each part is read and parsed once, when it is first asked for."""

from __future__ import annotations

from functools import cached_property

from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.statements import Statement
from registry.workflows.services import Services


class RecordView:
    """The stored parts of the record at a log index.

    Reading one raises NotFoundError past the end of the log, parsing one FormatError when its
    bytes were altered; every further access raises again.
    """

    def __init__(self, services: Services, index: int) -> None:
        self._reader = services.reader
        self.index = index

    @cached_property
    def entry_bytes(self) -> bytes:
        """The log entry, as hashed."""
        return self._reader.entry(self.index)

    @cached_property
    def entry(self) -> LogEntry:
        """The log entry."""
        return LogEntry.parse(self.entry_bytes)

    @cached_property
    def envelope_bytes(self) -> bytes:
        """The envelope, as submitted."""
        return self._reader.envelope_bytes(self.index)

    @cached_property
    def envelope(self) -> Envelope:
        """The envelope."""
        return Envelope.parse(self.envelope_bytes)

    @cached_property
    def statement(self) -> Statement:
        """The statement, its texts sealed."""
        return Statement.parse(self.envelope.payload)
