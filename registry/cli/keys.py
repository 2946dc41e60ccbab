"""Who the home is: its identity, and the signing keys that its log trusts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from registry.cli.answers import HomeView, KeyView
from registry.core.times import format_time

if TYPE_CHECKING:
    from registry.core.trust import TrustKey
    from registry.sdk import Registry


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
    from registry.workflows.role_keys import private_halves
    from registry.workflows.services import ROLES

    here = private_halves(registry.settings, ROLES)
    state = registry.log.trust()
    return [
        _view(key, here.get(key.keyid), state.compromised.get(key.keyid))
        for key in state.keys.values()
    ]


def trusted_key(registry: Registry, digits: str) -> KeyView:
    """Return the one trusted key whose id starts with these digits.

    Raises InputError for fewer than 8 digits, NotFoundError or AmbiguousError.
    """
    from registry.workflows.key_names import key_named

    keyid = key_named(registry.log.trust(), digits)
    return next(key for key in trusted_keys(registry) if key.keyid == keyid)


def _view(key: TrustKey, path: str | None, since: int | None) -> KeyView:
    until = key.not_after_ms
    return KeyView(
        keyid=key.keyid,
        algorithm=key.algorithm,
        roles=tuple(key.roles),
        not_before=format_time(key.not_before_ms),
        not_after=None if until is None else format_time(until),
        path=path,
        public_key=key.spki_pem,
        compromised_since=None if since is None else format_time(since),
    )
