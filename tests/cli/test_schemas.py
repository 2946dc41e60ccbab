"""The JSON Schemas under schemas/cli are what the answers are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas

FOLDER = Path(__file__).parents[2] / "schemas" / "cli"


@pytest.mark.parametrize("verb", schemas.answer_types())
def test_a_committed_schema_is_what_the_answer_is(verb: str) -> None:
    committed = (FOLDER / schemas.file_name(verb)).read_text("utf-8")
    assert committed == schemas.text(verb), "run `python -m registry.cli.schemas schemas/cli`"


def test_no_schema_is_left_over() -> None:
    known = {schemas.file_name(verb) for verb in schemas.answer_types()}
    assert {file.name for file in FOLDER.iterdir()} == known


@pytest.mark.parametrize("verb", schemas.answer_types())
def test_a_schema_is_a_schema_with_an_id_of_its_own(verb: str) -> None:
    document = schemas.schema(verb)
    Draft202012Validator.check_schema(document)
    assert document["$id"].endswith(f"/cli/{verb.replace(' ', '-')}/v1")


def verbs_of(command: Any, path: str) -> set[str]:
    """Return the verb, or those below it at any depth."""
    inner = getattr(command, "commands", None)
    if not inner:
        return {path}
    alone = {path} if getattr(command, "default", None) else set()
    return alone.union(*(verbs_of(sub, f"{path} {name}") for name, sub in inner.items()))


def test_every_verb_has_a_schema() -> None:
    from registry.cli.main import command

    root = command()
    context = root.context_class(root, info_name="genops")
    verbs: set[str] = set()
    for name in root.list_commands(context):
        verbs |= verbs_of(root.get_command(context, name), name)
    assert verbs - {"evidence"} == set(schemas.answer_types()) - {schemas.ERROR}


def test_a_field_that_is_missing_does_not_fit() -> None:
    validator = Draft202012Validator(schemas.schema("error"))
    assert validator.is_valid({"error": {"code": "x", "message": "y", "hint": ""}})
    assert not validator.is_valid({"error": {"code": "x", "message": "y"}})
