"""Thresholds and compromises in a real log: judged at the log time, by every reader alike."""

from __future__ import annotations

from dataclasses import replace

import pytest

from registry.core import trust_predicates
from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from registry.core.predicates import seal_statement
from registry.core.statements import Subject, predicate_uri
from registry.core.trust import TrustState
from registry.core.trust_changes import TrustChange, changed
from registry.errors import GenopsError
from registry.log.check import check_log
from registry.log.replay import Replay, stored_records
from registry.log.sequencer import Sequencer
from registry.log.submission import Submission
from registry.resources import schema_set
from registry.signing.keys import generate_key
from registry.store.transaction import read
from tests.log.conftest import START_MS, Lab, make_head, salt


def code(sequencer: Sequencer, submission: Submission) -> str:
    with pytest.raises(GenopsError) as error:
        sequencer.submit(submission)
    return error.value.code


def change(lab: Lab, wanted: TrustChange, *by: str, supersedes: str | None = None) -> Submission:
    """Return a trust/v2 record that changes the newest state, signed by these keys of the lab."""
    reader = lab.reader()
    state = changed(reader.trust(), wanted)
    newest = reader.trust_history().records[-1].record
    predicate = trust_predicates.trust(make_head(), state, supersedes=supersedes or newest)
    subject = Subject("out/0", sha256_hex(b"trust"))
    payload = seal_statement([subject], predicate_uri("trust", 2), predicate, salt).payload
    signatures = tuple(
        Signature(lab.signers[one].keyid, lab.signers[one].sign(pae(PAYLOAD_TYPE, payload)))
        for one in by or ("admin",)
    )
    return Submission(Envelope(payload, signatures).to_bytes())


@pytest.fixture
def guarded(lab: Lab, sequencer: Sequencer) -> Sequencer:
    """A log that two of three admins change."""
    for name in ("eve", "kim"):
        lab.signers[name] = generate_key(lab.home.keys / f"{name}.pem", "p256")
    more = tuple(lab.key(name, "admin") for name in ("eve", "kim"))
    assert sequencer.submit(change(lab, TrustChange(add=more, threshold=2))).index == 1
    return sequencer


def test_a_threshold_holds_for_every_writer_and_reader(lab: Lab, guarded: Sequencer) -> None:
    again = TrustChange(threshold=1)
    for chosen in (guarded, lab.sequencer()):
        assert code(chosen, change(lab, again, "admin")) == "trust.threshold"
        assert code(chosen, change(lab, again, "admin", "reviewer")) == "trust.threshold"
    assert lab.size() == 2
    assert guarded.submit(change(lab, again, "kim", "eve")).index == 2
    assert [lab.reader().trust(before=n).threshold for n in range(4)] == [1, 1, 2, 1]
    assert lab.reader().trust_indices() == (0, 1, 2)


def test_the_second_version_is_signed_by_the_rules_of_the_first(
    lab: Lab, sequencer: Sequencer
) -> None:
    same = TrustChange(threshold=1)
    assert code(sequencer, change(lab, same, "reviewer")) == "trust.missing-role"
    assert code(sequencer, change(lab, same, supersedes="rec:" + "0" * 64)) == "trust.gap"
    assert sequencer.submit(change(lab, same)).index == 1
    assert code(sequencer, lab.trust(supersedes=newest(lab))) == "trust.version"


def newest(lab: Lab) -> str:
    return lab.reader().trust_history().records[-1].record


def test_a_stale_change_is_refused(lab: Lab, guarded: Sequencer) -> None:
    early = change(lab, TrustChange(threshold=3), "admin", "eve")
    guarded.submit(change(lab, TrustChange(threshold=1), "admin", "kim"))
    assert code(guarded, early) == "trust.gap"


def test_a_disowned_key_signs_no_more_and_its_records_stay(lab: Lab, sequencer: Sequencer) -> None:
    other = lab.sequencer()
    early = sequencer.submit(lab.generation())
    lab.now_ms += 1000
    late = lab.generation()
    receipt = other.submit(late)
    stolen = {lab.signers["generator"].keyid: lab.now_ms}
    lab.now_ms += 1000
    assert sequencer.submit(change(lab, TrustChange(compromise=stolen))).index == 3
    for chosen in (sequencer, other, lab.sequencer()):
        assert code(chosen, lab.generation()) == "trust.compromised"
        again = chosen.submit(late)
        assert (again.index, again.new) == (receipt.index, False)
    history = lab.reader().trust_history()
    declared = history.declared_by(lab.signers["generator"].keyid)
    assert declared is not None
    assert declared.index == 3
    assert history.declared_by(lab.signers["admin"].keyid) is None
    state = lab.reader().trust()
    doubts = [state.doubted(lab.signers["generator"].keyid, r.time_ms) for r in (early, receipt)]
    assert doubts == [None, *stolen.values()]


def test_a_key_is_judged_at_the_log_time_and_not_when_it_was_prepared(
    lab: Lab, sequencer: Sequencer
) -> None:
    """A compromise that is yet to come: the clock passes it between preparing and committing."""
    since = START_MS + 500
    stolen = {lab.signers["generator"].keyid: since}
    sequencer.submit(change(lab, TrustChange(compromise=stolen)))
    assert sequencer.submit(lab.generation()).index == 2
    times = iter([since - 1, since])
    ticking = lab.sequencer(clock=lambda: next(times))
    assert code(ticking, lab.generation()) == "trust.compromised"


def test_a_compromise_is_kept_by_every_later_change(lab: Lab, sequencer: Sequencer) -> None:
    stolen = {lab.signers["generator"].keyid: START_MS}
    sequencer.submit(change(lab, TrustChange(compromise=stolen)))
    state = lab.reader().trust()
    forgetful = _signed(lab, replace(state, compromised={}))
    assert code(sequencer, forgetful) == "trust.compromise-undone"
    assert sequencer.submit(change(lab, TrustChange(threshold=1))).index == 2
    assert lab.reader().trust().compromised == stolen


def _signed(lab: Lab, state: TrustState) -> Submission:
    predicate = trust_predicates.trust(make_head(), state, supersedes=newest(lab))
    subject = Subject("out/0", sha256_hex(b"trust"))
    sealed = seal_statement([subject], predicate_uri("trust", 2), predicate, salt)
    return lab.submission(sealed, by="admin")


def test_a_replay_finds_the_same_signers(lab: Lab, guarded: Sequencer) -> None:
    guarded.submit(lab.generation())
    guarded.submit(change(lab, TrustChange(threshold=1), "eve", "kim"))
    replay = Replay(lab.vkey)
    with read(lab.engine) as conn:
        found = [replay.accept(record).keyid for record in stored_records(conn)]
    names = ("admin", "admin", "generator", "eve")
    assert found == [lab.signers[name].keyid for name in names]


def test_the_check_finds_a_change_that_too_few_signed(
    lab: Lab, guarded: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log operator with a lenient program of his own takes what this one would refuse."""
    lab.sound = False
    strict = TrustState.authorize
    with monkeypatch.context() as patch:
        patch.setattr(
            TrustState,
            "authorize",
            lambda state, *args: strict(replace(state, threshold=1), *args),
        )
        receipt = guarded.submit(change(lab, TrustChange(threshold=1), "eve"))
    report = check_log(lab.reader(), schema_set())
    assert [(one.index, one.what) for one in report.findings][:1] == [(receipt.index, "trust")]
    assert "1 more must sign" in report.findings[0].detail
