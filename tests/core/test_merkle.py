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

MOST = 70
LEAVES = tuple(merkle.leaf_hash(bytes([n])) for n in range(MOST))
RFC_6962_INPUTS = (
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)
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


def test_known_roots_of_certificate_transparency() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in RFC_6962_INPUTS]
    assert leaves[0].hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.subtree_root(leaves).hex() == (
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    )


@pytest.mark.parametrize("size", range(MOST + 1))
def test_every_way_to_a_root_agrees(size: int) -> None:
    leaves = LEAVES[:size]
    one_by_one = Frontier()
    for leaf in leaves:
        one_by_one = one_by_one.append(leaf)
    assert one_by_one == Frontier().extend(leaves)
    assert one_by_one.root() == merkle.subtree_root(leaves) == naive(0, size)
    assert Frontier.from_bytes(size, one_by_one.to_bytes()) == one_by_one


@pytest.mark.parametrize("size", range(1, MOST + 1))
def test_every_leaf_is_proved_in_every_tree(size: int) -> None:
    for index in range(size):
        proof = merkle.inclusion_proof(index, size, node)
        merkle.verify_inclusion(LEAVES[index], index, size, proof, naive(0, size))


@pytest.mark.parametrize("new", range(1, MOST + 1))
def test_every_tree_is_proved_to_extend_every_smaller_one(new: int) -> None:
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
        (leaf, index, size, [*proof, b"short"], root),
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
        (old, new, [*proof, b""], before, after),
    ]
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
    root = naive(0, 6)
    merkle.verify_consistency(6, 6, [], root, root)
    with pytest.raises(IntegrityError):
        merkle.verify_consistency(6, 6, [], root, naive(0, 5))


def test_a_leaf_is_not_a_node() -> None:
    left, right = LEAVES[:2]
    assert merkle.node_hash(left, right) != merkle.leaf_hash(left + right)


def test_a_frontier_has_a_hash_per_one_bit() -> None:
    for size, data in ((3, LEAVES[0]), (0, LEAVES[0]), (1, b"short"), (-1, b""), (1, b"")):
        with pytest.raises(FormatError):
            Frontier.from_bytes(size, data)
