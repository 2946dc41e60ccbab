"""Verbs on lineage: what an asset came from, what came from it, and taint."""

from enum import StrEnum
from typing import Annotated

import typer

from registry.cli.options import Asset, Home, Json, Limit, Offset
from registry.errors import InputError


class Direction(StrEnum):
    """Which way to walk: to the ancestors, to the descendants, or both."""

    up = "up"
    down = "down"
    both = "both"


class Severity(StrEnum):
    """How bad a taint is."""

    low = "low"
    medium = "medium"
    high = "high"
    critical = "critical"


Target = Annotated[
    str, typer.Argument(metavar="ID", help="Asset, material, record, prefix or file.")
]


def lineage(
    asset: Asset,
    direction: Annotated[
        Direction,
        typer.Option("--direction", help="To what it was made from, or what it went into."),
    ] = Direction.up,
    depth: Annotated[
        int | None, typer.Option("--depth", metavar="N", min=1, help="Most hops.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show what an asset was made from, or what it went into.

    Reaches back to models, LoRAs and inputs, and on through edits of edits.

    For example:
      genops lineage 3f2a9c81
      genops lineage 3f2a9c81 --direction both --depth 2
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.listings import lineage as render

    with opened(home) as registry:
        emit(registry.lineage(asset, direction=direction.value, depth=depth), render, as_json=json)


def impact(
    target: Target,
    limit: Limit = 100,
    offset: Offset = 0,
    home: Home = None,
    json: Json = False,
) -> None:
    """Show all that derives from an asset, a model or an input.

    For example:
      genops impact brand-lora.safetensors
      genops impact 9c1185a5 --limit 20 --json
    """
    from registry.cli.opening import opened
    from registry.cli.output import emit
    from registry.cli.render.listings import impact as render

    with opened(home) as registry:
        emit(registry.impact(target, limit=limit, offset=offset), render, as_json=json)


def taint(
    target: Target,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; kept sealed.")],
    clear: Annotated[bool, typer.Option("--clear", help="Lift the taint instead.")] = False,
    severity: Annotated[
        Severity | None, typer.Option("--severity", help="How bad it is; else high.")
    ] = None,
    home: Home = None,
    json: Json = False,
) -> None:
    """Taint an asset or a material, or lift its taint.

    A taint reaches everything derived from it, and the gate refuses that from then on. Tainting
    and lifting are signed records; nothing is deleted.

    For example:
      genops taint brand-lora.safetensors --reason "licence revoked"
      genops taint 9c1185a5 --clear --reason "licence renewed"
    """
    from registry.cli.opening import opened_to_sign
    from registry.cli.output import emit
    from registry.cli.render.reports import receipt

    if clear and severity:
        raise InputError(
            "a lifted taint has no severity", code="usage", hint="leave --severity out"
        )
    with opened_to_sign(home) as registry:
        if clear:
            done = registry.clear_taint(target, reason=reason)
        else:
            done = registry.taint(target, reason=reason, severity=(severity or Severity.high).value)
        emit(done, receipt, as_json=json)
