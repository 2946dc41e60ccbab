"""Which of a home's keys signs in a role: the one that the log trusts now.

A rotated key lies beside the first one, `<role>-<8 digits of its id>.pem`, and counts as soon as
the log trusts it: nothing is renamed, so that no crash can leave a role without its key.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry.core.dsse import keyid, spki_from_pem
from registry.core.trust import TrustState
from registry.errors import KeyFileError
from registry.settings import Settings
from registry.signing.keys import Signer, open_signer, public_path, public_pem
from registry.signing.managed import ManagedSigner


def open_role(
    settings: Settings, role: str, trust: Callable[[], TrustState], now_ms: int
) -> Signer:
    """Open the signer of a role: the device or service that the settings name, or a key file.

    Raises KeyFileError and InputError as signers do.
    """
    place = settings.signers.get(role)
    if place is not None:
        pem = _public(settings.home.root / place.public_key)
        return ManagedSigner(place.uri, pem, settings.hsm_pin)
    path = chosen_file(settings.home.keys, role, trust, now_ms)
    return open_signer(path, settings.passphrase)


def role_files(keys: Path, role: str) -> list[Path]:
    """Return the private key files of a role in a folder: the first one, then rotated ones."""
    later = (path for path in keys.glob(f"{role}-*.pem") if not path.name.endswith(".pub.pem"))
    return [path for path in (keys / f"{role}.pem", *sorted(later)) if path.exists()]


def file_keyid(path: Path) -> str:
    """Return the id of a key file, from its public half; needs no passphrase."""
    return keyid(spki_from_pem(public_pem(path)))


def private_halves(settings: Settings, roles: tuple[str, ...]) -> dict[str, str]:
    """Return where the private halves that this home can sign with are, by key id."""
    found = {}
    for role in roles:
        for path in role_files(settings.home.keys, role):
            if public_path(path).exists():
                found[file_keyid(path)] = str(path)
        place = settings.signers.get(role)
        if place is not None:
            pem = _public(settings.home.root / place.public_key)
            found[keyid(spki_from_pem(pem))] = place.uri
    return found


def chosen_file(keys: Path, role: str, trust: Callable[[], TrustState], now_ms: int) -> Path:
    """Return the newest of a role's keys that may sign now; the first one where none may."""
    files = role_files(keys, role)
    first = keys / f"{role}.pem"
    if files in ([], [first]):
        return first
    state = trust()
    held = ((state.keys.get(file_keyid(path)), path) for path in files)
    usable = [
        (key.not_before_ms, path)
        for key, path in held
        if key is not None and role in key.roles and state.counts(key, now_ms)
    ]
    return max(usable)[1] if usable else files[0]


def _public(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(
            f"cannot read the public half {path}: {error}",
            code="key.missing",
            hint="put the key's public half in PEM there, as docs/keys.md shows",
        ) from None
