"""What a service answered, as values: pictures to the byte, texts, and what it says of itself.

Believes nothing: every field is checked or left out. Knows no network and no record.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from generators.hosted.urls import in_the_open
from registry.core.jsonio import SAFE_INTEGER
from registry.errors import FormatError

if TYPE_CHECKING:
    from generators.hosted.transport import Answer

MAX_OUTPUTS = 256
"""Most pictures or texts of one answer; more do not fit one record."""
MAX_DEPTH = 32
"""Most nested arrays and objects of an answer."""
_WORD = re.compile(r"[\w.:@+-]{1,200}", re.ASCII)
MAX_MODEL = 512
"""Longest name of a model, characters."""
_ID_HEADERS = ("x-request-id", "request-id", "openai-version", "openai-processing-ms")

Fetch = Callable[[str], bytes]
"""Returns the bytes behind the URL of a picture."""


@dataclass(frozen=True, slots=True)
class Made:
    """One picture or text of an answer. `how` is b64_json, url or message; `said` goes with it."""

    data: bytes = field(repr=False)
    how: str
    said: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a service says of itself and of its answer: claims, which nobody here can check.

    `model` is the model it says it ran, which may be a path; None where it does not say.
    """

    id: str | None = None
    model: str | None = None
    fingerprint: str | None = None
    created: int | None = None
    finish: tuple[str, ...] = ()
    usage: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def described(self) -> dict[str, Any]:
        """Return what there is, as JSON."""
        found = {
            "id": self.id,
            "model": None if self.model is None else in_the_open(self.model),
            "system_fingerprint": self.fingerprint,
            "created": self.created,
            "finish_reasons": list(self.finish) or None,
            "usage": dict(self.usage) or None,
            "headers": dict(self.headers) or None,
        }
        return {name: value for name, value in found.items() if value is not None}


def read_json(answer: Answer, where: str) -> dict[str, Any]:
    """Return an answer's JSON object; FormatError (`hosted.answer`) for anything else.

    Integers of 2^53 and above come as decimal strings, halves of surrogate pairs as `?`.
    """
    if answer.media_type != "application/json" and not answer.media_type.endswith("+json"):
        kind = answer.media_type or "nothing that it names"
        raise unusable(f"{where} answered with {kind}, not with JSON", _IS_IT_THE_API)
    try:
        document = json.loads(answer.body, parse_constant=_refuse_constant)
        plain = _plain(document, MAX_DEPTH)
    except (ValueError, RecursionError):
        raise unusable(f"{where} answered with broken JSON") from None
    if not isinstance(plain, dict):
        raise unusable(f"{where} answered with JSON that is no object", _IS_IT_THE_API)
    return plain


def refuse_error(document: Mapping[str, Any]) -> None:
    """Refuse an answer that is an error in spite of its status; FormatError (`hosted.answer`)."""
    said = document.get("error")
    if said is not None and not {"data", "choices"} & document.keys():
        line = said.get("message") if isinstance(said, dict) else said
        raise unusable(f"the service answers with an error: {str(line)[:200]!r}")


def read_claims(document: Mapping[str, Any], headers: Mapping[str, str]) -> Claims:
    """Return what an answer says of itself, as far as it is well-formed."""
    choices, model = document.get("choices"), document.get("model")
    created, usage = document.get("created"), document.get("usage")
    return Claims(
        id=_word(document.get("id")),
        model=model if isinstance(model, str) and 0 < len(model) <= MAX_MODEL else None,
        fingerprint=_word(document.get("system_fingerprint")),
        created=created if isinstance(created, int) and 0 <= created < 2**40 else None,
        finish=tuple(
            _word(one.get("finish_reason")) or "unknown"
            for one in (choices if isinstance(choices, list) else ())
            if isinstance(one, dict)
        ),
        usage=_counts(usage) if isinstance(usage, dict) else {},
        headers={n: word for n in _ID_HEADERS if (word := _word(headers.get(n))) is not None},
    )


def read_pictures(document: Mapping[str, Any], fetch: Fetch, most_bytes: int) -> list[Made]:
    """Return the pictures of an images answer, decoded or fetched; FormatError where there is none.

    The bytes are what the service made: nothing in them is touched.
    """
    return [_picture(one, fetch, most_bytes) for one in _items(document, "data", "picture")]


def read_texts(document: Mapping[str, Any]) -> list[Made]:
    """Return the text of every choice of a chat answer; FormatError where there is none."""
    return [_text(one) for one in _items(document, "choices", "text")]


def without_contents(document: Mapping[str, Any], shown: Callable[[str], str]) -> dict[str, Any]:
    """Return an answer as it is kept (sealed), without what is an output of its own.

    A picture's URL loses its query, which often is a key to it.
    """
    kept = dict(document)
    for name in ("data", "choices"):
        if isinstance(items := kept.get(name), list):
            kept[name] = [_without_content(one, shown) for one in items]
    return kept


def unusable(message: str, hint: str = "nothing was recorded") -> FormatError:
    """Return the error for an answer that cannot be used."""
    return FormatError(message, code="hosted.answer", hint=hint)


_IS_IT_THE_API = "is this the address of the API? It often ends with /v1"


def _items(document: Mapping[str, Any], name: str, what: str) -> Sequence[Mapping[str, Any]]:
    items = document.get(name)
    if not isinstance(items, list) or not 1 <= len(items) <= MAX_OUTPUTS:
        raise unusable(f"the answer holds no {what}, or more than {MAX_OUTPUTS}")
    if not all(isinstance(one, dict) for one in items):
        raise unusable(f"the answer's `{name}` is not a list of objects")
    return items


def _picture(item: Mapping[str, Any], fetch: Fetch, most_bytes: int) -> Made:
    encoded, url = item.get("b64_json"), item.get("url")
    if isinstance(encoded, str) and encoded:
        how, data = "b64_json", _decoded(encoded, most_bytes)
    elif isinstance(url, str) and url:
        how, data = "url", fetch(url)
    else:
        raise unusable("the answer names a picture, but holds neither its bytes nor its URL")
    revised = item.get("revised_prompt")
    return Made(data, how, {"revised_prompt": revised} if isinstance(revised, str) else {})


def _decoded(encoded: str, most_bytes: int) -> bytes:
    if len(encoded) > most_bytes // 3 * 4 + 4:
        raise unusable(f"a picture of the answer has more than {most_bytes} bytes")
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        raise unusable("a picture of the answer is broken base64") from None


def _text(choice: Mapping[str, Any]) -> Made:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    content, refusal = message.get("content"), message.get("refusal")
    if isinstance(content, str) and content:
        return Made(content.encode("utf-8"), "message")
    if isinstance(refusal, str) and refusal:
        raise unusable("the model refused to answer", "nothing was recorded; ask otherwise")
    if message.get("tool_calls"):
        raise unusable("the answer calls tools, which are no text", "ask without tools")
    raise unusable("the answer holds no text", "nothing was recorded; allow more tokens")


def _without_content(item: Any, shown: Callable[[str], str]) -> Any:
    if not isinstance(item, dict):
        return item
    kept = {name: value for name, value in item.items() if name != "b64_json"}
    if isinstance(url := kept.get("url"), str):
        kept["url"] = shown(url)
    if isinstance(message := kept.get("message"), dict):
        kept["message"] = {name: value for name, value in message.items() if name != "content"}
    return kept


def _counts(usage: Mapping[str, Any]) -> dict[str, Any]:
    """Return the numbers of a usage object, one level of details below it included."""
    found: dict[str, Any] = {}
    for name, value in list(usage.items())[:32]:
        if _word(name) is None:
            continue
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            found[name] = value
        elif isinstance(value, dict):
            found[name] = {
                str(k): v
                for k, v in list(value.items())[:32]
                if _word(k) and isinstance(v, int) and not isinstance(v, bool)
            }
    return found


def _word(value: object) -> str | None:
    """Return a value that is one short word, as ids and names of models are; else None."""
    return value if isinstance(value, str) and _WORD.fullmatch(value) else None


def _plain(value: Any, depth: int) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= SAFE_INTEGER:
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if isinstance(value, (dict, list)) and depth == 0:
        raise ValueError("nested too deep")
    if isinstance(value, dict):
        return {_plain(k, depth): _plain(v, depth - 1) for k, v in value.items()}
    return [_plain(v, depth - 1) for v in value] if isinstance(value, list) else value


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
