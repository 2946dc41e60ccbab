"""The passport of an asset: what it is, how it was made, from what, and whether it is clean."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from registry.cli.render.parts import (
    BAD,
    GOOD,
    QUIET,
    WARN,
    fields,
    heading,
    lines,
    literal,
    prose,
    table,
)
from registry.cli.text import short, size, when
from registry.core.answers import MaterialView, Passport, TaintView

MOST_FIELDS = 24
_OWN = "output."
_PROMPTS = ("prompt", "negative_prompt")
Row = tuple[str, Text]
_ORIGIN = {"generated": "How it was made", "ingested": "What was said of it"}
_TEXTS = {
    "erased": Text("erased: their key is destroyed", style=WARN),
    "locked": Text("locked: no keyring here, or no passphrase for it", style=WARN),
}


_DRAFTS = {
    "draft": "a draft: it expires unless it is kept",
    "kept": "kept",
    "expired": "expired: a draft that nobody kept",
}


def passport(asset: Passport) -> RenderableType:
    """Return the whole passport."""
    return lines(
        literal(asset.id, "bold"),
        Text(_nature(asset)),
        *map(taint_line, asset.taints),
        Text(""),
        fields(_facts(asset)),
        *_section(_ORIGIN[asset.kind], _chosen(asset)),
        *_section("Set up with", _rows(asset.setup, asset), deepest=2),
        *_section("Where it ran", _rows(asset.internals, asset), deepest=2),
        *_materials(asset),
        *_events(asset),
    )


def taint_line(taint: TaintView) -> Text:
    """Return one line on a standing taint, in red where there is colour."""
    where = "this asset" if taint.direct else f"its ancestor {taint.name} ({short(taint.id)})"
    reason = f": {taint.reason}" if taint.reason else ""
    text = f"TAINTED ({taint.severity}) through {where}{reason}  [{short(taint.record)}]"
    return literal(text, BAD)


def _nature(asset: Passport) -> str:
    parts = [asset.kind, str(literal(asset.media_type or "unknown type"))]
    if asset.width and asset.height:
        parts.append(f"{asset.width} x {asset.height}")
    if asset.size is not None:
        parts.append(size(asset.size))
    if asset.encrypted:
        parts.append("personal: stored encrypted")
    if asset.draft:
        parts.append(_DRAFTS[asset.draft])
    return ", ".join(parts)


def _facts(asset: Passport) -> Iterator[tuple[str, object]]:
    yield "record", f"{short(asset.record)}  at index {asset.index} of the log"
    yield "time", when(asset.time)
    yield "project", asset.project
    yield "campaign", asset.campaign
    yield "actor", _actor(asset.actor)
    yield "signed by", _signer(asset.signer)
    yield "made with", (asset.build_type or "").partition("/build/")[2] or asset.build_type
    yield "seed", asset.seed
    yield "reproducible", _reproducible(asset)
    yield "file", asset.path
    yield "pixels", short(asset.pixels) if asset.pixels else None
    yield "texts", _TEXTS.get(asset.text)


def _actor(actor: Mapping[str, Any]) -> str | None:
    name = actor.get("name")
    known = name if isinstance(name, str) else actor.get("pseudonym")
    return f"{known}  ({actor['authn']})" if known and "authn" in actor else known


def _signer(signer: Mapping[str, Any]) -> Text | None:
    if not signer.get("keyid"):
        return None
    text = literal(short(str(signer["keyid"])))
    if "trusted" in signer:
        trusted = bool(signer["trusted"])
        text.append("  trusted" if trusted else "  NOT TRUSTED", style=GOOD if trusted else BAD)
    if "compromised_since" in signer:
        text.append(f"  key compromised since {when(str(signer['compromised_since']))}", style=BAD)
        if signer["reattested_by"]:
            by = ", ".join(map(short, signer["reattested_by"]))
            text.append(f", re-attested by {by}", style=GOOD)
    return text


def _reproducible(asset: Passport) -> Text | None:
    if asset.reproducible is None:
        return None
    if asset.reproducible:
        return Text("yes", style=GOOD)
    return literal("no: " + ("; ".join(asset.reasons) or "no reason is given"), WARN)


def _chosen(asset: Passport) -> list[Row]:
    """Return what the caller asked for, prompts first, each text once."""
    rows = _rows(asset.parameters, asset)
    own = [row for row in rows if not (row[0].startswith(_OWN) and _repeats(row, rows))]
    return sorted(own, key=lambda row: _PROMPTS.index(row[0]) if row[0] in _PROMPTS else 9)


def _repeats(row: Row, rows: list[Row]) -> bool:
    return (row[0].removeprefix(_OWN), row[1]) in rows


def _section(title: str, rows: list[Row], *, deepest: int = MOST_FIELDS) -> list[RenderableType]:
    """Return the rows of a document down to some depth, and how many more there are."""
    if not rows:
        return []
    shown = [row for row in rows if row[0].count(".") < deepest][:MOST_FIELDS]
    left = len(rows) - len(shown)
    more = [literal(f"  … and {left} more; --json has them", QUIET)] if left else []
    return [heading(title), fields(shown, indent=2), *more]


def _rows(document: Mapping[str, Any], asset: Passport) -> list[Row]:
    state = "erased" if asset.text == "erased" else "sealed"
    return list(_flat(document, state)) if document else []


def _flat(value: Any, state: str, path: str = "") -> Iterator[Row]:
    """Yield the leaves of a document with dotted names; sealed texts as what has become of them."""
    if _is_sealed(value):
        yield path, literal(state, WARN)
    elif isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from _flat(inner, state, f"{path}.{name}" if path else str(name))
    elif isinstance(value, str):
        yield path, prose(value) if value else literal('""', QUIET)
    elif value is not None:
        yield path, prose(json.dumps(value, ensure_ascii=False))


def _is_sealed(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"sealed"}


def _materials(asset: Passport) -> tuple[RenderableType, ...]:
    if not asset.materials:
        return ()
    heads = ("name", "kind", "id", "licence", "approved", "stored", "")
    rows = [_material(material) for material in asset.materials]
    return (heading("Made from"), table(heads, rows, fold=(0, 3), indent=2))


def _material(material: MaterialView) -> tuple[object, ...]:
    return (
        material.name,
        material.kind,
        short(material.id),
        material.licence or literal("unknown", WARN),
        "yes" if material.approved else "no",
        material.storage,
        literal("TAINTED", BAD) if material.tainted else Text(""),
    )


def _events(asset: Passport) -> tuple[RenderableType, ...]:
    if not asset.events:
        return ()
    rows = [(when(e.time), e.predicate, e.summary, short(e.record)) for e in asset.events]
    return (
        heading("What has been said of it"),
        table(("time", "kind", "summary", "record"), rows, fold=(2,), indent=2),
    )
