"""The terms of a search, such as `orientation:portrait width:1024.. not-campaign:spring`.

Pure text to values; what they mean in a database is not known here. A word that is no term is
refused with what it could have been, never guessed.
"""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from registry.core.search_values import (
    CHOICES,
    Name,
    Near,
    Ratio,
    Span,
    read_colour,
    read_format,
    read_number,
    read_octets,
    read_ratio,
    read_seed,
    read_span,
)
from registry.errors import InputError

Value = str | Name | Near | Ratio | Span
SORTS = ("newest", "oldest", "largest", "smallest", "heaviest", "lightest")
"""Orders of an answer: by log index, by pixels, by bytes."""
MOST_TERMS = 40
MOST_CHARACTERS = 2000
NOT = "not-"

_TERM = re.compile(r"(not-)?([a-zA-Z]+)\s*(:|>=|<=|>|<|=)\s*(.*)", re.DOTALL)
_ALIASES = {"color": "colour", "license": "licence", "size": "bytes", "time": "recorded"}


@dataclass(frozen=True, slots=True)
class Term:
    """One condition: the field has one of the values, or, `negated`, none of them.

    `text` is the term in its one spelling.
    """

    field: str
    values: tuple[Value, ...]
    negated: bool
    text: str


@dataclass(frozen=True, slots=True)
class Field:
    """What can be asked for: what its values are, in a line, and an example."""

    takes: str
    example: str
    read: Callable[[str], Value]
    several: bool = True


def _choice(field: str) -> Callable[[str], Value]:
    def read(text: str) -> Value:
        if text.lower() not in CHOICES[field]:
            raise ValueError(f"one of {', '.join(CHOICES[field])}")
        return text.lower()

    return read


_NAME = "a name, * for any characters"
_SOURCE = f"{_NAME}, or 8 or more hex digits"
FIELDS: Mapping[str, Field] = {
    "kind": Field("how it came in: generated or ingested", "kind:ingested", _choice("kind")),
    "project": Field(_NAME, "project:brand", Name),
    "campaign": Field(f"{_NAME}; none for no campaign", "campaign:spring-*", Name),
    "format": Field("a format, group or media type", "format:png,webp", read_format),
    "orientation": Field(
        "portrait, landscape or square", "orientation:portrait", _choice("orientation")
    ),
    "width": Field("pixels, or a range of them", "width:1024..", read_number),
    "height": Field("pixels, or a range of them", "height:512..1024", read_number),
    "ratio": Field("width to height, within a hundredth", "ratio:16:9", read_ratio),
    "bytes": Field("a size or range; k, M and G are thousands", "bytes:..5M", read_octets),
    "colour": Field(
        "#rrggbb or a CSS name; share= of the area in percent, within= in CIE Lab",
        "colour:#ff6600,share=20,within=15",
        read_colour,
        several=False,
    ),
    "model": Field(f"{_SOURCE}, of a model it derives from", "model:base", Name),
    "lora": Field(f"{_SOURCE}, of a LoRA it derives from", "lora:brandx", Name),
    "from": Field(f"{_SOURCE}, of anything it derives from", "from:3f2a9c81", Name),
    "licence": Field("the licence declared of a source", "licence:apache-2.0", Name),
    "seed": Field("the number that it was made with", "seed:42", read_seed),
    "recorded": Field(
        "a day, month, year, or range of them in UTC; 7d or 24h for the last ones",
        "recorded:2026-10..2026-11",
        read_span,
        several=False,
    ),
    "tainted": Field(
        "yes or no: whether a standing taint reaches it", "tainted:no", _choice("tainted")
    ),
    "decision": Field(
        "the newest decision of a gate: passed, failed or none",
        "decision:none",
        _choice("decision"),
    ),
    "draft": Field("no, or what became of it: draft, kept, expired", "draft:no", _choice("draft")),
    "reproducible": Field(
        "yes or no, as its record says", "reproducible:yes", _choice("reproducible")
    ),
}
"""Every field of a term, in the order in which they are explained."""


def parse(terms: str | Iterable[str]) -> tuple[Term, ...]:
    """Read terms: one string, split as a shell does, or words that are one term each.

    Raises InputError: `search.syntax`, `search.field`, `search.value`, `search.limit`.
    """
    words = split(terms) if isinstance(terms, str) else list(terms)
    if len(words) > MOST_TERMS or sum(map(len, words)) > MOST_CHARACTERS:
        raise InputError(
            f"a search has at most {MOST_TERMS} terms and {MOST_CHARACTERS} characters",
            code="search.limit",
        )
    return tuple(_parse(word.strip()) for word in words)


def split(text: str) -> list[str]:
    """Return the words of a query, split and unquoted as a shell does."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters, lexer.escape = True, "", ""
    try:
        return list(lexer)
    except ValueError:
        raise InputError(
            f"a quote in {text[:80]!r} is not closed",
            code="search.syntax",
            hint="quote a value with spaces: campaign:'spring launch'",
        ) from None


def canonical(terms: Sequence[Term]) -> str:
    """Return terms as the text that `parse` reads to the same."""
    return shlex.join(term.text for term in terms)


def _parse(word: str) -> Term:
    found = _TERM.fullmatch(word)
    if found is None:
        raise _no_term(word)
    name = _ALIASES.get(found[2].lower(), found[2].lower())
    if name not in FIELDS:
        raise _no_field(found[2])
    operator, value = found[3], found[4].strip()
    if not value:
        raise _no_value(name, value, FIELDS[name].takes)
    if operator not in {":", "="}:
        value = _as_range(name, operator, value)
    field = FIELDS[name]
    parts = [part.strip() for part in value.split(",")] if field.several else [value]
    try:
        values = tuple(field.read(part) for part in parts)
    except ValueError as error:
        raise _no_value(name, value, str(error)) from None
    return Term(name, values, bool(found[1]), f"{found[1] or ''}{name}:{value}")


def _as_range(name: str, operator: str, value: str) -> str:
    """Return `>= 1024` as the range that it means."""
    if name == "recorded" and len(operator) == 2:
        return f"{value}.." if operator == ">=" else f"..{value}"
    if name not in {"width", "height", "bytes"}:
        raise InputError(
            f"{name} cannot be compared with {operator}",
            code="search.value",
            hint=f"write it like {FIELDS[name].example}",
        )
    reader = FIELDS[name].read
    try:
        span = reader(value)
    except ValueError as error:
        raise _no_value(name, value, str(error)) from None
    if not isinstance(span, Span) or span.low is None or span.low != span.high:
        raise _no_value(name, value, f"one number after {operator}")
    if operator.startswith(">"):
        return f"{span.low + (operator == '>')}.."
    return f"..{span.low - (operator == '<')}"


def _no_term(word: str) -> InputError:
    return InputError(
        f"{word[:80]!r} is no term of a search",
        code="search.syntax",
        hint=f"write FIELD:VALUE, such as campaign:{word[:20] or 'spring'}; fields are "
        f"{', '.join(FIELDS)}",
    )


def _no_field(name: str) -> InputError:
    near = difflib.get_close_matches(name.lower().removeprefix("not"), FIELDS, n=1)
    meant = f"did you mean {FIELDS[near[0]].example}? " if near else ""
    return InputError(
        f"nothing is searched by {name[:40]!r}",
        code="search.field",
        hint=f"{meant}fields are {', '.join(FIELDS)}",
    )


def _no_value(name: str, value: str, takes: str) -> InputError:
    return InputError(
        f"{name}:{value[:80]} cannot be searched for; {name} takes {takes}",
        code="search.value",
        hint=f"for example {FIELDS[name].example}",
    )
