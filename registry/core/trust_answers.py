"""What the registry answers about keys; plain values like those of `registry.core.answers`."""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.answers import Answer


@dataclass(frozen=True, slots=True)
class NewKey(Answer):
    """A key that was made: its id, where its halves lie, and the public one (SPKI in PEM)."""

    keyid: str
    path: str
    public_path: str
    public_key: str


@dataclass(frozen=True, slots=True)
class TrustChanged(Answer):
    """A change of trust on the log, line by line; `keys` were made for it in this home."""

    record: str
    index: int
    time: str
    changes: tuple[str, ...]
    keys: tuple[NewKey, ...] = ()


@dataclass(frozen=True, slots=True)
class ProposalView(Answer):
    """A change of trust that waits for signatures.

    `needed` admins must sign; `signed_by` did, as far as their signatures count; `missing` is how
    many are left. `current` says whether it builds on the newest trust record, which alone can be
    submitted. None where there is no registry to compare with.
    """

    supersedes: str
    changes: tuple[str, ...]
    reason: str | None
    signed_by: tuple[str, ...]
    needed: int | None
    missing: int | None
    current: bool | None
    path: str | None = None
    keys: tuple[NewKey, ...] = ()


@dataclass(frozen=True, slots=True)
class AffectedRecord(Answer):
    """A record that a compromised key signed too late; `reattested_by` are records that vouch."""

    record: str
    index: int
    time: str
    predicate: str
    assets: tuple[str, ...]
    reattested_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AffectedReport(Answer):
    """A page of what a key signed since it is not believed.

    `declared_by` is the trust record that says so, None where that is only asked for. `count` are
    there in all, and `open` of them were not re-attested.
    """

    keyid: str
    since: str
    declared_by: str | None
    count: int
    open: int
    records: tuple[AffectedRecord, ...]


@dataclass(frozen=True, slots=True)
class Reattested(Answer):
    """One record that was vouched for anew, and the record that does so."""

    record: str
    reattestation: str
    index: int


@dataclass(frozen=True, slots=True)
class ReattestReport(Answer):
    """What was re-attested."""

    items: tuple[Reattested, ...]


@dataclass(frozen=True, slots=True)
class PassphraseChanged(Answer):
    """The secrets of a home are under another passphrase, or under none."""

    home: str
    secrets: int
    protected: bool
