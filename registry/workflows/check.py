"""Check a whole registry: its log, and on request the blobs and texts beside it.

Puts the parts together: the log's own check, the vault, the keyring, and where to go on later.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version

from registry.core.answers import LogFinding, LogReport
from registry.core.digests import sha256_hex
from registry.core.jsonio import dumps
from registry.errors import InputError, KeyFileError
from registry.log.check import CheckOptions
from registry.log.check import check_log as run_check
from registry.log.check_page import Judged, Page
from registry.log.check_state import StateFile
from registry.log.check_texts import TextsCheck
from registry.log.findings import CheckReport, Finding, in_order
from registry.signing.keys import read_secret
from registry.workflows.check_blobs import BlobsCheck
from registry.workflows.services import PSEUDONYM_KEY, Services
from registry.workflows.witness_keys import witnesses

Progress = Callable[[int, int], None]
STATE_NAME = "log-check.json"


def check_log(
    services: Services,
    progress: Progress | None = None,
    *,
    blobs: bool = False,
    jobs: int = 1,
    fresh: bool = False,
    blob_progress: Progress | None = None,
) -> LogReport:
    """Re-verify the whole log; with `blobs`, all that lies beside it too.

    That is: tree, checkpoints, envelopes, signatures, trust at log time and schemas; every blob
    that a record or the vault's index names, and every sealed text that the keyring opens. An
    interrupted check is continued unless `fresh`; Ctrl-C raises KeyboardInterrupt that says where.
    Raises InputError (`check.jobs`) for less than one job, UnavailableError when something cannot
    be read now.
    """
    if jobs < 1:
        raise InputError(f"a check takes 1 job or more, not {jobs}", code="check.jobs")
    state = _state(services, blobs=blobs)
    if state is not None and fresh:
        state.clear()
    texts, stored = TextsCheck(services.keyring), BlobsCheck(services)
    now = services.now()
    options = CheckOptions(
        jobs=jobs,
        witnesses=witnesses(services.settings.home),
        outside=services.settings.home.checkpoint,
        beside=_both(texts, stored) if blobs else None,
        state=state,
        now_ms=now,
        oldest_ms=now - int(services.settings.limits.check_resume_s * 1000),
    )
    try:
        report = run_check(services.reader, services.schemas, progress=progress, options=options)
        found = stored.run(state, jobs, blob_progress) if blobs else ()
    except KeyboardInterrupt:
        raise KeyboardInterrupt(_goes_on(state)) from None
    if state is not None:
        state.clear()
    return _answer(report, found, blobs=blobs, locked=texts.locked)


def _both(texts: TextsCheck, blobs: BlobsCheck) -> Callable[[Page, Judged], list[Finding]]:
    return lambda page, judged: [*texts.page(page, judged), *blobs.page(page, judged)]


def _state(services: Services, *, blobs: bool) -> StateFile | None:
    """Return where this check keeps how far it has come; None in a home without its secret."""
    try:
        secret = read_secret(services.settings.home.keys / PSEUDONYM_KEY)
    except KeyFileError:
        return None
    subject = {
        "origin": services.reader.origin,
        "vkey": str(services.reader.vkey),
        "version": _version(),
        "schemas": {name: dict(one) for name, one in services.schemas.documents.items()},
        "blobs": blobs,
    }
    path = services.settings.home.work / STATE_NAME
    return StateFile(path, secret, sha256_hex(dumps(subject)))


def _goes_on(state: StateFile | None) -> str:
    """Say where an interrupted check goes on."""
    kept = None if state is None else state.load(0)
    if kept is None:
        return "stopped; the next check begins anew"
    return f"stopped; the next check like this goes on at record {kept.at}"


def _version() -> str:
    try:
        return version("genops-registry")
    except PackageNotFoundError:
        return "unknown"


def _answer(
    report: CheckReport, found: tuple[Finding, ...], *, blobs: bool, locked: bool
) -> LogReport:
    findings = in_order([*report.findings, *found])
    return LogReport(
        origin=report.origin,
        size=report.size,
        root=report.root,
        ok=not findings,
        problems=tuple(map(str, findings)),
        first_bad=min((one.index for one in findings if one.index is not None), default=None),
        findings=tuple(LogFinding(one.index, one.what, one.detail) for one in findings),
        found=report.found + len(found),
        resumed_at=report.resumed_at,
        blobs="checked" if blobs else "skipped",
        texts="skipped" if not blobs else "locked" if locked else "checked",
    )
