"""One answer, one record: an answer that was recorded before is found again, never doubled.

For generators whose answers come from elsewhere. The id of a call is the record's invocation id,
so that whatever failed in between, the log refuses a second record of it.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.recent import outputs_of
from registry.core.answers import Receipt
from registry.core.digests import asset_id, sha256_hex
from registry.core.ids import RANDOM_BYTES, is_uuid7, uuid7
from registry.errors import ConflictError, GenopsError, InputError, UnavailableError

if TYPE_CHECKING:
    from generators.ports import Recorder
    from registry.core.generation import Generation

_RECORD = re.compile(r"rec:[0-9a-f]{64}")
TRIES = 2
"""How often a record is handed to a registry that does not say whether it took it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose work a generation is. `personal` outputs are stored encrypted."""

    project: str | None = None
    campaign: str | None = None
    actor: str | None = None
    personal: bool = False


def new_id() -> str:
    """Return a fresh id for one call."""
    return uuid7(time.time_ns() // 1_000_000, secrets.token_bytes(RANDOM_BYTES))


def check_id(text: str) -> str:
    """Return an id that a caller gave; InputError (`hosted.request-id`) for no UUIDv7."""
    if not is_uuid7(text):
        raise InputError(
            f"{text[:80]!r} is not the id of a call",
            code="hosted.request-id",
            hint="give the UUID (version 7) that an earlier attempt named",
        )
    return text


def record_once(
    recorder: Recorder,
    generation: Generation,
    *,
    blobs: Sequence[bytes | Path],
    owner: Owner,
) -> Receipt:
    """Record an answer under its call's id, or return the record that it has.

    Where the id stands for another answer, this one is recorded under a fresh id. Raises as
    `Recorder.record` does; then it may be called again with the same generation.
    """
    try:
        receipt = _hand_over(recorder, generation, blobs, owner)
    except ConflictError as error:
        found = _recorded(recorder, generation, error)
        if found is not None:
            return found
        fresh = replace(generation, invocation_id=new_id())
        receipt = _hand_over(recorder, fresh, blobs, owner)
    outputs_of(recorder).remember(receipt)
    return receipt


def _hand_over(
    recorder: Any, generation: Generation, blobs: Sequence[bytes | Path], owner: Owner
) -> Receipt:
    options = {"personal": True} if owner.personal else {}
    for attempt in range(1, TRIES + 1):
        try:
            receipt: Receipt = recorder.record(
                generation, blobs=blobs, project=owner.project, actor=owner.actor, **options
            )
        except UnavailableError:  # it may have taken it: the same id makes asking again safe
            if attempt == TRIES:
                raise
        else:
            return receipt
    raise AssertionError("the last try returns or raises")


def _recorded(recorder: Any, generation: Generation, error: ConflictError) -> Receipt | None:
    """Return the receipt of the record that a conflict names, if it holds these very outputs."""
    named = _RECORD.search(error.message)
    if named is None or not hasattr(recorder, "get"):
        raise error
    record = named.group()
    try:
        passport = recorder.get(record)
        if passport.encrypted:
            return _recorded_personal(recorder, generation, passport)
        assets = tuple(asset_id(sha256_hex(output.data)) for output in generation.outputs)
        if not all(_made_by(recorder.get(asset), record) for asset in assets):
            return None
    except GenopsError:
        return None
    return Receipt(record, passport.index, passport.time, assets, new=False)


def _recorded_personal(recorder: Any, generation: Generation, passport: Any) -> Receipt | None:
    """Compare contents: the digest of an encrypted output is that of its ciphertext."""
    if recorder.read(passport.record) not in {output.data for output in generation.outputs}:
        return None
    page = recorder.list(project=passport.project)
    assets = tuple(one.id for one in page if one.record == passport.record)
    return Receipt(
        passport.record, passport.index, passport.time, assets or (passport.id,), new=False
    )


def _made_by(passport: Any, record: str) -> bool:
    return passport.record == record or any(event.record == record for event in passport.events)
