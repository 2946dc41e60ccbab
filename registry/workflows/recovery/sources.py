"""Places that may hold what a log lacks: vaults, exports and backups, MLflow's traces.

Nothing of them is believed here: what they give is compared with a signed checkpoint later.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Protocol

from registry.core import exports
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.generation import Blob
from registry.errors import GenopsError
from registry.log.replay import Record
from registry.mirrors.mlflow import open_mlflow
from registry.threads import cores
from registry.vault.shelf import Shelf, copy_blobs
from registry.vault.store import Vault
from registry.workflows.services import Services
from registry.workflows.transfer import sidecars
from registry.workflows.transfer.filling import exported_records
from registry.workflows.transfer.sources import ExportReader


class Source(Protocol):
    """A place that may hold records from some index on. Methods raise GenopsError."""

    @property
    def name(self) -> str:
        """What it is called in a report."""

    def notes(self) -> Iterable[tuple[str, bytes]]:
        """Yield its checkpoints, each with a name."""

    def record(self, index: int) -> Record | None:
        """Return a record, None when it is not there."""

    def sealed(self, index: int) -> bytes | None:
        """Return a record's encrypted texts, None when they are not there."""

    def bring_blobs(self, vault: Vault) -> Iterable[Blob]:
        """Put the blobs of its records into the vault, and return them."""


class VaultSource:
    """The segments of a vault; of the home's own, blobs are where they should be."""

    def __init__(self, shelf: Shelf, first: int, *, own: bool) -> None:
        self._shelf = shelf
        self._first = first
        self._own = own

    @property
    def name(self) -> str:
        """`vault`, or the folder of another one."""
        return "vault" if self._own else str(self._shelf.vault.root)

    def notes(self) -> Iterable[tuple[str, bytes]]:
        """Yield the segments' checkpoints."""
        return [(f"{self.name}, segment {name}", note) for name, note in self._shelf.checkpoints]

    def record(self, index: int) -> Record | None:
        """Return a record, None when no segment has it."""
        return self._shelf.record(index)

    def sealed(self, index: int) -> bytes | None:
        """Return a record's encrypted texts."""
        return self._shelf.sealed(index)

    def bring_blobs(self, vault: Vault) -> Iterable[Blob]:
        """Return what the segments name beside records; of another vault, copy it."""
        wanted = [
            blob
            for pointer, segment in self._shelf.segments
            if pointer.last >= self._first
            for blob in segment.members.values()
            if blob.sha256 in self._shelf.blobs
        ]
        if not self._own:
            copy_blobs(wanted, self._shelf.vault, vault, jobs=cores())
        return wanted


class ExportSource:
    """An export or a backup with its log."""

    def __init__(self, export: ExportReader, name: str, first: int) -> None:
        self._export = export
        self._name = name
        self._records: dict[int, Record] | None = None
        self._first = first

    @property
    def name(self) -> str:
        """Where it lies."""
        return self._name

    def notes(self) -> Iterable[tuple[str, bytes]]:
        """Yield its one checkpoint."""
        return [(self._name, self._export.read(exports.CHECKPOINT))]

    def record(self, index: int) -> Record | None:
        """Return a record, None past the export's end; raises as `exported_records` does."""
        if not self._export.manifest.has("log"):
            return None
        if self._records is None:
            newer = islice(exported_records(self._export), self._first, None)
            self._records = dict(enumerate(newer, start=self._first))
        return self._records.get(index)

    def sealed(self, index: int) -> bytes | None:
        """Return a record's encrypted texts."""
        path = exports.sealed_path(index)
        return self._export.read(path) if self._export.has(path) else None

    def bring_blobs(self, vault: Vault) -> Iterable[Blob]:
        """Put all blobs of the export into the vault, which may have most of them."""
        path = exports.sidecar_path("blobs")
        listed = sidecars.parse("blobs", self._export.read(path)) if self._export.has(path) else []
        for row in listed:
            blob = Blob(row["sha256"].hex(), row["md5"].hex(), row["size"])
            file = exports.blob_path(blob.sha256)
            if not vault.path(blob).is_file() and self._export.has(file):
                self._export.check(file)
                vault.put_file(self._export.path(file))
            if vault.path(blob).is_file():
                yield blob


class MlflowSource:
    """MLflow's traces: generations only, with entry and envelope, and never a text."""

    def __init__(self, services: Services) -> None:
        self._mirror = open_mlflow(services.settings, services.engine)
        self._keys = services.reader.trust().keys

    @property
    def name(self) -> str:
        """The mirror's name."""
        return "mlflow"

    def notes(self) -> Iterable[tuple[str, bytes]]:
        """Yield nothing: a trace has no checkpoint."""
        return ()

    def record(self, index: int) -> Record | None:
        """Return the copy of a record that a key of this log signed, None when there is none."""
        for entry, envelope in self._mirror.copies(index):
            if agree(entry, envelope) and self._is_ours(envelope):
                return entry, envelope
        return None

    def sealed(self, index: int) -> bytes | None:  # noqa: ARG002  # it never has any
        """Return nothing: no text ever goes to MLflow."""
        return None

    def bring_blobs(self, vault: Vault) -> Iterable[Blob]:  # noqa: ARG002  # it never has any
        """Return nothing: no blob goes there."""
        return ()

    def _is_ours(self, envelope: bytes) -> bool:
        return any(one.keyid in self._keys for one in Envelope.parse(envelope).signatures)


def mlflow_source(services: Services) -> MlflowSource | None:
    """Return MLflow as a source, None for a home whose own MLflow was never written.

    Raises MissingExtraError, UnavailableError.
    """
    settings = services.settings
    if settings.mlflow_uri is None and not settings.home.mlflow.is_dir():
        return None
    return MlflowSource(services)


def agree(entry: bytes, envelope: bytes) -> bool:
    """Tell whether an entry is well-formed and names this envelope."""
    try:
        parsed, opened = LogEntry.parse(entry), Envelope.parse(envelope)
    except GenopsError:
        return False
    return (parsed.envelope_sha256, parsed.payload_sha256) == (
        opened.sha256,
        opened.payload_sha256,
    )


def in_cache(vault: Vault, wanted: set[str]) -> Iterator[Blob]:
    """Yield those of the wanted contents (hex SHA-256) that the vault has, by reading its files.

    For blobs of which only the index was lost; the newest files are read first.
    """
    left = set(wanted)
    for blob in vault.stored() if left else ():
        if blob.sha256 in left:
            left.discard(blob.sha256)
            yield blob
        if not left:
            return
