"""Reports of restore and recover."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType

from registry.cli.render.parts import BAD, GOOD, WARN, fields, lines, literal, table
from registry.cli.render.transfer import contents
from registry.cli.text import plural
from registry.core.recovery_answers import KnownHead, RecoverReport, RestoreReport, RetryReport


def restored(done: RestoreReport) -> RenderableType:
    """Return the restored registry, what came with it and what was lost."""
    files = f"{plural(done.blobs, 'file')} in {plural(done.segments, 'segment')}"
    lost = plural(done.lost, "record") if done.lost else None
    return lines(
        literal(f"registry restored at {done.home}", GOOD),
        contents(done, files, lost),
        literal("what was recorded after the last `genops mirror sync` is not in it", WARN),
        literal("texts recorded after the backup of the keys stay locked", WARN)
        if done.can_sign and done.locked
        else None,
        None if done.can_sign else literal("it has no keys: it cannot record", WARN),
    )


def recovered(done: RecoverReport) -> RenderableType:
    """Return both checkpoints, what lay between them, and what became of it."""
    head = {True: GOOD, False: BAD}[done.ok]
    return lines(
        literal(_verdict(done), head),
        fields(
            [
                ("database", _head(done.database)),
                ("newest signed", None if done.newest is None else _head(done.newest)),
                ("missing", _ranges(done.missing, done.since)),
                *((f"found in {one.where}", ", ".join(one.ranges)) for one in done.found),
                ("found nowhere", ", ".join(done.not_found) or None),
                (
                    "without texts",
                    plural(done.without_texts, "record") if done.without_texts else None,
                ),
            ]
        ),
        *(literal(note, WARN) for note in done.notes),
    )


def _verdict(done: RecoverReport) -> str:
    if done.state == "sound":
        return "nothing is known that this database lacks"
    if done.state == "forked":
        return "the log forked: two histories were signed, and nothing was changed"
    if not done.ok:
        return "the database is behind, and was left as it is: not everything was found"
    if done.dry_run:
        return "the database is behind, and everything it lacks was found; nothing was changed"
    return f"{plural(done.recovered, 'record')} put back; the log is whole again"


def _head(head: KnownHead) -> str:
    when = f", {head.time}" if head.time else ""
    where = "" if head.where == "database" else f"; {head.where}"
    return f"{head.size:,} records, root {head.root}{when}{where}"


def _ranges(ranges: tuple[str, ...], since: str | None) -> str | None:
    if not ranges:
        return None
    return ", ".join(ranges) + (f", recorded since {since}" if since else "")


def retried(reports: Sequence[RetryReport]) -> RenderableType:
    """Return what was sent to each mirror again."""
    rows = [(r.target, r.again, r.sent, r.failed, r.pending, literal(r.error)) for r in reports]
    return table(("mirror", "again", "sent", "failed", "waiting", ""), rows, fold=(5,))
