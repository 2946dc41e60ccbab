"""Keys of a home: rotated, revoked, disowned and vouched for, alone and by several admins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import delete, insert

from registry.catalog import signers
from registry.core.answers import Receipt
from registry.core.generation import Generation
from registry.core.times import parse_time
from registry.core.trust_changes import Proposal
from registry.errors import GenopsError, KeyFileError
from registry.factory import create_registry, open_home
from registry.sdk import Registry
from registry.signing.keys import generate_key, public_pem
from registry.store.catalog_tables import ReattestationRow
from registry.store.transaction import write
from registry.store.types import table_of
from registry.workflows.role_keys import role_files
from registry.workflows.trust import KeyRequest, Wish, sign_proposal

REATTESTATIONS = table_of(ReattestationRow)
Make = Callable[..., Generation]


def refused(code: str, call: Callable[..., object], *args: object, **more: object) -> GenopsError:
    with pytest.raises(GenopsError) as error:
        call(*args, **more)
    assert error.value.code == code
    return error.value


def keyid(registry: Registry, role: str) -> str:
    """Return the newest key of a role that counts by its window."""
    keys = [key for key in registry.trust.state().keys.values() if role in key.roles]
    return max(keys, key=lambda key: key.not_before_ms).keyid


def failed(registry: Registry, ref: str) -> set[str]:
    return {check.name for check in registry.verify(ref).checks if not check.ok}


def rules(registry: Registry, ref: str) -> dict[str, str]:
    (decision,) = registry.gate([ref], record=False).decisions
    return {rule.rule: rule.outcome for rule in decision.rules}


@pytest.fixture
def sound(registry: Registry) -> Iterator[Registry]:
    """A registry whose log and catalog hold in the end."""
    yield registry
    assert registry.check_log().problems == ()
    assert registry.check_catalog() == ()


@pytest.fixture
def stolen(sound: Registry, generation: Make) -> tuple[Registry, list[Receipt], str]:
    """Three generations; the key was stolen before the second, and replaced."""
    made = [sound.record(generation(seed), actor="Ada") for seed in range(3)]
    key = keyid(sound, "generator")
    since = parse_time(made[1].time)
    sound.trust.compromise(key, since_ms=since, reason="laptop lost", replace=True)
    return sound, made, key


def test_a_rotated_role_goes_on_with_its_new_key(sound: Registry, generation: Make) -> None:
    before = sound.record(generation(1))
    old = keyid(sound, "generator")
    done = sound.trust.rotate("generator", reason="once a year")
    new = keyid(sound, "generator")
    after = sound.record(generation(2))
    assert [sound.get(one.assets[0]).signer["keyid"] for one in (before, after)] == [old, new]
    assert sound.get(before.assets[0]).signer["trusted"]
    assert failed(sound, before.assets[0]) == failed(sound, after.assets[0]) == set()
    assert sound.trust.state().keys[old].not_after_ms is not None
    assert [key.keyid for key in done.keys] == [new]
    assert len(done.changes) == 2


@pytest.mark.parametrize("role", ["generator", "policy", "reviewer", "admin"])
def test_every_role_can_be_rotated_twice(registry: Registry, role: str) -> None:
    for _ in range(2):
        registry.trust.rotate(role)
    files = role_files(registry.settings.home.keys, role)
    assert len(files) == 3
    assert registry._services.signer(role).keyid == keyid(registry, role)
    registry.trust.rotate("admin")  # with whichever key is the admin's now


def test_another_process_that_holds_the_old_key_goes_on(
    sound: Registry, generation: Make, home: Path
) -> None:
    with open_home(home) as service:
        service.record(generation(1))
        sound.trust.rotate("generator")
        receipt = service.record(generation(2))
    assert sound.get(receipt.assets[0]).signer["keyid"] == keyid(sound, "generator")


def test_an_overlap_lets_both_keys_count(sound: Registry, generation: Make, home: Path) -> None:
    with open_home(home) as worker:
        old = worker._services.signer("generator").keyid
        sound.trust.rotate("generator", overlap_ms=3_600_000)
        receipt = worker.record(generation(1))
    assert sound.get(receipt.assets[0]).signer["keyid"] == old


def test_a_key_made_for_a_change_that_is_refused_is_removed(registry: Registry) -> None:
    keys = registry.settings.home.keys
    before = sorted(path.name for path in keys.iterdir())
    rotate = registry.trust.rotate
    refused("trust.unreachable", registry.trust.change, Wish(rotate=("policy",), threshold=2))
    refused("trust.role", rotate, "policy", "log")
    refused("trust.role", rotate, "root")
    assert sorted(path.name for path in keys.iterdir()) == before


def test_a_revoked_key_signs_no_more_and_what_it_signed_stays(
    sound: Registry, generation: Make
) -> None:
    receipt = sound.record(generation(1))
    key = keyid(sound, "generator")
    sound.trust.revoke(key[:8], reason="retired")
    error = refused("trust.outside-window", sound.record, generation(2))
    assert key in error.message
    assert failed(sound, receipt.assets[0]) == set()
    refused("trust.no-change", sound.trust.change, Wish())


def test_a_worker_key_is_added_with_a_window(sound: Registry, tmp_path: Path) -> None:
    made = generate_key(tmp_path / "worker.pem", "p256")
    pem = public_pem(tmp_path / "worker.pem")
    now = sound._services.now()
    sound.trust.change(Wish(add=(KeyRequest(pem, ("generator", "generator"), now, now + 9),)))
    key = sound.trust.state().keys[made.keyid]
    assert (key.roles, key.not_before_ms, key.not_after_ms) == (("generator",), now, now + 9)
    add = Wish(add=(KeyRequest(pem, ("generator",)),))
    refused("trust.key-exists", sound.trust.change, add)
    for roles in (("root",), ("log",), ()):
        refused("trust.role", sound.trust.change, Wish(add=(KeyRequest(pem, roles),)))


def test_what_a_stolen_key_signed_since_is_listed_and_not_believed(
    stolen: tuple[Registry, list[Receipt], str],
) -> None:
    registry, made, key = stolen
    report = registry.trust.affected(key[:8])
    assert [one.record for one in report.records] == [one.record for one in made[1:]]
    assert [one.assets for one in report.records] == [one.assets for one in made[1:]]
    assert (report.count, report.open, report.since) == (2, 2, made[1].time)
    assert report.declared_by == registry.log.trust_history().records[-1].record
    before, after = made[0].assets[0], made[1].assets[0]
    assert (failed(registry, before), failed(registry, after)) == (set(), {"signer"})
    assert rules(registry, before)["trusted-signer"] == "pass"
    assert rules(registry, after)["trusted-signer"] == "fail"
    signer = registry.get(after).signer
    assert (signer["trusted"], signer["compromised_since"]) == (False, made[1].time)
    assert "compromised_since" not in registry.get(before).signer


def test_a_page_of_what_is_affected(stolen: tuple[Registry, list[Receipt], str]) -> None:
    registry, made, key = stolen
    pages = [registry.trust.affected(key, limit=1, offset=n).records for n in range(3)]
    assert [[one.record for one in page] for page in pages] == [
        [made[1].record],
        [made[2].record],
        [],
    ]
    asked = registry.trust.affected(key, since_ms=0)
    assert (asked.count, asked.declared_by) == (3, None)
    refused("trust.not-compromised", registry.trust.affected, keyid(registry, "policy"))


def test_another_person_vouches_for_what_is_sound(
    stolen: tuple[Registry, list[Receipt], str],
) -> None:
    registry, made, key = stolen
    asset = made[1].assets[0]
    done = registry.trust.reattest([asset], reason="seen on the farm", actor="Eve")
    (item,) = done.items
    assert item.record == made[1].record
    assert failed(registry, asset) == set()
    checks = {check.name: check.detail for check in registry.verify(asset).checks}
    assert f"re-attested by {item.reattestation}" in checks["signer"]
    assert registry.get(asset).signer["reattested_by"] == [item.reattestation]
    assert rules(registry, asset)["trusted-signer"] == "pass"
    assert failed(registry, made[2].assets[0]) == {"signer"}
    assert registry.trust.affected(key).open == 1
    refused("reattest.sound", registry.trust.reattest, [asset], reason="twice", actor="Eve")
    refused("reattest.sound", registry.trust.reattest, [made[0].record], reason="r", actor="Eve")
    rest = registry.trust.reattest_all(key, reason="all seen", actor="Eve")
    assert [one.record for one in rest.items] == [made[2].record]
    assert registry.trust.affected(key).open == 0
    assert registry.trust.reattest_all(key, reason="again", actor="Eve").items == ()


def test_nobody_vouches_for_a_record_of_their_own(
    stolen: tuple[Registry, list[Receipt], str],
) -> None:
    registry, made, key = stolen
    reattest = registry.trust.reattest
    refused("reattest.four-eyes", reattest, [made[1].record], reason="mine", actor="Ada")
    all_of = registry.trust.reattest_all
    refused("reattest.four-eyes", all_of, key, reason="mine", actor="Ada")
    refused("reattest.reason", reattest, [made[1].record], reason=" ", actor="Eve")
    assert registry.trust.affected(key).open == 2


def test_no_key_vouches_for_what_it_signed_itself(sound: Registry, generation: Make) -> None:
    receipt = sound.record(generation(1))
    taint = sound.taint(receipt.assets[0], reason="unclear", actor="Ada")
    key = keyid(sound, "reviewer")
    since = parse_time(taint.time)
    sound.trust.compromise(key, since_ms=since, reason="stolen")
    reattest = sound.trust.reattest
    error = refused("trust.compromised", reattest, [taint.record], reason="r", actor="Eve")
    assert "genops keys rotate reviewer" in error.hint
    sound.trust.rotate("reviewer")
    (item,) = sound.trust.reattest([taint.record], reason="r", actor="Eve").items
    assert item.record == taint.record


def test_vouching_by_a_key_that_was_stolen_itself_does_not_count(
    stolen: tuple[Registry, list[Receipt], str],
) -> None:
    registry, made, key = stolen
    asset = made[1].assets[0]
    done = registry.trust.reattest([asset], reason="seen", actor="Eve")
    assert failed(registry, asset) == set()
    reviewer = keyid(registry, "reviewer")
    time = registry.log.entry(done.items[0].index)
    since = parse_time(time.partition(b'"time":"')[2][:24].decode())
    registry.trust.compromise(reviewer, since_ms=since, reason="stolen, too", replace=True)
    assert failed(registry, asset) == {"signer"}
    assert registry.trust.affected(key).open == 2
    registry.trust.reattest([asset], reason="seen again", actor="Kim")
    assert failed(registry, asset) == set()


@pytest.mark.parametrize("of_another", [True, False])
def test_a_row_in_the_catalog_vouches_for_nothing(
    stolen: tuple[Registry, list[Receipt], str], of_another: bool
) -> None:
    """Its owner points it at a record of another key, or at a re-attestation of another record."""
    registry, made, _ = stolen
    other = registry.taint(made[0].assets[0], reason="another").index
    if of_another:
        other = registry.trust.reattest([made[2].record], reason="r", actor="Eve").items[0].index
    row = {"record_idx": other, "of_record": bytes.fromhex(made[1].record.removeprefix("rec:"))}
    with write(registry._services.engine) as conn:
        conn.execute(delete(REATTESTATIONS).where(REATTESTATIONS.c.record_idx == other))
        conn.execute(insert(REATTESTATIONS).values(row))
    assert failed(registry, made[1].assets[0]) == {"signer"}
    assert registry.check_catalog()
    registry.rebuild_catalog()


def test_the_list_of_what_is_open_is_read_in_pages(
    stolen: tuple[Registry, list[Receipt], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, made, key = stolen
    monkeypatch.setattr(signers, "_PAGE", 1)
    done = registry.trust.reattest_all(key, reason="all seen", actor="Eve")
    assert sorted(one.record for one in done.items) == sorted(one.record for one in made[1:])


def test_a_compromise_names_the_past(registry: Registry) -> None:
    later = registry._services.now() + 60_000
    compromise = registry.trust.compromise
    key = keyid(registry, "policy")
    refused("trust.future", compromise, key, since_ms=later, reason="soon")
    refused("ref.invalid", compromise, key[:7], reason="short")
    refused("ref.unknown", compromise, "0" * 8, reason="unknown")


def test_a_stolen_admin_key_is_replaced_in_the_record_that_disowns_it(sound: Registry) -> None:
    key = keyid(sound, "admin")
    compromise = sound.trust.compromise
    refused("trust.unreachable", compromise, key, reason="stolen")
    sound.trust.compromise(key, reason="stolen", replace=True)
    assert keyid(sound, "admin") != key
    sound.trust.rotate("policy")


def test_reasons_of_changes_are_sealed_and_readable(sound: Registry) -> None:
    done = sound.trust.rotate("policy", reason="a distinctive reason")
    raw = sound.log.envelope_bytes(done.index)
    assert b"distinctive" not in raw
    from registry.workflows.inspect import text_of

    assert text_of(sound._services, done.index, "reason") == "a distinctive reason"


@pytest.fixture
def guarded(sound: Registry, tmp_path: Path) -> Registry:
    """A registry that two admins change: its own, and Eve elsewhere."""
    generate_key(tmp_path / "eve.pem", "p256")
    eve = KeyRequest(public_pem(tmp_path / "eve.pem"), ("admin",))
    sound.trust.change(Wish(add=(eve,), threshold=2))
    return sound


def test_several_admins_change_trust_by_a_proposal(
    guarded: Registry, tmp_path: Path, generation: Make
) -> None:
    from registry.signing.keys import open_signer

    refused("trust.threshold", guarded.trust.rotate, "generator")
    old = keyid(guarded, "generator")
    made, view = guarded.trust.propose(Wish(rotate=("generator",)), reason="both of us")
    assert (view.needed, view.missing, view.current, view.reason) == (2, 1, True, "both of us")
    error = refused("trust.threshold", guarded.trust.submit, made)
    assert "1 more must sign" in error.message
    again = guarded.trust.sign(made)
    assert len(again.envelope.signatures) == 1
    assert guarded._services.signer("generator").keyid == old
    signed = guarded.trust.sign(Proposal.parse(made.to_bytes()), open_signer(tmp_path / "eve.pem"))
    assert guarded.trust.review(signed).missing == 0
    done = guarded.trust.submit(signed)
    assert any("adds key" in line for line in done.changes)
    receipt = guarded.record(generation(1))
    new = keyid(guarded, "generator")
    assert guarded.get(receipt.assets[0]).signer["keyid"] == new != old
    refused("trust.gap", guarded.trust.submit, signed)
    refused("trust.gap", guarded.trust.sign, signed)
    assert guarded.trust.review(signed).current is False


def test_only_admins_sign_proposals(guarded: Registry, tmp_path: Path) -> None:
    made, _ = guarded.trust.propose(Wish(rotate=("policy",)))
    stranger = generate_key(tmp_path / "kim.pem", "p256")
    refused("trust.missing-role", guarded.trust.sign, made, stranger)
    refused("key.kind", sign_proposal, made, generate_key(tmp_path / "l.pem", "ed25519"))


def test_a_managed_role_is_not_rotated_into_a_file(registry: Registry, home: Path) -> None:
    config = home / "genops.toml"
    place = (
        '\n[signers.policy]\nuri = "file2:keys/policy.pem"\npublic_key = "keys/policy.pub.pem"\n'
    )
    config.write_text(config.read_text() + place)
    with open_home(home) as opened:
        refused("keys.managed", opened.trust.rotate, "policy")
        missing = opened._services.signer("policy")
        refused("key.missing", missing.sign, b"m")


@pytest.mark.parametrize(
    "table",
    [
        "[signers]\npolicy = 'hsm:2'",
        "[signers.policy]\nuri = 'hsm:2'",
        "[signers.root]\nuri = 'hsm:2'\npublic_key = 'a'",
        "[signers.policy]\nuri = 2\npublic_key = 'a'",
        "[signers.policy]\nuri = ''\npublic_key = 'a'",
        "[signers.policy]\nuri = 'hsm:2'\npublic_key = 'a'\npin = '1'",
        "signers = 'hsm:2'",
    ],
)
def test_a_place_that_is_not_whole_is_refused(registry: Registry, home: Path, table: str) -> None:
    config = home / "genops.toml"
    config.write_text(f"{config.read_text()}\n{table}\n")
    refused("home.invalid", open_home, home)


def test_the_new_passphrase_opens_rotated_keys_and_texts(tmp_path: Path, generation: Make) -> None:
    home = tmp_path / "home"
    with create_registry(home, passphrase="first") as registry:
        receipt = registry.record(generation(1, prompt="a sealed prompt"))
        registry.trust.rotate("policy")
        done = registry.trust.change_passphrase("second")
        assert (done.secrets, done.protected) == (8, True)
    with open_home(home, passphrase="second") as opened:
        assert opened.get(receipt.assets[0]).text == "readable"
        opened.trust.rotate("policy")
        opened.record(generation(3))
    with open_home(home, passphrase="first") as wrong:
        assert wrong.get(receipt.assets[0]).text == "locked"
        with pytest.raises(KeyFileError):
            wrong.record(generation(4))
