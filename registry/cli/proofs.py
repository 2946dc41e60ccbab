"""What the log and an evidence file can prove, as answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from registry.cli.answers import (
    EvidenceBundleView,
    EvidenceCheckView,
    EvidenceFileView,
    EvidenceView,
    LogProof,
    LogRecord,
)
from registry.core.entries import LogEntry
from registry.core.statements import Statement
from registry.core.times import format_time
from registry.errors import FormatError, InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.core.evidence import EvidenceCheck, EvidenceReport
    from registry.core.evidence_zip import BundleReport
    from registry.sdk import Registry

_INDEX = re.compile("[0-9]{1,7}")
_RECORD = re.compile("rec:([0-9a-f]{64})")


def log_record(registry: Registry, ref: str) -> LogRecord:
    """Return a record as it was signed; `ref` is a record, an asset or an index."""
    index = record_index(registry, ref)
    entry = LogEntry.parse(registry.log.entry(index))
    statement = Statement.parse(registry.log.envelope(index).payload)
    return LogRecord(entry.record_id, index, format_time(entry.time_ms), dict(statement.document))


def log_proof(registry: Registry, ref: str) -> LogProof:
    """Return a proof that a record is under the newest checkpoint."""
    index = record_index(registry, ref)
    entry = LogEntry.parse(registry.log.entry(index))
    proof = registry.log.inclusion(index, size=registry.log.head().size)
    return LogProof(entry.record_id, index, proof.to_bytes().decode("utf-8"))


def record_index(registry: Registry, ref: str) -> int:
    """Return the place in the log of an index, a record id in full, or an asset's newest record.

    Up to seven digits are an index, as prefixes have eight or more; whether the log reaches that
    far is seen when it is read. Raises NotFoundError.
    """
    if _INDEX.fullmatch(ref):
        return int(ref)
    record = _RECORD.fullmatch(ref)
    if record:
        return registry.log.index_of(bytes.fromhex(record[1]))
    return registry.get(ref).index


def trusted_log_key(key: str | None, home: str | None) -> str:
    """Return the log's public key by `--key`, else the home's; InputError when both are given."""
    if key is not None and home is not None:
        raise InputError("--key and --home both name a key", code="usage", hint="give one of them")
    return log_key(key) if key is not None else home_log_key(home)


def log_key(text: str) -> str:
    """Return the log's public key from a vkey line or a file that holds one."""
    if "+" in text and not Path(text).is_file():
        return text
    try:
        lines = Path(text).read_text("utf-8").split()
    except (FileNotFoundError, UnicodeDecodeError):
        lines = []
    if len(lines) != 1:
        raise InputError(
            f"{text!r} is neither a log's public key nor a file with one",
            code="vkey.invalid",
            hint="it is one line, as in <home>/keys/log.vkey",
        )
    return lines[0]


def home_log_key(home: str | None) -> str:
    """Return the log key of the registry at `home`, without opening it."""
    from registry.settings import default_home, is_url, load_settings
    from registry.workflows.setup import vkey_of

    where = home or default_home()
    if is_url(where):
        raise InputError(
            "a served registry cannot vouch for its own evidence",
            code="usage.remote",
            hint="give the log's public key by --key",
        )
    return str(vkey_of(load_settings(where)))


def read_evidence(file: Path) -> bytes:
    """Return the bytes of an evidence file; InputError when it is too long for one."""
    from registry.core.evidence_zip import MAX_BUNDLE_BYTES

    with file.open("rb") as stream:
        data = stream.read(MAX_BUNDLE_BYTES + 1)
    if len(data) > MAX_BUNDLE_BYTES:
        raise InputError(
            f"{file} is over the {MAX_BUNDLE_BYTES} bytes of any evidence", code="file.too-large"
        )
    return data


def evidence_view(data: bytes, log_vkey: str) -> EvidenceView | EvidenceBundleView:
    """Check evidence, JSON or ZIP, against the log's public key; InputError for a malformed key."""
    from registry.core.evidence import verify_evidence
    from registry.core.evidence_zip import MAGIC, verify_bundle
    from registry.core.notes import VerifierKey

    try:
        VerifierKey.parse(log_vkey)
    except FormatError as error:
        raise InputError(
            error.message, code=error.code, hint="a log's public key is one line: name+id+key"
        ) from None
    if data.startswith(MAGIC):
        return _bundle_view(verify_bundle(data, log_vkey=log_vkey))
    return _file_view(verify_evidence(data, log_vkey=log_vkey))


def _bundle_view(report: BundleReport) -> EvidenceBundleView:
    files = [EvidenceFileView(name, _file_view(found)) for name, found in report.files.items()]
    return EvidenceBundleView(report.ok, _check_views(report.checks), tuple(files))


def _file_view(report: EvidenceReport) -> EvidenceView:
    return EvidenceView(
        ok=report.ok,
        record=report.record_id,
        index=report.index,
        time=None if report.log_time_ms is None else format_time(report.log_time_ms),
        tree_size=report.tree_size,
        signer=report.signer.keyid if report.signer else None,
        checks=_check_views(report.checks),
        withheld=report.withheld,
        statement=None if report.document is None else dict(report.document),
    )


def _check_views(checks: Sequence[EvidenceCheck]) -> tuple[EvidenceCheckView, ...]:
    return tuple(EvidenceCheckView(c.name, c.state, c.detail) for c in checks)
