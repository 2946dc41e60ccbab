"""The types of the facts, derived from their JSON Schema, as protobuf messages for lint.

Protobuf is what the expression language's checker reads types from; nothing is ever evaluated
over these messages, because a missing field would read as empty there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

SCHEMA = "policy-facts/v2"
"""Key of the facts' schema in a schema set."""
LISTS = "lists"
"""The variable that holds the bundle's own lists."""

_PACKAGE = "facts"
_SCALARS = {"string": 9, "boolean": 8, "integer": 3, "number": 1}  # FieldDescriptorProto.Type
_MESSAGE, _OPTIONAL, _REPEATED = 11, 1, 3


@dataclass(frozen=True, slots=True)
class Variable:
    """A top-level fact: its name, the name of its type, and whether it is a list of that."""

    name: str
    type: str
    repeated: bool


@dataclass(frozen=True, slots=True)
class Shape:
    """The typed facts. `pool` is a protobuf DescriptorPool; `fields` names each struct's fields."""

    pool: Any
    variables: tuple[Variable, ...]
    fields: Mapping[str, tuple[str, ...]]


def shape_of(schema: Mapping[str, Any], lists: Iterable[str]) -> Shape:
    """Return the types of the facts for a bundle with these lists.

    `schema` is the document `policy-facts/v2`: objects, arrays and scalars, written in place.
    """
    from google.protobuf import (  # type: ignore[import-untyped]  # noqa: PLC0415  # lint only
        descriptor_pb2,
        descriptor_pool,
    )

    properties = dict(schema["properties"])
    texts = {"type": "array", "items": {"type": "string"}}
    properties[LISTS] = {"type": "object", "properties": dict.fromkeys(lists, texts)}
    file = descriptor_pb2.FileDescriptorProto(name="facts.proto", package=_PACKAGE, syntax="proto3")
    fields: dict[str, tuple[str, ...]] = {}
    variables = tuple(_variable(file, name, part, fields) for name, part in properties.items())
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(file.SerializeToString())
    return Shape(pool, variables, fields)


def _variable(
    file: Any, name: str, schema: Mapping[str, Any], fields: dict[str, tuple[str, ...]]
) -> Variable:
    repeated = schema["type"] == "array"
    item = schema["items"] if repeated else schema
    if item["type"] == "object":
        struct = _struct(file, name, item, fields)
        return Variable(name, struct, repeated)
    return Variable(name, item["type"], repeated)


def _struct(
    file: Any, name: str, schema: Mapping[str, Any], fields: dict[str, tuple[str, ...]]
) -> str:
    """Add a message for an object and, before it, for the objects in it; return its full name."""
    message = file.message_type.add(name=name)
    properties = schema["properties"]
    for number, (field, part) in enumerate(properties.items(), 1):
        repeated = part["type"] == "array"
        item = part["items"] if repeated else part
        label = _REPEATED if repeated else _OPTIONAL
        entry = message.field.add(name=field, number=number, label=label)
        if item["type"] == "object":
            entry.type = _MESSAGE
            entry.type_name = f".{_struct(file, f'{name}_{field}', item, fields)}"
        else:
            entry.type = _SCALARS[item["type"]]
    full = f"{_PACKAGE}.{name}"
    fields[full] = tuple(properties)
    return full
