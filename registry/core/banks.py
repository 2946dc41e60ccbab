"""What a record says of banks, their entries and matches: values, read from every version.

Pure: who may say so, and whether it still counts, is decided elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.core.digests import parse_ref
from registry.core.fingerprint import MAX_VALUE_BYTES, FingerprintValue
from registry.core.look_up import REGISTERED, MatchKind
from registry.core.statements import Statement
from registry.core.times import parse_time
from registry.errors import FormatError

BankKind = Literal["blocked", "licensed", "negative"]
BANK_KINDS: tuple[BankKind, ...] = ("blocked", "licensed", "negative")
UNDECLARED: BankKind = "blocked"
"""The kind of a bank that has entries and no record of its own, as before `bank/v1`."""
MAX_PRINTS = 16
"""Most fingerprints of one entry."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to be put into a bank.

    `sha256` (hex) is the digest of the picture's bytes, or `hash_only_digest` of its `prints`
    where nobody has the picture. `pixels` is the pixel digest (hex), `expires_ms` epoch
    milliseconds; `reason` is sealed, owner and source are plain.
    """

    sha256: str
    prints: tuple[FingerprintValue, ...]
    reason: str
    owner: str
    source: str
    expires_ms: int | None = None
    pixels: str | None = None
    hash_only: bool = False


@dataclass(frozen=True, slots=True)
class EntryChange:
    """One line of a record of entries: added with its fingerprints, or removed.

    `pointer` is the JSON Pointer of its reason within the predicate.
    """

    sha256: str
    added: bool
    pointer: str
    prints: tuple[FingerprintValue, ...] = ()
    owner: str = ""
    source: str = ""
    expires_ms: int | None = None
    pixels: str | None = None
    hash_only: bool = False


@dataclass(frozen=True, slots=True)
class Said:
    """The match that a verdict is about: hex digests of the query and the candidate.

    `fingerprint` names what found it, at `distance`. `value` is the query's whole fingerprint, by
    the name `value_name`, and `pixels` its pixel digest (hex), where it has them.
    """

    query: str
    candidate: str
    bank: str
    kind: MatchKind
    fingerprint: str = ""
    distance: float | None = None
    pixels: str | None = None
    value_name: str = ""
    value: bytes | None = None


def hash_only_digest(prints: Iterable[FingerprintValue]) -> str:
    """Return the hex SHA-256 that stands for a picture of which only fingerprints are known.

    The same fingerprints give the same digest, in any order and of any quality.
    """
    lines = sorted(f"{value.name} {value.value.hex()}\n" for value in prints)
    return hashlib.sha256(("genops-bank-entry/v1\n" + "".join(lines)).encode("utf-8")).hexdigest()


def changes_of(statement: Statement) -> Iterator[EntryChange]:
    """Yield what a record of entries, of version 1 or 2, does to its bank, in order.

    An entry about a subject that the record does not have is passed over: it speaks of nothing.
    """
    predicate = statement.predicate
    if "fingerprints" in predicate:
        yield _first_version(statement.subjects[0].sha256, predicate)
    elif predicate["action"] == "remove":
        for subject in statement.subjects:
            yield EntryChange(subject.sha256, added=False, pointer="/reason")
    else:
        by_name = {subject.name: subject.sha256 for subject in statement.subjects}
        for number, entry in enumerate(predicate["entries"]):
            if entry["subject"] in by_name:
                yield _added(by_name[entry["subject"]], number, entry)


def said_of(statement: Statement) -> tuple[Said, bool]:
    """Return what a record of a verdict, of version 1 or 2, is about, and whether it confirms."""
    predicate, query = statement.predicate, statement.subjects[0].sha256
    candidate = parse_ref(predicate["candidate"]).hex
    if "bank" not in predicate:  # version 1: a whole picture among all assets
        name, distance = predicate["fingerprint"], predicate["distance"]
        said = Said(query, candidate, REGISTERED, "perceptual", name, distance)
    else:
        known = predicate["query"]
        value = known.get("fingerprint", {})
        said = Said(
            query,
            candidate,
            predicate["bank"],
            predicate["kind"],
            predicate.get("fingerprint", ""),
            predicate.get("distance"),
            known.get("pixels"),
            value.get("name", ""),
            bytes.fromhex(value["value"]) if value else None,
        )
    return said, predicate["verdict"] == "confirmed"


def _first_version(sha256: str, predicate: Mapping[str, Any]) -> EntryChange:
    if predicate["action"] == "remove":
        return EntryChange(sha256, added=False, pointer="/reason")
    prints = (
        FingerprintValue(sha256, name, bytes.fromhex(value), 100)
        for name, value in predicate["fingerprints"].items()
        if name and len(value) <= 2 * MAX_VALUE_BYTES
    )
    return EntryChange(sha256, added=True, pointer="/reason", prints=tuple(prints))


def _added(sha256: str, number: int, entry: Mapping[str, Any]) -> EntryChange:
    return EntryChange(
        sha256,
        added=True,
        pointer=f"/entries/{number}/reason",
        prints=tuple(
            FingerprintValue(sha256, name, bytes.fromhex(said["value"]), said["quality"])
            for name, said in entry["fingerprints"].items()
        ),
        owner=entry["owner"],
        source=entry["source"],
        expires_ms=_instant(entry.get("expires")),
        pixels=entry.get("pixels"),
        hash_only=entry["hashOnly"],
    )


def _instant(text: str | None) -> int | None:
    """Return a time; one that is in no calendar, such as month 13, has always passed."""
    try:
        return None if text is None else parse_time(text)
    except FormatError:
        return 0
