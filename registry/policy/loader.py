"""From a folder to a bundle that parses, fits its schema and lints.

A folder holds `policy.yaml`, `lists/<name>.yaml` and `tests/*.yaml`; schemas are given as values.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from registry.core.schemas import SchemaSet
from registry.errors import PolicyError
from registry.policy.cel import Checker, Wanted
from registry.policy.document import Document, Folder, parse_document, read_document
from registry.policy.model import Bundle, Rule
from registry.policy.shape import SCHEMA, shape_of

__all__ = ["Bundle", "load_bundle", "parse_bundle", "yaml_files"]

MAIN = "policy.yaml"

_EXPRESSIONS: tuple[tuple[str, Wanted], ...] = (
    ("when", "condition"),
    ("require", "condition"),
    ("show", "texts"),
)
_LIST_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def load_bundle(folder: Folder, schemas: SchemaSet) -> Bundle:
    """Load the bundle in a folder.

    Raises PolicyError, naming file, line and column with a caret: `policy.unreadable`,
    `policy.syntax`, `policy.empty`, `policy.duplicate-rule`, and `policy.invalid` for what does
    not fit the schema, names an unknown fact, or is no condition.
    """
    document = read_document(folder / MAIN, f"{folder}/{MAIN}")
    lists = [
        (_list_name(file, name), read_document(file, name))
        for file, name in yaml_files(folder, "lists")
    ]
    return _bundle(document, lists, schemas)


def parse_bundle(text: str, schemas: SchemaSet, *, name: str = MAIN, **lists: str) -> Bundle:
    """Load a bundle from the text of its `policy.yaml` and of its lists; raises as `load_bundle`.

    `name` stands for the file in messages.
    """
    documents = [(key, parse_document(yaml, f"lists/{key}.yaml")) for key, yaml in lists.items()]
    return _bundle(parse_document(text, name), documents, schemas)


def yaml_files(folder: Folder, kind: str) -> Iterator[tuple[Folder, str]]:
    """Yield the YAML files of a bundle's `lists` or `tests`, with their names, in order."""
    part = folder / kind
    if not part.is_dir():
        return
    for file in sorted(part.iterdir(), key=lambda entry: entry.name):
        if file.name.endswith((".yaml", ".yml")):
            yield file, f"{part}/{file.name}"


def _bundle(document: Document, lists: list[tuple[str, Document]], schemas: SchemaSet) -> Bundle:
    document.check(schemas, "policy/v1")
    for _, items in lists:
        items.check(schemas, "policy-list/v1")
    source = document.value
    _check_ids(document, source["rules"])
    names = [name for name, _ in lists]
    checker = Checker(shape_of(schemas.documents[SCHEMA], names))
    for number, rule in enumerate(source["rules"]):
        _lint(document, number, rule, checker)
    return Bundle(
        name=source["name"],
        version=source["version"],
        rules=tuple(Rule(**rule) for rule in source["rules"]),
        lists={name: tuple(items.value) for name, items in lists},
    )


def _check_ids(document: Document, rules: list[dict[str, Any]]) -> None:
    """Refuse a second rule of the same id, where it stands; the bundle itself refuses it too."""
    seen: set[str] = set()
    for number, rule in enumerate(rules):
        if rule["id"] in seen:
            error = document.error(["rules", number, "id"], f"a second rule {rule['id']}")
            raise PolicyError(
                error.message, code="policy.duplicate-rule", hint="give each rule its own id"
            )
        seen.add(rule["id"])


def _lint(document: Document, number: int, rule: dict[str, Any], checker: Checker) -> None:
    for field, wanted in _EXPRESSIONS:
        if field not in rule:
            continue
        finding = checker.check(rule[field], wanted)
        if finding is not None:
            raise document.error(
                ["rules", number, field],
                f"rule {rule['id']}, {field}: {finding.message}",
                offset=finding.offset,
                hint=finding.hint,
            )


def _list_name(file: Folder, name: str) -> str:
    stem = file.name.rpartition(".")[0]
    if _LIST_NAME.fullmatch(stem) is None:
        raise PolicyError(
            f"{name}: a list cannot be called {stem}",
            hint="rules write lists.<name>: use lower-case letters, digits and underscores",
        )
    return stem
