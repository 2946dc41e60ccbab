"""Deliveries: the finished files in a folder, with a manifest that is signed and on the log.

The manifest is taken in as an asset that derives from all that it lists, so that a taint of any of
them reaches it; its evidence lies beside it and proves it offline. See ADR 0026.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.campaign.brief import fill
from generators.campaign.sheet import contact_sheet
from registry.core.campaigns import DeliveredFile, Delivery
from registry.core.digests import sha256_hex
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.campaign.running import Outcome, Standing
    from registry.core.answers import GateDecision, Passport
    from registry.sdk import Registry

MANIFEST = "manifest.json"
EVIDENCE = "manifest.evidence.json"
SHEET = "contact-sheet.png"
MAX_FILES = 255
"""Most files of a delivery: a record names at most 256 parents."""
SUFFIXES = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/webp": "webp",
    "image/tiff": "tif",
    "application/json": "json",
}
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class _Item:
    """A file to be delivered: its name, its bytes, and what the registry knows of it."""

    standing: Standing
    path: str
    data: bytes
    passport: Passport
    review: str | None
    decision: GateDecision | None = None
    release: str | None = None


def deliver(
    registry: Registry, outcome: Outcome, folder: Path, *, policy: str | None = None
) -> Delivery:
    """Write what is finished into a new folder, and sign what is in it.

    With `policy`, the gate decides on every file first: what passes is released, with a record
    each, and what does not is left out. Raises InputError for a folder that is there already, for
    names that stand for two files, and where nothing can be delivered; nothing is written then.
    """
    _check_folder(folder)
    left_out = [
        {"step": one.step.key, "why": one.why or one.state}
        for one in outcome.delivered
        if one.state != "done"
    ]
    ready = [one for one in outcome.delivered if one.state == "done"]
    decisions = _decisions(registry, ready, policy)
    refused = [one for one in ready if not _passes(decisions.get(one.asset or ""))]
    left_out += [{"step": one.step.key, "why": _why(decisions[one.asset or ""])} for one in refused]
    items = [_item(registry, outcome, one) for one in ready if one not in refused]
    _check_items(items, left_out)
    channel = outcome.brief.channel
    items = [_released(registry, channel, item, decisions) for item in items]
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        sheet = _write_files(draft, outcome, items)
        document = _manifest(registry, outcome, items, sheet, policy, left_out)
        record = _sign(registry, outcome, draft, document, items)
        draft.chmod(0o755)
        draft.rename(folder)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
    return Delivery(
        folder=str(folder),
        name=outcome.brief.name,
        channel=channel,
        policy=policy,
        manifest=MANIFEST,
        record=record,
        files=tuple(
            DeliveredFile(
                item.path,
                item.passport.id,
                item.passport.record,
                sha256_hex(item.data),
                len(item.data),
            )
            for item in items
        ),
        left_out=tuple(left_out),
    )


def _check_folder(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(
            f"{folder} is there already",
            code="campaign.folder",
            hint="deliver into a new folder, so that it holds nothing but the delivery",
        )


def _decisions(
    registry: Registry, ready: Sequence[Standing], policy: str | None
) -> Mapping[str, GateDecision]:
    assets = list(dict.fromkeys(one.asset or "" for one in ready))
    if policy is None or not assets:
        return {}
    return {one.id: one for one in registry.gate(assets, policy=policy).decisions}


def _passes(decision: GateDecision | None) -> bool:
    return decision is None or decision.verdict == "pass"


def _why(decision: GateDecision) -> str:
    rules = [
        rule.rule
        for rule in decision.rules
        if rule.outcome in {"fail", "error"} and rule.severity == "block"
    ]
    return f"the gate says {decision.verdict}: {', '.join(rules)}"


def _item(registry: Registry, outcome: Outcome, standing: Standing) -> _Item:
    assert standing.receipt is not None  # noqa: S101  # it is done
    passport = registry.get(standing.receipt.record)
    path = file_name(outcome.brief.naming, standing, passport)
    return _Item(standing, path, registry.read(passport.id), passport, _review(outcome, standing))


def _review(outcome: Outcome, standing: Standing) -> str | None:
    """Return the record that approved the master which a step is from, if it has one."""
    if standing.review is not None:
        return standing.review
    for key in standing.step.parents:
        if (found := _review(outcome, outcome.standings[key])) is not None:
            return found
    return None


def file_name(template: str, standing: Standing, passport: Passport) -> str:
    """Return where a file lies in its folder, by the brief's template or by the step's key."""
    kind = passport.media_type or ""
    suffix = SUFFIXES.get(kind, "bin")
    values = {
        "format": "original",
        "file": "original",
        "dpi": "0",
        **standing.step.naming,
        "width": str(passport.width or 0),
        "height": str(passport.height or 0),
        "ext": suffix,
        "id": passport.id.removeprefix("sha256:")[:8],
    }
    if not template:
        words = [values["campaign"], *re.split(r"[/@#,]", standing.step.key)]
        name = "_".join(word.partition("=")[2] or word for word in words)
        return f"{_UNSAFE.sub('-', name)}.{suffix}"
    safe = {name: _UNSAFE.sub("-", value) for name, value in values.items()}
    parts = [part for part in fill(template, safe).split("/") if part]
    return "/".join(_UNSAFE.sub("-", part) for part in parts)


def _check_items(items: Sequence[_Item], left_out: Sequence[Mapping[str, str]]) -> None:
    if not items:
        first = f": {left_out[0]['step']} {left_out[0]['why']}" if left_out else ""
        raise InputError(
            f"there is nothing to deliver{first}",
            code="campaign.nothing",
            hint="`genops campaign status` shows what is waiting",
        )
    if len(items) > MAX_FILES:
        raise InputError(
            f"{len(items)} files are more than the {MAX_FILES} of one delivery",
            code="campaign.too-many",
            hint="divide the brief, for example by product",
        )
    seen: dict[str, str] = {}
    for item in items:
        other = seen.setdefault(item.path.casefold(), item.standing.step.key)
        if other != item.standing.step.key or item.path in {MANIFEST, EVIDENCE, SHEET}:
            raise InputError(
                f"{item.path} would be the name of {other} and of {item.standing.step.key}",
                code="campaign.names",
                hint="name more of what differs in `delivery: name`, such as {picture} or {id}",
            )


def _released(
    registry: Registry, channel: str, item: _Item, decisions: Mapping[str, GateDecision]
) -> _Item:
    decision = decisions.get(item.passport.id)
    if decision is None or decision.record is None:
        return item
    reviews = [item.review] if item.review else []
    done = registry.releasing.release(
        item.passport.id, channel=channel, decision=decision.record, reviews=reviews
    )
    return _Item(
        item.standing, item.path, item.data, item.passport, item.review, decision, done.record
    )


def _write_files(draft: Path, outcome: Outcome, items: Sequence[_Item]) -> dict[str, Any]:
    """Write files and contact sheet; return what the manifest says of the sheet."""
    for item in items:
        _write(draft / item.path, item.data)
    pictures = list(labelled((item.path, item.passport.media_type, item.data) for item in items))
    if not pictures:
        return {}
    sheet = contact_sheet(outcome.brief.name, pictures)
    _write(draft / SHEET, sheet)
    return {"path": SHEET, "sha256": sha256_hex(sheet), "size": len(sheet)}


def labelled(found: Iterator[tuple[str, str | None, bytes]]) -> Iterator[tuple[str, bytes]]:
    """Yield label and bytes of the pictures among (label, media type, bytes)."""
    return ((label, data) for label, kind, data in found if (kind or "").startswith("image/"))


def _manifest(
    registry: Registry,
    outcome: Outcome,
    items: Sequence[_Item],
    sheet: Mapping[str, Any],
    policy: str | None,
    left_out: Sequence[Mapping[str, str]],
) -> dict[str, Any]:
    head = registry.log.head()
    return {
        "schema": "https://w3id.org/genops/schema/delivery/v1",
        "campaign": outcome.brief.name,
        "project": outcome.brief.project or registry.settings.project,
        "channel": outcome.brief.channel,
        "policy": policy,
        "log": {"origin": head.origin, "size": head.size, "checkpoint": head.note.decode("utf-8")},
        "files": [_described(item) for item in items],
        "sheet": dict(sheet),
        "left_out": [dict(one) for one in left_out],
    }


def _described(item: _Item) -> dict[str, Any]:
    passport = item.passport
    told = {
        "path": item.path,
        "sha256": sha256_hex(item.data),
        "size": len(item.data),
        "asset": passport.id,
        "record": passport.record,
        "index": passport.index,
        "media_type": passport.media_type,
        "width": passport.width,
        "height": passport.height,
        "pixels": passport.pixels,
        "step": item.standing.step.key,
        "review": item.review,
        "release": item.release,
        "decision": None,
    }
    if item.decision is not None:
        told["decision"] = {"record": item.decision.record, "verdict": item.decision.verdict}
    return told


def _sign(
    registry: Registry,
    outcome: Outcome,
    draft: Path,
    document: Mapping[str, Any],
    items: Sequence[_Item],
) -> str:
    """Write the manifest, put it on the log, and write the evidence of that; return its record."""
    manifest = draft / MANIFEST
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    _write(manifest, text.encode("utf-8"))
    receipt = registry.ingest(
        manifest,
        parents=list(dict.fromkeys(item.passport.record for item in items)),
        note=f"the delivery of {outcome.brief.name} for {outcome.brief.channel}",
        project=outcome.brief.project,
        campaign=outcome.brief.name,
    )
    _write(draft / EVIDENCE, registry.evidence(receipt.record, texts=False))
    return receipt.record


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
