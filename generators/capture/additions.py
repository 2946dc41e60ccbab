"""What a loader put into components on top of their folders, to put it there again.

Knows neither where a file came from nor what is recorded: the modules beside it do.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from registry.core.jsonio import dumps

if TYPE_CHECKING:
    from collections.abc import Callable

    from generators.files import Content


@dataclass(frozen=True, slots=True)
class Addition:
    """What comes over a component after its folder was loaded.

    `version` is a digest of all that decides it; `put` does it to a component, in place, and
    raises whatever a loader of the libraries raises.
    """

    version: str
    put: Callable[[Any], None]

    @classmethod
    def of(cls, decided_by: Any, put: Callable[[Any], None]) -> Addition:
        """Make an addition from what decides it, as JSON."""
        return cls(hashlib.sha256(dumps(decided_by)).hexdigest(), put)


@dataclass(slots=True)
class Additions:
    """All additions of a pipeline.

    `entries` go into the record by field; `by_component` says what a replay puts where; `contents`
    are the files, `reasons` what is wrong with them.
    """

    entries: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    by_component: dict[str, Addition] = field(default_factory=dict)
    contents: list[Content] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)

    def take(self, other: Additions) -> None:
        """Take over the additions of another kind: to other components."""
        self.entries |= other.entries
        self.by_component |= other.by_component
        self.contents += other.contents
        self.reasons += other.reasons
