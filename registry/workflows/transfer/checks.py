"""What a home that was just made must pass before it counts: its log, its texts, its erasures."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from registry.core.statements import Statement
from registry.errors import GenopsError, IntegrityError, KeyFileError
from registry.log.check import check_log
from registry.workflows.erase import finish_erasures
from registry.workflows.services import Services
from registry.workflows.texts import open_statement
from registry.workflows.transfer.exporting import Steps

_MOST_TOLD = 3


@dataclass(frozen=True, slots=True)
class Counts:
    """Records with sealed texts by their state, and keys that an erasure destroyed again."""

    readable: int
    locked: int
    erased: int
    erased_again: int


def check_import(services: Services, steps: Steps) -> Counts:
    """Check the whole log, destroy again what it says was erased, and open every text.

    Raises IntegrityError (`import.log`, `text.altered`).
    """
    check_whole_log(services, steps, code="import.log")
    again = _erase_again(services) if services.settings.home.keyring.is_file() else 0
    return _count(services, again, steps)


def _erase_again(services: Services) -> int:
    """Destroy the keys of texts that the log says were erased; a copy must not revive them."""
    try:
        return finish_erasures(services)
    except KeyFileError as error:
        raise KeyFileError(
            f"texts were erased, and the keys that would be destroyed do not open: {error.message}",
            code=error.code,
            hint="GENOPS_PASSPHRASE opens the keys, GENOPS_BACKUP_PASSPHRASE the backup",
        ) from error


def check_whole_log(services: Services, steps: Steps, *, code: str) -> None:
    """Raise IntegrityError naming what is wrong with the log, if anything is."""
    found = check_log(
        services.reader,
        services.schemas,
        progress=lambda done, total: steps("records checked", done, total),
    )
    if found.problems:
        told = "; ".join(str(problem) for problem in found.problems[:_MOST_TOLD])
        raise IntegrityError(
            f"the log does not hold: {told}", code=code, hint="take another copy, or ask its owner"
        )


def _count(services: Services, again: int, steps: Steps) -> Counts:
    states: Counter[str] = Counter()
    size = services.reader.head().size
    for index, _, envelope in services.reader.records():
        try:
            state = open_statement(services, index, Statement.parse(envelope.payload)).state
        except GenopsError as error:
            raise IntegrityError(
                f"the texts of record {index} do not open: {error.message}",
                code="text.altered",
                hint="take another copy, or the keyring of the same registry",
            ) from error
        states[state] += 1
        steps("texts", index + 1, size)
    return Counts(states["readable"], states["locked"], states["erased"], again)
