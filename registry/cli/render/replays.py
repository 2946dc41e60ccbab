"""Reports on many replays: audits, calibrations, and two things side by side."""

from __future__ import annotations

import json
from collections.abc import Sequence

from rich.console import RenderableType

from registry.cli.render.parts import BAD, GOOD, QUIET, WARN, fields, heading, lines, literal, table
from registry.cli.text import plural, short, size, when
from registry.core.replay_answers import (
    AuditFinding,
    AuditReport,
    CalibrationReport,
    Calibrations,
    DiffPixels,
    DiffReport,
    DiffSide,
    SideBySide,
    Uncalibrated,
)

MOST_FINDINGS = 20
MOST_FIELDS = 40
MOST_LINES = 200
_COUNT_STYLE = {
    "identical": GOOD,
    "identical-pixels": GOOD,
    "equivalent": GOOD,
    "different": BAD,
    "failed": BAD,
}


def audited(report: AuditReport) -> RenderableType:
    """Return the verdicts of an audit, counted, and what did not come back."""
    head = "all that was judged came back" if report.ok else "NOT all came back"
    counts = [
        (literal(name, _COUNT_STYLE.get(name, WARN)), count)
        for name, count in report.counts.items()
        if count
    ]
    drawn = "" if report.sample_seed is None else f", drawn by seed {report.sample_seed}"
    resumed = f", {report.resumed} of them before" if report.resumed else ""
    return lines(
        literal(head, GOOD if report.ok else BAD),
        table(("", ""), counts, indent=2),
        fields(
            [
                ("outputs", f"{report.chosen} of {report.matching}{drawn}{resumed}"),
                ("log", f"the first {plural(report.tree_size, 'record')}"),
                ("workers", f"{report.jobs} on {report.executor}"),
                ("time", f"{when(report.started)} to {when(report.finished)}"),
                ("results", report.results),
                ("record", report.record),
            ]
        ),
        *_findings(report.findings),
    )


def _findings(found: Sequence[AuditFinding]) -> list[RenderableType]:
    if not found:
        return []
    rows = [
        (
            literal(one.verdict, _COUNT_STYLE.get(one.verdict, WARN)),
            short(one.id),
            short(one.reproduction or one.of_record),
            one.message or "",
        )
        for one in found[:MOST_FINDINGS]
    ]
    shown = table(("verdict", "asset", "record", ""), rows, fold=(3,), indent=2)
    return [heading("Did not come back"), shown, *_more(len(found) - MOST_FINDINGS)]


def _more(left: int) -> list[RenderableType]:
    return [literal(f"  … and {left} more; --json has them", QUIET)] if left > 0 else []


def calibrations(done: Calibrations) -> RenderableType:
    """Return the bounds of each model, and the models that got none."""
    return lines(*map(_calibration, done.calibrated), *map(_uncalibrated, done.refused))


def _calibration(one: CalibrationReport) -> RenderableType:
    skipped = ", ".join(f"{count} {why}" for why, count in sorted(one.skipped.items()))
    return lines(
        literal(f"{one.model}  {one.precision}", "bold"),
        fields(
            [
                ("measured", f"{_distance(one.measured)} at most"),
                ("another seed", f"{_distance(one.contrast)} at least"),
                ("bounds", _distance(one.bounds)),
                ("from", f"{plural(one.samples, 'pair')} of {plural(one.assets, 'picture')}"),
                ("settings", ", ".join(one.settings)),
                ("left out", skipped),
                ("table", one.table),
                ("record", one.record),
            ],
            indent=2,
        ),
    )


def _uncalibrated(one: Uncalibrated) -> RenderableType:
    head = literal(f"sha256:{one.model}  {one.precision}  ", "bold")
    return lines(head.append("no bounds", style=WARN), literal(f"  {one.message}"))


def _distance(measures: dict[str, float]) -> str:
    return f"{measures['max_level']:.0f} levels, {measures['fraction']:.4%} of pixels"


def side_by_side(report: DiffReport) -> RenderableType:
    """Return what two things are, and each part in which they differ."""
    head = literal("the same bytes", GOOD) if report.same else literal("other bytes", WARN)
    seed = () if report.seed is None else (report.seed,)
    return lines(
        head,
        fields([("first", _side(report.first)), ("second", _side(report.second))]),
        *(literal(f"note: {note}", QUIET) for note in report.notes),
        *_part("Asked for", (*seed, *report.parameters)),
        *_part("Made from", report.materials),
        *_part("Added by the runtime", report.internals),
        *_part("Environments", report.environment),
        *_part("Cannot be told", report.unknown),
        *_pixels(report.pixels),
        *_lines(report.lines),
        fields([("picture", report.picture)]),
    )


def _side(side: DiffSide) -> str:
    known = f"  {short(side.record)}" if side.record else ""
    texts = f", texts {side.text}" if side.text in {"erased", "locked"} else ""
    kind = f"{side.kind}, {side.media_type or 'unknown type'}, {size(side.size)}{texts}"
    return f"{short(side.id)}{known}  {kind}"


def _part(title: str, found: Sequence[SideBySide]) -> list[RenderableType]:
    if not found:
        return []
    rows = [(one.where, _value(one.first), _value(one.second)) for one in found[:MOST_FIELDS]]
    shown = table(("", "first", "second"), rows, fold=(0, 1, 2), indent=2)
    return [heading(title), shown, *_more(len(found) - MOST_FIELDS)]


def _value(value: object) -> str:
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return short(text) if text.startswith("sha256:") else text


def _pixels(pixels: DiffPixels | None) -> list[RenderableType]:
    if pixels is None:
        return []
    if not pixels.max_level:
        return [heading("Pixels"), literal("  the same", GOOD)]
    rows = [
        ("largest change", f"{pixels.max_level} of 255 levels"),
        ("mean change", f"{pixels.mean_level:.3g} levels"),
        ("pixels that differ", f"{pixels.fraction:.4%}"),
        ("within", pixels.box and "{}, {} to {}, {}".format(*pixels.box)),
    ]
    return [heading("Pixels"), fields(rows, indent=2)]


def _lines(found: Sequence[str]) -> list[RenderableType]:
    if not found:
        return []
    shown = [literal(line, _line_style(line)) for line in found[:MOST_LINES]]
    return [heading("Lines"), *shown, *_more(len(found) - MOST_LINES)]


def _line_style(line: str) -> str:
    return {"+": GOOD, "-": BAD, "@": QUIET}.get(line[:1], "")
