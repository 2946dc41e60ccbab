"""Reports of restore and recover."""

from __future__ import annotations

from rich.console import RenderableType

from registry.cli.render.parts import GOOD, WARN, fields, lines, literal
from registry.cli.text import plural
from registry.core.recovery_answers import RestoreReport


def restored(done: RestoreReport) -> RenderableType:
    """Return the restored registry, what came with it and what was lost."""
    texts = f"{done.texts:,} readable, {done.locked:,} locked, {done.erased:,} erased"
    return lines(
        literal(f"registry restored at {done.home}", GOOD),
        fields(
            [
                ("log", done.origin),
                ("log key", done.log_key),
                ("database", done.database),
                ("records", f"{done.size:,}, all checked"),
                ("root", done.root),
                ("lost", plural(done.lost, "record") if done.lost else None),
                ("vault", f"{plural(done.blobs, 'file')} in {plural(done.segments, 'segment')}"),
                ("look-up", plural(done.fingerprints, "fingerprint")),
                ("texts", texts),
                ("erased again", plural(done.erased_again, "text") if done.erased_again else None),
            ]
        ),
        literal("what was recorded after the last `genops mirror sync` is not in it", WARN),
        literal("texts recorded after the backup of the keys stay locked", WARN)
        if done.can_sign and done.locked
        else None,
        None if done.can_sign else literal("it has no keys: it cannot record", WARN),
    )
