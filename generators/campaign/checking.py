"""Whether a delivery folder is what was signed: offline, with the log's public key alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from generators.campaign.delivery import EVIDENCE, MANIFEST
from registry.core import jsonio
from registry.core.campaigns import DeliveryCheck, DeliveryFinding
from registry.core.evidence import EvidenceReport, verify_evidence
from registry.core.times import format_time
from registry.errors import FormatError, InputError
from registry.resources import schema_set

MAX_BYTES = 16 * 1024 * 1024
"""Largest manifest or evidence that is read."""
_READ_BYTES = 1024 * 1024


def check_delivery(folder: Path, log_vkey: str) -> DeliveryCheck:
    """Check the signature of a folder's manifest, and every file by it; names what is wrong.

    Raises InputError (`campaign.folder`) where there is no folder, FormatError for a malformed
    key.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", code="campaign.folder")
    findings: list[DeliveryFinding] = []
    manifest = _read(folder, MANIFEST, findings)
    proof = _read(folder, EVIDENCE, findings)
    report = None if proof is None else verify_evidence(proof, log_vkey=log_vkey)
    findings += _unproven(report, manifest)
    document = _parsed(manifest, findings)
    files = [] if document is None else _listed(document)
    findings += _differing(folder, files)
    if document is not None:
        findings += _unlisted(folder, files)
    time_ms = None if report is None else report.log_time_ms
    return DeliveryCheck(
        folder=str(folder),
        ok=not findings,
        name=None if document is None else document["campaign"],
        record=None if report is None or report.record_id is None else report.record_id,
        time=None if time_ms is None else format_time(time_ms),
        signer=report.signer.keyid if report is not None and report.signer is not None else None,
        files=len(files),
        findings=tuple(findings),
    )


def _read(folder: Path, name: str, findings: list[DeliveryFinding]) -> bytes | None:
    path = folder / name
    try:
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_BYTES:
            return path.read_bytes()
        why = "there is no such plain file, or it is too large"
    except OSError as error:
        why = f"it cannot be read: {error.strerror}"
    findings.append(DeliveryFinding(name, "missing", why))
    return None


def _unproven(report: EvidenceReport | None, manifest: bytes | None) -> Iterator[DeliveryFinding]:
    if report is None:
        return
    for check in report.failed:
        yield DeliveryFinding(EVIDENCE, "evidence", f"{check.name}: {check.detail}")
    if manifest is None or report.document is None:
        return
    digest = hashlib.sha256(manifest).hexdigest()
    subjects = [one["digest"]["sha256"] for one in report.document["subject"]]
    if digest not in subjects:
        yield DeliveryFinding(MANIFEST, "manifest", "it is not the manifest that was signed")


def _parsed(manifest: bytes | None, findings: list[DeliveryFinding]) -> Mapping[str, Any] | None:
    if manifest is None:
        return None
    try:
        document: Mapping[str, Any] = jsonio.loads(manifest, max_bytes=MAX_BYTES)
        schema_set().check("delivery/v1", document)
    except FormatError as error:
        findings.append(DeliveryFinding(MANIFEST, "manifest", error.message))
        return None
    return document


def _listed(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [*document["files"], *([document["sheet"]] if document["sheet"] else [])]


def _differing(folder: Path, files: list[Mapping[str, Any]]) -> Iterator[DeliveryFinding]:
    for file in files:
        path = folder / file["path"]
        if path.is_symlink() or not path.is_file():
            yield DeliveryFinding(file["path"], "missing", "the manifest lists it")
        elif _sha256(path) != file["sha256"]:
            yield DeliveryFinding(file["path"], "altered", "its SHA-256 is another one")


def _unlisted(folder: Path, files: list[Mapping[str, Any]]) -> Iterator[DeliveryFinding]:
    known = {MANIFEST, EVIDENCE, *(file["path"] for file in files)}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if (path.is_symlink() or not path.is_dir()) and name not in known:
            yield DeliveryFinding(name, "unlisted", "the manifest does not list it")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()
