"""Banks as records and as lists: every version is read, and no line of a list is trusted."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.core import bank_lists
from registry.core.bank_lines import MAX_LINE_BYTES, PDQ_LISTED, BadLine, Listed
from registry.core.bank_predicates import (
    PREDICATE_BANK_ENTRY_V2,
    PREDICATE_MATCH_VERDICT_V2,
    add_entries,
    entry_subjects,
    match_verdict,
    remove_entries,
)
from registry.core.banks import NewEntry, Said, changes_of, hash_only_digest, said_of
from registry.core.fingerprint import FingerprintValue
from registry.core.predicates import Head, actor, seal_statement
from registry.core.schemas import SchemaSet
from registry.core.statements import Statement
from registry.errors import InputError, SchemaError

ROOT = Path(__file__).resolve().parents[2] / "schemas"
HEAD = Head("01a1f8a3-6490-7000-8000-000000000090", "p", actor("u", "key"))
Salts = Callable[[], bytes]
PDQ = "0f" * 16 + "a5" * 16
"""Half of its bits are set, as in a real one."""


def value(name: str = "a-v1", byte: int = 1, sha256: str = "0" * 64) -> FingerprintValue:
    return FingerprintValue(sha256, name, bytes([byte]) * 32, 90)


def example(name: str) -> Statement:
    return Statement.parse((ROOT / name).read_bytes())


def test_entries_go_through_a_record_and_back(salts: Salts, schemas: SchemaSet) -> None:
    first, second = "1" * 64, hash_only_digest([value()])
    entries = [
        NewEntry(first, (), "stolen", "legal", "letter", 5_000, "2" * 64),
        NewEntry(second, (value(sha256=second),), "listed", "them", "list", hash_only=True),
    ]
    subjects = entry_subjects([first, second])
    added = add_entries(HEAD, bank="b", entries=entries)
    sealed = seal_statement(subjects, PREDICATE_BANK_ENTRY_V2, added, salts)
    assert b"stolen" not in sealed.payload
    statement = Statement.parse(sealed.payload)
    schemas.check_statement(statement.document)
    one, other = changes_of(statement)
    assert (one.sha256, one.expires_ms, one.pixels, one.hash_only) == (first, 5000, "2" * 64, False)
    assert (other.prints, other.owner, other.source) == (entries[1].prints, "them", "list")
    assert [text.name for text in sealed.disclosures] == [
        f"/predicate{change.pointer}" for change in (one, other)
    ]
    removed = seal_statement(
        subjects, PREDICATE_BANK_ENTRY_V2, remove_entries(HEAD, bank="b", reason="r"), salts
    )
    statement = Statement.parse(removed.payload)
    schemas.check_statement(statement.document)
    assert [(c.sha256, c.added) for c in changes_of(statement)] == [(first, False), (second, False)]


def test_verdicts_go_through_a_record_and_back(salts: Salts, schemas: SchemaSet) -> None:
    said = Said("1" * 64, "2" * 64, "b", "part", "segments", 12, "3" * 64, "whole", b"\x07" * 32)
    predicate = match_verdict(HEAD, said=said, verdict="refuted", reason="another mug")
    payload = seal_statement(
        entry_subjects([said.query]), PREDICATE_MATCH_VERDICT_V2, predicate, salts
    ).payload
    statement = Statement.parse(payload)
    schemas.check_statement(statement.document)
    assert b"another mug" not in payload
    assert said_of(statement) == (said, False)


def test_first_versions_are_read_up() -> None:
    (change,) = changes_of(example("bank-entry/examples/valid-add.json"))
    assert (change.added, change.hash_only, change.pointer) == (True, False, "/reason")
    assert [(p.name, p.value) for p in change.prints] == [("phash256-v1", bytes(32))]
    said, confirmed = said_of(example("match-verdict/examples/valid-rejected.json"))
    assert (said.bank, said.kind, said.distance, confirmed) == (
        "registered",
        "perceptual",
        34,
        False,
    )


def test_what_the_schema_cannot_refuse_harms_nobody() -> None:
    document = json.loads((ROOT / "bank-entry/examples/valid-v2-add.json").read_bytes())
    first, second = document["predicate"]["entries"]
    first["expires"], second["subject"] = "2027-13-01T00:00:00.000Z", "out/9"
    (change,) = changes_of(Statement.parse(json.dumps(document).encode()))
    assert change.expires_ms == 0, "a time that is in no calendar has passed"


def test_fingerprints_alone_are_told_apart_by_their_values_only() -> None:
    one, other = value("a"), value("b", 2)
    assert hash_only_digest([one, other]) == hash_only_digest([other, one])
    assert hash_only_digest([one]) != hash_only_digest([value("b")])
    assert hash_only_digest([one]) != hash_only_digest([value("a", 2)])
    assert hash_only_digest([one]) == hash_only_digest(
        [FingerprintValue("9" * 64, "a", one.value, 1)]
    )


def read(
    text: str | bytes, form: bank_lists.Form | None = None, *, force: bool = False
) -> list[str]:
    """Return a list as words: the value of each entry, and `N: why` of each bad line."""
    data = text.encode() if isinstance(text, str) else text
    found = bank_lists.read_list(data, form, force=force)
    return [
        f"{one.line}: {one.why}" if isinstance(one, BadLine) else one.prints[0].value.hex()
        for one in found
    ]


BAD = {
    "short": (PDQ[:-2], "a PDQ has 64 hex digits, and this 62"),
    "long": (PDQ + "00", "a PDQ has 64 hex digits, and this 66"),
    "no-hex": ("g" * 64, "it is not hex"),
    "blanks": (f"{PDQ[:30]}  {PDQ[:32]}", "it holds a"),
    "nul": (PDQ + "\0", "it holds a NUL"),
    "huge": ("a" * (MAX_LINE_BYTES + 1), f"it is longer than {MAX_LINE_BYTES} bytes"),
    "flat": ("00" * 32, "0 of its 256 bits are set, as in a flat picture; --force takes it"),
    "other": ("md5 " + "a" * 32, "it holds a 'md5', and only pdq is taken"),
    "wide": ("\u0661" * 64, "it is not hex"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_told_by_its_number_and_passed_over(name: str) -> None:
    line, why = BAD[name]
    good, bad, after = read(f"{PDQ}\n{line}\n# note\n\npdq {PDQ.upper()}\n")
    assert good == after == PDQ
    assert bad.startswith(f"2: {why}")


def test_bytes_that_are_no_text_are_a_bad_line() -> None:
    assert read(PDQ.encode() + b"\n\xff\xfe\n") == [PDQ, "2: it is not UTF-8"]
    assert read(b"\xef\xbb\xbf" + PDQ.encode()) == [PDQ]
    assert read(b"") == read(b"\n \n") == []


def test_a_table_is_read_by_its_header_or_hash_first() -> None:
    assert read(f"id,Hash,quality\n7,{PDQ},87\n8,{PDQ},49\n9,{PDQ},x\n") == [
        PDQ,
        "3: its quality is 49, under 50: it matches unlike pictures; --force takes it",
        "4: its quality 'x' is not a whole number from 0 to 100",
    ]
    assert read(f"{PDQ},80,a.jpg\n{PDQ},20,b.jpg\n", force=True) == [PDQ, PDQ]
    assert read(f"{PDQ},12345678901,2021-03-22,tag\n") == [PDQ], "an id is no quality"
    assert len(read(f'{PDQ},"open\n{PDQ},1\n')) == 2


def test_a_document_of_threatexchange_is_read_whole_or_by_lines() -> None:
    items = [
        {"type": "HASH_PDQ", "raw_indicator": PDQ, "tags": {"data": [{"text": "logo\ud800"}]}},
        {"indicator": {"indicator": PDQ, "type": "HASH_PDQ"}, "tags": ["a", 7]},
        {"type": "HASH_MD5", "indicator": "d4"},
        {"type": "HASH_PDQ", "indicator": PDQ, "should_delete": True},
        7,
    ]
    told = [PDQ, PDQ, "3: it is of type", "4: it was taken back there", "5: it is no"]
    whole = json.dumps({"data": items, "paging": {}}, indent=1)
    by_line = "\n".join(json.dumps(item) for item in [*items[:4], items[1]])
    for text, count in ((whole, 5), (by_line.replace("\\ud800", ""), 5)):
        found = read(text)
        assert len(found) == count
        assert all(one.startswith(start) for one, start in zip(found[:4], told, strict=False))
    first = next(bank_lists.read_list(whole.encode()))
    assert isinstance(first, Listed)
    assert first.tags == "logo"
    for broken in ("[" * 100_000, '{"data": 7}', '{"data": [\n'):
        with pytest.raises(InputError) as refused:
            read(broken)
        assert refused.value.code == "bank.list"


def test_our_lists_go_out_and_in_again() -> None:
    sha256 = hash_only_digest([value(PDQ_LISTED, 0x5A)])
    prints = (value(PDQ_LISTED, 0x5A, sha256),)
    alone = Listed(2, sha256, prints, owner="o", source="s", expires_ms=9, reason="r\n\u2028")
    bare = Listed(3, "3" * 64, (), hash_only=False, pixels="4" * 64)
    header = bank_lists.header("b", "blocked", "o/1", 5)
    text = "\n".join([header, *map(bank_lists.line_of, (alone, bare))])
    assert list(bank_lists.read_list(text.encode())) == [alone, bare]


LINES = sorted(ROOT.glob("bank-list/examples/*.json"))


@pytest.mark.parametrize("path", LINES, ids=lambda path: path.stem)
def test_lists_are_read_as_their_schema_says(path: Path, schemas: SchemaSet) -> None:
    document = json.loads(path.read_bytes())
    valid = path.stem.startswith("valid-")
    try:
        schemas.check("bank-list/v1", document)
    except SchemaError:
        assert not valid
    else:
        assert valid
    try:
        found = list(bank_lists.read_list(json.dumps(document).encode(), "genops"))
    except InputError:
        found = [BadLine(1, "another format")]
    assert any(isinstance(one, BadLine) for one in found) is not valid


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"id": "sha256:" + "1" * 64}, "its id is not that of its fingerprints"),
        ({"fingerprints": {"": {"value": "aa"}}}, "has no usable name"),
        ({"fingerprints": {"p": {"value": "a\u0660"}}}, "is not"),
        ({"fingerprints": {"p": {"value": "aa" * 257}}}, "a value of 257 bytes"),
        ({"fingerprints": {"p": {"value": "aa", "quality": 101}}}, "quality 101"),
        ({"fingerprints": {"p": {"value": "aa", "quality": True}}}, "quality"),
        ({"pixels": "x"}, "its pixels"),
        ({"reason": 7}, "its reason is no text"),
    ],
)
def test_a_line_of_ours_that_cannot_be_is_told(change: dict[str, object], why: str) -> None:
    line = {"fingerprints": {"p": {"value": "aa"}}} | change
    (found,) = bank_lists.read_list(json.dumps(line).encode(), "genops")
    assert isinstance(found, BadLine)
    assert why in found.why


@pytest.mark.parametrize("form", ["text", "csv"])
@pytest.mark.parametrize("space", ["\x1c", "\u00a0", "\u3000\u2003"])
def test_a_line_of_white_space_that_is_not_ascii_is_told(form: bank_lists.Form, space: str) -> None:
    (found,) = bank_lists.read_list(space.encode(), form)
    assert found == BadLine(1, "it is blank")


@given(st.binary(max_size=200), st.sampled_from(["genops", "text", "csv", "threatexchange", None]))
def test_no_bytes_break_a_reader(data: bytes, form: bank_lists.Form | None) -> None:
    with suppress(InputError):
        for one in bank_lists.read_list(data, form):
            assert isinstance(one, Listed | BadLine)
