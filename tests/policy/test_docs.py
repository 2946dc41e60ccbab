"""The guide's examples load, lint and pass; what it says of facts, budgets and errors is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from registry.core.schemas import SchemaSet
from registry.errors import PolicyError
from registry.policy.cases import parse_cases, run_cases
from registry.policy.cel import BUDGET
from registry.policy.loader import parse_bundle

GUIDE = (Path(__file__).resolve().parents[2] / "docs" / "policy.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"```yaml\n# (\S+)\n(.*?)```", GUIDE, re.DOTALL))
LISTS = {"our_licences": BLOCKS["lists/our_licences.yaml"]}


def test_the_example_bundle_passes_its_example_tests_with_full_coverage(
    schemas: SchemaSet,
) -> None:
    bundle = parse_bundle(BLOCKS["policy.yaml"], schemas, **LISTS)
    report = run_cases(bundle, parse_cases(BLOCKS["tests/cases.yaml"], schemas))
    assert [(case.name, case.problems) for case in report.cases if not case.ok] == []
    assert report.uncovered == ()


def test_the_example_of_a_lint_error_is_what_lint_says(schemas: SchemaSet) -> None:
    shown = re.search(r"```\n(policy\.yaml:.*?)```", GUIDE, re.DOTALL)
    assert shown is not None
    text = "# policy.yaml\n" + BLOCKS["policy.yaml"].replace("a.licence in", "a.licens in", 1)
    with pytest.raises(PolicyError) as error:
        parse_bundle(text, schemas, **LISTS)
    assert f"{error.value.message}\nhint: {error.value.hint}\n" == shown[1]


def test_every_fact_and_field_of_the_schema_stands_in_the_guide(schemas: SchemaSet) -> None:
    for name, schema in schemas.documents["policy-facts/v2"]["properties"].items():
        row = re.search(rf"^\| `{name}` \|(.*)\|$", GUIDE, re.MULTILINE)
        assert row is not None, name
        fields = schema.get("items", schema).get("properties", {})
        assert [f for f in fields if f"`{f}`" not in row[1]] == []


def test_the_budgets_in_the_guide_are_the_ones_enforced() -> None:
    said = " ".join(GUIDE.split())
    assert f"at most {BUDGET['characters']:,} characters" in said
    assert f"{BUDGET['comprehensions']} comprehensions" in said
    assert f"{BUDGET['plus signs']} plus signs and {BUDGET['commas']} commas" in said
