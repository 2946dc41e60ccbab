"""E grows with the bank and the distance, and never claims more than what was counted allows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.errors import InputError
from registry.similarity import certainty
from registry.similarity.calibrating import count_distances, count_passes, nearest
from registry.similarity.calibrations import default
from registry.similarity.certainty import (
    FARTHEST,
    Calibration,
    Distances,
    Estimate,
    expected,
    false_positive_rate,
    from_json,
    pass_rate,
    rate_of,
    to_json,
    upper_bound,
    verdict_of,
    verified,
)
from registry.similarity.fingerprints import PHASH256
from registry.similarity.segments import SEGMENTS
from registry.similarity.verify import MIN_INLIERS, VERIFIER

COUNTED = default().fingerprints[PHASH256]


def flipped(code: np.ndarray, bits: int, rng: np.random.Generator) -> np.ndarray:
    flips = np.zeros(256, np.uint8)
    flips[rng.choice(256, bits, replace=False)] = 1
    return code ^ np.packbits(flips)


def of(pairs: dict[int, tuple[int, float]], total: int, sources: int) -> Distances:
    """Make a table from what is counted at single distances: hits and independent ones."""
    hits, effective = np.zeros(FARTHEST + 1), np.zeros(FARTHEST + 1)
    for distance, (count, independent) in pairs.items():
        hits[distance:] += count
        effective[distance:] += independent
    return Distances(total, sources, tuple(map(int, hits)), tuple(map(float, effective)))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 128), st.integers(0, 128), st.integers(1, 10**7), st.integers(1, 10**7))
def test_e_never_falls_with_distance_or_with_the_size_of_the_bank(a, b, some, more) -> None:
    near, far = sorted((a, b))
    small, large = sorted((some, more))
    least = expected(default(), PHASH256, near, chances=small)
    for most in (
        expected(default(), PHASH256, far, chances=small),
        expected(default(), PHASH256, near, chances=large),
    ):
        assert least is not None
        assert most is not None
        assert least.value <= most.value * (1 + 1e-9)
        assert least.bound <= most.bound * (1 + 1e-9)
    assert least.value <= least.bound


def test_no_hit_in_n_trials_is_bounded_by_nearly_three_in_n() -> None:
    assert upper_bound(0, 10_000) == pytest.approx(3e-4, rel=0.01)
    assert upper_bound(3, 1000) == pytest.approx(0.00774, rel=0.01)  # Clopper and Pearson
    assert upper_bound(5, 5) == 1.0


def test_hits_of_one_source_bound_no_better_than_one_hit() -> None:
    """A hundred crops of one pair of photographs are one coincidence, seen a hundred times."""
    spread = rate_of(of({40: (100, 100.0)}, 10**9, 1000), 40)
    one = rate_of(of({40: (100, 1.0)}, 10**9, 1000), 40)
    assert spread.value == one.value == 1e-7
    assert spread.bound < 1.3e-7
    assert one.bound > 4e-7


def test_what_was_never_counted_is_extrapolated_and_falls_slowly() -> None:
    table = of({60: (20, 10.0), 80: (2000, 100.0)}, 10**9, 1000)
    counted, beyond = rate_of(table, 60), rate_of(table, 28)
    assert (counted.extrapolated, beyond.extrapolated) == (False, True)
    assert beyond.bound == pytest.approx(max(counted.bound / 100, 1e-8 * 10 ** (-7 / 16)))
    assert beyond.value < beyond.bound


def test_without_a_near_pair_the_bound_is_that_of_the_pairs_of_sources() -> None:
    """A million crops of twenty photographs are 190 pairs of photographs."""
    rate = rate_of(of({}, 10**12, 20), 10)
    assert (rate.value, rate.extrapolated) == (0.0, True)
    assert rate.bound == pytest.approx(3 / 190, rel=0.05)


def test_few_pairs_of_its_own_do_not_make_a_registry_sure() -> None:
    mine = Calibration({PHASH256: of({127: (50, 20.0)}, 10**9, 10**6)}, {}, fallback=default())
    alone = replace(mine, fallback=None)
    ours, theirs = (false_positive_rate(one, PHASH256, 60) for one in (alone, default()))
    both = false_positive_rate(mine, PHASH256, 60)
    assert ours is not None
    assert theirs is not None
    assert ours.bound < theirs.bound  # what the guard is for
    assert both is not None
    assert both.bound == theirs.bound
    assert both.extrapolated


def test_what_a_registry_counted_itself_holds_for_it() -> None:
    """A bank of pictures that are alike is judged by its own distances, and so is its reverse."""
    alike = Calibration({PHASH256: of({20: (500, 200.0)}, 10**8, 10**4)}, {}, fallback=default())
    rate = false_positive_rate(alike, PHASH256, 20)
    assert rate is not None
    assert rate.value == 5e-6
    assert not rate.extrapolated
    estimate = expected(alike, PHASH256, 20, chances=10**5)
    assert verdict_of(estimate) != "match"
    assert verdict_of(expected(default(), PHASH256, 20, chances=10**5)) == "match"


def test_a_fingerprint_that_nobody_calibrated_is_for_a_person() -> None:
    assert expected(default(), "unheard-of-v1", 0, chances=1) is None
    assert verdict_of(None) == "review"


@pytest.mark.parametrize(
    ("bound", "verdict"), [(0.0, "match"), (0.01, "match"), (0.011, "probable"),
                           (0.5, "probable"), (0.51, "review"), (30.0, "review"), (31.0, "none")],
)  # fmt: skip
def test_verdicts_follow_the_bound(bound: float, verdict: str) -> None:
    assert verdict_of(Estimate(0.0, bound)) == verdict


def test_what_is_sure_in_a_small_bank_is_not_in_a_large_one() -> None:
    verdicts = [
        verdict_of(expected(default(), PHASH256, 30, chances=10 * assets))
        for assets in (10_000, 1_000_000, 100_000_000)
    ]
    assert verdicts == ["match", "probable", "review"]


def test_geometry_counts_the_candidates_that_it_saw() -> None:
    """However many a large bank offers, no more can pass than were tried."""
    hopeless = Estimate(500.0, 900.0)
    few = verified(hopeless, default(), VERIFIER, MIN_INLIERS, candidates=2)
    many = verified(hopeless, default(), VERIFIER, MIN_INLIERS, candidates=2000)
    assert few is not None
    assert many is not None
    assert many.bound == pytest.approx(450 * few.bound)
    assert verified(hopeless, default(), "unheard-of-v1", 99, candidates=1) is hopeless
    small = verified(Estimate(1e-4, 1e-3), default(), VERIFIER, MIN_INLIERS, candidates=2)
    assert small is not None
    assert small.bound < few.bound


def test_distances_are_those_of_a_loop_and_leave_one_source_out() -> None:
    rng = np.random.default_rng(7)
    centres = rng.integers(0, 256, (6, 32), dtype=np.uint8)
    codes = np.stack([flipped(code, n, rng) for code in centres for n in (0, 20, 60)])
    codes[3] = flipped(codes[0], 10, rng)
    sources = np.repeat(np.arange(6), 3)
    counted = count_distances(codes, sources)
    far = [
        (int(np.bitwise_count(codes[a] ^ codes[b]).sum()), a, b)
        for a in range(18) for b in range(a + 1, 18) if sources[a] != sources[b]
    ]  # fmt: skip
    assert (counted.pairs, counted.sources) == (len(far), 6)
    for distance in (0, 10, 80, FARTHEST):
        assert counted.hits[distance] == sum(d <= distance for d, _, _ in far)
    assert counted.effective[10] == 0.5  # one hit, which two sources share
    (near, *_) = nearest(codes, sources, radius=30, most=5)
    assert (near.first, near.second, near.distance) == (0, 3, 10)


def test_passes_are_counted_by_inliers_and_by_source() -> None:
    counted = count_passes([(0, 1, 0), (0, 2, 15), (3, 4, 15), (0, 1, 40)])
    assert (counted.trials, counted.sources) == (4, 5)
    assert [counted.passes[k] for k in (0, 15, 16, 40, 41)] == [4, 3, 1, 1, 0]
    assert counted.effective[15] == 9 / 8  # of sources 0 (twice), 1, 2, 3 and 4
    assert pass_rate(counted, 15).value == 0.75
    assert pass_rate(counted, 50).extrapolated


def test_the_shipped_table_is_large_enough_and_survives_its_own_json() -> None:
    made = default()
    assert made.fingerprints[PHASH256].pairs >= 1e9
    assert made.fingerprints.keys() >= {PHASH256, SEGMENTS}
    assert made.verifiers[VERIFIER].trials >= 10_000
    assert made.made["command"].startswith("python -m bench.calibrate")
    assert from_json(to_json(made)).fingerprints == made.fingerprints


@pytest.mark.parametrize(
    "harm",
    [
        lambda table: table.pop("v"),
        lambda table: table.update(v=2),
        lambda table: table["fingerprints"][PHASH256].update(pairs=1),
        lambda table: table["fingerprints"][PHASH256]["hits"].reverse(),
        lambda table: table["fingerprints"][PHASH256]["hits"].pop(),
        lambda table: table["fingerprints"][PHASH256]["effective"].__setitem__(-1, 1e300),
        lambda table: table["verifiers"][VERIFIER].update(passes="none"),
    ],
)
def test_a_table_that_nobody_can_have_counted_is_refused(harm) -> None:
    table = to_json(default())
    harm(table)
    with pytest.raises(InputError) as error:
        from_json(table)
    assert error.value.code == "calibration.invalid"


def test_the_tail_of_the_default_is_no_thinner_than_that_of_product_shots() -> None:
    """The flattest tail on record: 1e-8 at 35 bits, 1e-9 at 19."""
    assert certainty.FLATTEST_BITS >= (35 - 19)
    assert rate_of(COUNTED, 35).bound >= 1e-8
    assert rate_of(COUNTED, 19).bound >= 1e-9
    easy = of({126: (10**6, 10**4)}, 10**12, 10**5)
    assert rate_of(easy, 35).bound >= 1e-8
