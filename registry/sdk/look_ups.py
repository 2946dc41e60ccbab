"""Looking files up; a part of `Registry`, which has it from here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from registry.core.find_answers import FoundFile
    from registry.core.look_up import FindResult, LookUpCalibration
    from registry.workflows.services import Services


class LookUps:
    """Looks files up in one open registry, and learns how far distances can be trusted there."""

    _services: Services

    def find(
        self,
        source: str | Path | bytes,
        *,
        radius: int = 62,
        banks: Sequence[str] = ("registered",),
    ) -> FindResult:
        """Look a file up: same bytes, same pixels, and what looks or reads like it, told apart.

        `radius` is the largest perceptual distance, in bits of 256; `registered` is the bank of
        all assets. Raises InputError: `find.radius`, `find.bank`, `file.unreadable`, `image.*`.
        """
        from registry.workflows.look_up import look_up

        data = source if isinstance(source, bytes) else Path(source)
        return look_up(self._services, data, radius=radius, banks=banks)

    def find_many(
        self,
        paths: Sequence[str | Path],
        *,
        radius: int = 62,
        banks: Sequence[str] = ("registered",),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        hidden: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[FoundFile]:
        """Look files up, and all in folders below; yields each, in order, as soon as it is known.

        A file that cannot be looked up says why, and stops no other. `include` and `exclude` are
        as for `ingest_many`; `progress` is told the files that are done, and all. Raises
        InputError as `find` does for `radius` and `banks`, and `find.paths` without a path.
        """
        from registry.workflows.look_up_many import look_up_many

        find = partial(self.find, radius=radius, banks=banks)
        return look_up_many(
            find, paths, include=include, exclude=exclude, hidden=hidden, progress=progress
        )

    def calibrate_look_ups(
        self, *, banks: Sequence[str] = (), sample: int = 20_000, actor: str | None = None
    ) -> LookUpCalibration:
        """Count how near the registry's own pictures come to each other, and sign what was counted.

        Of all assets and banks, or of the named ones, at most `sample` values of each fingerprint.
        From then on E is from this. Raises InputError (`find.bank`, and `calibration.samples` for
        too few pictures).
        """
        from registry.workflows.look_up_calibration import calibrate

        return calibrate(self._services, banks=banks, sample=sample, actor=actor)
