"""Strict JSON: what is taken comes back equal, and what parsers disagree about is refused."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.core import jsonio
from registry.errors import FormatError

BIG = 2**53 - 1
texts = st.text(st.characters(exclude_categories=["Cs"]))
documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-BIG, BIG)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


def load(data: bytes | str, limit: int = 10_000) -> object:
    return jsonio.loads(data, max_bytes=limit)


@given(documents)
def test_what_is_written_is_read_back_equal(document: object) -> None:
    data = jsonio.dumps(document)
    assert load(data, len(data)) == document
    assert jsonio.dumps(load(data, len(data))) == data


@given(documents)
def test_canonical_form_is_stable_and_reads_back_equal(document: object) -> None:
    try:
        data = jsonio.canonical(document)
    except FormatError as refused:
        assert refused.code == "json.number"  # noqa: PT017 - only whole floats of 2^53 and above
        return
    assert load(data, len(data)) == document
    assert jsonio.canonical(load(data, len(data))) == data


def test_key_order_does_not_change_the_bytes() -> None:
    assert (
        jsonio.dumps({"b": 1, "a": [2]}) == jsonio.dumps({"a": [2], "b": 1}) == b'{"a":[2],"b":1}'
    )


def test_canonical_form_is_that_of_rfc_8785() -> None:
    document = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"\u002f",
        "literals": [None, True, False],
    }
    assert (
        jsonio.canonical(document)
        == (
            '{"literals":[null,true,false],'
            '"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
            '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
        ).encode()
    )


def test_canonical_keys_sort_by_utf16_unlike_plain_ones() -> None:
    document = {"\ufb33": 1, "\U0001f600": 2}
    assert jsonio.canonical(document).index("😀".encode()) < jsonio.dumps(document).index(
        "😀".encode()
    )


def test_tuples_and_mappings_are_taken_as_arrays_and_objects() -> None:
    assert jsonio.dumps(MappingProxyType({"a": (1, 2)})) == b'{"a":[1,2]}'


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'{"a":1,"a":1}', "json.duplicate-key"),
        (b'[{"b":{"a":1,"\\u0061":2}}]', "json.duplicate-key"),
        (b"NaN", "json.number"),
        (b"[-Infinity]", "json.number"),
        (b"1e400", "json.number"),
        (b"9007199254740992", "json.number"),
        (b"-9007199254740992", "json.number"),
        (b"1" * 5000, "json.number"),
        (b'"\\ud800"', "json.surrogate"),
        (b'{"\\uDC00":1}', "json.surrogate"),
        (b'"\\ud83d\\ude00 \\ud83d"', "json.surrogate"),
        (b'"\xed\xa0\x80"', "json.utf8"),
        (b"\xff", "json.utf8"),
        ("\ufeff1".encode(), "json.syntax"),
        (b"", "json.syntax"),
        (b"{} {}", "json.syntax"),
        (b"[1,]", "json.syntax"),
        (b'"\x00"', "json.syntax"),
        (b"01", "json.syntax"),
        (b"[" * 65 + b"]" * 65, "json.too-deep"),
        (b"[" * 4900 + b"]" * 4900, "json.too-deep"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "json.too-deep"),
        (b" " * 10_001, "json.too-large"),
    ],
)
def test_ambiguous_json_is_refused(data: bytes, code: str) -> None:
    with pytest.raises(FormatError) as refused:
        load(data)
    assert refused.value.code == code


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (math.nan, "json.number"),
        ({"a": [math.inf]}, "json.number"),
        (2**53, "json.number"),
        (10**400, "json.number"),
        ("\ud800", "json.surrogate"),
        ({"\udfff": 1}, "json.surrogate"),
        ({1: 2}, "json.type"),
        (b"bytes", "json.type"),
        ({"a": {1, 2}}, "json.type"),
    ],
)
def test_what_cannot_be_read_back_is_not_written(value: object, code: str) -> None:
    for write in (jsonio.dumps, jsonio.canonical):
        with pytest.raises(FormatError) as refused:
            write(value)
        assert refused.value.code == code


SPELLINGS = [
    b'{"a":1,"a":1}',
    b'{"a":{"b":1,"b":1}}',
    b'{"b":1,"a":2}',
    b'{ "a":1}',
    b"9007199254740991",
    b"9007199254740992",
    b"-9007199254740993",
    b"18446744073709551616",
    b"1.0",
    b"-0",
    b"-0.0",
    b"1e5",
    b"1e+16",
    b"1e16",
    b"1e400",
    b"0.1",
    b"5e-324",
    b"true",
    b'"\\u0041"',
    b'"\\u0001\\u007f"',
    b'"\x7f"',
    b'"\\/"',
    b'"\\ud800"',
    b'{"\xc3\xa9":1,"\xf0\x9f\x98\x80":2,"\xef\xbf\xbd":3}',
    b"[" * 64 + b"]" * 64,
    b"[" * 65 + b"]" * 65,
    b"[" * 300 + b"]" * 300,
    b"[" * 2000 + b"]" * 2000,
]


def _read(data: bytes | str) -> object:
    try:
        return repr(load(data))
    except FormatError as error:
        return error.code


@pytest.mark.parametrize("data", SPELLINGS)
def test_the_quick_reader_of_bytes_judges_as_the_strict_one_of_text(data: bytes) -> None:
    assert _read(data) == _read(data.decode("utf-8"))


@given(documents, st.integers(0, 10**6), st.binary(min_size=1, max_size=2))
def test_the_quick_reader_agrees_on_damaged_documents(
    document: object, at: int, put: bytes
) -> None:
    data = jsonio.dumps(document)
    assert _read(data) == _read(data.decode("utf-8"))
    at %= len(data)
    damaged = data[:at] + put + data[at + len(put) :]
    with suppress(UnicodeDecodeError):
        assert _read(damaged) == _read(damaged.decode("utf-8"))


def test_a_refusal_names_the_place() -> None:
    with pytest.raises(FormatError, match=r"/a~1b/1/c~0"):
        jsonio.dumps({"a/b": [0, {"c~": math.nan}]})


def test_depth_is_counted_in_containers_not_in_brackets() -> None:
    assert load(b"[" * 64 + b"]" * 64) is not None
    assert load(json.dumps([[]] * 500)) == [[]] * 500
    assert load(json.dumps("[" * 500)) == "[" * 500
    deep: list[object] = []
    for _ in range(63):
        deep = [deep]
    assert jsonio.dumps(deep)
    with pytest.raises(FormatError, match="64 levels"):
        jsonio.dumps([deep])


def test_large_whole_floats_have_no_canonical_form() -> None:
    assert load(jsonio.dumps(2.0**53)) == 2.0**53
    assert jsonio.canonical(1e21) == b"1e+21"
    with pytest.raises(FormatError):
        jsonio.canonical([2.0**53])


def test_safe_integers_are_exact() -> None:
    assert load(str(BIG)) == BIG
    assert load(str(-BIG)) == -BIG


@given(texts)
def test_pointer_tokens_are_escaped_reversibly(token: str) -> None:
    escaped = jsonio.escape_pointer(token)
    assert "/" not in escaped
    assert jsonio.unescape_pointer(escaped) == token
