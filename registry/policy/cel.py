"""The expression language of rules, CEL: the only module that touches `cel-expr-python`.

Rules are checked against typed facts, where a misspelt field is found, and evaluated over plain
maps, where a missing fact is an error and never reads as empty. Knows nothing of rules' meaning.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from registry.errors import PolicyError
from registry.policy.shape import Shape

Wanted = Literal["condition", "texts"]

VARIABLES = (
    "asset",
    "record",
    "signer",
    "materials",
    "ancestors",
    "taints",
    "verified",
    "similar",
    "lists",
    "now",
)
"""The facts that rules may name; the properties of schema `policy-facts/v2`."""

BUDGET = {
    "characters": 2000,
    "comprehensions": 4,
    "plus signs": 8,
    "commas": 32,
}
"""What one expression may hold at most.

The library bounds steps and depth, but not the size of values: a few nested comprehensions that
each double a text or a list would take all memory. These bounds keep growth below 10^4.
"""

_COMPREHENSION = re.compile(r"\b(?:all|exists|exists_one|existsOne|filter|map)\b")
_ERROR = re.compile(r"ERROR: <input>:(-?\d+):(-?\d+): (.*)")
_NO_FIELD = re.compile(r"undefined field '(\w+)' not found in struct '([\w.]+)'")
_NO_NAME = re.compile(r"undeclared reference to '(\w+)")
_NO_OVERLOAD = re.compile(r"found no matching overload for '(\S+)' applied to '(.*)'")


@dataclass(frozen=True, slots=True)
class Finding:
    """Why an expression cannot be used, and at which of its characters (None: all of it)."""

    message: str
    offset: int | None = None
    hint: str = ""


class Checker:
    """Checks expressions against the types of the facts (lint)."""

    def __init__(self, shape: Shape) -> None:
        from cel_expr_python import cel  # noqa: PLC0415  # one module, loaded when first used

        self._shape = shape
        self._wanted = {"condition": cel.Type.BOOL, "texts": cel.Type.List(cel.Type.STRING)}
        scalars = {
            "string": cel.Type.STRING,
            "boolean": cel.Type.BOOL,
            "integer": cel.Type.INT,
            "number": cel.Type.DOUBLE,
        }
        variables = {}
        for variable in shape.variables:
            kind = scalars.get(variable.type) or cel.Type(variable.type)
            variables[variable.name] = cel.Type.List(kind) if variable.repeated else kind
        self._env = cel.NewEnv(descriptor_pool=shape.pool, variables=variables)

    def check(self, expression: str, wanted: Wanted) -> Finding | None:
        """Say what is wrong with an expression that must give a condition or a list of texts."""
        if over := _over_budget(expression):
            return over
        try:
            found = self._env.compile(expression).return_type()
            _compile(expression)
        except RuntimeError as error:
            return self._finding(expression, str(error))
        if found != self._wanted[wanted]:
            what = "a condition (true or false)" if wanted == "condition" else "a list of texts"
            return Finding(f"must give {what}, but gives {found.name()}")
        return None

    def _finding(self, expression: str, text: str) -> Finding:
        located = _ERROR.search(text)
        if located is None:
            return Finding(text.partition("\n")[0])
        line, column, message = int(located[1]), int(located[2]), located[3]
        offset = _offset(expression, line, column)
        if field := _NO_FIELD.search(message):
            # the position is that of the dot before the name
            return self._no_field(field[1], field[2], None if offset is None else offset + 1)
        if name := _NO_NAME.search(message):
            hint = _nearest(name[1], [v.name for v in self._shape.variables])
            return Finding(f"there is no fact or function called {name[1]}", offset, hint)
        if overload := _NO_OVERLOAD.search(message):
            return Finding(
                f"operator or function {overload[1].strip('_')} does not take {overload[2]}",
                offset,
                "types are strict: texts are quoted, whole numbers have no decimal point",
            )
        return Finding(message.split(" expecting ")[0], offset)

    def _no_field(self, field: str, struct: str, offset: int | None) -> Finding:
        known = self._shape.fields.get(struct, ())
        where = struct.rpartition(".")[2]
        return Finding(f"{where} has no field {field}", offset, _nearest(field, known))


class BoundFacts:
    """The facts on one asset, ready to evaluate any number of expressions over."""

    def __init__(self, facts: Mapping[str, Any]) -> None:
        known = {name: _plain(facts[name]) for name in VARIABLES if name in facts}
        self._activation = _environment().Activation(known)

    def holds(self, expression: str) -> bool:
        """Evaluate a condition. Raises PolicyError (`policy.evaluation`) unless it is a bool."""
        value = self._evaluate(expression).value()
        if value is True or value is False:
            return bool(value)
        raise _evaluation_error(f"it gives {type(value).__name__}, not true or false")

    def texts(self, expression: str) -> tuple[str, ...]:
        """Evaluate a list of texts. Raises PolicyError (`policy.evaluation`) for anything else."""
        value = self._evaluate(expression).plain_value()
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise _evaluation_error("it does not give a list of texts")
        return tuple(value)

    def _evaluate(self, expression: str) -> Any:
        from cel_expr_python import cel  # noqa: PLC0415

        if over := _over_budget(expression):
            raise _evaluation_error(over.message)
        try:
            value = _compile(expression).eval(self._activation)
        except (RuntimeError, MemoryError) as error:
            raise _evaluation_error(str(error)) from None
        if value.type() == cel.Type.ERROR:
            raise _evaluation_error(str(value.value()))
        return value


@functools.cache
def _environment() -> Any:
    from cel_expr_python import cel  # noqa: PLC0415

    return cel.NewEnv(variables=dict.fromkeys(VARIABLES, cel.Type.DYN))


@functools.lru_cache(maxsize=1024)
def _compile(expression: str) -> Any:
    return _environment().compile(expression)


def _plain(value: Any) -> Any:
    """Return dicts and lists only: other containers reach the language as unknown objects."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _over_budget(expression: str) -> Finding | None:
    used = {
        "characters": len(expression),
        "comprehensions": len(_COMPREHENSION.findall(expression)),
        "plus signs": expression.count("+"),
        "commas": expression.count(","),
    }
    for what, count in used.items():
        if count > BUDGET[what]:
            return Finding(
                f"{count} {what} in one expression; at most {BUDGET[what]} are allowed",
                hint="split the rule in two, or put fixed values into a list",
            )
    return None


def _offset(expression: str, line: int, column: int) -> int | None:
    """Return the index of a 1-based line and column, None when the library gives none."""
    lines = expression.split("\n")
    if not 1 <= line <= len(lines) or column < 1:
        return None
    return sum(len(text) + 1 for text in lines[: line - 1]) + column - 1


def _nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known) or 'none'}"


def _evaluation_error(why: str) -> PolicyError:
    return PolicyError(f"cannot be evaluated: {why}", code="policy.evaluation")
