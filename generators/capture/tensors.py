"""Tensors as digests, and as sums that tell cheaply whether their bits changed.

Knows torch alone: neither modules nor files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import torch

_ROW = 256
"""Integers of 8 bytes that are summed together: within them an exchange of two goes unseen."""
_ROW_BYTES = 8 * _ROW
_FINE = 4
"""The same for small tensors."""
_FINE_BYTES = 8 * _FINE
_SMALL = 16 * 1024
"""Bytes up to which a tensor is small."""


@dataclass(frozen=True, slots=True)
class TensorSet:
    """Tensors that belong together.

    `sha256` is over name, dtype, shape and row-major bytes of each, sorted by name. `layout` says
    how the four-dimensional ones lie in memory, which decides kernels and so bits: `contiguous`,
    `channels_last` or `mixed`.
    """

    sha256: str
    layout: str
    dtype: str


def tensor_set(named: Iterable[tuple[str, torch.Tensor]]) -> TensorSet:
    """Digest named tensors; tensors without storage (device `meta`) count by shape alone."""
    digest = hashlib.sha256()
    layouts: set[str] = set()
    dtypes: set[str] = set()
    for name, tensor in sorted(named, key=lambda pair: pair[0]):
        dtypes.add(dtype_name(tensor.dtype))
        digest.update(f"{name}\n{tensor.dtype}\n{list(tensor.shape)}\n".encode())
        digest.update(_row_major(tensor))
        layouts |= _layout(tensor)
    layout = layouts.pop() if len(layouts) == 1 else "mixed" if layouts else "contiguous"
    return TensorSet(digest.hexdigest(), layout, "+".join(sorted(dtypes)))


def tensor_digest(tensor: torch.Tensor) -> str:
    """Return the SHA-256 of one tensor's shape and row-major bytes."""
    return hashlib.sha256(f"{list(tensor.shape)}\n".encode() + _row_major(tensor)).hexdigest()


def _row_major(tensor: torch.Tensor) -> bytes | memoryview:
    """Return a tensor's bytes in row-major order; none for tensors on device `meta`."""
    if tensor.device.type == "meta":
        return b""
    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy().data


def mark(tensor: torch.Tensor) -> tuple[int, int]:
    """Return what moving a tensor, or writing into it by torch's own ways, changes."""
    version = 0 if tensor.is_inference() else tensor._version
    return tensor.data_ptr() if tensor.device.type != "meta" else 0, version


class BitSums:
    """Sums the bits of tensors, one pass at memory speed; an unmoved tensor's change is seen.

    A place in memory counts: rows of 2 KiB are summed, and each row's sum has another weight.
    Small tensors and ends are put together first, since each operation costs more than they do.
    """

    def __init__(self, tensors: Iterable[torch.Tensor]) -> None:
        self._scattered: list[torch.Tensor] = []
        self._rows: dict[torch.device, list[torch.Tensor]] = {}
        self._small: dict[torch.device, list[torch.Tensor]] = {}
        for tensor in tensors:
            if tensor.device.type == "meta" or not tensor.numel():
                continue
            flat = _flat(tensor)
            if flat.data_ptr() == tensor.data_ptr():
                self._add(flat)
            else:
                self._scattered.append(tensor)
        for parts in self._small.values():
            parts.append(_filling(parts))

    def _add(self, flat: torch.Tensor) -> None:
        rest = len(flat) % _ROW_BYTES if len(flat) > _SMALL else len(flat)
        try:
            rows = flat[: len(flat) - rest].view(torch.int64).view(-1, _ROW)
        except RuntimeError:  # the tensor begins inside an integer of its storage
            rest, rows = len(flat), flat[:0]
        if len(rows):
            self._rows.setdefault(flat.device, []).append(rows)
        if rest:
            self._small.setdefault(flat.device, []).append(flat[len(flat) - rest :])

    def now(self) -> list[int]:
        """Return the present sums by device, wrapped to 64 bits."""
        sums = [torch.cat([rows.sum(1) for rows in parts]) for parts in self._rows.values()]
        small = [*self._small.values(), *([f, _filling([f])] for f in map(_flat, self._scattered))]
        sums += [torch.cat(parts).view(torch.int64).view(-1, _FINE).sum(1) for parts in small]
        return [int((one * _weights(one)).sum()) for one in sums]


def _weights(sums: torch.Tensor) -> torch.Tensor:
    """Return weights that differ and are odd, so that they lose no bit."""
    return torch.arange(1, 2 * len(sums), 2, device=sums.device)


def _filling(parts: list[torch.Tensor]) -> torch.Tensor:
    """Return the zeros that make bytes fill rows of integers."""
    return parts[0].new_zeros(-sum(map(len, parts)) % _FINE_BYTES)


def _flat(tensor: torch.Tensor) -> torch.Tensor:
    """Return a tensor's bytes in the order of memory: a view, where they lie together."""
    order = sorted(range(tensor.ndim), key=tensor.stride, reverse=True)
    return tensor.detach().permute(order).reshape(-1).view(torch.uint8)


def _layout(tensor: torch.Tensor) -> set[str]:
    """Return the layouts that a tensor rules in; none where it does not matter."""
    if tensor.ndim != 4:
        return set()
    plainly = tensor.is_contiguous()
    channels = tensor.is_contiguous(memory_format=torch.channels_last)
    if plainly and channels:
        return set()
    return {"contiguous" if plainly else "channels_last" if channels else "strided"}


def dtype_name(dtype: torch.dtype) -> str:
    """Return a type's name as records write it: `float32`."""
    return str(dtype).removeprefix("torch.")
