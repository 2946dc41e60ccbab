"""What `doctor` examines: one check per part of the installation and the home, with advice.

Reads only. A part that cannot be examined fails its own check and no other.
"""

from __future__ import annotations

import shutil
import stat
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from registry.core.answers import Check, DoctorReport
from registry.core.entries import LogEntry
from registry.errors import GenopsError, IntegrityError
from registry.settings import Settings, default_home, is_url, load_settings

OLDEST_PYTHON = (3, 11)
EXTRAS = {
    "generate": ("torch", "diffusers", "transformers"),
    "text": ("transformers", "llguidance", "bm25s"),
    "mlflow": ("mlflow",),
    "dvc": ("dvc",),
    "serve": ("fastapi", "uvicorn", "jinja2"),
    "postgres": ("psycopg",),
}
LEAST_FREE_BYTES = 1024 * 1024 * 1024
MOST_CLOCK_LAG_MS = 5_000
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def examine(home: str | None) -> DoctorReport:
    """Examine this installation and the registry at `home`."""
    where = home or default_home()
    checks = [_python(), *_extras(), *(_remote(where) if is_url(where) else _folder(where))]
    return DoctorReport(all(check.ok for check in checks), tuple(checks))


def _python() -> Check:
    ok = sys.version_info >= OLDEST_PYTHON
    found = ".".join(map(str, sys.version_info[:3]))
    wanted = ".".join(map(str, OLDEST_PYTHON))
    return Check("python", ok, found if ok else f"{found}: install Python {wanted} or newer")


def _extras() -> Iterator[Check]:
    """Say which optional parts are installed; a part that is not there is no failure."""
    for extra, modules in EXTRAS.items():
        missing = [module for module in modules if find_spec(module) is None]
        advice = f"not installed: pip install 'genops-registry[{extra}]'"
        yield Check(f"extra {extra}", True, advice if missing else "installed")


def _remote(url: str) -> Iterator[Check]:
    from registry.factory import open_registry

    def reach() -> str:
        with open_registry(url) as registry:
            registry.list(limit=1)
        return url

    yield _guarded("registry", reach)


def _folder(where: str) -> Iterator[Check]:
    try:
        settings = load_settings(where)
    except GenopsError as error:
        yield _failed("home", error)
        return
    yield _guarded("home", lambda: _writable(settings.home.root))
    yield _guarded("keys", lambda: _private(settings))
    yield _guarded("disk", lambda: _space(settings.home.root))
    yield from _contents(settings)


def _writable(root: Path) -> str:
    import os

    if not os.access(root, os.R_OK | os.X_OK):
        raise GenopsError(f"{root} cannot be read", hint="give this user access")
    if not os.access(root, os.W_OK):
        raise GenopsError(f"{root} is read-only: it can be asked, not added to", hint="chmod u+w")
    return str(root)


def _private(settings: Settings) -> str:
    """Check that nobody else can read what signs records or opens sealed texts."""
    folder = settings.home.keys
    secret = [
        path for path in (*folder.glob("*.pem"), *folder.glob("*.key")) if _holds_secret(path)
    ]
    if settings.home.keyring.exists():
        secret.append(settings.home.keyring)
    if not secret:
        raise GenopsError(
            f"no private keys in {folder}: nothing can be signed",
            hint="a copy that only verifies needs none; import with --keys to add to it",
        )
    open_ones = [path for path in secret if path.stat().st_mode & _OTHERS]
    if open_ones:
        names = " ".join(str(path) for path in open_ones)
        raise GenopsError("others can read private keys", hint=f"chmod 600 {names}")
    return f"{len(secret)} secret files, readable by their owner alone"


def _holds_secret(path: Path) -> bool:
    return path.suffix == ".key" or b"PRIVATE KEY" in path.read_bytes()


def _space(root: Path) -> str:
    free = shutil.disk_usage(root).free
    if free < LEAST_FREE_BYTES:
        raise GenopsError(
            f"{free // 1024**2} MiB are free at {root}", hint="free some, or move the registry"
        )
    return f"{free // 1024**3} GiB free"


def _contents(settings: Settings) -> Iterator[Check]:
    """Open the registry, then look at its head: checkpoint, roll-back and clock."""
    from registry.factory import open_registry

    opened: list[Any] = []

    def database() -> str:
        opened.append(open_registry(str(settings.home.root)))
        return f"opens; {settings.origin}"

    yield _guarded("database", database)
    if not opened:
        return
    with opened[0] as registry:
        yield _guarded("checkpoint", lambda: _checkpoint(registry, settings))
        yield _guarded("freshness", lambda: _freshness(registry))
        yield _guarded("clock", lambda: _clock(registry))


def _checkpoint(registry: Any, settings: Settings) -> str:
    """Compare the database's signed head with the checkpoint kept outside it."""
    head = registry.log.verified_head()
    size = _kept_size(settings.home.checkpoint)
    if size > head.size:
        raise IntegrityError(
            f"the database has {head.size} records, the checkpoint {size}",
            hint="a backup was restored: bring the newer database back",
        )
    return f"signed head of {head.size} records"


def _kept_size(path: Path) -> int:
    """Return the tree size on the second line of a checkpoint (C2SP tlog-checkpoint)."""
    try:
        return int(path.read_text("utf-8").splitlines()[1])
    except (IndexError, ValueError):
        raise IntegrityError(
            f"{path} is no checkpoint", hint="`genops log check` tells whether the log holds"
        ) from None


def _freshness(registry: Any) -> str:
    """Compare the log with every checkpoint of it in the vault and under kept cosignatures."""
    heads = registry.recovery.heads()
    return f"goes on from {len(heads)} checkpoints kept outside"


def _clock(registry: Any) -> str:
    """Check that this machine's clock is not behind the log's own time."""
    size = registry.log.head().size
    newest = LogEntry.parse(registry.log.entry(size - 1)).time_ms
    ahead = newest - time.time_ns() // 1_000_000
    if ahead > MOST_CLOCK_LAG_MS:
        raise GenopsError(
            f"the newest record is {ahead / 1000:.0f} s in the future", hint="set the clock"
        )
    return "not behind the log"


def _guarded(name: str, examine_it: Callable[[], str]) -> Check:
    try:
        return Check(name, True, examine_it())
    except (GenopsError, OSError) as error:
        return _failed(name, error)


def _failed(name: str, error: Exception) -> Check:
    hint = getattr(error, "hint", "")
    return Check(name, False, f"{error}: {hint}" if hint else str(error))
