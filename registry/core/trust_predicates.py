"""Builders of what is said of keys: the new state of trust, and the re-attestation of a record.

Pure, like the other builders; what makes such a record count is `registry.core.trust`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.core.generation import Sealed
from registry.core.predicates import Head
from registry.core.times import format_time
from registry.core.trust import TrustState

Predicate = dict[str, Any]


def trust(
    head: Head, state: TrustState, *, supersedes: str | None = None, reason: str | None = None
) -> Predicate:
    """Announce a whole new state (`trust/v2`); `supersedes` names the trust record before it.

    The reason is sealed.
    """
    predicate: Predicate = {
        **head.fields(),
        "origin": state.origin,
        "log": {"vkey": state.log_vkey},
        "keys": [key.to_document() for key in state.keys.values()],
        "thresholds": {"admin": state.threshold},
        "compromised": [
            {"keyid": keyid, "since": format_time(since)}
            for keyid, since in sorted(state.compromised.items())
        ],
    }
    optional: Mapping[str, Any] = {
        "supersedes": supersedes,
        "reason": None if reason is None else Sealed(reason),
    }
    return predicate | {name: value for name, value in optional.items() if value is not None}


def reattestation(
    head: Head, *, record: str, payload_sha256: str, trust_record: str, reason: str
) -> Predicate:
    """State that a record is sound although its key was compromised.

    `trust_record` names the record that declared the compromise.
    """
    return {
        **head.fields(),
        "record": record,
        "payload": {"sha256": payload_sha256},
        "trust": trust_record,
        "reason": Sealed(reason),
    }
