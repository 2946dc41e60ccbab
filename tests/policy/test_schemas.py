"""Every schema of policies accepts its valid examples and refuses its invalid ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from registry.core.schemas import SchemaSet
from registry.errors import SchemaError

SCHEMAS = Path(__file__).resolve().parents[2] / "schemas"
NAMES = ("policy", "policy-case", "policy-facts", "policy-list")
EXAMPLES = sorted(file for name in NAMES for file in (SCHEMAS / name / "examples").glob("*.json"))


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda file: f"{file.parts[-3]}/{file.stem}")
def test_examples_are_judged_as_they_are_named(file: Path, schemas: SchemaSet) -> None:
    version = "v2" if "-v2-" in file.name else "v1"
    key, document = f"{file.parts[-3]}/{version}", json.loads(file.read_text())
    messages = schemas.explain(key, document)
    if file.name.startswith("valid-"):
        schemas.check(key, document)
        assert messages == ""
    else:
        with pytest.raises(SchemaError):
            schemas.check(key, document)
        assert messages


@pytest.mark.parametrize("name", NAMES)
def test_every_schema_has_both_kinds_of_example(name: str) -> None:
    kinds = {file.name.split("-")[0] for file in EXAMPLES if file.parts[-3] == name}
    assert kinds == {"valid", "invalid"}
