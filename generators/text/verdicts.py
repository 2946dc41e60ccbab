"""What an independent validator says of a text that was to follow a schema.

Guidance keeps a model on the rails; a cut or a fault of the guide shows here. Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_FAILURES = 16


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a text follows its schema; `document` is the text as JSON, None if it is none.

    `failures` are places in the schema (JSON Pointers), never words of the text; `finished` tells
    that the model ended by itself.
    """

    valid: bool
    finished: bool
    failures: tuple[str, ...]
    document: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return what a record holds of it."""
        return {"valid": self.valid, "finished": self.finished, "failures": list(self.failures)}


def judge(text: str, schema: Mapping[str, Any], *, finished: bool) -> Verdict:
    """Hold a text against a schema, whatever made it."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]

    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return Verdict(valid=False, finished=finished, failures=("not JSON",))
    errors = Draft202012Validator(dict(schema)).iter_errors(document)
    places = ["/" + "/".join(map(str, error.absolute_schema_path)) for error in errors]
    failures = tuple(dict.fromkeys(places))[:MAX_FAILURES]
    return Verdict(not failures, finished, failures, document)
