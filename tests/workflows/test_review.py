"""Reviews and releases: signed, on the log, and only believed while their signer is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from registry.core.dsse import Envelope
from registry.core.times import parse_time
from registry.errors import InputError, NotFoundError
from registry.sdk import Registry

Make = Callable[..., Any]


def test_the_newest_review_counts_and_says_why(registry: Registry, generation: Make) -> None:
    (asset,) = registry.record(generation(1)).assets
    assert registry.releasing.reviews(asset) == []
    no = registry.releasing.review(asset, verdict="rejected", reason="handle on the wrong side")
    yes = registry.releasing.review(asset, verdict="approved", reason="as briefed")
    found = registry.releasing.reviews(asset)
    assert [(one.record, one.verdict, one.reason) for one in found] == [
        (yes.record, "approved", "as briefed"),
        (no.record, "rejected", "handle on the wrong side"),
    ]
    assert registry.check_log().ok
    payload = Envelope.parse(registry.log.envelope_bytes(yes.index)).payload
    assert b"approved" in payload
    assert b"as briefed" not in payload


def test_a_review_by_a_stolen_key_is_not_heard(registry: Registry, generation: Make) -> None:
    (asset,) = registry.record(generation(1)).assets
    done = registry.releasing.review(asset, verdict="approved", reason="as briefed")
    (review,) = registry.releasing.reviews(asset)
    registry.trust.rotate("reviewer")
    registry.trust.compromise(review.signer, since_ms=parse_time(done.time), reason="stolen")
    assert registry.releasing.reviews(asset) == []


def test_a_review_needs_a_reason_a_verdict_and_an_asset(
    registry: Registry, generation: Make
) -> None:
    (asset,) = registry.record(generation(1)).assets
    size = registry.log.head().size
    for verdict, reason in (("approved", " "), ("perhaps", "why not")):
        with pytest.raises(InputError):
            registry.releasing.review(asset, verdict=verdict, reason=reason)  # type: ignore[arg-type]
    with pytest.raises(NotFoundError):
        registry.releasing.review("sha256:" + "0" * 64, verdict="approved", reason="x")
    assert registry.log.head().size == size


def test_a_release_names_its_decision_and_reviews(registry: Registry, generation: Make) -> None:
    (asset,) = registry.record(generation(1)).assets
    seen = registry.releasing.review(asset, verdict="approved", reason="as briefed")
    (decision,) = registry.gate([asset]).decisions
    done = registry.releasing.release(
        asset, channel="web", decision=decision.record or "", reviews=[seen.record]
    )
    assert done.assets == (asset,)
    told = [(event.predicate, event.summary) for event in registry.get(asset).events]
    assert told == [("review", "approved"), ("decision", "FAILED"), ("release", "release")]
    assert registry.check_log().ok


def test_what_a_campaign_recorded_is_found_by_invocation(
    registry: Registry, generation: Make
) -> None:
    mine = registry.record(generation(1, campaign="mugs"))
    registry.record(generation(2, campaign="lamps"))
    ((invocation, receipt),) = registry.releasing.recorded("mugs").items()
    assert (receipt.record, receipt.assets, receipt.index) == (mine.record, mine.assets, mine.index)
    entry = registry.log.envelope_bytes(mine.index)
    assert registry.releasing.recorded("none") == {}
    assert len(invocation) == 36
    assert entry
