"""YAML files that remember where everything stands, so that an error can point at it.

A strict reading: one document, no aliases, no tags, no duplicate keys, no dates, and only `true`
and `false` are booleans. Knows nothing of what a document means.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from registry.core.schemas import SchemaSet
from registry.errors import PolicyError

Folder = Traversable | Path
Step = str | int

MAX_BYTES = 1024 * 1024
"""Largest file of a bundle."""
MAX_DEPTH = 32
"""Most nested lists and mappings."""
_EXCERPT = 120
"""Most characters of a line that a message shows."""
_QUOTED = 100
_SYNTAX_HINT = "check quotes, brackets and indentation"


@dataclass(frozen=True, slots=True)
class Document:
    """A parsed file: its name for messages, its text and value, and the tree behind the value."""

    name: str
    text: str
    value: Any
    root: yaml.Node

    def error(
        self, path: Sequence[Step], message: str, *, offset: int | None = None, hint: str = ""
    ) -> PolicyError:
        """Return an error that names file, line and column, and shows the line with a caret.

        `path` leads to a value as in a JSON Pointer, to the deepest part of it that exists;
        `offset` is a character in that value, where it is text.
        """
        index = self._locate(path, offset)
        return _error(self.name, self.text, index, message, hint)

    def check(self, schemas: SchemaSet, key: str) -> None:
        """Check the value against a schema. Raises PolicyError at the first misfit."""
        misfits = list(schemas.reference_validator(key).iter_errors(self.value))
        if misfits:
            path, message = _worst(misfits)
            where = f"{_dotted(path)}: " if path else ""
            raise self.error(path, where + message, hint=f"see schema {key}")

    def _locate(self, path: Sequence[Step], offset: int | None) -> int:
        node = self.root
        for step in path:
            child = _child(node, step)
            if child is None:
                break
            node = child
        if offset is None or not isinstance(node, yaml.ScalarNode):
            return int(node.start_mark.index)
        return _source_index(self.text, node, offset)


def read_document(file: Folder, name: str) -> Document:
    """Read a YAML file. Raises PolicyError (`policy.unreadable`, `policy.syntax`)."""
    try:
        data = file.read_bytes()
        if len(data) > MAX_BYTES:
            raise PolicyError(f"{name} is larger than {MAX_BYTES} bytes", code="policy.unreadable")
        return parse_document(data.decode("utf-8"), name)
    except OSError as error:
        raise PolicyError(
            f"cannot read {name}: {error.strerror}",
            code="policy.unreadable",
            hint="a bundle is a folder with a policy.yaml, and maybe lists and tests",
        ) from error
    except UnicodeDecodeError as error:
        raise PolicyError(f"{name} is not UTF-8: {error}", code="policy.syntax") from None


def parse_document(text: str, name: str) -> Document:
    """Parse YAML text. Raises PolicyError (`policy.syntax`)."""
    try:
        _refuse_bombs(text, name)
        loader = _Loader(text)
        root = loader.get_single_node()
        if root is None:
            raise PolicyError(f"{name} is empty", code="policy.syntax")
        _refuse_duplicates(root, text, name)
        return Document(name, text, loader.construct_document(root), root)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = f"not YAML: {error.problem or error.context}"
        raise _error(
            name, text, mark.index if mark else 0, what, _SYNTAX_HINT, "policy.syntax"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise PolicyError(f"{name} is not YAML: {error}", code="policy.syntax") from None


class _Loader(yaml.SafeLoader):
    """The safe loader without YAML 1.1's surprises: `no` is a text and `2026-01-01` is one too."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, regexp) for tag, regexp in resolvers if not tag.endswith((":timestamp", ":bool"))]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|false)$"), list("tf"))


def _refuse_bombs(text: str, name: str) -> None:
    """Refuse aliases, a few of which can stand for more than memory holds, tags, and deep nesting.

    With a tag, a value says of which type it is: no document here needs one, and the library fails
    on some that lie.
    """
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        index = event.start_mark.index if event.start_mark else 0
        if isinstance(event, yaml.AliasEvent):
            what = f"alias *{event.anchor}: aliases are not taken"
            raise _error(name, text, index, what, "write the value out")
        if isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)) and event.tag:
            what = f"tag {event.tag}: tags are not taken"
            raise _error(name, text, index, what, "leave it out", "policy.syntax")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise _error(name, text, index, "nested too deeply", "", "policy.syntax")


def _refuse_duplicates(root: yaml.Node, text: str, name: str) -> None:
    for mapping in _mappings(root):
        seen: set[str] = set()
        for key, _ in mapping.value:
            if not isinstance(key, yaml.ScalarNode) or key.tag != "tag:yaml.org,2002:str":
                raise _error(name, text, key.start_mark.index, "a key must be text", "quote it")
            if key.value in seen:
                what = f"key {key.value} stands twice"
                raise _error(name, text, key.start_mark.index, what, "the first would be lost")
            seen.add(key.value)


def _mappings(root: yaml.Node) -> Iterator[yaml.MappingNode]:
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.MappingNode):
            yield node
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def _child(node: yaml.Node, step: Step) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        found = (value for key, value in node.value if key.value == step)
        return next(found, None)
    if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        child: yaml.Node = node.value[step]
        return child
    return None


def _source_index(text: str, node: yaml.ScalarNode, offset: int) -> int:
    """Return where in the file a character of a scalar stands.

    Folding changes only white space, so the characters that are none are counted off.
    """
    start = node.start_mark.index
    if node.style in {"|", ">"}:
        start = text.index("\n", start) + 1
    elif node.style in {"'", '"'}:
        start += 1
    left = sum(not char.isspace() for char in node.value[:offset])
    for index in range(start, node.end_mark.index):
        if not text[index].isspace():
            if left == 0:
                return index
            left -= 1
    return int(node.end_mark.index)


def _error(
    name: str, text: str, index: int, message: str, hint: str, code: str = "policy.invalid"
) -> PolicyError:
    index = min(index, len(text))
    line = text.count("\n", 0, index) + 1
    start = text.rfind("\n", 0, index) + 1
    column = index - start
    place = f"{name}:{line}:{column + 1}"
    return PolicyError(
        f"{place}: {message}{_excerpt(text[start:].partition(chr(10))[0], column)}",
        code=code,
        hint=hint,
    )


def _excerpt(line: str, column: int) -> str:
    """Return the line, or the part of a long one around the column, with a caret below."""
    first = 0 if len(line) <= _EXCERPT else max(0, column - _EXCERPT // 2)
    shown = line[first : first + _EXCERPT].rstrip()
    if not shown:
        return ""
    gap = "".join("\t" if char == "\t" else " " for char in line[first:column])
    return f"\n  {shown}\n  {gap}^"


def _worst(misfits: list[Any]) -> tuple[list[Step], str]:
    """Return path and message of what to tell first: a field that is not known, then the rest.

    A misspelt field is unknown and leaves a required one missing; the spelling is the cause.
    """
    from jsonschema.exceptions import best_match  # type: ignore[import-untyped]  # noqa: PLC0415

    for misfit in misfits:
        if misfit.validator == "additionalProperties" and "properties" in misfit.schema:
            known = misfit.schema["properties"]
            field = next(name for name in misfit.instance if name not in known)
            return [*misfit.absolute_path, field], f"unknown field; known are {', '.join(known)}"
    misfit = best_match(misfits)
    message = str(misfit.message)
    if len(message) > 2 * _QUOTED:  # it quotes the whole value, and says what is wrong at the end
        message = f"{message[:_QUOTED]}…{message[-_QUOTED:]}"
    return list(misfit.absolute_path), message


def _dotted(path: Sequence[Step]) -> str:
    steps = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path)
    return steps.removeprefix(".")
