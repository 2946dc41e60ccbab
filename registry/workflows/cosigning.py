"""Cosignatures of the log itself: which witnesses count, what they said, and asking one of them.

Being a witness of other logs is `registry.workflows.witness`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from registry.core import checkpoints
from registry.core.cosignatures import Cosignature, CosignerKey
from registry.core.notes import MAX_NOTE_BYTES, NoteSignature, SignedNote, parse_signatures
from registry.core.times import MAX_TIME_MS, format_time
from registry.core.witness_answers import (
    CosignatureView,
    CosignedHead,
    FollowedLog,
    Witnesses,
    WitnessView,
)
from registry.core.witnessing import SIZE_MEDIA_TYPE, AddCheckpoint, parse_size
from registry.errors import (
    FormatError,
    GenopsError,
    InputError,
    IntegrityError,
    NotFoundError,
    RollbackError,
    TrustError,
    UnavailableError,
)
from registry.log import cosigned
from registry.log.reader import Head
from registry.store.transaction import read
from registry.workflows.log_sources import fetch, http_client
from registry.workflows.services import Services
from registry.workflows.witness import ledger
from registry.workflows.witness_keys import followed_logs, own_vkey, witnesses

if TYPE_CHECKING:
    import httpx

_TRIES = 3
_STATUSES: dict[int, tuple[type[GenopsError], str, str]] = {
    403: (TrustError, "witness.refused", "it knows another key of this log"),
    404: (NotFoundError, "witness.unknown-log", "ask its operator to add keys/log.vkey"),
    409: (IntegrityError, "log.forked", "it has cosigned another tree of that size"),
    422: (IntegrityError, "witness.refused", "it finds that the log does not go on"),
}
"""Class, code and meaning of what a witness may answer but a cosignature."""


def head(services: Services, *, verify: bool = True) -> CosignedHead:
    """Return the newest tree head and the cosignatures that were kept of it.

    Raises NotFoundError (`log.empty`), and as `LogReader.verified_head` does with `verify`.
    """
    newest = services.reader.verified_head() if verify else services.reader.head()
    with read(services.engine) as conn:
        found = cosigned.kept(conn, newest.size, witnesses(services.settings.home))
    note = SignedNote.parse(newest.note)
    return _head(newest, note, found[1] if found and found[0].text == note.text else ())


def cosigned_head(services: Services, at_least: int = 1) -> CosignedHead:
    """Return the newest tree head with `at_least` cosignatures, which a busy log's newest lacks.

    Raises NotFoundError (`witness.none`) when there is none.
    """
    known = witnesses(services.settings.home)
    with read(services.engine) as conn:
        for size in cosigned.sizes(conn, known, at_least):
            found = cosigned.kept(conn, size, known)
            if found is not None and len(found[1]) >= at_least:
                note, lines = found
                root = checkpoints.Checkpoint.parse_text(note.text).root
                origin = services.settings.origin
                return _head(Head(origin, size, root, note.to_bytes()), note, lines)
    raise NotFoundError(
        f"no checkpoint was cosigned by {at_least} of {len(known)} known witnesses",
        code="witness.none",
        hint="ask one with `genops log witness submit URL`",
    )


def require(found: CosignedHead, at_least: int) -> None:
    """Raise TrustError (`witness.too-few`) when fewer witnesses cosigned a head."""
    if len(found.cosignatures) < at_least:
        raise TrustError(
            f"{len(found.cosignatures)} of {at_least} witnesses cosigned the checkpoint of"
            f" {found.size} records",
            code="witness.too-few",
            hint="ask one with `genops log witness submit URL`, or take an older one by --cosigned",
        )


def keep(services: Services, note: bytes) -> CosignedHead:
    """Keep the cosignatures on a checkpoint of this log, after verifying all of it.

    Raises as `cosigned.keep` does, and TrustError (`witness.unknown`) when none is by a witness
    that counts here.
    """
    parsed = SignedNote.parse(note)
    known = witnesses(services.settings.home)
    found = cosigned.keep(services.reader, parsed, known)
    if not found:
        raise TrustError(
            "no witness that counts here cosigned this checkpoint",
            code="witness.unknown",
            hint="let one count with `genops log witness add VKEY`",
        )
    checkpoint = checkpoints.verify(note, services.reader.vkey)
    own = tuple(s for s in parsed.signatures if s.name == checkpoint.origin)
    kept = Head(checkpoint.origin, checkpoint.size, checkpoint.root, note)
    return _head(kept, SignedNote(parsed.text, own), found)


def submit(services: Services, url: str) -> CosignedHead:
    """Send the newest checkpoint to a witness (C2SP tlog-witness) and keep its cosignature.

    `url` is the witness's submission prefix. Raises InputError (`witness.none`) when no witness
    counts here, UnavailableError (`witness.unreachable`), NotFoundError (`witness.unknown-log`),
    TrustError (`witness.refused`, `witness.unknown`), RollbackError when the witness cosigned more
    records than this log holds.
    """
    known = witnesses(services.settings.home)
    if not known:
        raise InputError(
            "no witness counts here yet",
            code="witness.none",
            hint="add its public key with `genops log witness add VKEY`",
        )
    newest = services.reader.verified_head()
    with read(services.engine) as conn:
        old = next(iter(cosigned.sizes(conn, known)), 0)
    with http_client(services.settings.limits) as http:
        lines = _ask(services, http, url, newest, old)
    note = SignedNote.parse(newest.note)
    counted = {(key.name, key.key_id) for key in known}
    lines = tuple(line for line in lines if (line.name, line.key_id) in counted)
    return keep(services, SignedNote(note.text, (*note.signatures, *lines)).to_bytes())


def overview(services: Services) -> Witnesses:
    """Return both sides: who cosigns this log, and which logs this registry cosigns."""
    home = services.settings.home
    own = own_vkey(services.settings)
    with read(services.engine) as conn:
        newest = {key: cosigned.newest_of(conn, key) for key in witnesses(home)}
    return Witnesses(
        own=str(own) if own else None,
        witnesses=tuple(_witness(key, last) for key, last in newest.items()),
        logs=tuple(_followed(services)),
    )


def _ask(
    services: Services, http: httpx.Client, url: str, newest: Head, old: int
) -> tuple[NoteSignature, ...]:
    for _ in range(_TRIES):
        proof = services.reader.consistency(old, newest.size) if 0 < old < newest.size else []
        body = AddCheckpoint(old, tuple(proof), newest.note).to_bytes()
        request = http.build_request("POST", f"{url.rstrip('/')}/add-checkpoint", content=body)
        status, media_type, answer = fetch(http, request, MAX_NOTE_BYTES)
        if status == 200:
            return _lines(url, answer)
        size = _size(url, answer) if status == 409 and SIZE_MEDIA_TYPE in media_type else old
        if size > newest.size:
            raise RollbackError(
                f"{url} has cosigned {size} records of this log, which holds {newest.size}",
                hint="restore the newest database: this one has forgotten records",
            )
        if size == old:
            raise _declined(url, status)
        old = size
    raise UnavailableError(
        f"{url} is asked by others at the same time", code="witness.unreachable", hint="try again"
    )


def _lines(url: str, answer: bytes) -> tuple[NoteSignature, ...]:
    try:
        return parse_signatures(answer)
    except FormatError as error:
        raise _not_a_witness(url, error.message) from None


def _size(url: str, answer: bytes) -> int:
    try:
        return parse_size(answer)
    except FormatError as error:
        raise _not_a_witness(url, error.message) from None


def _declined(url: str, status: int) -> GenopsError:
    if status not in _STATUSES:
        return _not_a_witness(url, f"it answers {status}")
    kind, code, why = _STATUSES[status]
    return kind(f"{url} does not cosign ({status})", code=code, hint=why)


def _not_a_witness(url: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"{url} does not answer as a witness: {why}",
        code="witness.unreachable",
        hint="give the prefix below which it takes `add-checkpoint`, such as https://HOST/witness",
    )


def _head(found: Head, note: SignedNote, lines: Sequence[Cosignature]) -> CosignedHead:
    whole = SignedNote(note.text, (*note.signatures, *(one.line for one in lines)))
    return CosignedHead(
        origin=found.origin,
        size=found.size,
        root=found.root.hex(),
        checkpoint=whole.to_bytes().decode("utf-8"),
        cosignatures=tuple(
            CosignatureView(one.key.name, one.key.key_id.hex(), _time(one.time_s)) for one in lines
        ),
    )


def _witness(key: CosignerKey, last: tuple[int, int] | None) -> WitnessView:
    size, time_s = last or (None, None)
    time = None if time_s is None else _time(time_s)
    return WitnessView(key.name, key.key_id.hex(), str(key), size, time)


def _followed(services: Services) -> list[FollowedLog]:
    cosigned_here = {last.origin: last for last in ledger(services).all()}
    keys: dict[str, list[str]] = {origin: [] for origin in cosigned_here}
    for key in followed_logs(services.settings.home):
        keys.setdefault(key.name, []).append(str(key))
    answers = []
    for origin in sorted(keys):
        last = cosigned_here.get(origin)
        root = last.checkpoint.root.hex() if last else None
        answers.append(FollowedLog(origin, tuple(keys[origin]), last.size if last else None, root))
    return answers


def _time(time_s: int) -> str:
    return format_time(min(time_s * 1000, MAX_TIME_MS))  # a witness may name any time
