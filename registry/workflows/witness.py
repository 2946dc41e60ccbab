"""Be a witness: follow other logs, and cosign a checkpoint that goes on from the last one.

Consistency is checked before anything is signed, and what was signed is remembered for good.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from registry.core import checkpoints, merkle
from registry.core.checkpoints import Checkpoint
from registry.core.cosignatures import time_of
from registry.core.notes import NoteSignature, SignedNote, VerifierKey
from registry.core.tiles import TileHashes
from registry.core.times import format_time
from registry.core.witness_answers import Followed
from registry.core.witnessing import AddCheckpoint
from registry.errors import (
    ConflictError,
    FormatError,
    GenopsError,
    InputError,
    IntegrityError,
    NotFoundError,
)
from registry.log.witness import Witnessed, WitnessLedger
from registry.workflows.log_sources import LogSource, open_source
from registry.workflows.services import Services
from registry.workflows.witness_keys import followed_logs, own_key

_TRIES = 3
_NOT_CONSISTENT = ("witness.rolled-back", "witness.forked", "proof.invalid")


@dataclass(frozen=True, slots=True)
class WitnessReply:
    """The answer to `add-checkpoint`: signature lines, or the size that was cosigned last."""

    lines: str | None
    size: int | None


def ledger(services: Services) -> WitnessLedger:
    """Return what this registry cosigned of other logs."""
    return WitnessLedger(services.engine, services.settings.home.witnessed)


def follow(
    services: Services, where: str, vkeys: Sequence[str] = (), *, token: str | None = None
) -> Followed:
    """Fetch a log's checkpoint, check that it goes on from the last one, and cosign it.

    `where` is a registry's home, a folder of static tiles or an http(s) prefix; `vkeys` are the
    log's public keys, else those that were added. Raises NotFoundError (`witness.unknown-log`,
    `witness.source`), UnavailableError, FormatError, and IntegrityError: `note.*` when the log did
    not sign, `witness.tiles` for tiles of another tree, `witness.forked` and `witness.rolled-back`
    for a log that does not go on from what was cosigned; both checkpoints are kept then.
    """
    keys = [VerifierKey.parse(vkey) for vkey in vkeys]
    keys = keys or followed_logs(services.settings.home)
    with open_source(where, services.settings.limits, token) as source:
        for attempt in range(_TRIES):
            try:
                return _follow(services, source, keys)
            except ConflictError:
                if attempt == _TRIES - 1:
                    raise
        raise AssertionError  # the last try returns or raises


def add_checkpoint(services: Services, body: bytes) -> WitnessReply:
    """Answer a log's request for a cosignature (C2SP tlog-witness, `add-checkpoint`).

    Raises FormatError for a malformed request, NotFoundError (`witness.unknown-log`),
    IntegrityError (`note.*` for a checkpoint that the log did not sign, `proof.invalid`).
    """
    request = AddCheckpoint.parse(body)
    new = _signed_by_its_log(request.note, followed_logs(services.settings.home))
    if request.old > new.size:
        raise FormatError("the old size is larger than the new one", code="witness.request")
    for _ in range(_TRIES):
        last = ledger(services).last(new.origin)
        size = last.size if last else 0
        if request.old != size:
            return WitnessReply(None, size)
        try:
            line = _cosign(services, last, new, request.proof)
        except ConflictError:
            continue
        except IntegrityError as error:
            if error.code == "witness.forked" and last is not None:
                _keep_conflict(services, last, new)
                return WitnessReply(None, size)
            raise
        return WitnessReply(str(line), None)
    return WitnessReply(None, size)


def _follow(services: Services, source: LogSource, keys: Sequence[VerifierKey]) -> Followed:
    new = _signed_by_its_log(source.checkpoint(), keys)
    if new.origin == services.settings.origin:
        raise InputError(
            "this is the registry's own log",
            code="witness.own",
            hint="a witness is somebody else: another registry, on another machine",
        )
    last = ledger(services).last(new.origin)
    try:
        proof = _proof_from_tiles(source, last, new.checkpoint)
        line = _cosign(services, last, new, proof)
    except IntegrityError as error:
        if last is None or error.code not in _NOT_CONSISTENT:
            raise
        raise _refused(services, last, new, error) from None
    own = SignedNote.parse(new.note)
    note = SignedNote(own.text, (*own.signatures, line))
    return Followed(
        origin=new.origin,
        size=new.size,
        root=new.checkpoint.root.hex(),
        last_size=last.size if last else None,
        time=format_time(time_of(line.sig) * 1000),
        checkpoint=note.to_bytes().decode("utf-8"),
        cosignature=str(line),
        handed_back=source.hand_back(note),
    )


def _proof_from_tiles(
    source: LogSource, last: Witnessed | None, checkpoint: Checkpoint
) -> list[bytes]:
    """Return the proof from the last cosigned tree to this one, whose root the tiles must give.

    So a proof that fails says that the trees differ, not that the tiles are wrong.
    """
    old = last.size if last else 0
    if checkpoint.size < old:
        return []
    tree = TileHashes(checkpoint.size, source.tile)
    if tree.root() != checkpoint.root:
        raise IntegrityError(
            f"the tiles of {checkpoint.origin} do not give the root of its checkpoint of"
            f" {checkpoint.size} records",
            code="witness.tiles",
            hint="fetch again; if it stays so, ask the log's operator",
        )
    if not 0 < old < checkpoint.size:
        return []
    return merkle.consistency_proof(old, checkpoint.size, tree.node)


def _signed_by_its_log(data: bytes, keys: Sequence[VerifierKey]) -> Witnessed:
    """Return a checkpoint with its log's own signatures alone, one of which verified at least."""
    note = SignedNote.parse(data)
    origin = Checkpoint.parse_text(note.text).origin
    trusted = [key for key in keys if key.name == origin]
    if not trusted:
        raise NotFoundError(
            f"no public key of the log {origin} is known here",
            code="witness.unknown-log",
            hint="add it with `genops log witness add-log VKEY`, or give --key",
        )
    failure: GenopsError | None = None
    signed: list[NoteSignature] = []
    for key in trusted:
        mine = [s for s in note.signatures if (s.name, s.key_id) == (key.name, key.key_id)]
        try:
            checkpoints.verify(data, key)
        except IntegrityError as error:
            failure = error
        else:
            signed += mine[:1]
    if not signed:
        assert failure is not None  # noqa: S101  # no key verified
        raise failure
    return Witnessed.of(SignedNote(note.text, tuple(signed)).to_bytes())


def _cosign(
    services: Services, last: Witnessed | None, new: Witnessed, proof: Sequence[bytes]
) -> NoteSignature:
    key, signer = own_key(services)
    now_s = services.now() // 1000
    return ledger(services).advance(
        last, new, proof, lambda text: key.cosign(text, now_s, signer.sign)
    )


def _refused(
    services: Services, last: Witnessed, new: Witnessed, error: IntegrityError
) -> IntegrityError:
    kept = _keep_conflict(services, last, new)
    code = "witness.forked" if error.code == "proof.invalid" else error.code
    what = "went back" if code == "witness.rolled-back" else "does not go on from what it was"
    return IntegrityError(
        f"{new.origin} {what}: cosigned {_shown(last)}, now {_shown(new)}; both signed by the log"
        f" and kept as {kept}.before and .after",
        code=code,
        hint="nothing was cosigned; show both files to whoever relies on this log",
    )


def _shown(which: Witnessed) -> str:
    root = base64.b64encode(which.checkpoint.root).decode("ascii")
    return f"{which.size} records with root {root}"


def _keep_conflict(services: Services, last: Witnessed, new: Witnessed) -> str:
    """Keep two checkpoints that do not fit, which the log cannot deny; return where."""
    folder = services.settings.home.witnessed / "conflicts"
    folder.mkdir(parents=True, exist_ok=True)
    name = hashlib.sha256(last.note + new.note).hexdigest()[:16]
    (folder / f"{name}.before").write_bytes(last.note)
    (folder / f"{name}.after").write_bytes(new.note)
    return str(folder / name)
