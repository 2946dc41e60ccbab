"""What adapters need of a registry, and what the registry needs of adapters.

Protocols only: an open registry fits `Recorder` without knowing of this package.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from registry.core.answers import Receipt
    from registry.core.generation import Generation, Output

Clock = Callable[[], int]
"""Gives the time as epoch milliseconds, UTC."""
SeedSource = Callable[[], int]
"""Gives a fresh seed, 0 to 2^64-1, for an image that the caller gave none."""


class Recorder(Protocol):
    """Takes finished generations. Safe to call from several threads."""

    def record(
        self,
        generation: Generation,
        *,
        blobs: Iterable[bytes | Path] = (),
        project: str | None = None,
        actor: str | None = None,
    ) -> Receipt:
        """Make the generation durable and return its receipt.

        `blobs` are the contents of materials that the vault is to keep; a content that an earlier
        call of the same recorder handed over need not come again. The files named by paths are
        read during the call only. A wrapper that makes drafts passes `draft=True` as well, and no
        other does: a recorder that keeps everything need not take it.
        """
        ...


class Job(Protocol):
    """A replay that the registry asks for (`registry.workflows.replaying.ReplayJob`).

    The digests of all materials were checked before.
    """

    @property
    def statement(self) -> Mapping[str, Any]:
        """The unsealed in-toto statement."""
        ...

    @property
    def materials(self) -> Mapping[str, Path]:
        """Local files and folders by the names of the statement's dependencies."""
        ...

    @property
    def overrides(self) -> Mapping[str, Any]:
        """What is to differ from the record, by the adapter's own names."""
        ...

    @property
    def workdir(self) -> Path:
        """A folder for scratch files, empty and private to this job."""
        ...


class Adapter(Protocol):
    """A generator plug-in, found by entry point `genops.generators` under its build type."""

    @property
    def build_type(self) -> str:
        """The build type URI of the records that this adapter replays."""
        ...

    def environment(self) -> dict[str, Any]:
        """Return the present environment, to compare with a record's `internal.environment`."""
        ...

    def replay(self, job: Job) -> Sequence[Output]:
        """Run the recorded generation again and return its outputs in the recorded order.

        Raises MaterialError when a material is missing or does not load to what was recorded, and
        InputError for a record or an override that this adapter cannot follow.
        """
        ...
