"""Which record made a content, as far as this process has seen it, and which it handed over.

So that an input which an earlier call returned names the very output it was, and a model goes to
the vault once.
"""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable
from contextvars import ContextVar
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
        """Note the assets of a new record, also for the innermost recording that it is made in."""
        with self._lock:
            for asset in receipt.assets:
                known = self._records.pop(asset, receipt.record)
                self._records[asset] = receipt.record if known == receipt.record else None
            while len(self._records) > MAX_OUTPUTS:
                self._records.popitem(last=False)
        inside = _INSIDE.get()
        while inside is not None and not (inside.open and inside.recent is self):
            inside = inside.around
        if inside is not None:
            inside.note(receipt)

    def name(self, materials: Iterable[Material]) -> tuple[Material, ...]:
        """Return the materials, those that are recent outputs naming their record."""
        return tuple(
            replace(one, output_of=self._records.get(asset_id(one.sha256)))
            if one.output_of is None and not one.files
            else one
            for one in materials
        )


@dataclass(slots=True, eq=False)
class Calls:
    """The records that are made while a block of code runs, of one recorder.

    Follows the context, not the clock: what another thread or task does meanwhile is none of its
    business, unless it runs in a copy of this context.
    """

    recent: RecentOutputs
    receipts: list[Receipt] = field(default_factory=list)
    around: Calls | None = None
    open: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def enter(self) -> None:
        """Notice what is recorded from here on."""
        self.around = _INSIDE.get()
        self.open = True
        _INSIDE.set(self)

    def leave(self) -> None:
        """Notice nothing any more, not even of tasks that were left running."""
        with self._lock:
            self.open = False
        _INSIDE.set(self.around)

    def note(self, receipt: Receipt) -> None:
        """Note one record, unless the block is over."""
        with self._lock:
            if self.open and receipt.record not in {known.record for known in self.receipts}:
                self.receipts.append(receipt)


_INSIDE: ContextVar[Calls | None] = ContextVar("genops_recording", default=None)
_BY_RECORDER: weakref.WeakKeyDictionary[Any, RecentOutputs] = weakref.WeakKeyDictionary()
_LOCK = threading.Lock()


def outputs_of(recorder: Any) -> RecentOutputs:
    """Return what a recorder recorded lately; record ids mean nothing to another one."""
    with _LOCK:
        try:
            return _BY_RECORDER.setdefault(recorder, RecentOutputs())
        except TypeError:  # a recorder that cannot be a weak key remembers nothing
            return RecentOutputs()
