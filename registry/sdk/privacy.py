"""What the library offers on erasure, holds, retention and persons: a thin face."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.answers import Receipt
from registry.core.privacy import (
    ErasureReport,
    HoldView,
    RetentionReport,
    RetentionView,
    SubjectExport,
    SubjectReport,
)
from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.certificates import Certificate
    from registry.workflows.choose import Choice

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


class Privacy:
    """Erasures, legal holds, retention, and the requests of persons.

    Records are chosen by exactly one of `refs`, `person` (a name: as actor, or in sealed texts)
    and `matching` (a text in sealed texts). Methods that erase or place holds need a `reason`,
    which is sealed in their records, and raise InputError without one.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def plan(
        self,
        refs: Sequence[str | Path] = (),
        *,
        person: str | None = None,
        matching: str | None = None,
        ignore_case: bool = False,
        progress: Progress | None = None,
    ) -> ErasureReport:
        """Say what erasing these records would do, and which of them are held."""
        from registry.workflows import erase

        choice = self._choose(refs, person, matching, progress, ignore_case=ignore_case)
        return erase.plan(self._services, choice)

    def erase(
        self,
        refs: Sequence[str | Path] = (),
        *,
        reason: str,
        person: str | None = None,
        matching: str | None = None,
        ignore_case: bool = False,
        actor: str | None = None,
        progress: Progress | None = None,
    ) -> ErasureReport:
        """Erase the texts and personal outputs of these records for good.

        Records under a legal hold are left and reported; when one of `refs` is, HeldError is
        raised and nothing is erased. Raises NotFoundError when there is nothing to erase.
        """
        from registry.workflows import erase, subjects
        from registry.workflows.texts import containing

        if person is not None and not refs and matching is None:
            return subjects.erase_person(
                self._services, person, reason=reason, actor=actor, progress=progress
            )
        if matching is not None:
            matches = containing(matching, ignore_case=ignore_case)
            erase.refuse_to_repeat(self._services, matches, reason, actor)
        choice = self._choose(refs, person, matching, progress, ignore_case=ignore_case)
        if refs:
            erase.refuse_held(self._services, choice)
        return erase.erase_all(
            self._services, choice, reason=reason, actor=actor, progress=progress
        )

    def finish_erasures(self) -> int:
        """Do what interrupted erasures left to be done; return how many records that were."""
        from registry.workflows.erase import finish_erasures

        return finish_erasures(self._services)

    def hold(
        self,
        refs: Sequence[str | Path] = (),
        *,
        reason: str,
        person: str | None = None,
        matching: str | None = None,
        ignore_case: bool = False,
        actor: str | None = None,
        progress: Progress | None = None,
    ) -> list[Receipt]:
        """Place a legal hold on assets or records: nothing of them can be erased then.

        On an asset it covers every record that speaks of it, later ones too; by `person` or
        `matching` it is placed on each record there is now.
        """
        from registry.workflows import holds

        if refs and person is None and matching is None:
            return [
                holds.place(self._services, str(ref), reason=reason, actor=actor) for ref in refs
            ]
        choice = self._choose(refs, person, matching, progress, ignore_case=ignore_case)
        return holds.place_all(self._services, sorted(choice.reasons), reason=reason, actor=actor)

    def lift(self, ref: str | Path, *, reason: str, actor: str | None = None) -> Receipt:
        """Lift every hold on an asset or record, or the one hold whose own record is named."""
        from registry.workflows import holds

        return holds.lift(self._services, str(ref), reason=reason, actor=actor)

    def holds(self, *, lifted: bool = False) -> list[HoldView]:
        """Return the holds that stand, and with `lifted` those that do no more."""
        from registry.workflows import holds

        return holds.list_holds(self._services, lifted=lifted)

    def retention(self) -> RetentionView:
        """Return the home's retention rules."""
        from registry.workflows import retention

        return retention.rules(self._services)

    def retention_plan(self) -> RetentionReport:
        """Say what the retention rules ask for now."""
        from registry.workflows import retention

        return retention.plan(self._services)

    def retain(
        self, *, actor: str | None = None, progress: Progress | None = None
    ) -> RetentionReport:
        """Erase what the retention rules ask for; held records are left and reported."""
        from registry.workflows import retention

        return retention.run(self._services, actor=actor, progress=progress)

    def find(self, person: str, *, progress: Progress | None = None) -> SubjectReport:
        """Return all that concerns a person: as actor, in sealed texts, or in plain sight."""
        from registry.workflows import subjects

        return subjects.find(self._services, person, progress)

    def export(
        self, person: str, out: str | Path, *, progress: Progress | None = None
    ) -> SubjectExport:
        """Write a ZIP of all that is held on a person; raises InputError where `out` exists."""
        from registry.workflows import subjects

        return subjects.export(self._services, person, Path(out), progress)

    def certify(
        self, person: str, out: str | Path, *, progress: Progress | None = None
    ) -> Certificate:
        """Write a signed certificate of what was erased of a person, and of what is held."""
        from registry.workflows import subjects

        return subjects.certify(self._services, person, Path(out), progress)

    def _choose(
        self,
        refs: Sequence[str | Path],
        person: str | None,
        matching: str | None,
        progress: Progress | None,
        *,
        ignore_case: bool,
    ) -> Choice:
        from registry.errors import InputError
        from registry.workflows import choose
        from registry.workflows.texts import containing

        if (bool(refs), person is not None, matching is not None).count(True) != 1:
            raise InputError(
                "say which records: by ids, by a person or by a text, in one way",
                code="erase.choice",
                hint="genops erase ID…, --person NAME, or --matching TEXT",
            )
        if person is not None:
            return choose.by_person(self._services, person, progress)
        if matching is not None:
            matches = containing(matching, ignore_case=ignore_case)
            return choose.by_text(self._services, matches, progress)
        return choose.by_ids(self._services, [str(ref) for ref in refs])
