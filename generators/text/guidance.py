"""Keeps a model's output to a JSON Schema, token by token, with llguidance.

Knows tokens and schemas; neither records nor judges what came out.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import TYPE_CHECKING, Any

from registry.errors import InputError, MissingExtraError

if TYPE_CHECKING:
    import torch

COMPACT = {"whitespace_flexible": False}
"""No white space but what strings hold: one spelling, and nothing for a model to dawdle in."""


def engine() -> dict[str, Any]:
    """Return what keeps the output to its schema, as a record names it."""
    return {"llguidance": metadata.version("llguidance"), "options": dict(COMPACT)}


def check_schema(schema: Mapping[str, Any]) -> None:
    """Raise InputError (`text.schema`) for what is no JSON Schema, or cannot be kept to."""
    from jsonschema import Draft202012Validator  # type: ignore[import-untyped]
    from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]

    try:
        Draft202012Validator.check_schema(dict(schema))
    except SchemaError as error:
        where = "/".join(map(str, error.absolute_path)) or "its top"
        raise _unfit(f"it is no JSON Schema: {error.message} (at {where})") from None
    if not _is_closed(schema):
        raise _unfit("it refers to another document")
    _, matcher = _library()
    failed, messages = matcher.validate_grammar_with_warnings(_grammar(schema))
    if failed:
        raise _unfit(f"a model cannot be kept to it: {messages[0].splitlines()[0]}")


def spelled(schema: Mapping[str, Any]) -> bytes:
    """Return a schema as bytes, its properties in their order: a model writes them in it."""
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


class SchemaGuide:
    """A logits processor (transformers) that allows only what continues valid JSON.

    For sampling and greedy search: each row of the batch must go on where it stopped. One call of
    `generate` long; `eos` are the ids that end an answer.
    """

    def __init__(self, tokenizer: Any, schema: Mapping[str, Any], eos: Sequence[int]) -> None:
        self._tokenizer = tokenizer
        self._grammar = _grammar(schema)
        self._eos = list(eos)
        self._rows: list[Any] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores (rows, vocabulary), minus infinity where a token does not fit."""
        import torch

        if not self._rows:
            self._start(*scores.shape)
        else:
            self._advance(input_ids[:, -1].tolist())
        fitting = torch.stack([self._fitting(row, scores.shape[1]) for row in self._rows])
        return scores.masked_fill(~fitting.to(scores.device), float("-inf"))

    def _start(self, rows: int, vocabulary: int) -> None:
        tokenizer, matcher = _library()
        words = tokenizer(self._tokenizer, n_vocab=vocabulary, eos_token=self._eos)
        first = matcher(words, self._grammar, log_level=0)
        if first.is_error():
            raise _unfit(f"a model cannot be kept to it: {first.get_error().splitlines()[0]}")
        self._rows = [first, *(first.deep_copy() for _ in range(rows - 1))]

    def _advance(self, chosen: Sequence[int]) -> None:
        for row, token in zip(self._rows, chosen, strict=True):
            # A finished row is padded until the longest one is done.
            if not row.is_stopped() and not row.consume_token(token):
                raise _unfit(f"it was lost: {row.get_error().splitlines()[0]}")

    def _fitting(self, row: Any, vocabulary: int) -> torch.Tensor:
        """Return the mask (vocabulary,) of tokens that may come next; all of them after the end."""
        import numpy as np
        import torch

        if row.is_stopped():
            mask = torch.zeros(vocabulary, dtype=torch.bool)
            mask[self._eos] = True
            return mask
        packed = np.frombuffer(row.compute_bitmask(), dtype=np.uint8)
        bits = np.unpackbits(packed, bitorder="little")[:vocabulary]
        return torch.from_numpy(bits.astype(bool))


def _is_closed(part: Any) -> bool:
    """Tell whether all references stay inside: a validator must fetch nothing."""
    if isinstance(part, Mapping):
        refs = [part[name] for name in ("$ref", "$dynamicRef") if name in part]
        return all(str(ref).startswith("#") for ref in refs) and all(
            _is_closed(one) for one in part.values()
        )
    return not isinstance(part, list) or all(_is_closed(one) for one in part)


def _grammar(schema: Mapping[str, Any]) -> str:
    _, matcher = _library()
    grammar: str = matcher.grammar_from_json_schema(spelled(schema).decode(), overrides=COMPACT)
    return grammar


def _library() -> tuple[Any, Any]:
    """Return llguidance's reader of tokenizers, and its matcher."""
    try:
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer
    except ImportError as error:
        raise MissingExtraError(
            "keeping text to a schema needs llguidance, which is not installed",
            hint="pip install 'genops-registry[text]'",
        ) from error
    return from_tokenizer, LLMatcher


def _unfit(why: str) -> InputError:
    return InputError(
        f"the schema cannot be used: {why}",
        code="text.schema",
        hint="Use types, properties, enums and lengths; docs/text.md says more.",
    )
