"""Builders of what is said of banks of fingerprints, and by people of matches.

Pure, like the other builders. How a record is read, older versions too, is `registry.core.banks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from registry.core.bank_lines import Listed
from registry.core.banks import BankKind, NewEntry, Said
from registry.core.digests import asset_id, sha256_hex
from registry.core.generation import Sealed
from registry.core.predicates import Head, Predicate
from registry.core.statements import Subject, predicate_uri
from registry.core.times import format_time

PREDICATE_BANK = predicate_uri("bank")
PREDICATE_BANK_ENTRY = predicate_uri("bank-entry")
PREDICATE_BANK_ENTRY_V2 = predicate_uri("bank-entry", 2)
PREDICATE_MATCH_VERDICT = predicate_uri("match-verdict")
PREDICATE_MATCH_VERDICT_V2 = predicate_uri("match-verdict", 2)


def bank_subject(name: str) -> Subject:
    """Return what a record of a bank is about: a bank has no bytes but its name."""
    return Subject("out/0", sha256_hex(f"genops-bank/{name}".encode()))


def bank(
    head: Head, *, name: str, kind: BankKind, owner: str, description: str | None = None
) -> Predicate:
    """Create a bank, or say anew who owns it; the description is sealed."""
    predicate = head.fields() | {"bank": name, "kind": kind, "owner": owner}
    return predicate | ({} if description is None else {"description": Sealed(description)})


def entry_subjects(sha256s: Sequence[str]) -> list[Subject]:
    """Return the subjects of a record of entries, by their hex digests."""
    return [Subject(f"out/{number}", sha256) for number, sha256 in enumerate(sha256s)]


def add_entries(head: Head, *, bank: str, entries: Sequence[NewEntry]) -> Predicate:
    """Put at most 256 entries into a bank, each about the subject of its place; reasons sealed."""
    listed = [_entry(f"out/{number}", entry) for number, entry in enumerate(entries)]
    return head.fields() | {"bank": bank, "action": "add", "entries": listed}


def remove_entries(head: Head, *, bank: str, reason: str) -> Predicate:
    """Take the entries about the record's subjects out of a bank; the reason is sealed."""
    return head.fields() | {"bank": bank, "action": "remove", "reason": Sealed(reason)}


def match_verdict(
    head: Head,
    *,
    said: Said,
    verdict: Literal["confirmed", "refuted"],
    reason: str,
) -> Predicate:
    """Say whether the subject really is what a look-up found; the reason is sealed.

    Holds the query's pixel digest and whole fingerprint where it has them, so that the same
    picture in other bytes is known again.
    """
    query: dict[str, Any] = {}
    if said.pixels is not None:
        query["pixels"] = said.pixels
    if said.value is not None:
        query["fingerprint"] = {"name": said.value_name, "value": said.value.hex()}
    predicate = head.fields() | {
        "candidate": asset_id(said.candidate),
        "bank": said.bank,
        "kind": said.kind,
        "fingerprint": said.fingerprint or None,
        "distance": said.distance,
        "query": query,
        "verdict": verdict,
        "reason": Sealed(reason),
    }
    return {name: value for name, value in predicate.items() if value is not None}


def _entry(subject: str, entry: NewEntry) -> Predicate:
    return {"subject": subject} | entry_fields(entry) | {"reason": Sealed(entry.reason)}


def entry_fields(entry: NewEntry | Listed) -> Predicate:
    """Return what is plain of an entry, in records and lists alike; what is None is left out."""
    said = {
        "hashOnly": entry.hash_only,
        "pixels": entry.pixels,
        "fingerprints": {
            value.name: {"value": value.value.hex(), "quality": value.quality}
            for value in entry.prints
        },
        "owner": entry.owner,
        "source": entry.source,
        "expires": None if entry.expires_ms is None else format_time(entry.expires_ms),
    }
    return {name: value for name, value in said.items() if value is not None}
