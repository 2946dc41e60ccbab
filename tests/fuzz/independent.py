"""A second opinion on JSON and schemas, which shares no code with the registry's own."""

from __future__ import annotations

import functools
import json
import math
import re
from typing import Any

from jsonschema import Draft202012Validator, ValidationError, validators
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from tests.fuzz import samples

MAX_DEPTH = 64
_SAFE = 2**53
_FIELDS = ["_type", "predicate", "predicateType", "subject"]


def strict_json(data: bytes) -> Any:
    """Read JSON that every reader reads alike; raises ValueError for all other."""
    text = data.decode("utf-8")
    value = json.loads(text, object_pairs_hook=_distinct, parse_constant=_refused)
    _check(value, 0)
    return value


def fits_its_schema(data: bytes) -> bool:
    """Tell whether a payload is a statement that fits the schema of its predicate type.

    The schema is found by the type that it requires, not by the registry's table of types.
    """
    try:
        document = strict_json(data)
    except (ValueError, RecursionError):
        return False
    if not isinstance(document, dict) or sorted(document) != _FIELDS or len(data) > 2**20:
        return False
    kind, subjects = document["predicateType"], document["subject"]
    validator = _by_type().get(kind) if isinstance(kind, str) else None
    if validator is None or not validator.is_valid(document):
        return False
    named = [subject.get("name") for subject in subjects]
    return named == [f"out/{number}" for number in range(len(named))]


@functools.cache
def _by_type() -> dict[str, Any]:
    documents = {key: dict(doc) for key, doc in samples.schemas().documents.items()}
    resources = [(doc["$id"], DRAFT202012.create_resource(doc)) for doc in documents.values()]
    registry = Registry().with_resources(resources)
    kind = validators.extend(Draft202012Validator, {"pattern": _pattern})
    found = {}
    for document in documents.values():
        required = document.get("properties", {}).get("predicateType", {}).get("const")
        if required is not None:
            assert required not in found, f"two schemas are for {required}"
            found[required] = kind(document, registry=registry)
    return found


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Any:
    """Match as JSON Schema's regular expressions do: `$` is the end, not a newline before it."""
    if isinstance(instance, str) and not re.search(pattern.replace("$", r"\Z"), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        raise ValueError("a key twice")
    return dict(pairs)


def _refused(name: str) -> Any:
    raise ValueError(name)


def _check(value: Any, depth: int) -> None:
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("not finite")
    elif type(value) is int and abs(value) >= _SAFE:
        raise ValueError("not safe")
    elif isinstance(value, (dict, list)):
        if depth >= MAX_DEPTH:
            raise ValueError("too deep")
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(item, depth + 1)
