"""A bundle loads only when every part of it means something; an error points at the place."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from registry.core.schemas import SchemaSet
from registry.errors import PolicyError
from registry.policy.cel import BUDGET, VARIABLES
from registry.policy.loader import load_bundle, parse_bundle
from registry.policy.model import Bundle

DEFAULT = Path(__file__).resolve().parents[2] / "policies" / "default"
HEAD = "name: test\nversion: '1'\n"
RULE = """\
rules:
  - id: licensed
    title: Licensed
    severity: block
    require: ancestors.all(a, a.licence in lists.allowed)
    message: Not licensed
"""


def load(text: str, schemas: SchemaSet, **lists: str) -> Bundle:
    return parse_bundle(text, schemas, **({"allowed": "[MIT]"} | lists))


def refusal(text: str, schemas: SchemaSet, **lists: str) -> PolicyError:
    with pytest.raises(PolicyError) as error:
        load(text, schemas, **lists)
    return error.value


def pointed_at(error: PolicyError) -> str:
    """Return what stands in the shown line from the caret on."""
    _, line, caret = error.message.rsplit("\n", 2)
    return line[caret.index("^") :]


def test_a_bundle_is_what_its_file_says(schemas: SchemaSet) -> None:
    bundle = load(HEAD + RULE, schemas)
    assert (bundle.name, bundle.version) == ("test", "1")
    assert bundle.rules[0].require == "ancestors.all(a, a.licence in lists.allowed)"
    assert bundle.lists == {"allowed": ("MIT",)}


def test_comments_and_layout_do_not_change_the_digest(schemas: SchemaSet) -> None:
    spread = RULE.replace("ancestors.all(", ">-\n      ancestors.all(")
    plain = load(HEAD + RULE, schemas)
    other = load("# why\n" + HEAD + spread, schemas, allowed="# the only one\n- MIT\n")
    assert other.digest == plain.digest
    assert load(HEAD + RULE, schemas, allowed="[MIT, CC0-1.0]").digest != plain.digest


@pytest.mark.parametrize(
    ("good", "bad", "found", "hint"),
    [
        ("a.licence", "a.licens", "licens in", "did you mean licence?"),
        ("lists.allowed", "lists.alowed", "alowed)", "did you mean allowed?"),
        ("ancestors.all", "ancestor.all", "ancestor.all", "did you mean ancestors?"),
        ("a.licence in", "a.licence inn", "inn lists", ""),
        ("a.licence in lists.allowed", "a.licence == 6", "== 6", "texts are quoted"),
        ("a.licence in lists.allowed", "a.approved == 'yes'", "== 'yes'", "texts are quoted"),
    ],
)
@pytest.mark.parametrize(
    "style", ["{}", "'{}'", "|\n      {}", ">-\n      {}", "true\n      && {}"],
    ids=["plain", "quoted", "literal", "folded", "spread"],
)  # fmt: skip
def test_a_mistake_in_a_rule_is_shown_with_a_caret_in_the_file(
    good: str, bad: str, found: str, hint: str, style: str, schemas: SchemaSet
) -> None:
    start, require = RULE.split("require: ")
    expression, rest = require.split("\n", 1)
    if "'" in style:
        expression, bad = expression.replace("'", "''"), bad.replace("'", "''")
        found = found.replace("'", "''")
    text = HEAD + start + "require: " + style.format(expression.replace(good, bad)) + "\n" + rest
    error = refusal(text, schemas)
    assert pointed_at(error).startswith(found)
    line = text.split("\n")[int(error.message.split(":")[1]) - 1]
    assert found in line
    assert hint in error.hint


@pytest.mark.parametrize(
    ("good", "bad", "says"),
    [
        ("severity: block", "severity: fatal", "'fatal' is not one of ['block', 'warn']"),
        ("title: Licensed", "titel: Licensed", "rules[0].titel: unknown field"),
        ("    message: Not licensed\n", "", "'message' is a required property"),
        ("version: '1'", "version: 1.10", "is not of type 'string'"),
        ("id: licensed", "id: Licensed!", "does not match"),
        ("name: test", "name: test\nrulez: []", "rulez: unknown field"),
        ("ancestors.all(a, a.licence in lists.allowed)", "record.index", "gives INT"),
        ("ancestors.all(a, a.licence in lists.allowed)", "dyn(record)", "gives DYN"),
        ("message: Not", "show: asset.id\n    message: Not", "must give a list of texts"),
        ("message: Not", "when: asset.id\n    message: Not", "must give a condition"),
    ],
)
def test_what_does_not_fit_is_refused_at_its_place(
    good: str, bad: str, says: str, schemas: SchemaSet
) -> None:
    text = (HEAD + RULE).replace(good, bad)
    assert text != HEAD + RULE
    error = refusal(text, schemas)
    assert error.message.startswith("policy.yaml:")
    assert says in error.message


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("", "policy.syntax", "is empty"),
        ("name: 'test\n", "policy.syntax", "not YAML"),
        ("name: [1, 2\nrules: 3\n", "policy.syntax", ":2:6: not YAML"),
        ("\tname: test\n", "policy.syntax", ":1:1: not YAML"),
        ("name: \0\n", "policy.syntax", "not YAML"),
        ("a: 1\n---\nb: 2\n", "policy.syntax", ":2:1: not YAML"),
        ("[" * 20_000, "policy.syntax", ":1:33: nested too deeply"),
        ("name: !!python/object/apply:os.system [id]\n", "policy.syntax", ":1:7: tag"),
        ("name: !!bool x\n", "policy.syntax", ":1:7: tag"),
        ("name: !!timestamp x\n", "policy.syntax", ":1:7: tag"),
        ("name: !!int ''\n", "policy.syntax", ":1:7: tag"),
        ("name: !!set {a, b}\n", "policy.syntax", ":1:7: tag"),
        ("name: ! a\n", "policy.syntax", ":1:7: tag"),
        (f"name: {'9' * 5000}\n", "policy.syntax", "not YAML"),
        ("a: &x [1]\nb: *x\n", "policy.invalid", ":2:4: alias *x"),
        ("name: a\nversion: '1'\nname: b\n", "policy.invalid", ":3:1: key name stands twice"),
        ("1: 2\n", "policy.invalid", ":1:1: a key must be text"),
        ("- a\n", "policy.invalid", "is not of type 'object'"),
        ('name: "test\\n"\nversion: "1"\n' + RULE, "policy.invalid", ":1:7: name: "),
        (HEAD + "rules: []\n", "policy.invalid", ":3:8: rules: [] should be non-empty"),
        (HEAD + RULE.replace("block", "warn"), "policy.empty", "no rule that can deny"),
        (HEAD + RULE + RULE.split("\n", 1)[1], "policy.duplicate-rule", ":9:9: a second rule"),
    ],
)
def test_a_file_that_is_no_bundle_is_refused(
    text: str, code: str, says: str, schemas: SchemaSet
) -> None:
    error = refusal(text, schemas)
    assert error.code == code
    assert says in error.message
    assert error.exit_code == 2


def test_what_yaml_would_read_as_a_date_or_a_boolean_stays_text(schemas: SchemaSet) -> None:
    bundle = load(HEAD + RULE, schemas, allowed="[no, on, 2026-01-01]")
    assert bundle.lists["allowed"] == ("no", "on", "2026-01-01")


@pytest.mark.parametrize("what", sorted(BUDGET))
def test_an_expression_over_its_budget_is_refused(what: str, schemas: SchemaSet) -> None:
    over = {
        "characters": "true || '" + "x" * 1990 + "' == ''",
        "comprehensions": "true" + " && taints.all(t, t.direct)" * 5,
        "plus signs": "'' == 'a'" + "+'a'" * 9,
        "commas": f"1 in [{','.join('1' * 34)}]",
    }[what]
    text = HEAD + RULE.replace("ancestors.all(a, a.licence in lists.allowed)", f'"{over}"')
    error = refusal(text, schemas)
    assert what in error.message or "too long" in error.message


def test_types_from_the_checker_cannot_be_built_in_a_rule(schemas: SchemaSet) -> None:
    built = "facts.asset{id: ''}.id == ''"
    text = HEAD + RULE.replace("ancestors.all(a, a.licence in lists.allowed)", f'"{built}"')
    refusal(text, schemas)


@pytest.mark.parametrize("items", ["MIT", "[1]", "[MIT, MIT]", "['']", "{a: b}"])
def test_a_list_holds_texts_each_once(items: str, schemas: SchemaSet) -> None:
    assert refusal(HEAD + RULE, schemas, allowed=items).message.startswith("lists/allowed.yaml:1:")


def test_a_folder_without_a_policy_is_refused(tmp_path: Path, schemas: SchemaSet) -> None:
    with pytest.raises(PolicyError) as error:
        load_bundle(tmp_path, schemas)
    assert error.value.code == "policy.unreadable"
    assert str(tmp_path) in error.value.message


def test_a_list_that_rules_could_not_name_is_refused(tmp_path: Path, schemas: SchemaSet) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT, folder)
    (folder / "lists" / "not-a-name.yaml").write_text("[]\n")
    with pytest.raises(PolicyError, match="not-a-name"):
        load_bundle(folder, schemas)


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path, schemas: SchemaSet) -> None:
    (tmp_path / "policy.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_bundle(tmp_path, schemas)


def test_the_facts_of_the_schema_are_the_variables_of_rules(schemas: SchemaSet) -> None:
    assert tuple(schemas.documents["policy-facts/v2"]["properties"]) == VARIABLES
