"""What is different between a trace that MLflow gives back and the one that the log calls for.

Pure: takes both, returns the differences by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from registry.mirrors.trace import TAG_HEAD, StoredTrace, TraceCopy

Finding = tuple[str, str]
"""Where the copy differs, and how."""


def compare(
    wanted: TraceCopy, found: StoredTrace | None, experiment_id: str | None
) -> list[Finding]:
    """Return the differences of a stored trace; none when it is a faithful copy.

    Only what a mirror wrote, and what poses as such (`genops.*`), is compared: other tags,
    attributes and assessments belong to MLflow and its users.
    """
    if found is None:
        return [("trace", "it is missing or incomplete")]
    findings = list(_shape(wanted, found, experiment_id))
    findings += _values("attribute", wanted.attributes, found.attributes)
    findings += _values("tag", wanted.tags, found.tags)
    return findings


def _shape(wanted: TraceCopy, found: StoredTrace, experiment_id: str | None) -> Iterator[Finding]:
    if found.experiment_id != experiment_id:
        yield "experiment", "it is not in its project's experiment, or that was deleted"
    if found.spans != 1:
        yield "spans", f"it has {found.spans} spans, not one"
    if found.name != wanted.name:
        yield "name", f"it is called {found.name!r}, not {wanted.name!r}"
    if (found.start_ns, found.end_ns) != (wanted.start_ns, wanted.end_ns):
        yield "times", "its start or end was changed"


def _values(kind: str, wanted: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Finding]:
    for key, value in wanted.items():
        if key not in found:
            yield f"{kind} {key}", "it was removed"
        elif _text(found[key]) != _text(value):
            yield f"{kind} {key}", "its value was changed"
    for key in sorted(found.keys() - wanted.keys()):
        if key.startswith(TAG_HEAD):
            yield f"{kind} {key}", "it was added"


def _text(value: Any) -> str:
    """Return JSON text, so that `true` is not 1, as it is to Python's `==`."""
    return json.dumps(value, sort_keys=True)
