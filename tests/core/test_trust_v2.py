"""Trust of the second version: thresholds of admins, and keys that are not believed any more."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest

from registry.core.dsse import Envelope
from registry.core.evidence import build_evidence, verify_evidence
from registry.core.statements import PREDICATE_GENERATION, Statement, predicate_uri
from registry.core.trust import TrustState
from registry.core.trust_changes import Proposal, TrustChange, changed, describe
from registry.errors import ConflictError, FormatError, GenopsError, NotFoundError, TrustError

NOW = 1_795_172_820_000
TAINT = predicate_uri("taint")


@pytest.fixture
def state(book: Any) -> TrustState:
    envelope = book.envelopes[0]
    return TrustState.genesis(Statement.parse(envelope.payload), envelope)


@pytest.fixture
def admins(book: Any, keys: Any) -> tuple[Any, ...]:
    return book.admin, keys(1003), keys(1004)


@pytest.fixture
def guarded(book: Any, state: TrustState, admins: Any) -> TrustState:
    """A state with three admins, two of whom change trust."""
    more = tuple(key.trusted("admin") for key in admins[1:])
    return applied(book, state, changed(state, TrustChange(add=more, threshold=2)), admins[0])


def applied(
    book: Any, before: TrustState, after: TrustState, *signers: Any, at: int = NOW
) -> TrustState:
    first, *others = signers
    sealed = book.trust_v2(after, supersedes=book.entries[0].record_id)
    envelope = first.envelope(sealed.payload, *others)
    return before.apply(Statement.parse(sealed.payload), envelope, at)


def refused(code: str, call: Any, *args: Any, **more: Any) -> GenopsError:
    with pytest.raises(GenopsError) as error:
        call(*args, **more)
    assert error.value.code == code
    return error.value


def test_what_is_written_is_what_is_read(book: Any, guarded: TrustState) -> None:
    change = TrustChange(close={book.maker.keyid: NOW + 7}, compromise={book.maker.keyid: NOW + 3})
    wanted = changed(guarded, change)
    assert (wanted.version, wanted.threshold) == (2, 2)
    sealed = book.trust_v2(wanted)
    statement = Statement.parse(sealed.payload)
    assert TrustState.from_predicate(statement.predicate, 2) == wanted


def test_a_change_needs_the_threshold_of_the_state_before(
    book: Any, state: TrustState, guarded: TrustState, admins: Any
) -> None:
    assert (state.threshold, guarded.threshold) == (1, 2)
    relaxed = changed(guarded, TrustChange(threshold=1))
    error = refused("trust.threshold", applied, book, guarded, relaxed, admins[0])
    assert "needs 2 admins, and 1 signed it: 1 more must sign" in error.message
    assert applied(book, guarded, relaxed, admins[2], admins[1]).threshold == 1
    strict = changed(state, TrustChange(add=(admins[1].trusted("admin"),), threshold=2))
    assert applied(book, state, strict, admins[0]).threshold == 2


def test_only_admins_count_towards_the_threshold_and_each_once(
    book: Any, guarded: TrustState, admins: Any, keys: Any
) -> None:
    same = changed(guarded, TrustChange())
    for others in ((book.maker,), (keys(9),)):
        refused("trust.threshold", applied, book, guarded, same, admins[0], *others)
    sealed = book.trust_v2(same, supersedes=book.entries[0].record_id)
    twice = Envelope(sealed.payload, tuple(admins[0].signature(sealed.payload) for _ in range(2)))
    statement = Statement.parse(sealed.payload)
    refused("trust.threshold", guarded.apply, statement, twice, NOW)
    refused("dsse.invalid", Envelope.parse, twice.to_bytes())


def test_an_admin_out_of_its_window_or_compromised_does_not_count(
    book: Any, guarded: TrustState, admins: Any
) -> None:
    ended = replace(
        guarded, keys={**guarded.keys, admins[1].keyid: admins[1].trusted("admin", until=NOW)}
    )
    refused("trust.threshold", applied, book, ended, guarded, *admins[:2])
    doubted = replace(guarded, compromised={admins[1].keyid: NOW})
    again = replace(guarded, compromised=doubted.compromised)
    refused("trust.threshold", applied, book, doubted, again, *admins[:2])
    assert applied(book, doubted, again, admins[0], admins[2]) == again


def test_a_state_that_nobody_could_change_is_refused(
    book: Any, state: TrustState, guarded: TrustState, admins: Any
) -> None:
    lonely = changed(state, TrustChange(threshold=2))
    refused("trust.unreachable", applied, book, state, lonely, book.admin)
    stolen = changed(guarded, TrustChange(compromise={a.keyid: NOW for a in admins[1:]}))
    refused("trust.unreachable", applied, book, guarded, stolen, *admins)
    closed = changed(guarded, TrustChange(close={a.keyid: NOW for a in admins[1:]}))
    refused("trust.unreachable", applied, book, guarded, closed, *admins)


def test_the_threshold_is_for_trust_alone(book: Any, guarded: TrustState, admins: Any) -> None:
    one = admins[0].envelope(b"{}")
    assert guarded.authorize(one, predicate_uri("erasure"), NOW).keyid == admins[0].keyid
    for version in (1, 2):
        refused("trust.threshold", guarded.authorize, one, predicate_uri("trust", version), NOW)


def test_a_first_record_of_version_2_obeys_its_own_threshold(
    book: Any, guarded: TrustState, admins: Any
) -> None:
    sealed = book.trust_v2(guarded)
    statement = Statement.parse(sealed.payload)
    refused("trust.threshold", TrustState.genesis, statement, admins[0].envelope(sealed.payload))
    both = admins[0].envelope(sealed.payload, admins[1])
    assert TrustState.genesis(statement, both) == guarded


def test_a_compromised_key_counts_before_and_never_after(book: Any, state: TrustState) -> None:
    since = NOW + 5000
    stolen = changed(state, TrustChange(compromise={book.maker.keyid: since}))
    after = applied(book, state, stolen, book.admin, at=NOW + 9000)
    signed = book.maker.envelope(b"{}")
    assert after.authorize(signed, TAINT, since - 1).keyid == book.maker.keyid
    assert after.doubted(book.maker.keyid, since - 1) is None
    for at in (since, NOW + 9000):
        error = refused("trust.compromised", after.authorize, signed, TAINT, at)
        assert "since 2026-11-20" in error.message
        assert after.doubted(book.maker.keyid, at) == since
    assert state.authorize(signed, TAINT, since).keyid == book.maker.keyid  # judged as it was


def test_another_signature_stands_beside_that_of_a_stolen_key(
    book: Any, state: TrustState, keys: Any
) -> None:
    other = keys(1005)
    after = changed(
        state, TrustChange(add=(other.trusted("generator"),), compromise={book.maker.keyid: NOW})
    )
    both = book.maker.envelope(b"{}", other)
    assert after.authorize(both, PREDICATE_GENERATION, NOW).keyid == other.keyid


def test_a_compromise_is_never_undone(book: Any, state: TrustState) -> None:
    stolen = changed(state, TrustChange(compromise={book.maker.keyid: NOW}))
    for compromised in ({}, {book.maker.keyid: NOW + 1}, {book.admin.keyid: NOW}):
        milder = replace(stolen, compromised=compromised)
        refused("trust.compromise-undone", applied, book, stolen, milder, book.admin)
    earlier = changed(stolen, TrustChange(compromise={book.maker.keyid: NOW - 1}))
    assert applied(book, stolen, earlier, book.admin).compromised == {book.maker.keyid: NOW - 1}
    later = changed(stolen, TrustChange(compromise={book.maker.keyid: NOW + 1}))
    assert later.compromised == stolen.compromised


def test_version_1_cannot_follow_version_2(book: Any, guarded: TrustState, admins: Any) -> None:
    sealed = book.trust(book.admin.trusted("admin"), supersedes=book.entries[0].record_id)
    envelope = admins[0].envelope(sealed.payload, admins[1])
    refused("trust.version", guarded.apply, Statement.parse(sealed.payload), envelope, NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("thresholds"),
        lambda p: p.update(thresholds={}),
        lambda p: p.update(thresholds={"admin": 0}),
        lambda p: p.update(thresholds={"admin": 17}),
        lambda p: p.update(thresholds={"admin": True}),
        lambda p: p.update(thresholds={"admin": "2"}),
        lambda p: p.pop("compromised"),
        lambda p: p.update(compromised=[{"keyid": "ab" * 32}]),
        lambda p: p.update(compromised=[{"keyid": "ab" * 32, "since": "then"}]),
        lambda p: p.update(compromised=p["compromised"] * 2),
        lambda p: p.update(compromised=7),
        lambda p: p.update(compromised={"keyid": "since"}),
        lambda p: p["compromised"][0].update(keyid="AB" * 32),
        lambda p: p["compromised"][0].update(keyid=7),
        lambda p: p["compromised"][0].update(keyid=[]),
        lambda p: p["compromised"][0].update(since=7),
        lambda p: p.update(thresholds=[2]),
        lambda p: p.update(thresholds=2),
    ],
)
def test_a_malformed_second_version_is_refused(book: Any, state: TrustState, change: Any) -> None:
    stolen = changed(state, TrustChange(compromise={book.maker.keyid: NOW}))
    predicate = dict(Statement.parse(book.trust_v2(stolen).payload).predicate)
    assert TrustState.from_predicate(predicate, 2) == stolen
    change(predicate)
    with pytest.raises(FormatError):
        TrustState.from_predicate(predicate, 2)


def test_a_window_is_closed_and_never_opened_again(book: Any, state: TrustState) -> None:
    closed = changed(state, TrustChange(close={book.maker.keyid: NOW + 5}))
    assert closed.keys[book.maker.keyid].not_after_ms == NOW + 5
    later = changed(closed, TrustChange(close={book.maker.keyid: NOW + 9}))
    assert later.keys[book.maker.keyid].not_after_ms == NOW + 5


def test_a_change_names_keys_that_are_there_and_adds_new_ones(
    book: Any, state: TrustState, keys: Any
) -> None:
    with pytest.raises(NotFoundError):
        changed(state, TrustChange(close={keys(9).keyid: NOW}))
    with pytest.raises(NotFoundError):
        changed(state, TrustChange(compromise={keys(9).keyid: NOW}))
    with pytest.raises(ConflictError):
        changed(state, TrustChange(add=(book.maker.trusted("policy"),)))


def test_a_change_is_told_in_words(book: Any, state: TrustState, keys: Any) -> None:
    assert describe(state, state) == ()
    new, maker = keys(1005), book.maker
    after = changed(
        state,
        TrustChange(
            add=(new.trusted("admin", "policy"),),
            close={maker.keyid: NOW},
            compromise={maker.keyid: NOW - 60_000},
            threshold=2,
        ),
    )
    assert describe(state, after) == (
        f"changes key {maker.keyid} to generator, reviewer, until 2026-11-20T11:07:00.000Z",
        f"adds key {new.keyid} as admin, policy, valid from 2026-11-20T11:07:00.000Z",
        f"declares key {maker.keyid} compromised since 2026-11-20T11:06:00.000Z",
        "asks for 2 admins from now on, before 1",
    )
    gone = replace(after, keys={new.keyid: after.keys[new.keyid]}, log_vkey="other")
    assert f"removes key {maker.keyid}" in describe(after, gone)
    assert "names another log key: other" in describe(after, gone)


def test_a_proposal_collects_signatures_until_it_counts(
    book: Any, guarded: TrustState, admins: Any
) -> None:
    sealed = book.trust_v2(
        changed(guarded, TrustChange(threshold=3)), supersedes=book.entries[0].record_id
    )
    made = Proposal(admins[0].envelope(sealed.payload), sealed.disclosures)
    read = Proposal.parse(made.to_bytes())
    assert read == made
    assert (read.state.threshold, read.supersedes) == (3, book.entries[0].record_id)
    again = read.signed(admins[0].keyid, admins[0].signature(sealed.payload).sig)
    assert len(again.envelope.signatures) == 1
    refused("trust.threshold", guarded.apply, again.statement, again.envelope, NOW)
    both = Proposal.parse(again.signed(*sig(admins[1], sealed.payload)).to_bytes())
    assert guarded.apply(both.statement, both.envelope, NOW).threshold == 3


def sig(key: Any, payload: bytes) -> tuple[str, bytes]:
    signature = key.signature(payload)
    return signature.keyid, signature.sig


def test_what_is_no_proposal_is_refused(book: Any, state: TrustState) -> None:
    sealed = book.trust_v2(state, supersedes=book.entries[0].record_id)
    good = Proposal(book.admin.envelope(sealed.payload), sealed.disclosures)
    data = good.to_bytes()
    for bad in (b"", b"[]", b"{}", data.replace(b"proposal/v1", b"proposal/v9"), data[:-9]):
        with pytest.raises(FormatError):
            Proposal.parse(bad)
    taint = book.taint()
    other = Proposal(book.admin.envelope(taint.payload), taint.disclosures)
    with pytest.raises(FormatError, match="carries a"):
        Proposal.parse(other.to_bytes())
    foreign = replace(good, disclosures=taint.disclosures)
    with pytest.raises((FormatError, TrustError, GenopsError)):
        Proposal.parse(foreign.to_bytes())
    first = book.trust_v2(state)
    with pytest.raises(FormatError, match="supersedes"):
        _ = Proposal(book.admin.envelope(first.payload)).supersedes


def test_evidence_tells_of_a_key_that_was_stolen_by_then(book: Any, state: TrustState) -> None:
    taint = book.add(book.taint(), book.maker, time_ms=NOW + 1000)
    for since, outcome in ((NOW + 1001, "passed"), (NOW + 1000, "failed")):
        told = type(book)(**{f.name: getattr(book, f.name) for f in fields(book)})
        told.entries, told.envelopes = [*book.entries], [*book.envelopes]
        stolen = changed(state, TrustChange(compromise={book.maker.keyid: since}))
        told.add(book.trust_v2(stolen, book.entries[0].record_id), time_ms=NOW + 5000)
        data = build_evidence(told.item(1), [told.item(0), told.item(2)])
        report = verify_evidence(data, log_vkey=str(book.vkey))
        checks = {check.name: check for check in report.checks}
        assert {name for name, check in checks.items() if check.state != "passed"} == (
            {"signer"} if outcome == "failed" else set()
        )
        assert report.record_id == taint
        if outcome == "failed":
            assert "trust.compromised" in checks["signer"].detail
