"""The answer of making the fingerprints that assets lack."""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.answers import Answer


@dataclass(frozen=True, slots=True)
class Unread(Answer):
    """An asset whose stored bytes gave no fingerprints, and why."""

    id: str
    why: str


@dataclass(frozen=True, slots=True)
class FingerprintReport(Answer):
    """What became of the assets that lacked fingerprints, `due` in all.

    `made` counts those that have all of them now, `findable` those of them that a look-up can find
    by what they look like or say: a flat picture and a short text have nothing to recognise. The
    others were skipped: `personal` ones have none by design, `expired` ones are gone, of `missing`
    ones the vault has no bytes here, and `unread` ones do not decode.
    """

    due: int
    made: int
    findable: int
    personal: int
    expired: int
    missing: int
    unread: tuple[Unread, ...] = ()
