"""Sealing: any text comes back from its own place and from nowhere else."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.core import disclosures, jsonio
from registry.core.disclosures import Disclosure
from registry.core.generation import Sealed
from registry.errors import FormatError, InputError, IntegrityError

Salts = Callable[[], bytes]
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
documents = st.dictionaries(
    texts,
    st.recursive(
        values | values.map(Sealed),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=4,
)


def opened(value: Any) -> Any:
    """Return a document as it was before sealing, with every `Sealed` unwrapped."""
    if isinstance(value, Sealed):
        return value.value
    if isinstance(value, dict):
        return {key: opened(item) for key, item in value.items()}
    return [opened(item) for item in value] if isinstance(value, list) else value


def fresh() -> Salts:
    numbers = count()
    return lambda: next(numbers).to_bytes(16, "big")


@given(documents, st.randoms())
def test_any_document_comes_back_whole_or_in_part(document: dict[str, Any], random: Any) -> None:
    sealed, made = disclosures.seal(document, fresh())
    stored = jsonio.loads(jsonio.dumps(sealed), max_bytes=10**6)
    parsed = [disclosures.parse(item.encode()) for item in made]
    assert disclosures.unseal(stored, parsed) == opened(document)
    assert disclosures.sealed_pointers(stored) == {item.name: item.digest() for item in made}
    some = random.sample(parsed, len(parsed) // 2)
    left = disclosures.sealed_pointers(stored).keys() - {item.name for item in some}
    partly = disclosures.unseal(stored, some)
    rest = [item for item in parsed if item.name in left]
    assert disclosures.unseal(stored, [*some, *rest]) == opened(document)
    assert rest == [] or partly != opened(document)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "nul \x00 inside",
        "right-to-left \u202e override \u202c, שלום, مرحبا",
        "emoji 🚲👩‍👩‍👧‍👦 and e\u0301 is not é",
        "\r\n\t\u2028\u2029\ufeff\uffff",
        "x" * 1_000_000,
        "🚲" * 250_000,
    ],
    ids=["empty", "nul", "rtl", "emoji", "separators", "1 MB", "1 MB of emoji"],
)
def test_a_prompt_comes_back_to_the_byte(text: str, salts: Salts) -> None:
    sealed, made = disclosures.seal({"prompt": Sealed(text)}, salts)
    data = jsonio.dumps(sealed)
    assert len(data) < 100
    again = disclosures.unseal(
        jsonio.loads(data, max_bytes=100), map(disclosures.parse, [made[0].encode()])
    )
    assert again["prompt"].encode() == text.encode()


def test_a_disclosure_of_rfc_9901_is_read_verbatim() -> None:
    text = "WyJfMjZiYzRMVC1hYzZxMktJNmNCVzVlcyIsICJmYW1pbHlfbmFtZSIsICJNw7ZiaXVzIl0"
    parsed = disclosures.parse(text)
    assert parsed == Disclosure("_26bc4LT-ac6q2KI6cBW5es", "family_name", "Möbius")
    assert parsed.encode() == text
    assert parsed.digest() == "X9yH0Ajrdm1Oij4tWso9UzzKJvPoDxwmuEcO3XAdRC0"


def test_equal_texts_have_different_digests(salts: Salts) -> None:
    sealed, made = disclosures.seal({"a": Sealed("x"), "b": Sealed("x")}, salts)
    assert sealed["a"] != sealed["b"]
    assert {len(base64.urlsafe_b64decode(item.salt + "==")) for item in made} == {16}


def test_names_are_json_pointers(salts: Salts) -> None:
    sealed, made = disclosures.seal({"a/b": [0, {"~": Sealed(1)}]}, salts)
    assert [item.name for item in made] == ["/a~1b/1/~0"]
    assert disclosures.unseal(sealed, made) == {"a/b": [0, {"~": 1}]}


def test_a_disclosure_fits_one_place_only(salts: Salts) -> None:
    sealed, made = disclosures.seal({"a": Sealed("x"), "b": Sealed("y"), "c": 1}, salts)
    moved = copy.deepcopy(sealed)
    moved["a"], moved["b"] = moved["b"], moved["a"]
    forged = Disclosure(made[0].salt, "/a", "z")
    elsewhere = [Disclosure(made[0].salt, name, "x") for name in ("/c", "/d", "/a/sealed", "")]
    for document, shown in [
        (moved, made),
        (sealed, [forged]),
        (sealed, [made[0], made[0]]),
        ({"a": "x"}, made[:1]),
        *((sealed, [item]) for item in elsewhere),
    ]:
        with pytest.raises(IntegrityError) as refused:
            disclosures.unseal(document, shown)
        assert refused.value.code == "disclosure.mismatch"


def test_unsealing_leaves_the_document_as_it_was(salts: Salts) -> None:
    sealed, made = disclosures.seal({"a": {"b": Sealed("x")}}, salts)
    before = copy.deepcopy(sealed)
    disclosures.unseal(sealed, made)
    assert sealed == before


@pytest.mark.parametrize(
    "document",
    [
        Sealed("root"),
        {"a": Sealed([Sealed("inner")])},
        {"a": Sealed({"b": Sealed("inner")})},
        {"a": {"sealed": {"sha-256": "x" * 43}}},
    ],
)
def test_what_could_not_be_opened_again_is_not_sealed(document: Any, salts: Salts) -> None:
    with pytest.raises(InputError) as refused:
        disclosures.seal(document, salts)
    assert refused.value.code == "disclosure.invalid"


def test_a_short_salt_is_refused() -> None:
    with pytest.raises(InputError):
        disclosures.seal({"a": Sealed(1)}, lambda: b"short")


@pytest.mark.parametrize("value", ["\ud800", 2**53, float("nan"), b"bytes"])
def test_a_value_without_a_json_form_is_not_sealed(value: Any, salts: Salts) -> None:
    with pytest.raises(FormatError):
        disclosures.seal({"a": Sealed(value)}, salts)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "!",
        "W10",
        "WyJhIl0",
        "WyJhIiwiYiIsMV0=",
        "WyJhIiwiYiIsMV1",
        "WyJhIiwiYiIsMV0\n",
        "WyJhIiwgMSwgMV0",
        "eyJhIjoxfQ",
        "é",
        base64.urlsafe_b64encode(b'["a","/b",{"c":1,"c":2}]').decode().rstrip("="),
        base64.urlsafe_b64encode(b'["a","/b","\\ud800"]').decode().rstrip("="),
    ],
)
def test_a_malformed_disclosure_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as refused:
        disclosures.parse(text)
    assert refused.value.code == "disclosure.invalid"
