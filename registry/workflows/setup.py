"""Make a new home: keys, database, vault, and the trust record at index 0."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from registry.core import predicates
from registry.core.digests import sha256_hex
from registry.core.ids import uuid7
from registry.core.notes import VerifierKey
from registry.core.statements import Subject, predicate_uri
from registry.core.trust import TrustKey
from registry.errors import HomeError, InputError
from registry.files import make_folders, write_new
from registry.settings import Home, Settings, default_actor, write_config
from registry.signing.keys import generate_key, note_key, public_pem
from registry.signing.protected import write_protected
from registry.workflows.fresh import without_password
from registry.workflows.services import PSEUDONYM_KEY, ROLES, Services, clock_ms
from registry.workflows.submit import declare

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{0,62}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9_.-]{0,62}")
LOG_KEY = "log.pem"
LOG_VKEY = "log.vkey"


def lay_out(
    root: Path,
    *,
    name: str,
    project: str,
    passphrase: str | None,
    database_url: str | None = None,
) -> Settings:
    """Make the folder, its configuration and its keys; return the settings.

    Raises InputError for a name that cannot stand in an origin line, HomeError when the folder is
    a home already or cannot be written.
    """
    check_names(name, project)
    home = Home(root.expanduser().resolve())
    if home.config.exists() or home.database.exists():
        raise HomeError(
            f"{home.root} is a registry already",
            code="home.exists",
            hint="choose another folder; a home is never overwritten",
        )
    settings = Settings(
        home=home,
        name=name,
        uuid=uuid7(clock_ms(), secrets.token_bytes(10)),
        project=project,
        database_url=database_url,
        actor=default_actor(),
        passphrase=passphrase,
    )
    try:
        make_folders(home.root)
        home.keys.mkdir(mode=0o700)
        for role in ROLES:
            generate_key(home.keys / f"{role}.pem", "p256", passphrase)
        log_key = generate_key(home.keys / LOG_KEY, "ed25519", passphrase)
        write_protected(home.keys / PSEUDONYM_KEY, secrets.token_bytes(32), passphrase)
        vkey = note_key(log_key, settings.origin)
        write_new(home.keys / LOG_VKEY, f"{vkey}\n")
    except OSError as error:
        raise HomeError(
            f"cannot write {home.root}: {error.strerror}", code="home.read-only"
        ) from error
    return settings


def check_names(name: str, project: str) -> None:
    """Refuse a name that cannot stand in an origin line, and a project that is no slug.

    Raises InputError (`init.name`, `init.project`).
    """
    if _NAME.fullmatch(name) is None:
        raise InputError(
            f"name {name!r} must be lower-case letters, digits, dots and dashes", code="init.name"
        )
    if _SLUG.fullmatch(project) is None:
        raise InputError(f"project {project!r} is not a slug", code="init.project")


@contextmanager
def undone_on_failure(root: Path) -> Iterator[None]:
    """Remove what the block put into a folder, if the block fails; what was there stays."""
    there = set(root.iterdir()) if root.is_dir() else None
    try:
        yield
    except BaseException:
        for path in set(root.iterdir()) - (there or set()) if root.is_dir() else ():
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
        if there is None and root.is_dir():
            root.rmdir()
        raise


def finish(settings: Settings) -> None:
    """Write the configuration: from here on the folder is a home, durably."""
    kept = replace(settings, database_url=without_password(settings.database_url))
    write_new(settings.home.config, write_config(kept))


def genesis(services: Services) -> None:
    """Append the trust record at index 0: every key of the home, its role and its window."""
    now = services.now()
    settings = services.settings
    keys = [
        TrustKey(
            services.signer(role).keyid,
            public_pem(settings.home.keys / f"{role}.pem"),
            (role,),
            now,
        )
        for role in ROLES
    ]
    predicate = predicates.trust(
        services.head(),
        origin=settings.origin,
        log_vkey=str(vkey_of(settings)),
        keys=keys,
    )
    subject = Subject("out/0", sha256_hex(settings.origin.encode("utf-8")))
    declare(services, [subject], predicate_uri("trust"), predicate, role="admin")


def vkey_of(settings: Settings) -> VerifierKey:
    """Return the log's public key, from the home's `log.vkey`."""
    path = settings.home.keys / LOG_VKEY
    try:
        return VerifierKey.parse(path.read_text("ascii"))
    except OSError as error:
        raise HomeError(
            f"cannot read the log's public key {path}: {error.strerror}", code="home.incomplete"
        ) from error
