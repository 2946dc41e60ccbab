"""Verbs for the time after a theft: what a key signed since, and vouching for what is sound."""

from typing import Annotated

import typer

from registry.cli.options import Home, Json, Limit, Offset
from registry.cli.trust_options import Actor, Key, Since


def affected(
    key: Key,
    since: Since = "",
    limit: Limit = 100,
    offset: Offset = 0,
    home: Home = None,
    json: Json = False,
) -> None:
    """List what a compromised key signed since it is not believed.

    With --since, what another moment would touch: to decide before the key is disowned.

    For example:
      genops keys affected 3f9a0c41
      genops keys affected 3f9a0c41 --since 2026-11-19 --json
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.render.trust import affected as render
    from registry.core.times import read_time

    moment = read_time(since) if since else None
    with opened_here(home, "keys affected") as registry:
        report = registry.trust.affected(key, since_ms=moment, limit=limit, offset=offset)
        emit(report, render, as_json=json)


def reattest(
    records: Annotated[
        list[str] | None,
        typer.Argument(metavar="ID", help="Records, or assets with all their records."),
    ] = None,
    all_affected: Annotated[
        str, typer.Option("--all-affected", metavar="KEY", help="All that this key signed since.")
    ] = "",
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="How you know; kept sealed.")
    ] = "",
    actor: Actor = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Vouch for records whose key was compromised.

    That is signed by the reviewer's key. Nobody can vouch for a record of their own, nor a key
    for what it signed itself.

    For example:
      genops keys reattest 3f2a9c81 --reason "as in the farm's logs" --actor Eve
      genops keys reattest --all-affected 3f9a0c41 --reason "all seen" --actor Eve
    """
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress
    from registry.cli.render.trust import reattested as render
    from registry.errors import InputError

    if bool(records) == bool(all_affected):
        raise InputError("name records, or a key by --all-affected", code="usage")
    with opened_here(home, "keys reattest", to_sign=True) as registry, progress() as line:
        trust = registry.trust
        if all_affected:
            report = trust.reattest_all(
                all_affected, reason=reason, actor=actor, progress=line("records")
            )
        else:
            report = trust.reattest(records or (), reason=reason, actor=actor)
    emit(report, render, as_json=json)
