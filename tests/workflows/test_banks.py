"""Banks of fingerprints: what a look-up may match, by whose word, and until when."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image
from sqlalchemy import create_engine, select
from sqlmodel import SQLModel

from registry.core import bank_predicates, predicates
from registry.core.bank_predicates import (
    PREDICATE_BANK_ENTRY,
    PREDICATE_BANK_ENTRY_V2,
    PREDICATE_MATCH_VERDICT,
    PREDICATE_MATCH_VERDICT_V2,
)
from registry.core.banks import NewEntry, Said, hash_only_digest
from registry.core.fingerprint import FingerprintValue
from registry.core.look_up import FindResult
from registry.core.statements import Subject
from registry.core.times import parse_time
from registry.errors import GenopsError, TrustError
from registry.log.replay import Replay, stored_records
from registry.sdk import Registry
from registry.similarity import banks as looked
from registry.similarity.fingerprints import PHASH256
from registry.similarity.query import query_of
from registry.store.believed import RECORDS
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.bank_exchange import How
from registry.workflows.look_up import look_up
from registry.workflows.maintain import PROJECTION, derive, projection_rows
from registry.workflows.submit import declare
from tests.conftest import encode

Make = Callable[..., Any]
WHY = {"reason": "cease and desist", "source": "letter 7"}
DAY_MS = 86_400_000
HASHES = ["0f" * 16 + f"{n:02x}" * 4 + "a5" * 12 for n in range(3)]


@pytest.fixture
def bank(registry: Registry) -> Registry:
    """A registry with one bank, `no`, of what must not be shipped."""
    registry.banks.create("no", kind="blocked", owner="legal")
    return registry


def look(registry: Registry, data: bytes, bank: str = "no", *, later_ms: int = 0) -> FindResult:
    services = registry._services
    then = replace(services, now=lambda: services.now() + later_ms)
    return look_up(then, data, banks=(bank,))


def found(result: FindResult) -> list[tuple[str, str]]:
    return [(match.kind, match.state) for match in result.matches]


def smaller(picture: Image.Image) -> bytes:
    """Return the same picture as somebody else saved it."""
    return encode(picture.resize((96, 96)), "JPEG", quality=70)


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(GenopsError) as refused:
        call()
    return refused.value.code


def thumbnails(registry: Registry) -> int:
    with read(registry._services.engine) as conn:
        return len(conn.execute(select(table_of(ThumbnailRow))).all())


def say_entries(registry: Registry, entries: Iterable[NewEntry], role: str = "reviewer") -> str:
    """Put entries on the log as they are, past what the workflow checks."""
    services, listed = registry._services, list(entries)
    predicate = bank_predicates.add_entries(services.head(), bank="no", entries=listed)
    subjects = bank_predicates.entry_subjects([entry.sha256 for entry in listed])
    return declare(services, subjects, PREDICATE_BANK_ENTRY_V2, predicate, role=role).record


@pytest.mark.both_databases
def test_an_entry_matches_until_it_expires_or_is_removed(
    bank: Registry, picture: Make, tmp_path: Path
) -> None:
    file = tmp_path / "poster.png"
    file.write_bytes(encode(picture(1)))
    done = bank.banks.add("no", [file], **WHY, expires="90d")
    again = bank.banks.add("no", [file], **WHY, expires="90d")
    assert (len(done.added), again.present, again.records) == (1, done.added, ())
    assert found(look(bank, file.read_bytes())) == [("exact", "")]
    same, other = smaller(picture(1)), smaller(picture(2))
    (match,) = look(bank, same).matches
    assert match.entry is not None
    assert (match.kind, match.id, match.entry.owner) == ("perceptual", done.added[0], "legal")
    assert match.entry.reason == "cease and desist"
    assert look(bank, other).matches == ()
    assert look(bank, same, later_ms=92 * DAY_MS).matches == ()
    assert bank.banks.remove("no", [str(file)], reason="settled").removed == done.added
    assert look(bank, same).matches == look(bank, file.read_bytes()).matches == ()
    bank.banks.add("no", [file], **WHY)
    assert found(look(bank, same, later_ms=92 * DAY_MS)) == [("perceptual", "")]
    assert bank.check_catalog() == ()
    assert bank.check_log().ok


def test_what_cannot_be_is_refused_and_nothing_is_recorded(
    bank: Registry, generation: Make, tmp_path: Path, picture: Make
) -> None:
    (mine,) = bank.record(generation(3), personal=True).assets
    file, broken = tmp_path / "a.png", tmp_path / "b.png"
    file.write_bytes(encode(picture(1)))
    broken.write_bytes(b"no picture")
    banks, size = bank.banks, bank.log.head().size
    calls = {
        "bank.exists": lambda: banks.create("no", kind="blocked", owner="legal"),
        "bank.kind": lambda: banks.create("no", kind="negative", owner="legal"),
        "bank.name": lambda: banks.create("registered", kind="blocked", owner="legal"),
        "bank.unknown": lambda: banks.add("none", [file], **WHY),
        "bank.reason": lambda: banks.add("no", [file], reason=" ", source="x"),
        "bank.label": lambda: banks.add("no", [file], reason="r", source="two\nlines"),
        "bank.expires": lambda: banks.add("no", [file], **WHY, expires="2001-01-01"),
        "bank.personal": lambda: banks.add("no", [mine], **WHY),
        "bank.no-entry": lambda: banks.remove("no", [str(file)], reason="r"),
        "bank.list": lambda: banks.import_("no", b"nothing\nof use\n", **WHY),
        "file.unreadable": lambda: banks.add("no", [str(tmp_path)], **WHY),
    }
    assert {code: code_of(call) for code, call in calls.items()} == {code: code for code in calls}
    with pytest.raises(GenopsError):
        banks.add("no", [file, broken], **WHY)
    assert bank.log.head().size == size, "nor is the good one of two"


def test_only_a_thumbnail_is_kept_and_goes_with_its_last_entry(
    bank: Registry, picture: Make, generation: Make, tmp_path: Path
) -> None:
    files = []
    for seed in (1, 2):
        files.append(tmp_path / f"{seed}.png")
        files[-1].write_bytes(encode(picture(seed)))
    bank.banks.create("also", kind="licensed", owner="studio")
    bank.banks.add("no", files[:1], **WHY)
    bank.banks.add("also", files[:1], **WHY)
    bank.banks.add("no", files[1:], **WHY, thumbnails=False)
    (asset,) = bank.record(generation(3)).assets
    bank.banks.add("no", [asset], **WHY)
    assert thumbnails(bank) == 2
    shown = bank.banks.show("no").entries
    assert [entry.verifiable for entry in shown] == [True, False, True]
    assert {entry.reason for entry in shown} == {"cease and desist"}
    assert [e.summary for e in bank.get(asset).events] == ["add (no)"]
    assert bank.banks.add("no", files[1:], **WHY).records == ()
    assert thumbnails(bank) == 3, "what stands already gets the thumbnail that it lacks"
    bank.banks.remove("no", [str(files[1])], reason="r")
    assert code_of(lambda: bank.blob(shown[-1].id)).startswith("ref."), "the picture is not here"
    assert bank.banks.remove("no", [str(files[0]), asset], reason="r").thumbnails == 0
    assert bank.banks.remove("also", [str(files[0])], reason="r").thumbnails == 1
    assert thumbnails(bank) == 1, "the asset's own"


def test_a_list_is_imported_once_and_changes_only_what_it_says_anew(bank: Registry) -> None:
    data = "\n".join([*HASHES, HASHES[0], "bad"]).encode()
    tried = bank.banks.import_("no", data, **WHY, how=How(dry_run=True))
    assert (tried.added, tried.records) == (3, ())
    done = bank.banks.import_("no", data, **WHY)
    assert (done.added, done.repeated, done.bad, done.problems[0].line) == (3, 1, 1, 5)
    again = bank.banks.import_("no", data, **WHY)
    assert (again.added, again.present, again.records) == (0, 3, ())
    other = bank.banks.import_("no", data, reason="r", source="letter 8")
    assert (other.changed, len(other.records)) == (3, 1)
    assert [e.source for e in bank.banks.show("no").entries] == ["letter 8"] * 3
    (view,) = bank.banks.list()
    assert (view.entries, view.expired) == (3, 0)


def test_a_bank_goes_out_as_a_list_and_comes_in_elsewhere(
    bank: Registry, picture: Make, tmp_path: Path
) -> None:
    file = tmp_path / "poster.png"
    file.write_bytes(encode(picture(1)))
    bank.banks.add("no", [file], **WHY, expires="2099-01-01")
    bank.banks.import_("no", HASHES[0].encode(), **WHY)
    out = tmp_path / "no.jsonl"
    assert bank.banks.export("no", out).entries == 2
    assert b"cease and desist" not in out.read_bytes()
    assert code_of(lambda: bank.banks.export("no", out)) == "file.exists"
    bank.banks.create("theirs", kind="licensed", owner="studio")
    bank.banks.import_("theirs", out, reason="a partner's", source="x")
    assert found(look(bank, smaller(picture(1)), "theirs")) == [("perceptual", "")]
    mine, yours = bank.banks.show("no").entries, bank.banks.show("theirs").entries
    assert [e.expires for e in yours] == [e.expires for e in mine] != [None, None]
    assert {e.reason for e in yours} == {"a partner's"}
    text = tmp_path / "no.txt"
    bank.banks.export("theirs", text, form="text")
    assert HASHES[0] in text.read_text().split()


def test_a_picture_is_found_by_a_listed_pdq(bank: Registry, picture: Make) -> None:
    pytest.importorskip("pdqhash")
    hashed = query_of(encode(picture(1)), bank.settings.limits).pdq
    assert hashed is not None
    bank.banks.import_("no", hashed.hex().encode(), **WHY)
    (match,) = look(bank, smaller(picture(1))).matches
    assert (match.bank, match.kind) == ("no", "perceptual")
    assert match.fingerprint.startswith("pdq")
    assert look(bank, smaller(picture(2))).matches == ()


def test_a_known_false_match_explains_what_is_farther_than_itself(
    bank: Registry, picture: Make, tmp_path: Path
) -> None:
    base = picture(1)
    edited = base.copy()
    edited.paste((255, 0, 0), (8, 8, 44, 40))
    for name, one in (("base", base), ("edited", edited)):
        (tmp_path / name).write_bytes(encode(one))
    bank.banks.add("no", [tmp_path / "base"], **WHY)
    query = smaller(edited)
    (match,) = look(bank, query).matches
    assert match.distance
    bank.banks.create("known", kind="negative", owner="studio")
    bank.banks.add("known", [tmp_path / "edited"], **WHY, expires="1d")
    assert look(bank, query).matches == ()
    assert len(look(bank, smaller(base)).matches) == 1, "the base itself is nearer to its entry"
    assert len(look(bank, query, later_ms=3 * DAY_MS).matches) == 1, "an expired one tells nothing"
    assert found(look(bank, encode(base))) == [("exact", "")]


def test_a_false_match_has_to_be_nearer(bank: Registry) -> None:
    value = bytes.fromhex(HASHES[0])
    sha256 = hash_only_digest([FingerprintValue("0" * 64, PHASH256, value, 100)])
    print_ = FingerprintValue(sha256, PHASH256, value, 100)
    bank.banks.create("known", kind="negative", owner="studio")
    bank.banks.add("known", [print_], **WHY)
    engine, now_ms = bank._services.engine, bank._services.now()
    (near,) = looked.negatives(engine, [bytes([value[0] ^ 0xFF]) + value[1:]], PHASH256, now_ms)
    assert (near.distance, near.entry.negative) == (8, True)
    assert looked.lowered_by(9, [near]) is near
    assert looked.lowered_by(8, [near]) is looked.lowered_by(9, []) is None
    far = bytes(b ^ 0xFF for b in value[:4]) + value[4:]
    assert looked.negatives(engine, [far], PHASH256, now_ms) == [], "32 bits are too far"


@pytest.mark.both_databases
def test_what_a_stolen_key_put_in_or_took_out_does_not_count(
    bank: Registry, picture: Make, tmp_path: Path
) -> None:
    for seed in (1, 2):
        (tmp_path / str(seed)).write_bytes(encode(picture(seed)))
    bank.banks.add("no", [tmp_path / "1"], **WHY)
    key = bank._services.signer("reviewer").keyid
    removed = bank.banks.remove("no", [str(tmp_path / "1")], reason="r")
    added = bank.banks.add("no", [tmp_path / "2"], **WHY)
    assert _counts(bank, picture) == [0, 1]
    bank.trust.rotate("reviewer")
    bank.trust.compromise(key, since_ms=_log_time(bank, removed.records[0]), reason="stolen")
    assert _counts(bank, picture) == [1, 0]
    bank.trust.reattest(added.records, reason="it was us", actor="Ada")
    assert _counts(bank, picture) == [1, 1], "what vouches for one record does so for no other"
    bank.trust.reattest(removed.records, reason="that too", actor="Ada")
    assert _counts(bank, picture) == [0, 1]
    assert bank.check_catalog() == ()


def _counts(registry: Registry, picture: Make) -> list[int]:
    """Return how many matches two pictures have."""
    return [len(look(registry, smaller(picture(seed))).matches) for seed in (1, 2)]


def _log_time(registry: Registry, record: str) -> int:
    """Return a record's log time."""
    leaf = bytes.fromhex(record.removeprefix("rec:"))
    with read(registry._services.engine) as conn:
        return int(conn.scalar(select(RECORDS.c.time_ms).where(RECORDS.c.leaf_hash == leaf)) or 0)


def test_a_bank_whose_maker_is_disowned_counts_as_blocked(bank: Registry) -> None:
    made = bank.banks.create("known", kind="negative", owner="studio")
    key = bank._services.signer("reviewer").keyid
    with read(bank._services.engine) as conn:
        assert looked.kinds(conn) == {"known": "negative", "no": "blocked"}
    bank.trust.rotate("reviewer")
    bank.trust.compromise(key, since_ms=parse_time(made.time), reason="stolen")
    with read(bank._services.engine) as conn:
        assert looked.kinds(conn)["known"] == "blocked"


def test_only_a_reviewers_key_within_its_window_may_say_so(bank: Registry) -> None:
    entry = NewEntry("1" * 64, (), "r", "legal", "x")
    services = bank._services
    said = Said("1" * 64, "2" * 64, "registered", "perceptual")
    predicate = bank_predicates.match_verdict(
        services.head(), said=said, verdict="refuted", reason="r"
    )
    subjects = [Subject("out/0", said.query)]
    with pytest.raises(TrustError) as wrong:
        say_entries(bank, [entry], role="generator")
    assert wrong.value.code == "trust.missing-role"
    with pytest.raises(TrustError) as wrong:
        declare(services, subjects, PREDICATE_MATCH_VERDICT_V2, predicate, role="policy")
    assert wrong.value.code == "trust.missing-role"
    bank.trust.revoke(services.signer("reviewer").keyid)
    with pytest.raises(GenopsError):
        say_entries(bank, [entry])
    with read(services.engine) as conn:
        assert looked.live(conn, "no", ["1" * 64], services.now()) == {}
        assert looked.refuted(conn, "1" * 64) == set()


def test_a_query_is_known_again_by_bytes_pixels_or_fingerprint(bank: Registry) -> None:
    services, value = bank._services, bytes(range(32))
    for number, known in enumerate(({"pixels": "a" * 64}, {"value_name": "p", "value": value}, {})):
        said = Said(f"{number}" * 64, "f" * 64, f"b{number}", "part", **known)
        predicate = bank_predicates.match_verdict(
            services.head(), said=said, verdict="refuted", reason="r"
        )
        subjects = [Subject("out/0", said.query)]
        declare(services, subjects, PREDICATE_MATCH_VERDICT_V2, predicate, role="reviewer")
    with read(services.engine) as conn:

        def banks(sha256: str, *values: bytes, pixels: str | None = None) -> set[str]:
            pairs = looked.refuted(conn, sha256, values, pixels)
            assert {(candidate, kind) for _, candidate, kind in pairs} <= {("f" * 64, "part")}
            return {name for name, _, _ in pairs}

        assert banks("2" * 64) == {"b2"}
        assert banks("e" * 64, pixels="a" * 64) == {"b0"}
        assert banks("e" * 64, bytes(32), value) == {"b1"}
        assert banks("e" * 64, bytes(32), pixels="c" * 64) == set()
        assert looked.confirmed(conn, "2" * 64) == set()


def test_a_refuted_match_does_not_come_up_again_and_a_confirmed_one_says_so(
    bank: Registry, picture: Make, generation: Make, tmp_path: Path
) -> None:
    (asset,) = bank.record(generation(1)).assets
    file = tmp_path / "q.png"
    file.write_bytes(encode(picture(1).resize((96, 96))))
    said = bank.banks.refute(file, asset[7:19], reason="another mug")
    assert (said.kind, said.candidate, said.verdict) == ("perceptual", asset, "refuted")
    assert look(bank, file.read_bytes(), "registered").matches == ()
    with Image.open(file) as opened:
        same_pixels = encode(opened, compress_level=0)
    assert same_pixels != file.read_bytes()
    assert look(bank, same_pixels, "registered").matches == ()
    assert found(look(bank, smaller(picture(1)), "registered")) == [("perceptual", "")]
    assert code_of(lambda: bank.banks.refute(asset, asset, reason="r")) == "match.certain"
    assert code_of(lambda: bank.banks.refute(file, "1" * 12, reason="r")) == "match.none"
    assert code_of(lambda: bank.banks.confirm(file, asset, reason=" ")) == "match.reason"
    bank.banks.confirm(file, asset, reason="ours after all")
    assert found(look(bank, file.read_bytes(), "registered")) == [("perceptual", "confirmed")]
    assert [one.verdict for one in bank.banks.verdicts()] == ["confirmed", "refuted"]
    key = bank._services.signer("reviewer").keyid
    bank.trust.rotate("reviewer")
    bank.trust.compromise(key, since_ms=parse_time(said.time), reason="stolen")
    assert found(look(bank, file.read_bytes(), "registered")) == [("perceptual", "")]
    assert bank.banks.verdicts() == []


def test_the_projection_is_the_same_however_the_log_is_cut(
    bank: Registry, picture: Make, tmp_path: Path
) -> None:
    file = tmp_path / "a.png"
    file.write_bytes(encode(picture(1)))
    bank.banks.add("no", [file], **WHY)
    bank.banks.import_("no", HASHES[0].encode(), **WHY)
    bank.banks.remove("no", [str(file)], reason="r")
    for size in (1, 3, 500):
        scratch = create_engine("sqlite://")
        SQLModel.metadata.create_all(scratch, tables=list(PROJECTION))
        with read(bank._services.engine) as source, scratch.begin() as conn:
            records = map(Replay(bank.log.vkey).accept, stored_records(source))
            derive(conn, records, 0, batch=size)
            assert projection_rows(conn) == projection_rows(source)
            assert len(projection_rows(conn)["bank_prints"]) > 1


def test_a_record_that_says_nonsense_harms_no_look_up(bank: Registry, picture: Make) -> None:
    data = encode(picture(1))
    odd = FingerprintValue("2" * 64, PHASH256, b"\x01", 100)
    say_entries(bank, [NewEntry("2" * 64, (odd,), "r", "legal", "x")])
    bank.banks.create("known", kind="negative", owner="studio")
    assert look(bank, data).matches == ()
    assert bank.banks.show("no").entries[0].fingerprints == (PHASH256,)


def test_entries_and_verdicts_of_the_first_version_count(registry: Registry) -> None:
    services, value = registry._services, bytes.fromhex(HASHES[0])
    subjects = [Subject("out/0", "1" * 64)]
    verdict = predicates.match_verdict(
        services.head(),
        candidate="sha256:" + "2" * 64,
        fingerprint=PHASH256,
        distance=34,
        verdict="rejected",
        reason="r",
    )
    declare(services, subjects, PREDICATE_MATCH_VERDICT, verdict, role="reviewer")
    actions: list[Literal["add", "remove"]] = ["add", "remove"]
    for action in actions:
        entry = predicates.bank_entry(
            services.head(),
            bank="never again",
            action=action,
            fingerprints={PHASH256: value.hex()},
            reason="stolen",
        )
        declare(services, subjects, PREDICATE_BANK_ENTRY, entry, role="reviewer")
        page = registry.banks.show("never again")
        assert (page.bank.kind, page.bank.owner, page.bank.record) == ("blocked", "", None)
        assert [e.reason for e in page.entries] == (["stolen"] if action == "add" else [])
    with read(services.engine) as conn:
        assert looked.refuted(conn, "1" * 64) == {("registered", "2" * 64, "perceptual")}
    assert [one.verdict for one in registry.banks.verdicts()] == ["refuted"]
    assert registry.check_catalog() == ()
