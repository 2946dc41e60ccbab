"""From the digits of a key id to the key that the log trusts."""

from __future__ import annotations

from registry.core.trust import TrustState
from registry.errors import AmbiguousError, InputError, NotFoundError

LEAST_DIGITS = 8


def key_named(state: TrustState, digits: str) -> str:
    """Return the id of the one trusted key that starts with these digits.

    Raises InputError for fewer than 8 digits, NotFoundError or AmbiguousError.
    """
    wanted = digits.lower()
    if len(wanted) < LEAST_DIGITS:
        raise InputError(f"a key is named by {LEAST_DIGITS} or more digits", code="ref.invalid")
    found = [keyid for keyid in state.keys if keyid.startswith(wanted)]
    if not found:
        raise NotFoundError(f"the log trusts no key {digits}", hint="`genops keys list` names them")
    if len(found) > 1:
        raise AmbiguousError(f"{digits} answers to {', '.join(found)}", hint="give more digits")
    return found[0]
