"""Looking after one open registry: copies of it for bad days, and fingerprints that it lacks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.fingerprint_answers import FingerprintReport
    from registry.core.transfers import ExportReport

Steps = Callable[[str, int, int], None]
"""Called with what is being done, how much of it is done, and how much there is."""


class Upkeep:
    """Exports and backups, from which `registry.factory` makes homes; and missing fingerprints."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def export(
        self,
        target: str | Path,
        *,
        blobs: bool = True,
        texts: bool = True,
        steps: Steps | None = None,
    ) -> ExportReport:
        """Write the whole registry, without keys, into a new folder or `.tar`.

        Raises InputError (`transfer.exists`), IntegrityError (`log.altered`, `vault.altered`),
        MaterialError (`material.missing`); nothing is left behind then.
        """
        from registry.workflows.transfer.exporting import export

        return export(self._services, target, blobs=blobs, texts=texts, **_given(steps))

    def backup(
        self,
        target: str | Path,
        *,
        passphrase: str | None,
        unencrypted: bool = False,
        keys_only: bool = False,
        blobs: bool = True,
        steps: Steps | None = None,
    ) -> ExportReport:
        """Write the whole registry with its keys, or those alone, into one new encrypted file.

        Raises InputError (`backup.passphrase`) without a passphrase, unless `unencrypted` is said;
        KeyFileError for a home without keyring; and what `export` raises.
        """
        from registry.workflows.transfer.backup import backup

        return backup(
            self._services,
            target,
            passphrase=passphrase,
            unencrypted=unencrypted,
            keys_only=keys_only,
            blobs=blobs,
            **_given(steps),
        )

    def fingerprint(
        self, *, again: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> FingerprintReport:
        """Make what assets lack of fingerprints and thumbnails; with `again`, all of it anew.

        For registries of older releases, and after an algorithm came to the others. Stopped, it
        goes on where it was. Raises HomeError where nothing can be written.
        """
        from registry.workflows.fingerprinting import fingerprint_assets

        return fingerprint_assets(self._services, again=again, progress=progress)


def _given(steps: Steps | None) -> dict[str, Any]:
    return {} if steps is None else {"steps": steps}
