"""What a generation looks like as a trace: a pure function of its record.

A trace has one span. Its ids are derived from the record, so that a replay makes the same trace,
and everything in it can be computed again to check a copy. Knows no MLflow client and no network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from registry.core.digests import RECORD_HEAD, asset_id
from registry.core.jsonio import canonical
from registry.core.statements import PREDICATE_GENERATION
from registry.core.times import parse_time
from registry.errors import FormatError
from registry.mirrors.contract import MirrorRecord

TRACE_HEAD = "tr-"
TAG_HEAD = "genops."
INDEX_TAG = "genops.index"
ENVELOPE = "genops.envelope"
ENTRY = "genops.entry"
EXPERIMENT_HEAD = "genops/"
MAX_TAG_CHARS = 8_000
"""MLflow cuts longer tags without an error; a list is cut here instead, between two items."""
NS_PER_MS = 1_000_000

_MAX_NS = 2**63 - 1
_KIND_TAGS = {"lora": "genops.lora", "model": "genops.model"}


@dataclass(frozen=True, slots=True)
class TraceCopy:
    """The trace of one record.

    `trace_id` is 16 and `span_id` 8 bytes; times are epoch nanoseconds. Attribute values are texts,
    objects or arrays; tags are texts.
    """

    trace_id: bytes
    span_id: bytes
    name: str
    start_ns: int
    end_ns: int
    attributes: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def mlflow_id(self) -> str:
        """The trace's id as MLflow shows it."""
        return TRACE_HEAD + self.trace_id.hex()


@dataclass(frozen=True, slots=True)
class StoredTrace:
    """A trace as MLflow gives it back; `spans` is 1 unless someone added to the trace."""

    experiment_id: str
    name: str
    start_ns: int
    end_ns: int | None
    spans: int
    attributes: Mapping[str, Any]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Group:
    """Where a trace belongs: its project and, if it has one, its campaign."""

    project: str
    campaign: str | None

    @property
    def experiment(self) -> str:
        """The name of the project's experiment."""
        return f"{EXPERIMENT_HEAD}{self.project}"

    @property
    def key(self) -> str:
        """A name for the campaign, 32 hex digits: a search filter cannot quote every text."""
        return hashlib.sha256(canonical([self.project, self.campaign])).hexdigest()[:32]


def is_mirrored(record: MirrorRecord) -> bool:
    """Tell whether a record becomes a trace; only generations do."""
    return record.statement.predicate_type == PREDICATE_GENERATION


def trace_id(record_id: str) -> bytes:
    """Return the id of a record's trace: the first 16 bytes of SHA-256 over its leaf hash."""
    return _identity(record_id)[:16]


def group_of(record: MirrorRecord) -> Group:
    """Return the project and campaign of a generation."""
    predicate = record.statement.predicate
    return Group(predicate.get("genops_project", ""), predicate.get("genops_campaign") or None)


def trace_copy(record: MirrorRecord) -> TraceCopy:
    """Return the trace of a generation."""
    definition = record.statement.predicate["buildDefinition"]
    start_ns, end_ns = _span_times(record)
    identity = _identity(record.record_id)
    return TraceCopy(
        trace_id=identity[:16],
        span_id=identity[16:24],
        name=_short_name(definition["buildType"]),
        start_ns=start_ns,
        end_ns=end_ns,
        attributes=_attributes(record, definition),
        tags=_tags(record, definition),
    )


def joined(items: Iterable[str]) -> str:
    """Return items with spaces between them, as many as a tag holds; none is cut in the middle."""
    text = ""
    for item in items:
        longer = f"{text} {item}" if text else item
        if len(longer) > MAX_TAG_CHARS:
            break
        text = longer
    return text


def _identity(record_id: str) -> bytes:
    return hashlib.sha256(bytes.fromhex(record_id.removeprefix(RECORD_HEAD))).digest()


def _attributes(record: MirrorRecord, definition: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "genops.record": record.record_id,
        ENVELOPE: record.envelope.decode("utf-8"),
        ENTRY: record.entry.decode("utf-8"),
        "genops.materials": [_material(dep) for dep in _dependencies(definition)],
        "mlflow.spanType": "TASK",
        "mlflow.spanInputs": definition["externalParameters"],
        "mlflow.spanOutputs": _assets(record),
    }


def _tags(record: MirrorRecord, definition: Mapping[str, Any]) -> dict[str, str]:
    group = group_of(record)
    predicate = record.statement.predicate
    reproducible = (predicate.get("genops_reproducible") or {}).get("reproducible")
    tags = {
        "genops.record": record.record_id,
        INDEX_TAG: str(record.index),
        "genops.asset": joined(_assets(record)),
        "genops.project": group.project,
        "genops.campaign": (group.campaign or "")[:MAX_TAG_CHARS],
        "genops.build_type": definition["buildType"],
        "genops.reproducible": "" if reproducible is None else str(reproducible).lower(),
    }
    for kind, tag in _KIND_TAGS.items():
        named = [_material(dep) for dep in _dependencies(definition)]
        tags[tag] = joined(f"{m['name']}@{m['digest']}" for m in named if m["kind"] == kind)
    return {key: value for key, value in tags.items() if value}


def _assets(record: MirrorRecord) -> list[str]:
    return [asset_id(subject.sha256) for subject in record.statement.subjects]


def _dependencies(definition: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return definition.get("resolvedDependencies") or []


def _material(dependency: Mapping[str, Any]) -> dict[str, str]:
    notes = dependency.get("annotations") or {}
    return {
        "name": dependency.get("name", ""),
        "kind": notes.get("genops_kind", "material"),
        "digest": asset_id(dependency["digest"]["sha256"]),
        "uri": dependency.get("uri", ""),
    }


def _short_name(build_type: str) -> str:
    """Return `diffusers` of `…/build/diffusers/v1`; another URI stays whole."""
    parts = build_type.rstrip("/").split("/")
    return parts[-2] if len(parts) > 2 and parts[-1].startswith("v") else build_type


def _span_times(record: MirrorRecord) -> tuple[int, int]:
    """Return start and end as the signer claims them; log time where that cannot be a span."""
    metadata = record.statement.predicate.get("runDetails", {}).get("metadata", {})
    try:
        start = parse_time(metadata["startedOn"]) * NS_PER_MS
        end = parse_time(metadata["finishedOn"]) * NS_PER_MS
    except (KeyError, FormatError):
        start = end = 0
    if not 0 < start <= end <= _MAX_NS:
        start = end = record.time_ms * NS_PER_MS
    return start, end
