"""The tree against the definition of RFC 9162, and proofs against every small change."""

from __future__ import annotations

import functools
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.core import merkle
from registry.core.merkle import EMPTY_ROOT, Frontier
from registry.errors import FormatError, InputError, IntegrityError

MOST = 300
LEAVES = tuple(merkle.leaf_hash(n.to_bytes(2, "big")) for n in range(MOST))
# The inputs, roots and proofs that implementations of RFC 6962 share as reference (first published
# with certificate-transparency-go; an index counts from 0 here).
KNOWN_INPUTS = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
KNOWN_ROOTS = (
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)
_0, _01, _0123 = KNOWN_ROOTS[1], KNOWN_ROOTS[2], KNOWN_ROOTS[4]
_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
_23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
_4 = "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b"
_45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
_6 = "b08693ec2e721597130641e8211e7eedccb4c26413963eee6c1e2ed16ffb1a5f"
_67 = "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0"
_4567 = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"
KNOWN_INCLUSION = [
    (0, 1, []),
    (0, 8, [_1, _23, _4567]),
    (5, 8, [_4, _67, _0123]),
    (2, 3, [_01]),
    (1, 5, [_0, _23, _4]),
]
KNOWN_CONSISTENCY = [
    (1, 1, []),
    (1, 8, [_1, _23, _4567]),
    (6, 8, [_45, _67, _0123]),
    (2, 5, [_23, _4]),
    (6, 7, [_45, _6, _0123]),
]
HUGE = 2**53 - 1
sizes = st.integers(1, MOST)


@functools.cache
def naive(low: int, high: int) -> bytes:
    """MTH(D[low:high]) as RFC 9162, 2.1.1 writes it."""
    count = high - low
    if count == 0:
        return hashlib.sha256(b"").digest()
    if count == 1:
        return LEAVES[low]
    k = 1
    while k * 2 < count:
        k *= 2
    return hashlib.sha256(b"\x01" + naive(low, low + k) + naive(low + k, high)).digest()


def node(level: int, index: int) -> bytes:
    low, high = index << level, (index + 1) << level
    assert high <= MOST, "only complete subtrees may be asked for"
    return naive(low, high)


def known_leaves() -> list[bytes]:
    return [merkle.leaf_hash(bytes.fromhex(text)) for text in KNOWN_INPUTS]


def known_node(level: int, index: int) -> bytes:
    return merkle.subtree_root(known_leaves()[index << level : (index + 1) << level])


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert merkle.subtree_root(known_leaves()[:size]).hex() == KNOWN_ROOTS[size]
    assert merkle.tree_root(size, known_node).hex() == KNOWN_ROOTS[size]


@pytest.mark.parametrize(("index", "size", "path"), KNOWN_INCLUSION)
def test_published_inclusion_proofs(index: int, size: int, path: list[str]) -> None:
    proof = merkle.inclusion_proof(index, size, known_node)
    assert [item.hex() for item in proof] == path
    root = bytes.fromhex(KNOWN_ROOTS[size])
    merkle.verify_inclusion(known_leaves()[index], index, size, proof, root)


@pytest.mark.parametrize(("old", "new", "path"), KNOWN_CONSISTENCY)
def test_published_consistency_proofs(old: int, new: int, path: list[str]) -> None:
    proof = merkle.consistency_proof(old, new, known_node)
    assert [item.hex() for item in proof] == path
    before, after = bytes.fromhex(KNOWN_ROOTS[old]), bytes.fromhex(KNOWN_ROOTS[new])
    merkle.verify_consistency(old, new, proof, before, after)


def test_every_way_to_a_root_agrees() -> None:
    one_by_one = Frontier()
    for size in range(MOST + 1):
        leaves = LEAVES[:size]
        assert one_by_one == Frontier().extend(leaves)
        assert one_by_one.root() == merkle.subtree_root(leaves) == naive(0, size)
        assert merkle.tree_root(size, node) == naive(0, size)
        assert Frontier.from_bytes(size, one_by_one.to_bytes()) == one_by_one
        one_by_one = one_by_one.append(LEAVES[min(size, MOST - 1)])


def test_every_leaf_is_proved_in_every_tree() -> None:
    for size in range(1, MOST + 1):
        for index in range(size):
            proof = merkle.inclusion_proof(index, size, node)
            merkle.verify_inclusion(LEAVES[index], index, size, proof, naive(0, size))


def test_every_tree_is_proved_to_extend_every_smaller_one() -> None:
    for new in range(1, MOST + 1):
        for old in range(1, new + 1):
            proof = merkle.consistency_proof(old, new, node)
            merkle.verify_consistency(old, new, proof, naive(0, old), naive(0, new))


@given(sizes, st.data())
def test_an_inclusion_proof_fits_nothing_else(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root = LEAVES[index], naive(0, size)
    proof = merkle.inclusion_proof(index, size, node)
    refused = [
        (merkle.leaf_hash(b"other"), index, size, proof, root),
        (leaf, index, size, proof, naive(0, size - 1)),
        (leaf, index, 4 * size, proof, root),
        (leaf, index, size, [*proof, leaf], root),
        (leaf, index, size, [*proof, root], root),
        (leaf, index, size, [*proof, leaf], merkle.node_hash(leaf, root)),  # fits but for its size
        (leaf, index, size, [leaf, *proof], root),
        (leaf, index, size, [*proof, b"short"], root),
        (leaf[:-1], index, size, proof, root),
        (leaf, index, size, proof, root + b"\0"),
    ]
    refused += [(leaf, other, size, proof, root) for other in range(size) if other != index]
    if proof:
        refused.append((leaf, index, size, proof[:-1], root))
        refused.append((leaf, index, size, proof[1:], root))
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
        refused.append((leaf, index, size, [*proof[:at], flipped, *proof[at + 1 :]], root))
    for case in refused:
        with pytest.raises(IntegrityError) as error:
            merkle.verify_inclusion(*case)
        assert error.value.code == "proof.invalid"


@given(sizes, st.data())
def test_a_consistency_proof_fits_nothing_else(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new))
    before, after = naive(0, old), naive(0, new)
    proof = merkle.consistency_proof(old, new, node)
    other = merkle.leaf_hash(b"other")
    refused = [
        (old, new, proof, other, after),
        (old, new, proof, before, other),
        (old, 4 * new, proof, before, after),
        (old, new, [*proof, other], before, after),
        (old, new, [*proof, after], before, after),
        (old, new, [*proof, other], *(merkle.node_hash(other, r) for r in (before, after))),
        (old, new, [other, *proof], before, after),
        (old, new, [*proof, b""], before, after),
        (old, new, proof, before[:-1], after),
        (old, new, proof, before, after + b"\0"),
        (0, new, proof, before, after),
    ]
    if old < new:
        refused.append((new, old, proof, after, before))
        refused.append((old, new, proof, after, before))
        refused.append((old, new, [], before, after))
    if proof:
        refused.append((old, new, proof[:-1], before, after))
        refused.append((old, new, proof[1:], before, after))
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = proof[at][:-1] + bytes([proof[at][-1] ^ 1])
        refused.append((old, new, [*proof[:at], flipped, *proof[at + 1 :]], before, after))
    for case in refused:
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(*case)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 1), (5, 4), (0, 2**53)])
def test_no_leaf_outside_its_tree(index: int, size: int) -> None:
    with pytest.raises(InputError):
        merkle.inclusion_proof(index, size, node)
    with pytest.raises(IntegrityError):
        merkle.verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(0, 0), (0, 5), (-1, 5), (6, 5), (1, 2**53)])
def test_an_empty_or_larger_tree_proves_nothing(old: int, new: int) -> None:
    with pytest.raises(InputError):
        merkle.consistency_proof(old, new, node)
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(old, new, [], EMPTY_ROOT, EMPTY_ROOT)


def test_trees_of_one_size_must_be_equal() -> None:
    root, other = naive(0, 6), naive(0, 5)
    merkle.verify_consistency(6, 6, [], root, root)
    for proof, after in (([], other), ([root], root), ([other], other)):
        with pytest.raises(IntegrityError):
            merkle.verify_consistency(6, 6, proof, root, after)


def test_a_leaf_is_not_a_node() -> None:
    left, right = LEAVES[:2]
    assert merkle.node_hash(left, right) != merkle.leaf_hash(left + right)


def test_a_frontier_has_a_hash_per_one_bit() -> None:
    for size, data in ((3, LEAVES[0]), (0, LEAVES[0]), (1, b"short"), (-1, b""), (1, b"")):
        with pytest.raises(FormatError):
            Frontier.from_bytes(size, data)


class OneOfMany:
    """A tree too large to hold, whose leaves are all the same but for the one at `place`."""

    def __init__(self, place: int) -> None:
        self.place = place

    def node(self, level: int, index: int) -> bytes:
        return self.naive(index << level, (index + 1) << level)

    def naive(self, low: int, high: int) -> bytes:
        """MTH(D[low:high]) as RFC 9162 writes it; equal ranges are hashed once."""
        return _mth(high - low, self.place - low if low <= self.place < high else None)


@functools.lru_cache(maxsize=100_000)
def _mth(count: int, place: int | None) -> bytes:
    if count == 1:
        return LEAVES[0] if place is None else LEAVES[1]
    k = 1 << ((count - 1).bit_length() - 1)
    left = place if place is not None and place < k else None
    right = place - k if place is not None and place >= k else None
    return hashlib.sha256(b"\x01" + _mth(k, left) + _mth(count - k, right)).digest()


huge = st.integers(2, HUGE) | st.sampled_from([HUGE, 2**52, 2**52 + 1, 2**32 - 1, 2**16 + 1])


@given(huge, huge, st.data())
def test_trees_too_large_to_hold_are_proved_as_well(
    one: int, other: int, data: st.DataObject
) -> None:
    old, new = sorted((one, other))
    tree = OneOfMany(data.draw(st.integers(0, new - 1)))
    root = tree.naive(0, new)
    path = merkle.inclusion_proof(tree.place, new, tree.node)
    assert len(path) <= 53
    merkle.verify_inclusion(LEAVES[1], tree.place, new, path, root)
    with pytest.raises(IntegrityError):
        merkle.verify_inclusion(LEAVES[1], (tree.place + 1) % new, new, path, root)
    proof = merkle.consistency_proof(old, new, tree.node)
    before = tree.naive(0, old)
    merkle.verify_consistency(old, new, proof, before, root)
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(old - 1, new, proof, before, root)
