"""Texts about witnesses: cosigned checkpoints, keys, followed logs, consistency, static tiles."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from registry.cli.render.parts import GOOD, QUIET, cell, fields, heading, lines, literal, table
from registry.cli.text import plural, visible, when
from registry.core.witness_answers import (
    CosignatureView,
    CosignedHead,
    ExportedTiles,
    Followed,
    FollowedLog,
    LogConsistency,
    Witnesses,
    WitnessKey,
    WitnessView,
)


def head(found: CosignedHead) -> str:
    """Return the checkpoint itself: it is readable, and can be kept as it is."""
    return _verbatim(found.checkpoint)


def cosigned(found: CosignedHead) -> RenderableType:
    """Return whose cosignatures of which checkpoint are kept now."""
    return lines(
        literal(f"cosigned: {plural(found.size, 'record')} of {found.origin}", GOOD),
        fields([("root", found.root)]),
        _cosignatures(found.cosignatures),
    )


def own_key(key: WitnessKey) -> str:
    """Return the key alone, for a file."""
    return f"{visible(key.vkey)}\n"


def added(key: WitnessKey) -> RenderableType:
    """Return which key counts now and where it lies."""
    return lines(
        literal(f"{key.witness} counts from now on", GOOD),
        fields([("key", key.vkey), ("file", key.path)]),
        literal("Take the file away to end that.", QUIET),
    )


def overview(both: Witnesses) -> RenderableType:
    """Return who cosigns this log, and which logs this registry cosigns."""
    own = both.own or "none yet: `genops log witness key` makes one"
    return lines(
        heading("Witnesses of this log"),
        _witnesses(both.witnesses),
        heading("Logs that are cosigned here"),
        _logs(both.logs),
        fields([("by the key", own)], indent=2),
    )


def followed(done: Followed) -> str:
    """Return what was cosigned, and the cosignature on one line, for copying."""
    before = "for the first time" if done.last_size is None else f"goes on from {done.last_size}"
    rows = [f"cosigned: {plural(done.size, 'record')} of {done.origin}, {before}", done.root]
    if done.handed_back is not None:
        rows.append("kept by the log" if done.handed_back else "the log does not know this witness")
    return _verbatim("\n".join((*rows, done.cosignature)))


def consistency(proof: LogConsistency) -> RenderableType:
    """Return that one log goes on from the other, and the proof."""
    return lines(
        literal(f"the log of {proof.new} records goes on from that of {proof.old}", GOOD),
        fields([("origin", proof.origin), ("root then", proof.old_root), ("now", proof.new_root)]),
        *(literal(f"  {item}") for item in proof.proof),
    )


def exported(done: ExportedTiles) -> RenderableType:
    """Return what was written where."""
    counts = f"{done.written} written, {done.present} there already, {done.removed} removed"
    return lines(
        literal(f"{plural(done.size, 'record')} as static tiles in {done.path}", GOOD),
        fields([("origin", done.origin), ("root", done.root), ("tiles", counts)]),
    )


def _witnesses(found: Sequence[WitnessView]) -> RenderableType:
    if not found:
        return literal("  none: add one with `genops log witness add VKEY`", QUIET)
    rows = [(w.witness, w.key_id, cell(w.size), when(w.time) if w.time else "-") for w in found]
    return table(("witness", "key", "cosigned", "at"), rows, fold=(0,), indent=2)


def _logs(found: Sequence[FollowedLog]) -> RenderableType:
    if not found:
        return literal("  none: add one with `genops log witness add-log VKEY`", QUIET)
    rows = [(one.origin, cell(one.size), one.root) for one in found]
    return table(("log", "cosigned", "root"), rows, fold=(0, 2), indent=2)


def _cosignatures(found: Sequence[CosignatureView]) -> RenderableType:
    return table(("", "", ""), [(c.witness, c.key_id, when(c.time)) for c in found], fold=(0,))


def _verbatim(text: str) -> str:
    return "".join(f"{visible(line)}\n" for line in text.rstrip("\n").split("\n"))
