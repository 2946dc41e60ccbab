"""Evidence: a true file passes every check, and each forgery fails the check that names it."""

from __future__ import annotations

import ast
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from registry.core import checkpoints, evidence, merkle
from registry.core.checkpoints import Checkpoint
from registry.core.disclosures import Disclosure
from registry.core.evidence import Evidence, build_evidence, verify_evidence
from registry.core.proofs import TlogProof
from registry.errors import FormatError

CHECKS = [
    "format",
    "checkpoint",
    "payload",
    "envelope",
    "inclusion",
    "statement",
    "trust-records",
    "trust-chain",
    "log-key",
    "signer",
    "disclosures",
]
RECORD = 1
Forgery = Callable[[Evidence, Any], Evidence]
REASON = "trained on someone's pictures \u0000 🚲"


@pytest.fixture
def told(book: Any) -> Any:
    """A log with a tainting record at index 1, a trust record at 3 and others around them."""
    book.add(book.taint(REASON), book.maker)
    book.add(book.taint("another"), book.maker)
    keys = (book.admin.trusted("admin"), book.maker.trusted("reviewer"))
    book.add(book.trust(*keys, supersedes=book.entries[0].record_id), book.admin)
    book.add(book.taint("a third"), book.maker)
    return book


def parts(book: Any, index: int = RECORD, trust: tuple[int, ...] = (0, 3)) -> Evidence:
    return Evidence(book.item(index), book.disclosures[index], tuple(map(book.item, trust)))


def failures(book: Any, data: bytes) -> list[str]:
    report = verify_evidence(data, log_vkey=str(book.vkey))
    assert [check.name for check in report.checks] == CHECKS
    assert report.ok == (not report.failed)
    return [check.name for check in report.failed]


def test_true_evidence_passes_every_check_and_says_what_it_proves(told: Any) -> None:
    data = build_evidence(told.item(RECORD), [told.item(0), told.item(3)], told.disclosures[RECORD])
    report = verify_evidence(data, log_vkey=str(told.vkey))
    assert report.ok, report.checks
    assert report.record_id == told.entries[RECORD].record_id
    assert (report.index, report.tree_size) == (RECORD, 5)
    assert report.log_time_ms == told.entries[RECORD].time_ms
    assert report.signer is not None
    assert report.signer.keyid == told.maker.keyid
    assert report.document is not None
    assert report.document["predicate"]["reason"] == REASON
    assert report.withheld == ()


def test_withheld_texts_stay_sealed_and_are_named(told: Any) -> None:
    actor, reason = told.disclosures[RECORD]
    data = build_evidence(told.item(RECORD), [told.item(0), told.item(3)], [reason])
    report = verify_evidence(data, log_vkey=str(told.vkey))
    assert report.ok
    assert report.withheld == (actor.name,)
    assert b"Lovelace" not in data


def test_every_record_of_a_log_can_be_proved(told: Any) -> None:
    for index in range(5):
        assert failures(told, parts(told, index).to_bytes()) == []


def test_the_same_evidence_gives_the_same_file(told: Any) -> None:
    data = parts(told).to_bytes()
    assert Evidence.parse(data).to_bytes() == data


def swap(item: Any, **changes: Any) -> Any:
    return dataclasses.replace(item, **changes)


def moved(proof: TlogProof) -> TlogProof:
    return TlogProof(proof.index + 1, proof.hashes, proof.checkpoint)


def record(**changes: Any) -> Forgery:
    """Return a forgery of parts of the record; each change is made from (item, log)."""
    return lambda e, log: swap(
        e, record=swap(e.record, **{k: f(e.record, log) for k, f in changes.items()})
    )


FORGERIES: dict[str, tuple[Forgery, str]] = {
    "entry of another record": (
        record(entry=lambda _, log: log.entries[2]),
        "payload envelope inclusion",
    ),
    "index of another record": (record(proof=lambda item, _: moved(item.proof)), "inclusion"),
    "envelope signed by another key": (
        record(envelope=lambda item, log: log.admin.envelope(item.envelope.payload)),
        "envelope signer",
    ),
    "envelope of another record": (
        record(envelope=lambda _, log: log.envelopes[2]),
        "payload envelope disclosures",
    ),
    "first trust record left out": (lambda e, _: swap(e, trust=e.trust[1:]), "trust-records"),
    "trust records turned round": (lambda e, _: swap(e, trust=e.trust[::-1]), "trust-records"),
    "trust record at another index": (
        lambda e, _: swap(e, trust=(e.trust[0], swap(e.trust[1], proof=moved(e.trust[1].proof)))),
        "trust-records",
    ),
    "trust record that is none": (
        lambda e, log: swap(e, trust=(log.item(0), log.item(1))),
        "trust-chain",
    ),
    "texts of another record": (
        lambda e, log: swap(e, disclosures=log.disclosures[2]),
        "disclosures",
    ),
    "text replaced": (
        lambda e, _: swap(e, disclosures=(swap(e.disclosures[1], value="a lie", text=""),)),
        "disclosures",
    ),
    "text for a field that is not sealed": (
        lambda e, _: swap(e, disclosures=(*e.disclosures, Disclosure("AA", "/predicate/no", 1))),
        "disclosures",
    ),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_each_forgery_fails_the_check_that_names_it(told: Any, name: str) -> None:
    forge, named = FORGERIES[name]
    assert failures(told, forge(parts(told), told).to_bytes()) == named.split()


def test_a_trust_record_left_out_of_the_middle_shows(told: Any) -> None:
    keys = (told.admin.trusted("admin"), told.maker.trusted("reviewer"))
    told.add(told.trust(*keys, supersedes=told.entries[3].record_id), told.admin)
    assert failures(told, parts(told, trust=(0, 3, 5)).to_bytes()) == []
    assert failures(told, parts(told, trust=(0, 5)).to_bytes()) == ["trust-chain"]


def test_a_signer_without_authority_at_that_time_fails(told: Any, keys: Any) -> None:
    stranger = told.add(told.taint("by a stranger"), keys(9))
    without = (told.admin.trusted("admin"),)
    told.add(told.trust(*without, supersedes=told.entries[3].record_id), told.admin)
    told.add(told.taint("after the key was withdrawn"), told.maker)
    assert stranger == told.entries[5].record_id
    assert failures(told, parts(told, 5, (0, 3, 6)).to_bytes()) == ["signer"]
    assert failures(told, parts(told, 7, (0, 3, 6)).to_bytes()) == ["signer"]
    assert failures(told, parts(told, 4, (0, 3, 6)).to_bytes()) == []


def test_a_trust_record_by_a_usurper_fails(book: Any, keys: Any) -> None:
    usurper = keys(9)
    state = (usurper.trusted("admin", "reviewer"),)
    book.add(book.trust(*state, supersedes=book.entries[0].record_id), usurper)
    book.add(book.taint(), usurper)
    assert failures(book, parts(book, 2, (0, 1)).to_bytes()) == ["trust-chain"]


def test_a_checkpoint_of_another_log_or_size_fails(told: Any) -> None:
    data = parts(told).to_bytes()
    other = dataclasses.replace(told, origin="other/1")
    assert failures(other, data) == ["checkpoint"]
    forged = checkpoints.sign(
        Checkpoint(told.origin, 5, merkle.leaf_hash(b"")), told.vkey, told.log.sign
    )
    signed = data.replace(
        *(
            json.dumps(n.decode(), ensure_ascii=False)[1:-1].encode()
            for n in (told.checkpoint(), forged)
        )
    )
    assert signed != data
    assert failures(told, signed) == ["inclusion", "trust-records"]


def test_proofs_must_share_one_checkpoint(told: Any) -> None:
    early = parts(told, trust=(0,))
    told.add(told.taint(), told.maker)
    late = told.item(RECORD)
    with pytest.raises(FormatError):
        build_evidence(late, early.trust)
    assert failures(told, swap(early, record=late).to_bytes()) == ["checkpoint"]


def test_a_log_key_that_no_trust_record_names_fails(book: Any) -> None:
    other = dataclasses.replace(book, log=Ed25519PrivateKey.generate())
    other.add(other.taint(), other.maker)
    assert failures(other, parts(other, 1, (0,)).to_bytes()) == ["log-key"]


def test_a_rotated_log_key_is_the_newest_one(book: Any) -> None:
    book.add(book.taint(), book.maker)
    fresh = dataclasses.replace(book, log=Ed25519PrivateKey.generate())
    keys = (book.admin.trusted("admin"), book.maker.trusted("reviewer"))
    fresh.add(fresh.trust(*keys, supersedes=book.entries[0].record_id), book.admin)
    assert failures(fresh, parts(fresh, 1, (0, 2)).to_bytes()) == []


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.update(extra=1),
        lambda d: d.pop("trust"),
        lambda d: d.update(type="x"),
        lambda d: d.update(trust=[]),
        lambda d: d.update(disclosures=[1]),
        lambda d: d["record"].update(extra=1),
        lambda d: d["record"].update(entry=1),
        lambda d: d["record"].update(entry=d["record"]["entry"] + " "),
        lambda d: d["record"].update(proof=d["record"]["proof"].replace("@v1", "@v2")),
        lambda d: d["record"]["envelope"].update(payload="!"),
    ],
)
def test_a_malformed_file_fails_its_format_and_skips_the_rest(told: Any, change: Any) -> None:
    document = json.loads(parts(told).to_bytes())
    change(document)
    report = verify_evidence(json.dumps(document).encode(), log_vkey=str(told.vkey))
    assert [check.state for check in report.checks] == ["failed"] + ["skipped"] * 10
    assert report.record_id is None
    assert report.document is None


def test_every_changed_byte_fails_a_check_that_is_named(book: Any) -> None:
    book.add(book.taint(REASON), book.maker)
    data = parts(book, 1, (0,)).to_bytes()
    for at in range(len(data)):
        changed = flipped(data, at, 1 << at % 8)
        assert failures(book, changed), f"byte {at}: {data[at]:#x} may be {changed[at]:#x}"


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


@pytest.mark.parametrize(
    "respell",
    [
        lambda data: b" " + data,
        lambda data: data + b"\n\n",
        lambda data: data + b"\r",
        lambda data: data.replace(b'","', b'", "', 1),
        lambda data: data.replace(b'"disclosures"', b'"\\u0064isclosures"', 1),
        lambda data: json.dumps(json.loads(data), separators=(",", ":")).encode(),
        lambda data: json.dumps(dict(reversed(json.loads(data).items()))).encode(),
    ],
)
def test_another_spelling_of_true_evidence_is_refused(told: Any, respell: Any) -> None:
    data = parts(told).to_bytes()
    assert respell(data) != data
    assert failures(told, respell(data)) == ["format"]


def test_a_newline_at_the_end_is_what_a_terminal_adds(told: Any) -> None:
    assert failures(told, parts(told).to_bytes() + b"\n") == []


def test_extra_data_in_a_proof_is_refused_since_nothing_proves_it(told: Any) -> None:
    true = parts(told)
    extra = swap(true.record, proof=swap(true.record.proof, extra=b"sent by the archive"))
    assert failures(told, swap(true, record=extra).to_bytes()) == ["format"]


@pytest.mark.parametrize("data", [b"", b"{}", b"null", b"\xff", b"[" * 100_000])
def test_verifying_never_raises_for_the_file(told: Any, data: bytes) -> None:
    assert not verify_evidence(data, log_vkey=str(told.vkey)).ok


def test_a_malformed_log_key_is_the_callers_error(told: Any) -> None:
    with pytest.raises(FormatError):
        verify_evidence(parts(told).to_bytes(), log_vkey="nonsense")


def test_the_core_imports_nothing_but_itself_and_pure_libraries() -> None:
    allowed = {"registry.core", "registry.errors", "cryptography", "rfc8785"}
    lazy = {"jsonschema", "jsonschema_rs", "referencing"}
    forbidden = {
        "os",
        "io",
        "pathlib",
        "time",
        "random",
        "secrets",
        "socket",
        "sqlite3",
        "subprocess",
    }
    for file in Path(evidence.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text("utf-8"))
        for node in ast.walk(tree):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.partition(".")[0]
                assert top not in forbidden, (file.name, name)
                if top == "registry":
                    assert name.startswith(("registry.core", "registry.errors")), (file.name, name)
                elif top in lazy:
                    assert file.name == "schemas.py"
                    assert node not in tree.body, "these are imported when first used"
                elif top == "cryptography":
                    assert top in allowed


@given(st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9))
def test_the_first_difference_is_the_first(head: bytes, one: bytes, other: bytes) -> None:
    at = evidence.first_difference(head + one, head + other)
    assert (head + one)[:at] == (head + other)[:at]
    assert (head + one)[at : at + 1] != (head + other)[at : at + 1] or one == other
