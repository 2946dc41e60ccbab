"""Authority is judged at the log time, by the trust records before."""

from __future__ import annotations

import pytest

from registry.core.digests import record_id
from registry.core.entries import LogEntry
from registry.errors import GenopsError, TrustError
from registry.log.sequencer import Sequencer
from registry.log.submission import LogReceipt
from tests.log.conftest import ROLES, START_MS, Lab, in_threads

pytestmark = pytest.mark.both_databases


def code(sequencer: Sequencer, submission: object) -> str:
    with pytest.raises(GenopsError) as error:
        sequencer.submit(submission)  # type: ignore[arg-type]
    return error.value.code


def without(lab: Lab, *roles: str) -> list[object]:
    return [lab.key(role) for role in ROLES if role not in roles]


def name_of(receipt: LogReceipt) -> str:
    return record_id(receipt.leaf_hash)


def test_a_signer_needs_the_role_of_what_it_says(lab: Lab, sequencer: Sequencer) -> None:
    assert code(sequencer, lab.taint(by="generator")) == "trust.missing-role"
    assert code(sequencer, lab.generation(by="reviewer")) == "trust.missing-role"
    assert sequencer.submit(lab.taint(by="reviewer")).index == 1


def test_an_unknown_signer_is_refused(lab: Lab) -> None:
    sequencer = lab.sequencer()
    sequencer.submit(lab.trust(without(lab, "generator")))
    assert code(sequencer, lab.generation()) == "trust.unknown-key"
    assert lab.size() == 1


def test_a_window_is_held_against_the_log_time(lab: Lab) -> None:
    window = {"not_before_ms": START_MS + 1000, "not_after_ms": START_MS + 2000}
    keys = [*without(lab, "generator"), lab.key("generator", **window)]
    sequencer = lab.sequencer()
    sequencer.submit(lab.trust(keys))
    assert code(sequencer, lab.generation()) == "trust.outside-window"
    lab.now_ms = START_MS + 1000
    assert sequencer.submit(lab.generation()).index == 1
    lab.now_ms = START_MS + 1999
    assert sequencer.submit(lab.generation()).index == 2
    lab.now_ms = START_MS + 2000
    assert code(sequencer, lab.generation()) == "trust.outside-window"


def test_a_window_that_closed_does_not_reopen_when_the_clock_goes_back(lab: Lab) -> None:
    keys = [*without(lab, "generator"), lab.key("generator", not_after_ms=START_MS + 2000)]
    sequencer = lab.sequencer()
    sequencer.submit(lab.trust(keys))
    lab.now_ms = START_MS + 3000
    sequencer.submit(lab.taint())
    lab.now_ms = START_MS
    assert code(sequencer, lab.generation()) == "trust.outside-window"


def test_a_removed_key_signs_no_more_and_a_retry_of_its_records_is_found(lab: Lab) -> None:
    sequencer, other = lab.sequencer(), lab.sequencer()
    genesis = sequencer.submit(lab.trust())
    old = lab.generation()
    other.submit(old)
    change = lab.trust(without(lab, "generator"), supersedes=name_of(genesis))
    assert sequencer.submit(change).index == 2
    for chosen in (sequencer, other, lab.sequencer()):
        assert code(chosen, lab.generation()) == "trust.unknown-key"
        assert chosen.submit(old).index == 1


def test_a_key_that_another_process_added_may_sign_at_once(lab: Lab) -> None:
    sequencer, other = lab.sequencer(), lab.sequencer()
    genesis = sequencer.submit(lab.trust(without(lab, "generator")))
    assert code(other, lab.generation()) == "trust.unknown-key"
    sequencer.submit(lab.trust(supersedes=name_of(genesis)))
    assert other.submit(lab.generation()).index == 2


def test_two_changes_of_trust_at_once_do_not_undo_each_other(lab: Lab) -> None:
    sequencer = lab.sequencer()
    genesis = name_of(sequencer.submit(lab.trust()))
    changes = [lab.trust(supersedes=genesis) for _ in range(6)]
    answers = in_threads(sequencer.submit, changes, 6, errors=True)
    assert sum(isinstance(answer, LogReceipt) for answer in answers) == 1
    assert {a.code for a in answers if isinstance(a, TrustError)} == {"trust.gap"}
    assert lab.size() == 2


def test_only_an_admin_changes_trust(lab: Lab, sequencer: Sequencer) -> None:
    genesis = LogEntry.parse(lab.reader().entry(0)).record_id
    change = lab.trust(supersedes=genesis, by="reviewer")
    assert code(sequencer, change) == "trust.missing-role"


@pytest.mark.parametrize(
    ("change", "wanted"),
    [
        ({"origin": "other/1"}, "trust.invalid"),
        ({"vkey": "studio/0190+aaaaaaaa+AQ=="}, "schema.invalid"),
        ({"by": "reviewer"}, "trust.missing-role"),
    ],
)
def test_a_first_trust_record_fits_the_log(lab: Lab, change: dict[str, str], wanted: str) -> None:
    sequencer = lab.sequencer()
    assert code(sequencer, lab.trust(**change)) == wanted  # type: ignore[arg-type]
    assert lab.size() == 0
    sequencer.submit(lab.trust())


def test_a_trust_record_names_this_logs_key(lab: Lab) -> None:
    other = Lab(lab.root / "other")
    sequencer = lab.sequencer()
    assert code(sequencer, lab.trust(vkey=str(other.vkey))) == "trust.log-key"
    genesis = name_of(sequencer.submit(lab.trust()))
    later = lab.trust(vkey=str(other.vkey), supersedes=genesis)
    assert code(sequencer, later) == "trust.log-key"


def test_a_later_trust_record_names_the_one_before(lab: Lab, sequencer: Sequencer) -> None:
    assert code(sequencer, lab.trust()) == "trust.gap"
    assert code(sequencer, lab.trust(supersedes="rec:" + "0" * 64)) == "trust.gap"


def test_the_reader_tells_who_judged_each_record(lab: Lab) -> None:
    sequencer = lab.sequencer()
    genesis = sequencer.submit(lab.trust(without(lab, "policy")))
    sequencer.submit(lab.generation())
    sequencer.submit(lab.trust(supersedes=name_of(genesis)))
    sequencer.submit(lab.generation())
    reader = lab.reader()
    policy = lab.signers["policy"].keyid
    assert [policy in reader.trust(before=n).keys for n in range(5)] == [False] * 3 + [True] * 2
    assert policy in reader.trust().keys
    assert reader.trust_indices() == (0, 2)
