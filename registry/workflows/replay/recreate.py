"""Build the recorded environment from its lock, in layers: only what differs is installed.

A virtual environment of its own lies over the present installation: it sees all of that through a
path file, and what it installs itself comes first. Cached by what is in it.
"""

from __future__ import annotations

import hashlib
import shutil
import site
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable, Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from registry.core.locks import NAME, Locked, interpreter, parse
from registry.errors import GenopsError, InputError, MaterialError
from registry.settings import child_environ
from registry.workflows.replay.environs import OURS
from registry.workflows.services import Services

INSTALL_S = 3600.0
"""The longest that an installer may take: torch alone is gigabytes."""
UNPUBLISHED = frozenset({"editable", "local"})
ROOT = Path(__file__).parents[3]
"""The folder that this project's packages are in."""
OWN = "genops-registry"
"""This project's distribution: the running code replays, whatever version recorded."""
PIP = ("--no-deps", "--only-binary=:all:", "--no-input", "--disable-pip-version-check", "--quiet")
"""The lock names everything, and nothing is built: a source package would run its own code."""
Told = Callable[[str], None]


def recreated(services: Services, statement: Mapping[str, Any], told: Told = lambda _: None) -> str:
    """Return the interpreter of the environment that a record was made in, built if need be.

    This process's own where nothing differs. `told` hears what is about to be installed. Raises
    InputError for a record without a lock (`environment.no-lock`), of another Python
    (`environment.python`) or with distributions that no index has (`environment.unpublished`), and
    GenopsError (`environment.install`) when the installer fails.
    """
    data = _lock_of(services, statement)
    _check_python(interpreter(data))
    wanted = missing(parse(data))
    if not wanted:
        return sys.executable
    work = services.settings.home.work
    work.mkdir(mode=0o700, exist_ok=True)
    place = work / f"environment-{_key(wanted)}"
    if not place.exists():
        told(f"installing {', '.join(_requirement(one) for one in wanted)}")
        _build(place, wanted)
    return str(place / "bin" / "python")


def missing(locked: Iterable[Locked]) -> list[Locked]:
    """Return the distributions that are not installed here in the locked version."""
    wanted = [one for one in locked if one.name != OWN and _installed(one.name) != one.version]
    unpublished = [one.name for one in wanted if one.origin in UNPUBLISHED]
    if unpublished:
        raise InputError(
            f"no index has {', '.join(unpublished)} in the recorded version",
            code="environment.unpublished",
            hint="Install what the record's lock names into this environment yourself.",
        )
    return wanted


def _lock_of(services: Services, statement: Mapping[str, Any]) -> bytes:
    dependencies = statement["predicate"]["buildDefinition"].get("resolvedDependencies", ())
    found = next((dep for dep in dependencies if dep.get("name") == NAME), None)
    if found is None:
        raise InputError(
            "the record names no lock of its environment",
            code="environment.no-lock",
            hint="Replay without --recreate-env; what differs is shown.",
        )
    blob = services.blobs.get(found["digest"]["sha256"])
    if blob is None:
        raise MaterialError(f"material {NAME} is not in the vault", code="material.missing")
    return services.vault.read(blob)


def _check_python(recorded: str) -> None:
    """Refuse another Python: a virtual environment has the one that builds it."""
    here = f"{sys.implementation.name}-{sys.version_info.major}.{sys.version_info.minor}"
    if recorded.rpartition(".")[0] != here:
        raise InputError(
            f"the record was made with {recorded}, and this is {here}",
            code="environment.python",
            hint="Install the registry under that Python, and reproduce there.",
        )


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _requirement(one: Locked) -> str:
    return f"{one.name} @ {one.origin}" if one.origin else f"{one.name}=={one.version}"


def _key(wanted: Iterable[Locked]) -> str:
    """Name an environment by what is installed into it, and by what it lies over."""
    parts = [sys.prefix, sys.version, *_present(), *(_requirement(one) for one in wanted)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _present() -> list[str]:
    """Return the folders that modules are found in now, this project's first."""
    folders = [str(ROOT), *site.getsitepackages()]
    if site.ENABLE_USER_SITE:
        folders.append(site.getusersitepackages())
    return folders


def _build(place: Path, wanted: Iterable[Locked]) -> None:
    """Make an environment beside its place, and move it there when it is whole."""
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f"{place.name}-") as name:
        made = Path(name) / "made"
        _run([sys.executable, "-m", "venv", "--without-pip", str(made)], "a virtual environment")
        own = Path(sysconfig.get_path("purelib", "venv", {"base": str(made)}))
        lines = (f"import site; site.addsitedir({folder!r})" for folder in _present())
        (own / "present.pth").write_text("\n".join([*lines, ""]), "utf-8")
        requirements = made / "requirements.txt"
        requirements.write_text("".join(f"{_requirement(one)}\n" for one in wanted), "utf-8")
        pip = [sys.executable, "-m", "pip", "install", *PIP, "--target", str(own)]
        _run([*pip, "--requirement", str(requirements)], "the recorded versions")
        try:
            made.rename(place)
        except OSError:  # somebody else was faster
            if not place.is_dir():
                raise
            shutil.rmtree(made, ignore_errors=True)


def _run(command: list[str], what: str) -> None:
    """Run a step of the building; raises GenopsError with the last of what it said."""
    try:
        done = subprocess.run(  # noqa: S603  # our own interpreter, no shell
            command,
            env=child_environ(without=(OURS,), extra={}),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=INSTALL_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise _failed(what, f"it took over {INSTALL_S:.0f} s") from None
    if done.returncode != 0:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        errors = [line for line in said if line.startswith("ERROR:")]
        raise _failed(what, (errors or said or ["no message"])[-1])


def _failed(what: str, why: str) -> GenopsError:
    return GenopsError(
        f"{what} could not be installed: {why}",
        code="environment.install",
        hint="An index that has them must be reachable; pip's own settings say which.",
    )
