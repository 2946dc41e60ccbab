"""Erasures, holds, retention and persons' requests: what is asked for is gone, nothing else."""

from __future__ import annotations

import base64
import json
import re
import stat
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete, select, text

from registry.catalog.holds import PREDICATE_ERASURE, refuse_held
from registry.core import jsonio
from registry.core.certificates import verify_certificate
from registry.core.generation import Generation, Material, Sealed
from registry.core.statements import Statement
from registry.errors import (
    ErasedError,
    FormatError,
    HeldError,
    InputError,
    IntegrityError,
    NotFoundError,
    PolicyError,
)
from registry.sdk import Registry
from registry.store.catalog_tables import HoldRow, RecordRow
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.workflows import choose, erase, holds, leftovers, subjects
from registry.workflows.retention import DAY_MS
from registry.workflows.services import Services
from registry.workflows.texts import SEALED, containing, naming

Make = Callable[..., Generation]
Picture = Callable[..., Image.Image]

JANE = "Jané Doe"


def services_of(registry: Registry) -> Services:
    return registry._services


def text_states(registry: Registry) -> list[str]:
    """Return the state of every asset's texts, oldest first."""
    return [registry.get(a.record).text for a in reversed(registry.list())]


@pytest.fixture
def studio(registry: Registry, generation: Make) -> list[str]:
    """Three records: by Jane, of Jane, and of nobody."""
    return [
        registry.record(generation(1, prompt="a mug"), actor=JANE).record,
        registry.record(generation(2, prompt="a portrait of jane\u0301   DOE at sea")).record,
        registry.record(generation(3, prompt="janet doering on a mug")).record,
    ]


def test_a_person_is_found_as_actor_and_in_texts_and_nobody_else_is(
    registry: Registry, studio: list[str]
) -> None:
    report = registry.privacy.find(JANE)
    assert {m.record: m.because for m in report.mentions} == {
        studio[0]: ("actor", "text"),
        studio[1]: ("text",),
    }
    assert report.readable == 2
    (place,) = report.mentions[1].found_in
    assert place.endswith("/prompt")


def test_erasing_a_person_leaves_nothing_readable_and_the_others_alone(
    registry: Registry, studio: list[str]
) -> None:
    done = registry.privacy.erase(person=JANE, reason="request 114", actor="dpo")
    assert {item.record for item in done.erased} == set(studio[:2])
    assert done.wiped
    assert text_states(registry) == ["erased", "erased", "readable"]
    assert registry.privacy.find(JANE).readable == 0
    assert registry.check_log().ok
    assert registry.check_catalog() == ()
    again = registry.privacy.erase(person=JANE, reason="request 114", actor="dpo")
    assert again.erased[0].erasure == done.erased[0].erasure


def test_a_plan_changes_nothing(registry: Registry, studio: list[str]) -> None:
    size = registry.log.head().size
    plan = registry.privacy.plan(person=JANE)
    assert plan.dry_run
    assert len(plan.items) == 2
    assert not plan.erased
    assert registry.log.head().size == size
    assert text_states(registry) == ["readable"] * 3


@pytest.mark.parametrize(
    ("looked_for", "ignore_case", "found"),
    [("Mug", False, 0), ("Mug", True, 2), ("portrait of", False, 1), ("mug", False, 2)],
)
def test_texts_are_matched_as_they_stand_or_in_any_case(
    registry: Registry, studio: list[str], looked_for: str, ignore_case: bool, found: int
) -> None:
    plan = registry.privacy.plan(matching=looked_for, ignore_case=ignore_case)
    assert len(plan.items) == found


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("JANÉ\n doe", True),
        ("(jané doe)", True),
        ("Jané Doering", False),
        ("xJané Doe", False),
        ("Doe, Jané", False),
    ],
)
def test_a_name_is_whole_words_in_any_case(value: str, named: bool) -> None:
    assert naming(JANE)(value) is named


def test_sealed_objects_and_keys_are_searched_too(registry: Registry, generation: Make) -> None:
    hidden = {"external": {"form": Sealed({"by": ["x", {"Jané Doe": 1}]}), "seed": "1"}}
    registry.record(generation(1, **hidden))
    assert len(registry.privacy.plan(person=JANE).items) == 1


def test_an_empty_search_is_refused(registry: Registry, studio: list[str]) -> None:
    for chosen in ({"person": " "}, {"matching": ""}, {}, {"person": "x", "matching": "y"}):
        with pytest.raises(InputError):
            registry.privacy.plan(**chosen)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        containing("  ")


def test_an_erasure_never_says_again_what_it_erases(registry: Registry, studio: list[str]) -> None:
    with pytest.raises(InputError) as caught:
        registry.privacy.erase(person=JANE, reason=f"asked by {JANE.upper()}", actor="dpo")
    assert caught.value.code == "erase.reason-repeats"
    with pytest.raises(InputError) as caught:
        registry.privacy.erase(person=JANE, reason="request", actor=JANE)
    assert caught.value.code == "erase.own-name"
    with pytest.raises(InputError) as caught:
        registry.privacy.erase(matching="at sea", reason="the one at sea")
    assert caught.value.code == "erase.reason-repeats"
    assert text_states(registry) == ["readable"] * 3


def test_an_asset_is_erased_with_every_record_that_made_it(
    registry: Registry, generation: Make
) -> None:
    first = registry.record(generation(1, prompt="once"))
    second = registry.record(generation(1, prompt="twice"))
    assert first.assets == second.assets
    done = registry.privacy.erase([first.assets[0]], reason="request")
    assert {item.record for item in done.erased} == {first.record, second.record}
    assert text_states(registry) == ["erased", "erased"]


def test_any_record_can_be_erased_not_only_one_of_an_asset(
    registry: Registry, studio: list[str]
) -> None:
    taint = registry.taint(studio[0], reason="shows somebody")
    assert registry.get(studio[0]).taints[0].reason == "shows somebody"
    registry.privacy.erase([taint.record[: len("rec:") + 12]], reason="request")
    assert registry.get(studio[0]).taints[0].reason is None
    assert registry.list(tainted=True)


def test_a_record_of_more_fields_than_a_list_holds_is_erased(
    registry: Registry, generation: Make
) -> None:
    notes = {f"note{n}": Sealed(f"text {n}") for n in range(300)}
    receipt = registry.record(generation(1, external={"seed": "1", **notes}))
    (item,) = registry.privacy.erase([receipt.record], reason="request").erased
    assert registry.get(receipt.record).text == "erased"
    named = [
        pointer
        for index in choose.of_type(services_of(registry), PREDICATE_ERASURE)
        for pointer in json.loads(registry.log.envelope(index).payload)["predicate"]["pointers"]
    ]
    assert sorted(named) == sorted(item.fields)
    assert len(named) > 300


def test_many_erasures_share_commits(registry: Registry, generation: Make) -> None:
    for seed in range(24):
        registry.record(generation(seed, prompt=f"a mug, {seed}", outputs=(_text(seed),)))
    done = registry.privacy.erase(matching="a mug", reason="request")
    assert len(done.erased) == 24
    with read(services_of(registry).engine) as conn:
        rows = table_of(RecordRow)
        times = conn.execute(
            select(rows.c.time_ms).where(rows.c.predicate_type.endswith("/erasure/v1"))
        ).all()
    assert len(times) == 24
    assert len(set(times)) < 24


def test_an_interrupted_erasure_is_finished(
    registry: Registry, studio: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    services = services_of(registry)
    payload = registry.log.envelope(1).payload_sha256

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(services.keyring), "destroy_many", stop)
    with pytest.raises(KeyboardInterrupt):
        registry.erase(studio[0], reason="request")
    monkeypatch.undo()
    assert services.keyring.get(payload)
    assert registry.get(studio[0]).text == "erased"  # the log says so, whatever is still here
    assert erase.finish_erasures(services) == 1
    assert services.keyring.is_destroyed(payload)
    with read(services.engine) as conn:
        assert 1 not in set(conn.scalars(select(SEALED.c.record_idx)))
    assert erase.finish_erasures(services) == 0


def test_a_text_that_came_back_is_erased_again(registry: Registry, studio: list[str]) -> None:
    services = services_of(registry)
    with read(services.engine) as conn:
        row = dict(conn.execute(select(SEALED).where(SEALED.c.record_idx == 1)).mappings().one())
    registry.erase(studio[0], reason="request")
    with write(services.engine) as conn:
        conn.execute(SEALED.insert().values(**row))
    assert erase.finish_erasures(services) == 1
    assert erase.finish_erasures(services) == 0


def test_texts_without_their_key_are_counted_not_skipped_in_silence(
    registry: Registry, studio: list[str]
) -> None:
    services = services_of(registry)
    payload = registry.log.envelope(2).payload_sha256
    with services.keyring._writing() as (conn, _):
        conn.execute("DELETE FROM sealing_keys WHERE key_id = ?", (payload,))
    plan = registry.privacy.plan(person=JANE)
    assert (plan.unread, len(plan.items)) == (1, 1)


# Holds


def test_what_is_held_is_not_erased_until_the_hold_is_lifted(
    registry: Registry, studio: list[str]
) -> None:
    placed = registry.privacy.hold([studio[0]], reason="case 17")[0]
    with pytest.raises(HeldError) as caught:
        registry.erase(studio[0], reason="request")
    assert (caught.value.code, caught.value.exit_code) == ("erase.held", 1)
    assert placed.record in caught.value.message
    assert text_states(registry) == ["readable"] * 3
    (view,) = registry.privacy.holds()
    assert (view.hold, view.target, view.reason) == (placed.record, studio[0], "case 17")
    assert placed.record in {event.record for event in registry.get(studio[0]).events}

    lifted = registry.privacy.lift(studio[0], reason="closed")
    assert registry.privacy.holds() == []
    (past,) = registry.privacy.holds(lifted=True)
    assert past.lifted_by == lifted.record
    registry.erase(studio[0], reason="request")
    assert registry.get(studio[0]).text == "erased"
    assert registry.check_catalog() == ()


def test_a_hold_on_an_asset_covers_every_record_that_speaks_of_it(
    registry: Registry, generation: Make
) -> None:
    first = registry.record(generation(1, prompt="once"))
    registry.privacy.hold([first.assets[0]], reason="case 17")
    later = registry.record(generation(1, prompt="twice"))
    taint = registry.taint(first.assets[0], reason="shows somebody")
    for record in (first.record, later.record, taint.record):
        with pytest.raises(HeldError):
            registry.erase(record, reason="request")


def test_of_a_persons_records_the_held_ones_are_kept_and_named(
    registry: Registry, studio: list[str]
) -> None:
    registry.privacy.hold([studio[1]], reason="case 17")
    done = registry.privacy.erase(person=JANE, reason="request", actor="dpo")
    assert [item.record for item in done.held] == [studio[1]]
    assert [item.record for item in done.erased] == [studio[0]]
    assert text_states(registry) == ["erased", "readable", "readable"]


def test_one_of_two_holds_is_lifted_by_its_own_record(
    registry: Registry, studio: list[str]
) -> None:
    one = registry.privacy.hold([studio[0]], reason="case 17")[0]
    two = registry.privacy.hold([studio[0]], reason="case 18")[0]
    registry.privacy.lift(one.record, reason="closed")
    assert [view.hold for view in registry.privacy.holds()] == [two.record]
    with pytest.raises(HeldError):
        registry.erase(studio[0], reason="request")
    with pytest.raises(NotFoundError) as caught:
        registry.privacy.lift(one.record, reason="closed")
    assert caught.value.code == "hold.none"


def test_holds_are_placed_by_person(registry: Registry, studio: list[str]) -> None:
    placed = registry.privacy.hold(person=JANE, reason="case 17")
    assert len(placed) == 2
    assert {view.target for view in registry.privacy.holds()} == set(studio[:2])


def test_a_hold_needs_a_reason_and_something_to_hold(registry: Registry, studio: list[str]) -> None:
    with pytest.raises(InputError):
        registry.privacy.hold([studio[0]], reason=" ")
    with pytest.raises(NotFoundError):
        registry.privacy.hold(["deadbeef"], reason="case 17")


def test_a_hold_between_plan_and_erasure_wins(
    registry: Registry, studio: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The erasure was planned when nothing was held: the commit itself must refuse it."""
    planned = erase._planned

    def and_then_held(*arguments: Any) -> Any:
        found = planned(*arguments)
        registry.privacy.hold([studio[0]], reason="case 17")
        return found

    monkeypatch.setattr(erase, "_planned", and_then_held)
    services = services_of(registry)
    chosen = choose.by_ids(services, studio)
    done = erase.erase_all(services, chosen, reason="request")
    assert [item.record for item in done.held] == [studio[0]]
    assert {item.record for item in done.erased} == set(studio[1:])
    assert text_states(registry) == ["readable", "erased", "erased"]
    assert registry.check_log().ok


def test_holds_and_erasures_that_race_are_in_one_order(
    registry: Registry, generation: Make
) -> None:
    """Whichever comes first on the log counts: what was held first is never erased after."""
    records = [
        registry.record(generation(n, prompt=f"text {n}", outputs=(_text(n),))).record
        for n in range(6)
    ]
    start = threading.Barrier(2 * len(records))
    outcome: dict[str, str] = {}

    def hold(record: str) -> None:
        start.wait()
        registry.privacy.hold([record], reason="case 17")

    def wipe(record: str) -> None:
        start.wait()
        try:
            registry.erase(record, reason="request")
            outcome[record] = "erased"
        except HeldError:
            outcome[record] = "readable"

    threads = [threading.Thread(target=do, args=(r,)) for r in records for do in (hold, wipe)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    placed = {view.target: services_of(registry).reader.index_of(_leaf(view.hold))
              for view in registry.privacy.holds()}  # fmt: skip
    for record in records:
        assert registry.get(record).text == outcome[record]
        erasures = choose.erasures_of(services_of(registry), [_leaf(record)])
        if outcome[record] == "readable":
            assert not erasures
        else:
            assert erasures[_leaf(record)]["idx"] < placed[record]


def test_a_hold_that_was_removed_from_the_catalog_still_counts(
    registry: Registry, studio: list[str]
) -> None:
    registry.privacy.hold([studio[0]], reason="case 17")
    with write(services_of(registry).engine) as conn:
        conn.execute(delete(table_of(HoldRow)))
    with pytest.raises(IntegrityError) as caught:
        registry.erase(studio[0], reason="request")
    assert caught.value.code == "catalog.altered"
    registry.rebuild_catalog()
    with pytest.raises(HeldError):
        registry.erase(studio[0], reason="request")


def test_a_rebuilt_catalog_knows_the_same_holds(registry: Registry, studio: list[str]) -> None:
    registry.privacy.hold(studio[:2], reason="case 17")
    registry.privacy.lift(studio[0], reason="closed")
    registry.erase(studio[0], reason="request")
    registry.privacy.hold([studio[0]], reason="too late")
    before = registry.privacy.holds(lifted=True)
    registry.rebuild_catalog()
    assert registry.privacy.holds(lifted=True) == before
    assert holds.standing_on(services_of(registry), [1, 2]).keys() == {1, 2}


def test_a_hold_does_not_reach_back(registry: Registry, studio: list[str]) -> None:
    registry.erase(studio[0], reason="request")
    registry.privacy.hold([studio[0]], reason="too late")
    services = services_of(registry)
    (erasure,) = choose.of_type(services, PREDICATE_ERASURE)
    logged = SimpleNamespace(
        index=erasure, statement=Statement.parse(registry.log.envelope(erasure).payload)
    )
    with read(services.engine) as conn:
        refuse_held(conn, [logged])
        with pytest.raises(HeldError):
            refuse_held(conn, [SimpleNamespace(index=99, statement=logged.statement)])


# Retention


def rules(registry: Registry, *listed: dict[str, Any]) -> None:
    document = {"version": 1, "rules": list(listed)}
    registry.settings.home.retention.write_text(json.dumps(document))


@pytest.fixture
def later(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Let days pass, for retention alone."""
    services = services_of(registry)
    now = services.now

    def pass_days(days: int) -> None:
        object.__setattr__(services, "now", lambda: now() + days * DAY_MS)

    return pass_days


def test_rules_erase_what_is_old_enough_and_say_so(
    registry: Registry, generation: Make, later: Callable[[int], None]
) -> None:
    draft = registry.record(generation(1, campaign="spring-draft")).record
    final = registry.record(generation(2, campaign="spring")).record
    contract = registry.record(generation(3, campaign="x-draft"), project="contracts").record
    bare = registry.record(generation(4)).record
    rules(
        registry,
        {"name": "contracts", "project": "contract?", "keep": True},
        {"name": "drafts", "campaign": "*-draft", "predicates": ["generation"], "after_days": 30},
        {"name": "all-else", "campaign": "*", "after_days": 365},
    )
    later(29)
    assert registry.privacy.retain().due == {}
    later(31)
    assert registry.privacy.retention_plan().due == {"drafts": 1}
    done = registry.privacy.retain()
    (item,) = done.erasure.erased
    assert item.record == draft
    assert item.because == ("rule",)
    erasure = services_of(registry).reader.index_of(_leaf(item.erasure or ""))
    from registry.workflows.inspect import text_of

    reason = text_of(services_of(registry), erasure, "reason")
    assert reason == "retention rule drafts: 30 days"
    size = registry.log.head().size
    assert registry.privacy.retain().due == {}
    assert registry.log.head().size == size
    later(366)
    registry.privacy.retain()
    states = {r: registry.get(r).text for r in (draft, final, contract, bare)}
    assert states == {draft: "erased", final: "erased", contract: "readable", bare: "readable"}


def test_retention_leaves_what_is_held_and_goes_on_after_an_interruption(
    registry: Registry,
    studio: list[str],
    later: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    registry.privacy.hold([studio[0]], reason="case 17")
    rules(registry, {"name": "all", "predicates": ["generation"], "after_days": 1})
    later(2)

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(services_of(registry).keyring), "destroy_many", stop)
    with pytest.raises(KeyboardInterrupt):
        registry.privacy.retain()
    monkeypatch.undo()
    done = registry.privacy.retain()
    assert [item.record for item in done.erasure.held] == [studio[0]]
    assert text_states(registry) == ["readable", "erased", "erased"]
    with pytest.raises(ErasedError):
        services_of(registry).keyring.get(registry.log.envelope(2).payload_sha256)


def test_retention_never_runs_after_itself(
    registry: Registry, studio: list[str], later: Callable[[int], None]
) -> None:
    """The erasures of one run are not due in the next one, or there would be no end."""
    rules(registry, {"name": "all", "after_days": 0})
    later(1)
    assert registry.privacy.retain().due == {"all": 3}
    later(2)
    assert registry.privacy.retain().due == {}


@pytest.mark.parametrize(
    ("document", "code"),
    [
        ("version: 1\nrules: []\n", "policy.invalid"),
        ("version: 1\nrules:\n  - {name: a, after_days: -1}\n", "policy.invalid"),
        ("version: 1\nrules:\n  - {name: a}\n", "policy.invalid"),
        ("version: 1\nrules:\n  - {name: a, predicates: [erasure], after_days: 1}\n",
         "policy.invalid"),
        ("version: 1\nrules:\n  - {name: a, keep: true}\n  - {name: a, keep: true}\n",
         "retention.duplicate"),
        ("rules: [", "policy.syntax"),
    ],
)  # fmt: skip
def test_rules_that_cannot_be_read_erase_nothing(
    registry: Registry, studio: list[str], document: str, code: str
) -> None:
    registry.settings.home.retention.write_text(document)
    with pytest.raises(PolicyError) as caught:
        registry.privacy.retain()
    assert caught.value.code == code
    assert text_states(registry) == ["readable"] * 3


def test_without_rules_nothing_is_erased(registry: Registry, studio: list[str]) -> None:
    with pytest.raises(NotFoundError) as caught:
        registry.privacy.retain()
    assert caught.value.code == "retention.none"


def test_the_examples_of_the_rules_are_judged_as_they_are_named(registry: Registry) -> None:
    folder = Path(__file__).parents[2] / "schemas" / "retention" / "examples"
    schemas = services_of(registry).schemas
    files = sorted(folder.glob("*.json"))
    assert {file.name.partition("-")[0] for file in files} == {"valid", "invalid"}
    for file in files:
        fits = schemas.explain("retention/v1", json.loads(file.read_text())) == ""
        assert fits is file.name.startswith("valid-"), file.name


# A person's request


def test_an_export_holds_every_text_and_personal_output(
    registry: Registry, studio: list[str], picture: Picture, tmp_path: Path
) -> None:
    portrait = tmp_path / "portrait.png"
    picture(9).save(portrait)
    asset = registry.ingest(portrait, personal=True, actor=JANE, note="at home")
    done = registry.privacy.export(JANE, tmp_path / "jane.zip")
    assert (done.records, done.outputs) == (3, 1)
    assert stat.S_IMODE((tmp_path / "jane.zip").stat().st_mode) == 0o600
    with zipfile.ZipFile(tmp_path / "jane.zip") as archive:
        name = asset.record.removeprefix("rec:")
        record = json.loads(archive.read(f"records/{name}.json"))
        assert record["statement"]["predicate"]["note"] == "at home"
        assert archive.read(f"outputs/{name}-0.png") == portrait.read_bytes()
        index = json.loads(archive.read("index.json"))
    assert len(index["mentions"]) == 3
    with pytest.raises(InputError) as caught:
        registry.privacy.export(JANE, tmp_path / "jane.zip")
    assert caught.value.code == "file.exists"
    with pytest.raises(NotFoundError):
        registry.privacy.export("Nobody", tmp_path / "nobody.zip")
    assert not (tmp_path / "nobody.zip").exists()


def test_a_name_in_plain_sight_is_told(registry: Registry, generation: Make) -> None:
    registry.record(generation(1, campaign=f"for {JANE}"))
    (mention,) = registry.privacy.find(JANE).mentions
    assert mention.because == ("plain",)
    assert mention.plain == ("/predicate/genops_campaign",)


@pytest.fixture
def certified(registry: Registry, studio: list[str], tmp_path: Path) -> Path:
    """A certificate of one erased and one held record."""
    registry.privacy.hold([studio[1]], reason="case 17")
    registry.privacy.erase(person=JANE, reason="request 114", actor="dpo")
    registry.privacy.certify(JANE, tmp_path / "certificate.json")
    return tmp_path / "certificate.json"


def test_a_certificate_verifies_offline_and_names_nobody(
    registry: Registry, studio: list[str], certified: Path
) -> None:
    data, vkey = certified.read_bytes(), registry.log.trust().log_vkey
    view = verify_certificate(data, log_vkey=vkey, name="jané  doe")
    assert view.ok, view.problems
    assert view.named
    assert [line.record for line in view.erased] == [studio[0]]
    assert [(line.record, line.why) for line in view.held] == [(studio[1], ("case 17",))]
    assert not {"jané", "jane\u0301", "jane", "jan", "doe"} & _words(data)
    other = verify_certificate(data, log_vkey=vkey, name="John Doe")
    assert (other.ok, other.named) == (False, False)


def _words(certificate: bytes) -> set[str]:
    """Return the words of a certificate and of every payload in it, folded.

    Whole words: three letters of a name stand by chance in one base64 text of five.
    """
    document = json.loads(certificate)
    envelopes = [document["certificate"]]
    envelopes += [item["envelope"] for item in (*document["records"], *document["trust"])]
    payloads = [base64.b64decode(envelope["payload"]).decode("utf-8") for envelope in envelopes]
    text = "\n".join([certificate.decode("utf-8"), *payloads])
    return set(re.split(r"[^\w+/=-]+", text.casefold()))


def test_records_that_only_named_a_person_are_certified_after_their_erasure(
    registry: Registry, studio: list[str], tmp_path: Path
) -> None:
    registry.privacy.erase(person=JANE, reason="request 114", actor="dpo")
    made = registry.privacy.certify(JANE, tmp_path / "certificate.json")
    assert {line.record for line in made.lines} == set(studio[:2])
    with pytest.raises(NotFoundError):
        registry.privacy.certify("Nobody", tmp_path / "nobody.json")


UNREADABLE = {"a line left out", "another record", "another time", "no trust"}
"""Changes after which the parts do not belong together any more."""


def _forged(change: str) -> Callable[[dict[str, Any]], None]:
    def forge(document: dict[str, Any]) -> None:
        lines = document["lines"]
        match change:
            case "a line left out":
                del lines[0]
            case "another record":
                lines[0]["record"] = lines[1]["record"]
            case "another time":
                lines[0]["time"] = "2026-01-01T00:00:00.000Z"
            case "no proof":
                document["records"] = document["records"][1:]
            case "another signature":
                document["certificate"]["signatures"] = document["records"][0]["envelope"][
                    "signatures"
                ]
            case "no trust":
                document["trust"] = document["trust"][:0]

    return forge


@pytest.mark.parametrize(
    "change",
    ["a line left out", "another record", "another time", "no proof", "another signature",
     "no trust"],
)  # fmt: skip
def test_a_forged_certificate_does_not_hold(
    registry: Registry, certified: Path, change: str
) -> None:
    document = json.loads(certified.read_bytes())
    vkey = registry.log.trust().log_vkey
    assert verify_certificate(certified.read_bytes(), log_vkey=vkey).ok
    _forged(change)(document)
    data = jsonio.dumps(document)
    if change in UNREADABLE:
        with pytest.raises(FormatError) as caught:
            verify_certificate(data, log_vkey=vkey)
        assert caught.value.code == "certificate.invalid"
    else:
        assert not verify_certificate(data, log_vkey=vkey).ok


def test_a_certificate_that_another_role_signed_does_not_hold(
    registry: Registry, studio: list[str], tmp_path: Path
) -> None:
    services = services_of(registry)
    registry.privacy.erase(person=JANE, reason="request 114", actor="dpo")
    services._signers["admin"] = services.signer("generator")
    registry.privacy.certify(JANE, tmp_path / "certificate.json")
    view = verify_certificate(
        (tmp_path / "certificate.json").read_bytes(), log_vkey=registry.log.trust().log_vkey
    )
    assert not view.ok
    assert "admin" in view.problems[0]


@pytest.mark.parametrize(
    "lie", ["another erasure", "another time", "no erasure", "no hold", "another hold"]
)
def test_a_certificate_that_lies_does_not_hold_though_an_admin_signed_it(
    registry: Registry,
    studio: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lie: str,
) -> None:
    registry.privacy.erase(person=JANE, reason="request 114", actor="dpo")
    true = registry.privacy.certify(JANE, tmp_path / "true.json").lines
    (elsewhere,) = registry.privacy.hold([studio[2]], reason="case 17")
    lies = {
        "another erasure": replace(true[0], erasure=true[1].erasure),
        "another time": replace(true[0], time="2026-01-01T00:00:00.000Z"),
        "no erasure": replace(true[0], erasure=true[0].record),
        "no hold": replace(true[0], erasure=None, held_by=(true[1].erasure or "",)),
        "another hold": replace(true[0], erasure=None, held_by=(elsewhere.record,)),
    }
    monkeypatch.setattr(subjects, "_certified", lambda *_: iter((lies[lie], true[1])))
    registry.privacy.certify(JANE, tmp_path / "lie.json")
    view = verify_certificate(
        (tmp_path / "lie.json").read_bytes(), log_vkey=registry.log.trust().log_vkey
    )
    assert not view.ok
    assert all(problem.startswith(true[0].record) for problem in view.problems)


# Personal outputs


@pytest.fixture
def portrait(registry: Registry, picture: Picture, tmp_path: Path) -> tuple[str, Path]:
    """A personal picture on record, and the file that it was."""
    file = tmp_path / "portrait.png"
    picture(9).save(file)
    return registry.ingest(file, personal=True, note="at home").assets[0], file


def test_a_personal_file_is_stored_encrypted_and_leaves_no_fingerprint(
    registry: Registry, portrait: tuple[str, Path]
) -> None:
    asset, file = portrait
    passport = registry.get(asset)
    stored = Path(passport.path or "").read_bytes()
    assert passport.encrypted
    assert passport.pixels is None
    assert len(stored) == file.stat().st_size + 28
    assert file.read_bytes()[:200] not in stored
    assert registry.read(asset) == file.read_bytes()
    assert registry.verify(asset).ok
    with read(services_of(registry).engine) as conn:
        assert conn.execute(select(table_of(FingerprintRow))).all() == []
    with pytest.raises(InputError) as caught:
        registry.blob(asset)
    assert caught.value.code == "blob.encrypted"


def test_erasing_a_personal_file_makes_it_unreadable_and_keeps_its_proofs(
    registry: Registry, portrait: tuple[str, Path]
) -> None:
    asset, _ = portrait
    done = registry.privacy.erase([asset], reason="request")
    assert done.erased[0].personal == 1
    with pytest.raises(ErasedError):
        registry.read(asset)
    assert registry.verify(asset).ok
    assert registry.check_log().ok


def test_an_altered_or_exchanged_ciphertext_does_not_open(
    registry: Registry, portrait: tuple[str, Path], picture: Picture, tmp_path: Path
) -> None:
    asset, _ = portrait
    path = Path(registry.get(asset).path or "")
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[20] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        registry.read(asset)


def test_a_replay_reads_a_personal_input_decrypted(
    registry: Registry, generation: Make, portrait: tuple[str, Path], tmp_path: Path
) -> None:
    from registry.workflows.materialize import materialize

    asset, file = portrait
    used = Material("input/init", "image", asset.removeprefix("sha256:"), storage="vaulted")
    receipt = registry.record(generation(2, materials=(used,)))
    services = services_of(registry)
    statement = registry.log.envelope(receipt.index)
    document = json.loads(statement.payload)
    (laid,) = materialize(services, document, tmp_path / "work").values()
    assert laid.read_bytes() == file.read_bytes()


# Leftovers of replays


def test_only_folders_of_replays_that_run_no_more_are_removed(registry: Registry) -> None:
    services = services_of(registry)
    one, two = b"\1" * 32, b"\2" * 32
    with leftovers.replay_folder(services, one) as running:
        (running / "out-0").write_text("x")
        dead = running.with_name(f"replay-{two.hex()[:16]}-abc")
        dead.mkdir()
        other = running.with_name("log-check.json")
        other.write_text("{}")
        assert leftovers.sweep(services) == 1
        assert running.exists()
        assert not dead.exists()
        assert other.exists()
        assert leftovers.sweep(services, [one]) == 1
        assert not running.exists()


def test_the_database_wipes_what_it_deletes(registry: Registry, studio: list[str]) -> None:
    services = services_of(registry)
    with read(services.engine) as conn:
        row = conn.execute(select(SEALED).where(SEALED.c.record_idx == 1)).mappings().one()
        ciphertext = bytes(row["ciphertext"])
        assert conn.execute(text("PRAGMA secure_delete")).scalar_one() in {0, 1, 2}
    files = lambda: b"".join(  # noqa: E731
        p.read_bytes() for p in registry.settings.home.root.glob("registry.db*")
    )
    assert ciphertext in files()
    registry.erase(studio[0], reason="request")
    assert ciphertext not in files()


def _text(number: int) -> Any:
    from registry.core.generation import Output

    return Output(data=f"text {number}".encode(), media_type="text/plain")


def _leaf(record: str) -> bytes:
    return bytes.fromhex(record.removeprefix("rec:"))
