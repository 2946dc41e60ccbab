"""Who the home is: its identity, and the signing keys that its log trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.cli.answers import HomeView, KeyView
from registry.core.times import format_time
from registry.errors import AmbiguousError, InputError, NotFoundError

if TYPE_CHECKING:
    from registry.core.trust import TrustKey
    from registry.sdk import Registry

LEAST_DIGITS = 8


def home_view(registry: Registry) -> HomeView:
    """Return where a registry is, and the identity of its log."""
    settings = registry.settings
    return HomeView(
        home=str(settings.home.root),
        name=settings.name,
        uuid=settings.uuid,
        origin=settings.origin,
        project=settings.project,
        log_key=registry.log.trust().log_vkey,
    )


def trusted_keys(registry: Registry) -> list[KeyView]:
    """Return the keys that the log trusts now, in the order of its newest trust record."""
    here = _private_halves(registry)
    return [_view(key, here.get(key.keyid)) for key in registry.log.trust().keys.values()]


def trusted_key(registry: Registry, digits: str) -> KeyView:
    """Return the one trusted key whose id starts with these digits.

    Raises InputError for fewer than 8 digits, NotFoundError or AmbiguousError.
    """
    wanted = digits.lower()
    if len(wanted) < LEAST_DIGITS:
        raise InputError(f"a key is named by {LEAST_DIGITS} or more digits", code="ref.invalid")
    found = [key for key in trusted_keys(registry) if key.keyid.startswith(wanted)]
    if not found:
        raise NotFoundError(f"the log trusts no key {digits}", hint="`genops keys list` names them")
    if len(found) > 1:
        names = ", ".join(key.keyid for key in found)
        raise AmbiguousError(f"{digits} answers to {names}", hint="give more digits")
    return found[0]


def _view(key: TrustKey, path: str | None) -> KeyView:
    until = key.not_after_ms
    return KeyView(
        keyid=key.keyid,
        algorithm=key.algorithm,
        roles=tuple(key.roles),
        not_before=format_time(key.not_before_ms),
        not_after=None if until is None else format_time(until),
        path=path,
        public_key=key.spki_pem,
    )


def _private_halves(registry: Registry) -> dict[str, str]:
    """Return the paths of the home's private keys by key id; opens none of them."""
    from registry.core.dsse import keyid, spki_from_pem
    from registry.signing.keys import public_path, public_pem
    from registry.workflows.services import ROLES

    paths = [registry.settings.home.keys / f"{role}.pem" for role in ROLES]
    held = [path for path in paths if path.exists() and public_path(path).exists()]
    return {keyid(spki_from_pem(public_pem(path))): str(path) for path in held}
