"""Strict JSON in, deterministic JSON out.

Every document that is signed, logged or hashed passes through here. Knows nothing of what a
document means.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import orjson
import rfc8785

from registry.errors import FormatError

MAX_DEPTH = 64
"""Most nested arrays and objects."""
SAFE_INTEGER = 2**53
"""Integers of this magnitude and above travel as decimal strings (RFC 8785, I-JSON)."""

_COMPACT = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER  # refuses integers of 2^53 and above
_OTHERWISE = object()
_MAX_INTEGER_DIGITS = 17  # 2^53 has 16, and a sign
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


def loads(data: bytes | str, *, max_bytes: int, max_depth: int = MAX_DEPTH) -> Any:
    """Parse one JSON document of at most `max_bytes` bytes of UTF-8.

    Refuses what parsers disagree about: duplicate keys, NaN and infinities, floats that overflow,
    integers of 2^53 and above, lone surrogates, invalid UTF-8, a byte order mark, and more than
    `max_depth` nested containers. Raises FormatError with a code under `json.`.
    """
    if isinstance(data, bytes) and len(data) <= max_bytes:
        value = _loads_compact(data, max_depth)
        if value is not _OTHERWISE:
            return value
    return _loads_any(_decode(data, max_bytes), max_depth)


def _loads_compact(data: bytes, max_depth: int) -> Any:
    """Parse what is compact, with its keys sorted, as all that we write is; a third of the cost.

    A document that comes back to the byte has no duplicate keys, no number that was changed by
    reading it, and no second spelling. Anything else is `_OTHERWISE`, and not yet refused.
    """
    try:
        value = orjson.loads(data)
        if orjson.dumps(value, option=_COMPACT) != data:
            return _OTHERWISE
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return _OTHERWISE
    if data.count(b"[") + data.count(b"{") > max_depth:
        _check_depth(value, max_depth)
    return value


def _loads_any(text: str, max_depth: int) -> Any:
    try:
        value = _DECODER.decode(text)
    except RecursionError:
        raise _too_deep(max_depth) from None
    except json.JSONDecodeError as error:
        raise FormatError(f"not JSON: {error}", code="json.syntax") from None
    if text.count("[") + text.count("{") > max_depth:
        _check_depth(value, max_depth)
    if _SURROGATE_ESCAPE.search(text):
        _encode_utf8(json.dumps(value, ensure_ascii=False))
    return value


def dumps(value: Any) -> bytes:
    """Serialise to compact UTF-8 with sorted keys; equal values give equal bytes.

    Takes dicts or other mappings with string keys, lists or tuples, str, int, float, bool and
    None. Raises FormatError for everything that `loads` would refuse, naming its JSON Pointer.
    """
    plain = _plain(value, "", MAX_DEPTH)
    text = json.dumps(
        plain, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
    )
    return text.encode("utf-8")


def canonical(value: Any) -> bytes:
    """Serialise by RFC 8785 (JCS): for ids and log entries. Raises FormatError as `dumps` does.

    JCS writes a whole float below 10^21 as an integer; from 2^53 on, that is refused too.
    """
    data = bytes(rfc8785.dumps(_plain(value, "", MAX_DEPTH)))
    loads(data, max_bytes=len(data))
    return data


def escape_pointer(token: str) -> str:
    """Escape one reference token of a JSON Pointer (RFC 6901)."""
    return token.replace("~", "~0").replace("/", "~1")


def unescape_pointer(token: str) -> str:
    """Undo `escape_pointer`."""
    return token.replace("~1", "/").replace("~0", "~")


def _decode(data: bytes | str, max_bytes: int) -> str:
    raw = _encode_utf8(data) if isinstance(data, str) else data
    if len(raw) > max_bytes:
        raise FormatError(
            f"JSON of {len(raw)} bytes is over the limit of {max_bytes}", code="json.too-large"
        )
    try:
        text = data if isinstance(data, str) else raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(f"not UTF-8: {error}", code="json.utf8") from None
    if text.startswith("\ufeff"):
        raise FormatError("JSON starts with a byte order mark", code="json.syntax")
    return text


def _encode_utf8(text: str, where: str = "") -> bytes:
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError as error:
        place = f" at {where}" if where else ""
        raise FormatError(
            f"lone surrogate in text{place}: {error}", code="json.surrogate"
        ) from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise FormatError(f"duplicate key {key!r}", code="json.duplicate-key")
            seen.add(key)
    return result


def _integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS or abs(value := int(digits)) >= SAFE_INTEGER:
        raise _unsafe_integer(digits[:40])
    return value


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise FormatError(f"number {digits[:40]} is not finite", code="json.number")
    return value


def _constant(name: str) -> NoReturn:
    raise FormatError(f"number {name} is not JSON", code="json.number")


def _unsafe_integer(shown: str, where: str = "") -> FormatError:
    place = f" at {where}" if where else ""
    return FormatError(
        f"integer {shown}{place} is 2^53 or more",
        code="json.number",
        hint="write large integers and seeds as decimal strings",
    )


def _too_deep(limit: int) -> FormatError:
    return FormatError(f"JSON nests deeper than {limit} levels", code="json.too-deep")


def _check_depth(value: Any, limit: int) -> None:
    level = [value]
    for _ in range(limit + 1):
        children: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                children.extend(item.values())
            elif isinstance(item, list):
                children.extend(item)
        if not children and not any(isinstance(item, (dict, list)) for item in level):
            return
        level = children
    raise _too_deep(limit)


def _plain(value: Any, where: str, depth: int) -> Any:
    """Return `value` as dicts, lists and scalars; refuse what JSON cannot carry faithfully."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        _encode_utf8(value, where)
        return value
    if isinstance(value, int):
        if abs(value) >= SAFE_INTEGER:
            raise _unsafe_integer("" if value.bit_length() > 128 else str(value), where or "/")
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise FormatError(f"number at {where or '/'} is not finite", code="json.number")
        return float(value)
    return _plain_container(value, where, depth)


def _plain_container(value: Any, where: str, depth: int) -> Any:
    if depth == 0:
        raise _too_deep(MAX_DEPTH)
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise FormatError(f"key {key!r} at {where or '/'} is not text", code="json.type")
            _encode_utf8(key, where)
            result[str(key)] = _plain(item, f"{where}/{escape_pointer(key)}", depth - 1)
        return result
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [_plain(item, f"{where}/{i}", depth - 1) for i, item in enumerate(value)]
    raise FormatError(
        f"{type(value).__name__} at {where or '/'} has no JSON form", code="json.type"
    )


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant
)
