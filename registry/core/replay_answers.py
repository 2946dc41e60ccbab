"""What is answered about many replays: audits, calibrations, and two things side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from registry.core.answers import Answer, TextState


@dataclass(frozen=True, slots=True)
class AuditFinding(Answer):
    """An output that did not come back: its verdict, or `failed` and why it could not be judged.

    `reproduction` is the signed verdict; `code` and `message` are of the error.
    """

    id: str
    of_record: str
    verdict: str
    reproduction: str | None
    code: str | None = None
    message: str | None = None


@dataclass(frozen=True, slots=True)
class AuditReport(Answer):
    """What an audit found; `ok` when no verdict is `different` and every output was judged.

    `counts` are by verdict, and `failed`. Of the `matching` outputs `chosen` were replayed, of
    which `resumed` had been judged before an interruption. `findings` are the outputs that did
    not come back. `results` is the digest of the table of all, in the vault; `record` is the
    signed summary.
    """

    record: str
    ok: bool
    counts: dict[str, int]
    matching: int
    chosen: int
    resumed: int
    tree_size: int
    sample_seed: str | None
    executor: str
    jobs: int
    started: str
    finished: str
    results: str
    findings: tuple[AuditFinding, ...]


@dataclass(frozen=True, slots=True)
class CalibrationReport(Answer):
    """The bounds of one model, measured; `record` is the signed calibration.

    `samples` counts the pairs of pictures, of `assets` outputs. `measured` is the largest distance
    among pictures of equal inputs, `contrast` the smallest one to a picture of another seed;
    `bounds` lie between. All are {max_level, fraction}. `skipped` says why other outputs of the
    model do not count, with how many.
    """

    record: str
    model: str
    precision: str
    assets: int
    samples: int
    settings: tuple[str, ...]
    measured: dict[str, float]
    contrast: dict[str, float]
    bounds: dict[str, float]
    skipped: dict[str, int]
    table: str


@dataclass(frozen=True, slots=True)
class Uncalibrated(Answer):
    """A model that got no bounds of its own, and why: the defaults stay."""

    model: str
    precision: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Calibrations(Answer):
    """The models that were calibrated, for each precision, and those that could not be."""

    calibrated: tuple[CalibrationReport, ...]
    refused: tuple[Uncalibrated, ...]


@dataclass(frozen=True, slots=True)
class DiffSide(Answer):
    """One of two things that are compared: an output of a record, or a plain file.

    `text` says whether the record's texts can be read; a file has no record, and `none`.
    """

    named: str
    id: str
    record: str | None
    kind: Literal["generated", "ingested", "file"]
    text: TextState
    media_type: str | None
    size: int | None


@dataclass(frozen=True, slots=True)
class DiffPixels(Answer):
    """How far two pictures of one size are apart.

    The largest and the mean change of a channel, levels of 255; the fraction of pixels that
    differ; and the smallest box around those: left, top, right, bottom, None where none differ.
    """

    max_level: int
    mean_level: float
    fraction: float
    box: tuple[int, int, int, int] | None


@dataclass(frozen=True, slots=True)
class SideBySide(Answer):
    """A field that differs between two things; None where one side has nothing."""

    where: str
    first: Any
    second: Any


@dataclass(frozen=True, slots=True)
class DiffReport(Answer):
    """Two assets or records side by side; `same` when the bytes are.

    `parameters` are what the callers chose, `internals` what the runtime added. A text that cannot
    be read stands as "(erased)" or "(sealed)", and its field is in `unknown`: nobody can tell
    whether it differs. `lines` are a unified diff where both are texts. `notes` say what could not
    be compared at all; `picture` is the file that shows both.
    """

    first: DiffSide
    second: DiffSide
    same: bool
    seed: SideBySide | None
    parameters: tuple[SideBySide, ...]
    materials: tuple[SideBySide, ...]
    internals: tuple[SideBySide, ...]
    environment: tuple[SideBySide, ...]
    unknown: tuple[SideBySide, ...]
    pixels: DiffPixels | None
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    picture: str | None
