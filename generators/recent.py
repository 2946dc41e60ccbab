"""Which record made a content, as far as this process has seen it, and which it handed over.

So that an input which an earlier call returned names the very output it was, and a model goes to
the vault once.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from registry.core.answers import Receipt
from registry.core.digests import asset_id
from registry.core.generation import Material

MAX_OUTPUTS = 4096
"""Outputs remembered per recorder; the oldest are forgotten."""


@dataclass(slots=True)
class RecentOutputs:
    """The records of recent outputs by asset id; None where two records made the same bytes.

    `handed_over` has the digests of lasting contents that the recorder was given already.
    """

    handed_over: set[str] = field(default_factory=set)
    _records: OrderedDict[str, str | None] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remember(self, receipt: Receipt) -> None:
        """Note the assets of a new record."""
        with self._lock:
            for asset in receipt.assets:
                known = self._records.pop(asset, receipt.record)
                self._records[asset] = receipt.record if known == receipt.record else None
            while len(self._records) > MAX_OUTPUTS:
                self._records.popitem(last=False)

    def name(self, materials: Iterable[Material]) -> tuple[Material, ...]:
        """Return the materials, those that are recent outputs naming their record."""
        return tuple(
            replace(one, output_of=self._records.get(asset_id(one.sha256)))
            if one.output_of is None and not one.files
            else one
            for one in materials
        )


_BY_RECORDER: weakref.WeakKeyDictionary[Any, RecentOutputs] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def outputs_of(recorder: Any) -> RecentOutputs:
    """Return what a recorder recorded lately; record ids mean nothing to another one."""
    with _LOCK:
        try:
            return _BY_RECORDER.setdefault(recorder, RecentOutputs())
        except TypeError:  # a recorder that cannot be a weak key remembers nothing
            return RecentOutputs()
