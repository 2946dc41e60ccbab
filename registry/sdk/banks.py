"""Banks of fingerprints: what must not be shipped, what is licensed, and known false matches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.look_up import REGISTERED
from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.answers import Receipt
    from registry.core.bank_answers import (
        BankAdded,
        BankExport,
        BankImport,
        BankPage,
        BankRemoved,
        BankView,
        MatchVerdictView,
    )
    from registry.workflows.bank_entries import Source
    from registry.workflows.bank_exchange import ExportForm, How


class Banks:
    """Named banks of fingerprints; `registered`, every asset, is one without being kept here.

    What is said of a bank is a signed record of a reviewer's key. Methods raise NotFoundError
    (`bank.unknown`) for a bank that is not there, InputError for what cannot be, and TrustError
    when this home's key may not say so.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def create(
        self, name: str, *, kind: str, owner: str, description: str = "", actor: str | None = None
    ) -> Receipt:
        """Create a bank (`blocked`, `licensed` or `negative`), or say anew who owns it.

        Raises ConflictError for one that is there already, or is of another kind.
        """
        from registry.workflows.banks import create

        return create(
            self._services, name, kind=kind, owner=owner, description=description, actor=actor
        )

    def list(self) -> list[BankView]:  # the verb that users know
        """Return every bank, by name."""
        from registry.workflows.banks import list_banks

        return list_banks(self._services)

    def show(
        self, bank: str, *, entry: str | None = None, limit: int = 100, offset: int = 0
    ) -> BankPage:
        """Return a bank and a page of its entries, the newest first; or one entry, by its id."""
        from registry.workflows.banks import show

        return show(self._services, bank, entry=entry, limit=limit, offset=offset)

    def add(
        self,
        bank: str,
        sources: Sequence[Source],
        *,
        reason: str,
        source: str,
        owner: str | None = None,
        expires: str | None = None,
        thumbnails: bool = True,
        actor: str | None = None,
    ) -> BankAdded:
        """Put pictures (paths), assets (ids) or fingerprints into a bank, on the same terms.

        Without an `owner` it is the bank's; `expires` is a day, a time, or an age such as `90d`.
        Pictures are not kept: only fingerprints are, and `thumbnails` by which parts are verified.
        """
        from registry.workflows.bank_entries import add
        from registry.workflows.bank_records import terms_of

        terms = terms_of(
            self._services, bank, reason=reason, source=source, owner=owner, expires=expires
        )
        return add(self._services, bank, sources, terms, thumbnails=thumbnails, actor=actor)

    def remove(
        self,
        bank: str,
        entries: Sequence[str] = (),
        *,
        reason: str,
        expired: bool = False,
        actor: str | None = None,
    ) -> BankRemoved:
        """Take entries out of a bank, and with `expired` all that have expired."""
        from registry.workflows.bank_entries import remove

        return remove(self._services, bank, entries, reason=reason, expired=expired, actor=actor)

    def import_(
        self,
        bank: str,
        source_file: str | Path | bytes,
        *,
        reason: str,
        source: str,
        owner: str | None = None,
        expires: str | None = None,
        how: How | None = None,
        actor: str | None = None,
    ) -> BankImport:
        """Put a list into a bank: ours, or PDQ as text, CSV or ThreatExchange's JSON.

        What a line says of its terms goes before those given here. Can be repeated.
        """
        from registry.workflows.bank_exchange import How, import_list, read_list_file
        from registry.workflows.bank_records import terms_of

        terms = terms_of(
            self._services, bank, reason=reason, source=source, owner=owner, expires=expires
        )
        data = source_file if isinstance(source_file, bytes) else read_list_file(Path(source_file))
        return import_list(self._services, bank, data, terms, how or How(), actor=actor)

    def export(
        self,
        bank: str,
        out: str | Path,
        *,
        form: ExportForm = "genops",
        reasons: bool = False,
    ) -> BankExport:
        """Write a bank's live entries into a new file, as a list that others can import."""
        from registry.workflows.bank_exchange import export_list

        return export_list(self._services, bank, Path(out), form, reasons=reasons)

    def confirm(
        self,
        query: str | Path | bytes,
        candidate: str,
        *,
        reason: str,
        bank: str = REGISTERED,
        actor: str | None = None,
    ) -> MatchVerdictView:
        """Say that a file really is what a look-up found in a bank, by the reviewer's key.

        `query` is a file, its bytes or an asset kept here, `candidate` the id of a match or a
        prefix. Raises NotFoundError (`match.none`) where that match does not come up.
        """
        from registry.workflows.match_verdicts import say

        return say(
            self._services,
            query,
            candidate,
            verdict="confirmed",
            reason=reason,
            bank=bank,
            actor=actor,
        )

    def refute(
        self,
        query: str | Path | bytes,
        candidate: str,
        *,
        reason: str,
        bank: str = REGISTERED,
        actor: str | None = None,
    ) -> MatchVerdictView:
        """Say that a match is a false one: it does not come up again in the same way.

        As `confirm`. Raises InputError (`match.certain`) for equal bytes or pixels.
        """
        from registry.workflows.match_verdicts import say

        return say(
            self._services,
            query,
            candidate,
            verdict="refuted",
            reason=reason,
            bank=bank,
            actor=actor,
        )

    def verdicts(self, *, limit: int = 100, offset: int = 0) -> Sequence[MatchVerdictView]:
        """Return a page of the verdicts on matches that count, the newest first."""
        from registry.workflows.match_verdicts import list_verdicts

        return list_verdicts(self._services, limit=limit, offset=offset)
