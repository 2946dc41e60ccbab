"""What the registry answers on erasures, holds, retention and persons' requests: frozen values.

As in `answers`: ids are `rec:<hex>`, times RFC 3339, and no value holds a sealed text unless its
name says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Answer

Because = Literal["id", "actor", "text", "rule", "plain"]
HoldKind = Literal["asset", "record"]


@dataclass(frozen=True, slots=True)
class ErasureItem(Answer):
    """One record that is to be erased, was erased, or is held.

    `fields` are the JSON Pointers of its sealed texts, `personal` counts its encrypted outputs,
    `because` says how it was chosen, `found_in` in which fields the text or name stands. `held_by`
    are the holds that keep it; `erasure` is the record that erased it.
    """

    record: str
    index: int
    time: str
    predicate: str
    fields: tuple[str, ...]
    personal: int
    because: tuple[Because, ...]
    found_in: tuple[str, ...] = ()
    held_by: tuple[str, ...] = ()
    erasure: str | None = None


@dataclass(frozen=True, slots=True)
class ErasureReport(Answer):
    """What an erasure does, or did: `dry_run` tells which.

    `unread` counts records whose texts could not be searched because their key is not here.
    `wiped` is False when a reader kept old pages of the database alive: they hold ciphertexts
    without a key, and the next erasure drops them.
    """

    dry_run: bool
    items: tuple[ErasureItem, ...]
    unread: int = 0
    wiped: bool = True

    @property
    def held(self) -> tuple[ErasureItem, ...]:
        """The items that holds keep."""
        return tuple(item for item in self.items if item.held_by)

    @property
    def erased(self) -> tuple[ErasureItem, ...]:
        """The items that are erased."""
        return tuple(item for item in self.items if item.erasure)


@dataclass(frozen=True, slots=True)
class HoldView(Answer):
    """A legal hold on an asset or a record; `reason` and `by` are None where they were erased.

    `lifted` is when it was lifted, and `lifted_by` the record that did.
    """

    hold: str
    target: str
    kind: HoldKind
    placed: str
    by: str | None
    reason: str | None
    lifted: str | None = None
    lifted_by: str | None = None


@dataclass(frozen=True, slots=True)
class RetentionRule(Answer):
    """One rule: what it covers, by patterns, and for how many days texts are kept (None: for good).

    Empty `predicates` mean every kind of record that rules may cover.
    """

    name: str
    after_days: int | None
    project: str
    campaign: str
    predicates: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RetentionView(Answer):
    """The rules of a home, in their order, and the file that they are in."""

    path: str
    rules: tuple[RetentionRule, ...]


@dataclass(frozen=True, slots=True)
class RetentionReport(Answer):
    """What the rules ask for as of a log time: `due` by rule, and what was done about it."""

    as_of: str
    due: dict[str, int]
    erasure: ErasureReport


@dataclass(frozen=True, slots=True)
class Mention(Answer):
    """A record that concerns a person: as its actor, or in texts at `found_in` (JSON Pointers).

    `plain` are the places outside sealed texts that name the person: they are signed, and cannot
    be erased. `text` says whether the record's texts can be read.
    """

    record: str
    index: int
    time: str
    predicate: str
    because: tuple[Because, ...]
    found_in: tuple[str, ...]
    plain: tuple[str, ...]
    personal: int
    text: Literal["readable", "erased", "locked", "none"]
    held_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SubjectReport(Answer):
    """All that the registry holds on a person, who is known on the log by `pseudonym` alone.

    `readable` counts the records whose texts can still be read; `unread` those whose key is not
    here.
    """

    pseudonym: str
    readable: int
    mentions: tuple[Mention, ...]
    unread: int = 0


@dataclass(frozen=True, slots=True)
class SubjectExport(Answer):
    """What an export of a person's data holds, and where it lies."""

    path: str
    pseudonym: str
    records: int
    outputs: int


@dataclass(frozen=True, slots=True)
class Certified(Answer):
    """One line of a certificate: a record, and the erasure of it or the holds on it.

    `time` is when it was erased, else when it was recorded; `why` are the reasons of the holds.
    """

    record: str
    time: str
    erasure: str | None
    held_by: tuple[str, ...] = ()
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CertificateView(Answer):
    """What a certificate of erasure says, and whether it holds.

    `named` tells whether the name that was given is that of the person; None when none was given.
    `problems` are empty when every check passed.
    """

    ok: bool
    origin: str
    made: str
    pseudonym: str
    named: bool | None
    erased: tuple[Certified, ...]
    held: tuple[Certified, ...]
    problems: tuple[str, ...] = ()
