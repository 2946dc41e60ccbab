"""Opens the registry that a verb speaks to, and asks for a passphrase where one is needed.

Passphrases come from a prompt or GENOPS_PASSPHRASE (read by the settings), never from arguments.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import InputError

if TYPE_CHECKING:
    from registry.sdk import Registry
    from registry.settings import Settings
    from registry.signing.keys import Signer


def opened(home: str | None) -> Any:
    """Open the registry at a folder or URL, to ask it something; a context manager.

    Raises HomeError or UnavailableError.
    """
    from registry.factory import open_registry

    return open_registry(home)


def opened_to_sign(home: str | None) -> Any:
    """Open the registry at a folder or URL, to add records to it; a context manager.

    Asks for the passphrase of its keys when they have one, none is set, and a person is there to
    answer; otherwise signing itself says what is missing.
    """
    from registry.factory import open_registry
    from registry.settings import default_home, is_url

    where = home or default_home()
    return open_registry(where) if is_url(where) else opened_here(where, "", to_sign=True)


def opened_here(home: str | None, verb: str, *, to_sign: bool = False) -> Registry:
    """Open a registry that must be a folder on this machine; InputError for a URL.

    With `to_sign`, asks for a passphrase as `opened_to_sign` does.
    """
    from registry.factory import open_home
    from registry.settings import load_settings

    where = own_folder(home, verb)
    asks = to_sign and sys.stdin.isatty() and _locked(load_settings(where))
    return open_home(where, passphrase=ask_passphrase() if asks else None)


def own_folder(home: str | None, verb: str) -> str:
    """Return the folder of the registry that a verb works on; InputError for a URL."""
    from registry.settings import default_home, is_url

    where = home or default_home()
    if is_url(where):
        raise InputError(
            f"`{verb}` works on a registry's own folder, and {where} is served",
            code="usage.remote",
            hint="run it on the machine that holds the folder",
        )
    return where


def _locked(settings: Settings) -> bool:
    """Tell whether the home's keys need a passphrase that the settings do not have."""
    if settings.passphrase is not None:
        return False
    from registry.signing.protected import is_protected

    keys = settings.home.keys
    return any(b"ENCRYPTED" in key.read_bytes() for key in keys.glob("*.pem")) or any(
        is_protected(key.read_bytes()) for key in keys.glob("*.key")
    )


def ask_passphrase(of: str = "the signing keys", *, confirm: bool = False) -> str:
    """Ask for a passphrase, unseen; twice when it is a new one."""
    import typer

    text: str = typer.prompt(
        f"Passphrase of {of}", hide_input=True, confirmation_prompt=confirm, err=True
    )
    return text


def passphrase_of_backup() -> str | None:
    """Return what shall protect a new backup: from the environment, or asked for twice."""
    from registry.settings import given_backup_passphrase

    given = given_backup_passphrase()
    if given is not None or not sys.stdin.isatty():
        return given
    return ask_passphrase("the backup", confirm=True)


def passphrase_to_open(*sources: Path | None) -> str | None:
    """Return what opens backups: from the environment, or asked for if one of them needs it."""
    from registry.settings import given_backup_passphrase
    from registry.workflows.transfer.sources import needs_passphrase

    given = given_backup_passphrase()
    if given is not None or not sys.stdin.isatty() or not any(map(needs_passphrase, sources)):
        return given
    return ask_passphrase("the backup")


def passphrase_of_new_home(*, ask: bool) -> str | None:
    """Return what shall protect a new registry's keys: asked for, GENOPS_PASSPHRASE, or None."""
    from registry.settings import given_passphrase

    return ask_passphrase(confirm=True) if ask else given_passphrase()


def new_passphrase() -> str:
    """Return the passphrase that keys are to get: GENOPS_NEW_PASSPHRASE, or asked for twice."""
    from registry.settings import given_new_passphrase

    given = given_new_passphrase()
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise InputError(
            "there is no new passphrase, and nobody to ask for one",
            code="key.passphrase",
            hint="set GENOPS_NEW_PASSPHRASE, or say --remove",
        )
    return ask_passphrase("all keys, the new one", confirm=True)


def key_signer(path: Path) -> Signer:
    """Open a private key in a file; asks for its passphrase where it has one and none is set."""
    from registry.settings import given_passphrase
    from registry.signing.keys import open_signer, read_secret

    given = given_passphrase()
    if given is None and sys.stdin.isatty() and b"ENCRYPTED" in read_secret(path):
        given = ask_passphrase(str(path))
    return open_signer(path, given)


def certain(question: str, *, yes: bool) -> None:
    """Return when the caller said `--yes` or a person confirms; InputError otherwise."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise InputError(
            f"this needs a confirmation: {question}",
            code="usage.confirm",
            hint="add --yes",
        )
    import typer

    if not typer.confirm(question, err=True):
        raise InputError("not confirmed, nothing was done", code="usage.confirm")
