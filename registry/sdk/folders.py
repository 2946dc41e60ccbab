"""Taking in whole libraries; a part of `Registry`, which has it from here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.core.ingest_answers import FileOutcome, IngestReport
    from registry.workflows.services import Services

Progress = Callable[[int, int], None]
"""Called with the files that are done and those there are in all."""


class Folders:
    """Registers files and folders of one open registry."""

    _services: Services

    def ingest_many(  # noqa: PLR0913  # all by keyword
        self,
        paths: Sequence[str | Path],
        *,
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        hidden: bool = False,
        all_files: bool = False,
        again: bool = False,
        dry_run: bool = False,
        jobs: int | None = 1,
        note: str = "",
        project: str | None = None,
        campaign: str | None = None,
        actor: str | None = None,
        told: Callable[[FileOutcome], None] = lambda _: None,
        progress: Progress | None = None,
    ) -> IngestReport:
        """Register an existing library: files, and folders with all that is below them.

        Pictures only, unless `all_files`; what is an asset of the project already is skipped,
        unless `again`. `include` and `exclude` are patterns of names or of paths below the given
        folders; names that begin with a dot are `hidden`. `told` hears what becomes of each file;
        what cannot be taken in is reported, never raised. A run that was stopped goes on when it
        is run again. With more than one of `jobs`, files are read by so many spawned processes, and
        with None by one a core, if they are many: a script guards its own start with
        `if __name__ == "__main__"` then. Raises InputError (`ingest.paths`), ConflictError
        (`ingest.running`), HomeError, KeyFileError, TrustError, UnavailableError.
        """
        from registry.workflows.ingest_folder.run import How, Said, ingest_many
        from registry.workflows.ingest_folder.walking import Wanted

        settings = self._services.settings
        wanted = Wanted(
            tuple(map(str, paths)),
            include=tuple(include),
            exclude=tuple(exclude),
            hidden=hidden,
            own=str(settings.home.root),
        )
        return ingest_many(
            self._services,
            wanted,
            Said(project or settings.project, campaign, note, actor),
            How(all_files=all_files, again=again, dry_run=dry_run, jobs=jobs),
            told=told,
            progress=progress,
        )
