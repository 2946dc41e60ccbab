"""Checks documents against the JSON Schemas of their predicate.

`jsonschema-rs` gives the verdict, `jsonschema` the message of a refusal; both are imported when
first used. Schemas are given as values: reading them, and anything on a network, is not done here.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from registry.core.jsonio import escape_pointer
from registry.core.statements import schema_key
from registry.errors import SchemaError

SCHEMA_BASE = "https://w3id.org/genops/schema/"
"""A schema's `$id` is this and its key, such as `generation/v1`."""

_END = re.compile(r"(?<!\\)\$")


class _Validator(Protocol):
    def is_valid(self, instance: Any) -> bool: ...


@dataclass(frozen=True, slots=True)
class SchemaSet:
    """Schemas by `<name>/<version>`; they may refer to each other by `$id`, and to nothing else."""

    documents: Mapping[str, Mapping[str, Any]]
    _compiled: dict[str, _Validator] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def check_statement(self, statement: Mapping[str, Any]) -> None:
        """Check a whole statement document by its predicate type.

        Raises SchemaError: `schema.unknown-predicate`, or `schema.invalid` naming the JSON Pointer
        of what does not fit.
        """
        kind = statement.get("predicateType")
        key = schema_key(kind) if isinstance(kind, str) else None
        if key is None:
            raise SchemaError(
                f"predicate type {kind!r} is not known",
                code="schema.unknown-predicate",
                hint="this version reads the predicate types listed in docs/formats.md",
            )
        self.check(key, statement)

    def check(self, key: str, document: Any) -> None:
        """Check a document against the schema `key`; raises SchemaError (`schema.invalid`)."""
        if not self._validator(key).is_valid(document):
            raise SchemaError(f"document does not fit schema {key}: {self.explain(key, document)}")

    def explain(self, key: str, document: Any) -> str:
        """Say where and why a document does not fit: `<JSON Pointer>: <reason>`; "" if it fits."""
        from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # noqa: PLC0415

        error = best_match(self.reference_validator(key).iter_errors(document))
        if error is None:
            return ""
        pointer = "".join(f"/{escape_pointer(str(step))}" for step in error.absolute_path)
        return f"{pointer or '/'}: {_shorten(error.message)}"

    def reference_validator(self, key: str) -> Any:
        """Return the `jsonschema` validator of a schema: slow, with messages."""
        from referencing import Registry  # noqa: PLC0415
        from referencing.jsonschema import DRAFT202012  # noqa: PLC0415

        resources = [(uri, DRAFT202012.create_resource(doc)) for uri, doc in self._by_uri()]
        registry = Registry().with_resources(resources)
        return _reference_kind()(dict(self._document(key)), registry=registry)

    def _validator(self, key: str) -> _Validator:
        found = self._compiled.get(key)
        if found is None:
            found = self._compiled[key] = self._compile(key)
        return found

    def _compile(self, key: str) -> _Validator:
        import jsonschema_rs  # noqa: PLC0415

        registry = jsonschema_rs.Registry(self._by_uri())
        return jsonschema_rs.Draft202012Validator(
            dict(self._document(key)), registry=registry, offline=True
        )

    def _by_uri(self) -> list[tuple[str, dict[str, Any]]]:
        return [(str(doc["$id"]), dict(doc)) for doc in self.documents.values() if "$id" in doc]

    def _document(self, key: str) -> Mapping[str, Any]:
        try:
            return self.documents[key]
        except KeyError:
            raise SchemaError(f"there is no schema {key}", code="schema.unknown") from None


@functools.cache
def _reference_kind() -> Any:
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # noqa: PLC0415
    from jsonschema.validators import extend  # type: ignore[import-untyped]  # noqa: PLC0415

    return extend(Draft202012Validator, {"pattern": _pattern})


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[Any]:
    """Match as JSON Schema does: to Python, `$` also stands before a newline at the end."""
    from jsonschema import ValidationError  # noqa: PLC0415

    if isinstance(instance, str) and not re.search(_END.sub(r"\\Z", pattern), instance):
        yield ValidationError(f"{instance!r} does not match {pattern!r}")


def _shorten(message: str, limit: int = 300) -> str:
    """Cut a message: `jsonschema` quotes the whole value, and that may be long."""
    return message if len(message) <= limit else f"{message[: limit - 1]}…"
