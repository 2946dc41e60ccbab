"""One lock per live component, shared by all pipelines that share the component.

A pipeline that runs in two threads at once silently gives wrong pictures.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class _Numbered:
    """A lock and its place in the order in which locks are taken."""

    number: int
    lock: Any = field(default_factory=threading.RLock)


_KNOWN: weakref.WeakKeyDictionary[Any, _Numbered] = weakref.WeakKeyDictionary()
_GUARD = threading.Lock()
_count = 0


@contextmanager
def exclusively(components: Iterable[Any]) -> Iterator[None]:
    """Hold the locks of all components; taken in one global order, so that calls cannot deadlock.

    Reentrant within a thread. Components that cannot be referenced weakly (none of diffusers'
    stateful ones) go without.
    """
    with ExitStack() as stack:
        for numbered in sorted(_locks(components), key=lambda one: one.number):
            stack.enter_context(numbered.lock)
        yield


def _locks(components: Iterable[Any]) -> list[_Numbered]:
    global _count  # noqa: PLW0603 (a process-wide order needs a process-wide counter)
    found = []
    with _GUARD:
        for component in components:
            try:
                known = _KNOWN.get(component)
                if known is None:
                    _count += 1
                    known = _KNOWN[component] = _Numbered(_count)
            except TypeError:
                continue
            found.append(known)
    return found
