"""A ZIP of evidence is its entries' one ZIP: it unpacks anywhere, and no byte of it may change."""

from __future__ import annotations

import io
import json
import stat
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from registry.core import evidence_zip, jsonio
from registry.core.evidence import Evidence, EvidenceCheck
from registry.core.evidence_zip import (
    INDEX,
    README,
    README_TEXT,
    BundleReport,
    build_bundle,
    verify_bundle,
)
from registry.errors import FormatError, InputError

SYMLINK = (stat.S_IFLNK | 0o777) << 16
Hostile = Callable[[dict[str, bytes]], bytes]


@pytest.fixture
def told(book: Any) -> Any:
    """A log of four records: trust, and three taints."""
    for number in range(3):
        book.add(book.taint(f"reason {number}"), book.maker)
    return book


def file_of(book: Any, index: int) -> bytes:
    return Evidence(book.item(index), book.disclosures[index], (book.item(0),)).to_bytes()


@pytest.fixture
def bundle(told: Any) -> bytes:
    return build_bundle([file_of(told, 1), file_of(told, 2)])


def verify(book: Any, data: bytes) -> BundleReport:
    return verify_bundle(data, log_vkey=str(book.vkey))


def failed(report: BundleReport) -> list[str]:
    """Return the name of every check that failed, those of a file after its name."""
    own = [check.name for check in report.checks if check.state == "failed"]
    return own + [f"{n[9:13]} {c.name}" for n, r in report.files.items() for c in r.failed]


def test_a_bundle_holds_each_file_as_it_is_and_verifies(told: Any, bundle: bytes) -> None:
    report = verify(told, bundle)
    assert report.checks == (EvidenceCheck("archive", "passed"), EvidenceCheck("index", "passed"))
    assert report.ok
    assert {r.record_id for r in report.files.values()} == {
        told.entries[1].record_id,
        told.entries[2].record_id,
    }
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        assert archive.testzip() is None
        names = archive.namelist()
        assert names == sorted([README, INDEX, *report.files])
        assert archive.read(README) == README_TEXT
        name = f"evidence/{told.entries[1].record_id[4:]}.json"
        assert archive.read(name) == file_of(told, 1)
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert {stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()} == {0o644}


def test_the_same_records_in_any_order_make_the_same_bundle(told: Any, bundle: bytes) -> None:
    one, two = file_of(told, 1), file_of(told, 2)
    assert build_bundle([two, one + b"\n", two]) == bundle


def test_a_bundle_takes_evidence_and_one_version_of_each_record(
    told: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = file_of(told, 1)
    withheld = Evidence(told.item(1), (), (told.item(0),)).to_bytes()
    for unfit in ([], [one, withheld]):
        with pytest.raises(InputError) as error:
            build_bundle(unfit)
        assert error.value.code == "evidence.bundle"
    with pytest.raises(FormatError):
        build_bundle([one, b"{}"])
    monkeypatch.setattr(evidence_zip, "MAX_BUNDLE_RECORDS", 1)
    with pytest.raises(InputError):
        build_bundle([one, file_of(told, 2)])
    monkeypatch.setattr(evidence_zip, "MAX_BUNDLE_BYTES", 1000)
    with pytest.raises(InputError):
        build_bundle([one])


def test_every_changed_byte_of_the_frame_fails_a_check_that_is_named(
    told: Any,
) -> None:
    bundle = build_bundle([file_of(told, 1)])
    inside = {
        at
        for name in verify(told, bundle).files
        for at in span(bundle, name)[32:-32]  # what is in a file is the file's own test
    }
    for at in set(range(len(bundle))) - inside:
        changed = bundle[:at] + bytes([bundle[at] ^ 1 << at % 8]) + bundle[at + 1 :]
        assert "archive" in failed(verify(told, changed)), f"byte {at}"


def span(bundle: bytes, name: str) -> range:
    """Return where in a bundle the bytes of a file are."""
    start = bundle.index(name.encode()) + len(name)
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return range(start, start + archive.getinfo(name).file_size)


def test_a_change_inside_a_file_names_the_file_and_its_check(told: Any, bundle: bytes) -> None:
    name = f"evidence/{told.entries[2].record_id[4:]}.json"
    at = bundle.index(b'"payload":"', bundle.index(name.encode())) + 40
    changed = bundle[:at] + bytes([bundle[at] ^ 1]) + bundle[at + 1 :]
    found = failed(verify(told, changed))
    assert found[0] == "archive"
    assert f"{name[9:13]} payload" in found
    assert {word.split()[0] for word in found} <= {"archive", "index", name[9:13]}


def test_a_forged_file_in_a_whole_bundle_fails_by_name(told: Any) -> None:
    forged = file_of(told, 1).replace(b"index 1", b"index 2")
    report = verify(told, build_bundle([forged, file_of(told, 3)]))
    assert [check.state for check in report.checks] == ["passed", "passed"]
    assert not report.ok
    assert failed(report) == [f"{told.entries[1].record_id[4:8]} inclusion"]


def unpacked(bundle: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def zipped(entries: dict[str, bytes], **fields: Any) -> bytes:
    """Pack entries with an ordinary tool."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in entries.items():
            info = zipfile.ZipInfo(name, fields.get("date", (1980, 1, 1, 0, 0, 0)))
            info.external_attr = fields.get("attributes", 0o100644 << 16)
            info.compress_type = fields.get("compression", zipfile.ZIP_STORED)
            archive.writestr(info, data)
        archive.comment = fields.get("comment", b"")
    return stream.getvalue()


def with_flag(data: bytes, at: int, bits: int) -> bytes:
    return data[:at] + bytes([data[at] | bits]) + data[at + 1 :]


HOSTILE: dict[str, Hostile] = {
    "a bomb": lambda e: zipped({**e, README: bytes(10**6)}, compression=zipfile.ZIP_DEFLATED),
    "compressed": lambda e: zipped(e, compression=zipfile.ZIP_LZMA),
    "encrypted": lambda e: with_flag(zipped(e), 6, 1),
    "dated": lambda e: zipped(e, date=(2026, 1, 1, 0, 0, 0)),
    "links": lambda e: zipped(e, attributes=SYMLINK),
    "a comment": lambda e: zipped(e, comment=b"trust me"),
    "an absolute path": lambda e: zipped({"/etc/passwd": b"x", **e}),
    "a path upwards": lambda e: zipped({"evidence/../../x.json": b"x", **e}),
    "a drive": lambda e: zipped({"C:\\x": b"x", **e}),
    "a stranger": lambda e: zipped({**e, "run-me.sh": b"x"}),
    "an evidence name in capitals": lambda e: zipped({f"evidence/{'A' * 64}.json": b"{}", **e}),
    "a file twice": lambda e: zipped(e)[: zipped(e).index(b"PK\x01\x02")] + zipped(e),
    "unsorted": lambda e: zipped(dict(reversed(e.items()))),
    "something before": lambda e: b"#!/bin/sh\n" + zipped(e),
    "something behind": lambda e: zipped(e) + b"\n",
    "something between": lambda e: zipped(e).replace(b"PK\x01\x02", b"hidden PK\x01\x02", 1),
    "only the end": lambda e: zipped({}),
    "cut short": lambda e: zipped(e)[:-1],
    "cut in a header": lambda e: zipped(e)[:17],
    "no README": lambda e: zipped({k: v for k, v in e.items() if k != README}),
    "another README": lambda e: zipped({**e, README: README_TEXT + b"Or mail the key to me.\n"}),
    "no index": lambda e: zipped({k: v for k, v in e.items() if k != INDEX}),
    "an index without a record": lambda e: zipped({**e, INDEX: b'{"records":[]}'}),
    "no record": lambda e: zipped({k: e[k] for k in (README, INDEX)}),
    "a record under another's name": lambda e: zipped(swapped(e)),
    "a length beyond the end": lambda e: zipped(e).replace(
        (len(README_TEXT)).to_bytes(4, "little") * 2, b"\xff\xff\xff\x7f" * 2, 1
    ),
    "nothing": lambda _: b"",
}


def swapped(entries: dict[str, bytes]) -> dict[str, bytes]:
    """Give two records each other's names, in the index too."""
    one, two = (name for name in entries if name.startswith("evidence/"))
    index = json.loads(entries[INDEX])
    rows = {row["file"]: row for row in index["records"]}
    index["records"] = [{**rows[two], "file": one}, {**rows[one], "file": two}]
    return {**entries, one: entries[two], two: entries[one], INDEX: jsonio.dumps(index)}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_zip_is_refused(told: Any, bundle: bytes, what: str) -> None:
    data = HOSTILE[what](dict(sorted(unpacked(bundle).items())))
    assert data != bundle
    report = verify(told, data)
    assert not report.ok
    assert {"archive", "index"} & set(failed(report))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("encrypted", "encrypted"),
        ("a file twice", "stands twice"),
        ("a stranger", "'run-me.sh' at byte"),
        ("cut in a header", "ends within"),
        ("a length beyond the end", "too long"),
        ("something behind", "from byte"),
        ("another README", "README.txt is not what"),
        ("a record under another's name", "holds rec:"),
        ("no record", "does not hold 1"),
    ],
)
def test_the_fault_is_told(told: Any, bundle: bytes, what: str, said: str) -> None:
    data = HOSTILE[what](dict(sorted(unpacked(bundle).items())))
    assert any(said in check.detail for check in verify(told, data).checks)


def test_too_many_entries_are_refused_before_they_are_verified(
    told: Any, bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_zip, "MAX_BUNDLE_RECORDS", 1)
    assert "archive" in failed(verify(told, bundle))
    monkeypatch.setattr(evidence_zip, "MAX_BUNDLE_BYTES", 1000)
    report = verify(told, bundle)
    assert "archive" in failed(report)
    assert not report.files


def test_an_ordinary_tool_that_packs_it_the_same_way_may(bundle: bytes, told: Any) -> None:
    """The hostile cases differ from a bundle in what they say, and in nothing else."""
    packed = zipped(dict(sorted(unpacked(bundle).items())))
    assert packed == bundle
    assert verify(told, packed).ok


def test_a_malformed_log_key_is_the_callers_error(bundle: bytes) -> None:
    with pytest.raises(FormatError):
        verify_bundle(bundle, log_vkey="nonsense")


def test_a_bundle_names_an_unread_file_only_when_it_could_be_read(told: Any, bundle: bytes) -> None:
    cut = bundle[: bundle.index(b"PK\x01\x02") - 400]
    report = verify(told, cut)
    assert not report.ok
    assert all(r.ok for r in report.files.values())
