"""Reports of export, backup, import and upgrade."""

from __future__ import annotations

from rich.console import RenderableType

from registry.cli.render.parts import GOOD, WARN, fields, lines, literal
from registry.cli.text import plural, size
from registry.core.recovery_answers import RestoreReport
from registry.core.transfers import ExportReport, ImportReport, UpgradeReport

_PARTS = {
    "log": "log",
    "texts": "texts (encrypted)",
    "blobs": "blobs",
    "home": "keys and settings",
}


def exported(done: ExportReport) -> RenderableType:
    """Return what was written where, and what to keep in mind."""
    secret = "home" in done.parts
    kind = "backup" if secret else "export"
    held = ", ".join(_PARTS[part] for part in _PARTS if part in done.parts)
    left_out = ", ".join(_PARTS[p] for p in ("texts", "blobs") if p not in done.parts)
    return lines(
        literal(f"{kind} written to {done.path}", GOOD),
        fields(
            [
                ("log", done.origin),
                ("records", done.size),
                ("root", done.root),
                ("holds", held),
                ("left out", left_out if "log" in done.parts else "log, texts, blobs"),
                ("size", f"{size(done.bytes)} in {plural(done.files, 'file')}"),
                ("encrypted", "yes" if done.encrypted else "no" if secret else None),
            ]
        ),
        literal("who has this file has the registry's keys: lock it away", WARN)
        if secret and not done.encrypted
        else None,
    )


def contents(
    done: ImportReport | RestoreReport, vault: str, lost: str | None = None
) -> RenderableType:
    """Return what a registry holds that was made from a copy."""
    texts = f"{done.texts:,} readable, {done.locked:,} locked, {done.erased:,} erased"
    return fields(
        [
            ("log", done.origin),
            ("log key", done.log_key),
            ("database", done.database),
            ("records", f"{done.size:,}, all checked"),
            ("root", done.root),
            ("lost", lost),
            ("vault", vault),
            ("look-up", plural(done.fingerprints, "fingerprint")),
            ("texts", texts),
            ("erased again", plural(done.erased_again, "text") if done.erased_again else None),
        ]
    )


def imported(done: ImportReport) -> RenderableType:
    """Return the new registry, what came with it and what did not."""
    blobs = plural(done.blobs, "blob")
    if done.missing_blobs:
        blobs += f"; {done.missing_blobs:,} listed and not here, fetch them with `dvc pull`"
    return lines(
        literal(f"registry made at {done.home}", GOOD),
        contents(done, blobs),
        literal("stop the old registry before this one records: two would fork the log", WARN)
        if done.can_sign
        else literal("it has no keys: it answers and verifies, and cannot record", WARN),
    )


def upgraded(done: UpgradeReport) -> RenderableType:
    """Return what was changed, and where the copy is."""
    lacking = None
    if done.unfingerprinted:
        some = plural(done.unfingerprinted, "picture")
        told = f"{some} lack fingerprints of this version: run `genops catalog fingerprint`"
        lacking = literal(told, WARN)
    if done.before == done.after and not done.guards_restored:
        return lines(literal(f"{done.home} is up to date (schema {done.after})", GOOD), lacking)
    return lines(
        literal(f"{done.home} is up to date", GOOD),
        fields(
            [
                ("schema", f"{done.before} → {done.after}" if done.before != done.after else None),
                ("guards", "restored" if done.guards_restored else None),
                ("catalog", f"derived from {plural(done.records, 'record')}")
                if done.records
                else ("catalog", None),
                ("copy of the database as it was", done.backup),
            ]
        ),
        literal("somebody removed the guards: find out who, and why", WARN)
        if done.guards_restored
        else None,
        lacking,
    )
