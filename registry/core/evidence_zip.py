"""Evidence of many records in one ZIP, whose every byte follows from what is in it.

Written by hand, since nothing here may compress: a compressor's output differs between versions,
and what cannot be written again to the byte cannot be proved to the byte. Reads nothing else.
"""

from __future__ import annotations

import binascii
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.core import jsonio
from registry.core.digests import is_sha256, sha256_hex
from registry.core.evidence import (
    MAX_EVIDENCE_BYTES,
    Evidence,
    EvidenceCheck,
    EvidenceReport,
    first_difference,
    verify_evidence,
)
from registry.errors import FormatError, GenopsError, InputError

BUNDLE_TYPE = "https://w3id.org/genops/evidence-bundle/v1"
MAGIC = b"PK\x03\x04"
MAX_BUNDLE_BYTES = 256 * 1024 * 1024
"""Largest bundle; below 4 GiB, so that no ZIP64 is needed."""
MAX_BUNDLE_RECORDS = 4096
README = "README.txt"
INDEX = "index.json"
FOLDER = "evidence/"
README_TEXT = b"""\
Evidence of records in a GenOps registry, format evidence-bundle/v1.

evidence/<id>.json  one record each: the signed statement, its log entry, the proof that the log
                    holds it, the log's signed checkpoint, and the trusted keys
index.json          which file holds which record, and the SHA-256 of each file

Verify all of it offline, with the log's public key from somewhere you trust, never from whoever
sent this file:

    genops verify-evidence FILE.zip --key log.vkey

Each file can be unpacked and verified by itself in the same way. docs/evidence.md of the GenOps
registry shows how to check one with openssl and coreutils alone.
"""

_LOCAL = struct.Struct("<4s5H3L2H")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")
_VERSION = 20
_DATE = 0x0021  # 1 January 1980: a ZIP has no earlier one
_PLAIN_FILE = 0o100644 << 16
_UNIX = 3 << 8


@dataclass(frozen=True, slots=True)
class BundleReport:
    """Whether the ZIP is whole, and the report of each evidence file in it, by name.

    `checks` are those of the ZIP itself: `archive` and `index`.
    """

    checks: tuple[EvidenceCheck, ...]
    files: Mapping[str, EvidenceReport]

    @property
    def ok(self) -> bool:
        """True when the ZIP is whole, holds a record, and every check of every file passed."""
        whole = all(check.state == "passed" for check in self.checks)
        return whole and bool(self.files) and all(report.ok for report in self.files.values())


def build_bundle(evidence: Sequence[bytes]) -> bytes:
    """Return the ZIP of evidence files; the same files in any order give the same bytes.

    A record that is given twice is in it once. Raises FormatError for what is no evidence,
    InputError (`evidence.bundle`) for none, too many, too much, or one record in two versions.
    """
    files: dict[str, bytes] = {}
    for data in evidence:
        parsed = Evidence.parse(data)
        written = parsed.to_bytes()
        if files.setdefault(_name(parsed), written) != written:
            raise _unfit(f"{parsed.record.entry.record_id} is given in two versions")
    if not 1 <= len(files) <= MAX_BUNDLE_RECORDS:
        raise _unfit(f"a bundle takes 1 to {MAX_BUNDLE_RECORDS} records, not {len(files)}")
    bundle = _write({**files, README: README_TEXT, INDEX: _index(files)})
    if len(bundle) > MAX_BUNDLE_BYTES:
        raise _unfit(f"{len(bundle)} bytes are over a bundle's {MAX_BUNDLE_BYTES}")
    return bundle


def verify_bundle(data: bytes, *, log_vkey: str) -> BundleReport:
    """Check a ZIP of evidence files against the log's public key; never raises for the file.

    Raises FormatError only for a malformed `log_vkey`.
    """
    entries: dict[str, bytes] = {}
    checks = [_check("archive", lambda: _read_into(data, entries))]
    files = {name: held for name, held in entries.items() if name.startswith(FOLDER)}
    reports = {name: verify_evidence(held, log_vkey=log_vkey) for name, held in files.items()}
    checks.append(_check("index", lambda: _compare(entries, files)))
    return BundleReport(tuple(checks), reports)


def _check(name: str, run: Callable[[], None]) -> EvidenceCheck:
    try:
        run()
    except GenopsError as error:
        return EvidenceCheck(name, "failed", f"{error.code}: {error.message}")
    return EvidenceCheck(name, "passed")


def _compare(entries: Mapping[str, bytes], files: Mapping[str, bytes]) -> None:
    """Check that the index and the README are those that these files have."""
    if not 1 <= len(files) <= MAX_BUNDLE_RECORDS:
        raise _invalid(f"it does not hold 1..{MAX_BUNDLE_RECORDS} records")
    if entries.keys() != {README, INDEX, *files}:
        raise _invalid(f"it does not hold exactly {README}, {INDEX} and evidence")
    for name, wanted in ((README, README_TEXT), (INDEX, _index(files))):
        if entries[name] != wanted:
            at = first_difference(entries[name], wanted)
            raise _invalid(f"{name} is not what its files make, from byte {at} on")


def _index(files: Mapping[str, bytes]) -> bytes:
    return jsonio.dumps({"type": BUNDLE_TYPE, "records": [_row(*i) for i in sorted(files.items())]})


def _row(name: str, data: bytes) -> dict[str, Any]:
    parsed = Evidence.parse(data)
    if name != _name(parsed):
        raise _invalid(f"{name} holds {parsed.record.entry.record_id}")
    return {
        "file": name,
        "record": parsed.record.entry.record_id,
        "index": parsed.record.proof.index,
        "sha256": sha256_hex(data),
    }


def _name(evidence: Evidence) -> str:
    return f"{FOLDER}{evidence.record.entry.record_id.removeprefix('rec:')}.json"


def _write(entries: Mapping[str, bytes]) -> bytes:
    """Return a ZIP: entries sorted by name, stored, dated 1980, readable by everybody."""
    local, central = bytearray(), bytearray()
    for name, data in sorted(entries.items()):
        path = name.encode("ascii")
        fields = (0, 0, 0, _DATE, binascii.crc32(data), len(data), len(data), len(path), 0)
        central += _CENTRAL.pack(
            b"PK\x01\x02", _UNIX | _VERSION, _VERSION, *fields, 0, 0, 0, _PLAIN_FILE, len(local)
        )
        central += path
        local += _LOCAL.pack(MAGIC, _VERSION, *fields) + path + data
    count = len(entries)
    end = _END.pack(b"PK\x05\x06", 0, 0, count, count, len(central), len(local), 0)
    return bytes(local + central + end)


def _read_into(data: bytes, entries: dict[str, bytes]) -> None:
    """Collect the entries in their order, then check that they make this very ZIP.

    Entries that were read before a fault stay: each can still be verified. Only names and lengths
    are taken from the file, so that a name that is no evidence's, an entry that is compressed,
    encrypted, a link, doubled or hidden, and anything before, between or behind, is a difference.
    """
    if len(data) > MAX_BUNDLE_BYTES:
        raise _invalid(f"it has {len(data)} bytes, over {MAX_BUNDLE_BYTES}")
    at = 0
    while data.startswith(MAGIC, at):
        at = _read_entry(data, at, entries)
    written = _write(entries)
    if data != written:
        raise _invalid(f"from byte {first_difference(data, written)} on it is not as it is written")


def _read_entry(data: bytes, at: int, entries: dict[str, bytes]) -> int:
    """Read the entry whose local header starts at a byte; return where the next one would."""
    if len(entries) >= MAX_BUNDLE_RECORDS + 2:
        raise _invalid(f"it holds more than {MAX_BUNDLE_RECORDS} records")
    if len(data) < at + _LOCAL.size:
        raise _invalid(f"it ends within the header at byte {at}")
    *fixed, date, _, size, full, length, extra = _LOCAL.unpack_from(data, at)
    start: int = at + _LOCAL.size + length
    name = data[at + _LOCAL.size : start].decode("latin-1")
    if fixed != [MAGIC, _VERSION, 0, 0, 0] or date != _DATE or extra or size != full:
        raise _invalid(f"entry {name!r} at byte {at} is compressed, encrypted, dated or padded")
    if not _is_ours(name) or name in entries:
        raise _invalid(f"entry {name!r} at byte {at} has no place in it, or stands twice")
    if size > MAX_EVIDENCE_BYTES or len(data) < start + size:
        raise _invalid(f"entry {name!r} at byte {at} is too long")
    end = start + int(size)
    entries[name] = data[start:end]
    return end


def _is_ours(name: str) -> bool:
    stem = name.removeprefix(FOLDER).removesuffix(".json")
    return name in {README, INDEX} or (name == f"{FOLDER}{stem}.json" and is_sha256(stem))


def _invalid(why: str) -> FormatError:
    return FormatError(
        f"not an evidence bundle: {why}",
        code="evidence.invalid",
        hint="a ZIP that was packed anew is no longer one: unpack it and verify each file in it",
    )


def _unfit(why: str) -> InputError:
    return InputError(why, code="evidence.bundle", hint="ask for several bundles")
