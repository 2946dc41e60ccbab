"""The log's Merkle tree (RFC 9162, section 2.1), over SHA-256.

Grows and proves from hashes alone; where hashes are kept is the caller's business.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from registry.errors import FormatError, InputError, IntegrityError

HASH_BYTES = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without leaves."""
MAX_TREE_SIZE = 2**53 - 1
"""Most leaves: indices and sizes are JSON integers."""

Node = Callable[[int, int], bytes]
"""`node(level, i)`: root of the complete subtree of 2^level leaves that starts at i·2^level."""

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry)."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right)."""
    return _sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """The right edge of a tree: roots of its complete subtrees, the largest (leftmost) first.

    There are as many as `size` has one bits; together they are all that appending needs.
    """

    size: int = 0
    hashes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.size <= MAX_TREE_SIZE or len(self.hashes) != self.size.bit_count():
            raise FormatError(
                "a frontier has one hash per one bit of its size", code="tree.invalid"
            )
        if any(len(item) != HASH_BYTES for item in self.hashes):
            raise FormatError(f"a tree hash has {HASH_BYTES} bytes", code="tree.invalid")

    def append(self, leaf: bytes) -> Frontier:
        """Return the frontier with one more leaf hash."""
        return self.extend((leaf,))

    def extend(self, leaves: Iterable[bytes]) -> Frontier:
        """Return the frontier with more leaf hashes, in order."""
        size, hashes = self.size, list(self.hashes)
        for leaf in leaves:
            node, trailing = leaf, size
            while trailing & 1:
                node = node_hash(hashes.pop(), node)
                trailing >>= 1
            hashes.append(node)
            size += 1
        return Frontier(size, tuple(hashes))

    def root(self) -> bytes:
        """Return the root hash of the tree."""
        return _fold(self.hashes)

    def to_bytes(self) -> bytes:
        """Return the hashes one after another."""
        return b"".join(self.hashes)

    @classmethod
    def from_bytes(cls, size: int, data: bytes) -> Frontier:
        """Read what `to_bytes` wrote; raises FormatError when the length does not fit the size."""
        if len(data) % HASH_BYTES:
            raise FormatError("frontier is not a whole number of hashes", code="tree.invalid")
        hashes = (data[i : i + HASH_BYTES] for i in range(0, len(data), HASH_BYTES))
        return cls(size, tuple(hashes))


def subtree_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over these leaf hashes (any number; EMPTY_ROOT for none)."""
    level = list(leaves)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        paired = [node_hash(*pair) for pair in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            paired.append(level[-1])
        level = paired
    return level[0]


def tree_root(size: int, node: Node) -> bytes:
    """Return the root of the first `size` leaves, from the complete subtrees among them."""
    return _range_root(0, size, node)


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the audit path of leaf `index` in the tree of `size` leaves, leaf's sibling first.

    RFC 9162, 2.1.3.1. Raises InputError unless 0 <= index < size.
    """
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise InputError(f"no leaf {index} in a tree of {size}", code="proof.range")
    path: list[bytes] = []
    low, high = 0, size
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append(_range_root(middle, high, node))
            high = middle
        else:
            path.append(_range_root(low, middle, node))
            low = middle
    return path[::-1]


def consistency_proof(old: int, new: int, node: Node) -> list[bytes]:
    """Return the proof that the tree of `old` leaves is a prefix of that of `new` leaves.

    RFC 9162, 2.1.4.1. Raises InputError unless 1 <= old <= new: nothing can be proved about an
    empty tree.
    """
    if not 1 <= old <= new <= MAX_TREE_SIZE:
        raise InputError(f"no consistency proof from {old} to {new}", code="proof.range")
    path: list[bytes] = []
    low, high = 0, new
    while old < high:
        middle = low + _split(high - low)
        if old <= middle:
            path.append(_range_root(middle, high, node))
            high = middle
        else:
            path.append(_range_root(low, middle, node))
            low = middle
    if low:
        path.append(_range_root(low, high, node))
    return path[::-1]


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes
) -> None:
    """Check an audit path (RFC 9162, 2.1.3.2); raises IntegrityError (`proof.invalid`)."""
    if not 0 <= index < size <= MAX_TREE_SIZE:
        raise _refused(f"index {index} is not in a tree of {size}")
    _check_hashes((leaf, root, *proof))
    first, last, result = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise _refused("inclusion proof is too long")
        if first & 1 or first == last:
            result = node_hash(sibling, result)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            result = node_hash(result, sibling)
        first >>= 1
        last >>= 1
    if last:
        raise _refused("inclusion proof is too short")
    if result != root:
        raise _refused("inclusion proof leads to another root")


def verify_consistency(
    old: int, new: int, proof: Sequence[bytes], old_root: bytes, new_root: bytes
) -> None:
    """Check a consistency proof (RFC 9162, 2.1.4.2); raises IntegrityError (`proof.invalid`).

    Refuses `old` = 0, since any tree would be consistent with an empty one.
    """
    if not 1 <= old <= new <= MAX_TREE_SIZE:
        raise _refused(f"sizes {old} and {new} cannot be compared")
    _check_hashes((old_root, new_root, *proof))
    if old == new:
        if proof or old_root != new_root:
            raise _refused("two trees of one size differ, or the proof is not empty")
        return
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        raise _refused("consistency proof is empty")
    if _consistency_roots(old, new, path) != (old_root, new_root):
        raise _refused("consistency proof leads to other roots")


def _consistency_roots(old: int, new: int, path: Sequence[bytes]) -> tuple[bytes, bytes]:
    first, last = old - 1, new - 1
    while first & 1:
        first >>= 1
        last >>= 1
    old_result = new_result = path[0]
    for item in path[1:]:
        if last == 0:
            raise _refused("consistency proof is too long")
        if first & 1 or first == last:
            old_result = node_hash(item, old_result)
            new_result = node_hash(item, new_result)
            while not first & 1 and first:
                first >>= 1
                last >>= 1
        else:
            new_result = node_hash(new_result, item)
        first >>= 1
        last >>= 1
    if last:
        raise _refused("consistency proof is too short")
    return old_result, new_result


def _split(count: int) -> int:
    """Return the largest power of two below `count` (at least 2)."""
    return int(1 << ((count - 1).bit_length() - 1))


def _range_root(low: int, high: int, node: Node) -> bytes:
    """Return the root over leaves [low, high); `low` is a multiple of every subtree inside."""
    pieces: list[bytes] = []
    while low < high:
        level = (high - low).bit_length() - 1
        pieces.append(node(level, low >> level))
        low += 1 << level
    return _fold(pieces)


def _fold(hashes: Sequence[bytes]) -> bytes:
    """Join the complete subtrees of a range, from the right."""
    if not hashes:
        return EMPTY_ROOT
    result = hashes[-1]
    for left in reversed(hashes[:-1]):
        result = node_hash(left, result)
    return result


def _check_hashes(hashes: Iterable[bytes]) -> None:
    if any(len(item) != HASH_BYTES for item in hashes):
        raise _refused(f"a proof has a hash that is not {HASH_BYTES} bytes long")


def _refused(why: str) -> IntegrityError:
    return IntegrityError(why, code="proof.invalid")
