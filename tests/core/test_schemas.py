"""Schemas: their examples, two validators of one opinion, and refusals that name the place."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from registry.core.schemas import SCHEMA_BASE, SchemaSet
from registry.core.statements import PREDICATES, Statement, predicate_name
from registry.errors import SchemaError

ROOT = Path(__file__).resolve().parents[2] / "schemas"
OWNED = sorted({predicate_name(uri) or "" for uri in PREDICATES} | {"entry", "evidence"})
EXAMPLES = sorted(path for name in OWNED for path in ROOT.glob(f"{name}/examples/*.json"))
VALID = [path for path in EXAMPLES if path.name.startswith("valid-")]


def label(path: Path) -> str:
    return f"{path.parts[-3]}/{path.stem}"


def key_of(path: Path) -> str:
    """Return the schema that an example is for: examples of later versions say so by their name."""
    version = "v2" if "-v2-" in path.name else "v1"
    return f"{path.parts[-3]}/{version}"


def load(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def fast(schemas: SchemaSet, key: str, document: Any) -> bool:
    try:
        schemas.check(key, document)
    except SchemaError:
        return False
    return True


@pytest.mark.parametrize("name", OWNED)
def test_every_schema_is_named_after_its_place_and_has_both_kinds_of_example(
    schemas: SchemaSet, name: str
) -> None:
    versions = [key for key in schemas.documents if key.startswith(f"{name}/")]
    assert f"{name}/v1" in versions
    for key in versions:
        document = schemas.documents[key]
        assert document["$id"] == f"{SCHEMA_BASE}{key}"
        type(schemas.reference_validator(key)).check_schema(document)
        kinds = {path.name.partition("-")[0] for path in EXAMPLES if key_of(path) == key}
        assert kinds == {"valid", "invalid"}


@pytest.mark.parametrize("path", EXAMPLES, ids=label)
def test_examples_are_judged_as_they_are_named(schemas: SchemaSet, path: Path) -> None:
    key, document = key_of(path), load(path)
    expected = path.name.startswith("valid-")
    assert fast(schemas, key, document) is expected
    assert (schemas.explain(key, document) == "") is expected


@pytest.mark.parametrize(
    "path", [p for p in VALID if p.parts[-3] not in {"entry", "evidence"}], ids=label
)
def test_valid_statements_are_found_by_their_type(schemas: SchemaSet, path: Path) -> None:
    raw = path.read_bytes()
    schemas.check_statement(Statement.parse(raw).document)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path] if path else []
    items = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    for key, item in items:
        found += places(item, (*path, key))
    return found


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(path=st.sampled_from(VALID), data=st.data())
def test_both_validators_judge_any_change_alike(
    schemas: SchemaSet, path: Path, data: st.DataObject
) -> None:
    key, document = key_of(path), load(path)
    *head, last = data.draw(st.sampled_from(places(document)))
    parent = document
    for step in head:
        parent = parent[step]
    action = data.draw(st.sampled_from(["delete", "newline", "replace", "add"]))
    if action == "delete":
        del parent[last]
    elif action == "newline" and isinstance(parent[last], str):
        parent[last] += "\n"
    elif action == "add" and isinstance(parent[last], dict):
        parent[last]["genops_unknown"] = 1
    else:
        parent[last] = data.draw(
            st.sampled_from([None, True, 0, -1, 1.5, "", "x", "a" * 64, [], {}])
        )
    assert fast(schemas, key, document) == (schemas.explain(key, document) == "")


FIXED_FORMS = {"sha256", "invocationId", "time", "keyid", "record", "genops_project", "seed"}


def test_no_text_form_takes_a_trailing_newline(schemas: SchemaSet) -> None:
    tried = set()
    for path in VALID:
        key, whole = key_of(path), load(path)
        for *head, last in places(whole):
            document = copy.deepcopy(whole)
            parent = document
            for step in head:
                parent = parent[step]
            if last in FIXED_FORMS and isinstance(parent[last], str):
                parent[last] += "\n"
                assert not fast(schemas, key, document), (path, head, last)
                tried.add(last)
    assert tried == FIXED_FORMS


def test_a_refusal_names_the_place(schemas: SchemaSet) -> None:
    document = load(ROOT / "generation/examples/invalid-plain-actor-name.json")
    with pytest.raises(SchemaError) as refused:
        schemas.check_statement(document)
    assert refused.value.code == "schema.invalid"
    assert "/predicate/genops_actor/name: " in refused.value.message
    assert len(schemas.explain("generation/v1", {"a" * 10_000: 1})) < 500


@pytest.mark.parametrize("kind", ["https://slsa.dev/provenance/v0.2", None, 1, {}])
def test_an_unknown_predicate_is_refused(schemas: SchemaSet, kind: Any) -> None:
    with pytest.raises(SchemaError) as refused:
        schemas.check_statement({"predicateType": kind})
    assert refused.value.code == "schema.unknown-predicate"


def test_a_missing_schema_is_refused() -> None:
    with pytest.raises(SchemaError):
        SchemaSet({}).check("taint/v1", {})


@pytest.mark.parametrize("text", ["2026-11-20T11:07:00.000Z\n", "2026-11-20T11:07:00.000Z\n\n"])
def test_both_validators_end_a_text_where_it_ends(schemas: SchemaSet, text: str) -> None:
    document = load(ROOT / "entry/examples/valid-first.json")
    assert fast(schemas, "entry/v1", document)
    assert schemas.explain("entry/v1", document) == ""
    document["time"] = text
    assert not fast(schemas, "entry/v1", document)
    assert schemas.explain("entry/v1", document).startswith("/time: ")
