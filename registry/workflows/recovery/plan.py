"""Which tree can be had from a vault's segments: records, checkpoints, and what is missing.

Pure judgement over what was read; nothing is written here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.dsse import Envelope
from registry.core.merkle import Frontier, leaf_hash
from registry.core.notes import VerifierKey
from registry.core.recovery_answers import shown_ranges
from registry.core.statements import Statement
from registry.core.trust import TrustState
from registry.errors import FormatError, IntegrityError, MaterialError, RollbackError
from registry.vault.segments import Segment
from registry.vault.shelf import Pointer, Shelf


@dataclass(frozen=True, slots=True)
class Signed:
    """A checkpoint that the log signed: where it was found, its note, and what it says."""

    where: str
    note: bytes
    checkpoint: Checkpoint


@dataclass(frozen=True, slots=True)
class Plan:
    """The tree that will be restored: its checkpoint, and how many signed records it leaves out."""

    chosen: Signed
    lost: int

    @property
    def size(self) -> int:
        """Number of records."""
        return self.chosen.checkpoint.size

    def kept(self, shelf: Shelf, vkey: VerifierKey) -> list[tuple[Pointer, Segment]]:
        """Return the segments that the restored vault keeps: none that knows of lost records."""
        return [
            (pointer, segment)
            for pointer, segment in shelf.segments
            if not self.lost or checkpoints.verify(segment.checkpoint, vkey).size <= self.size
        ]


def first_trust(shelf: Shelf) -> tuple[TrustState, Statement]:
    """Return the trust that the log begins with, and its statement.

    Raises MaterialError (`restore.empty`) when record 0 is not there.
    """
    record = shelf.record(0)
    if record is None:
        raise MaterialError(
            f"the vault at {shelf.vault.root} does not hold record 0, with which every log begins",
            code="restore.empty",
            hint="run `dvc pull` in it; segments are written by `genops mirror sync`",
        )
    envelope = Envelope.parse(record[1])
    statement = Statement.parse(envelope.payload)
    return TrustState.genesis(statement, envelope), statement


def signed_heads(
    shelf: Shelf, vkey: VerifierKey, others: Sequence[tuple[str, bytes]] = ()
) -> list[Signed]:
    """Return every checkpoint of the segments and of `others`, smallest first.

    Raises IntegrityError (`restore.other-log`) for one that the log did not sign.
    """
    heads = []
    named = [(f"segment {name}", note) for name, note in shelf.checkpoints]
    for where, note in (*named, *others):
        try:
            heads.append(Signed(where, note, checkpoints.verify(note, vkey)))
        except (FormatError, IntegrityError) as error:
            raise IntegrityError(
                f"the checkpoint of {where} is not one of {vkey.name}: {error.message}",
                code="restore.other-log",
                hint="the vault and the keys are of two registries, or a segment is foreign",
            ) from None
    return sorted(heads, key=lambda head: head.checkpoint.size)


def make_plan(
    shelf: Shelf,
    heads: Sequence[Signed],
    *,
    lose_newest: bool,
    progress: Callable[[int, int], None],
) -> Plan:
    """Choose the newest tree that is whole, after comparing every checkpoint with the records.

    Raises MaterialError (`restore.incomplete`) when records are missing below the newest
    checkpoint, unless `lose_newest` gives them up; RollbackError (`log.forked`) when a checkpoint
    signs another tree than the records give.
    """
    newest = heads[-1].checkpoint.size
    roots = {head.checkpoint.size: head for head in heads}
    whole, frontier = None, Frontier()
    for index, leaf in enumerate(_leaves(shelf)):
        frontier = frontier.append(leaf)
        progress(index + 1, newest)
        if frontier.size in roots:
            whole = roots[frontier.size]
            _compare([h for h in heads if h.checkpoint.size == frontier.size], frontier)
    if whole is not None and whole.checkpoint.size == newest:
        return Plan(whole, 0)
    missing = [i for i in range(newest) if not _is_whole(shelf, i)]
    if whole is None or not lose_newest:
        raise _incomplete(heads[-1], missing, whole)
    return Plan(whole, newest - whole.checkpoint.size)


def _leaves(shelf: Shelf) -> Iterator[bytes]:
    """Yield leaf hashes up to the first record that is missing."""
    index = 0
    while _is_whole(shelf, index):
        entry = shelf.records[index].entry
        assert entry is not None  # noqa: S101  # a whole record has one
        yield leaf_hash(shelf.vault.read(entry))
        index += 1


def _is_whole(shelf: Shelf, index: int) -> bool:
    held = shelf.records.get(index)
    return held is not None and held.whole


def _compare(heads: Sequence[Signed], frontier: Frontier) -> None:
    for head in heads:
        if head.checkpoint.root != frontier.root():
            raise RollbackError(
                f"the log signed, in {head.where}, {head.checkpoint.size} records with root"
                f" {head.checkpoint.root.hex()}, and those in the vault give"
                f" {frontier.root().hex()}",
                code="log.forked",
                hint="an entry was altered, or the log forked; keep everything, and compare it"
                " with another copy",
            )


def _incomplete(newest: Signed, missing: Sequence[int], whole: Signed | None) -> MaterialError:
    hint = "fetch the rest with `dvc pull`, or find another copy of the vault"
    if whole is not None:
        hint += (
            f"; if there is none, --lose-newest gives up what follows the first"
            f" {whole.checkpoint.size} records"
        )
    return MaterialError(
        f"the log signed {newest.checkpoint.size} records ({newest.where}), and the vault lacks"
        f" {len(missing)} of them: {shown_ranges(missing)}",
        code="restore.incomplete",
        hint=hint,
    )
