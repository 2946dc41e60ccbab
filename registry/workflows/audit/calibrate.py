"""Measure how far numeric settings alone move a model's pictures, and sign the bounds.

The settings of a sample of the model's own records are varied on this machine; the reference is
what comes out under the recorded ones. A picture of another seed must stay well outside.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

from sqlalchemy import RowMapping, select

from registry.catalog import queries
from registry.catalog.graph import EDGES, NODES
from registry.core import predicates
from registry.core.digests import asset_id
from registry.core.replay_answers import CalibrationReport, Calibrations, Uncalibrated
from registry.core.statements import Subject
from registry.errors import GenopsError, InputError
from registry.similarity.compare import PixelDistance, pixel_distance
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.audit.executors import Done, work
from registry.workflows.audit.measured import (
    Sample,
    check_bounds,
    pairs_of,
    table_of_pairs,
    with_margin,
)
from registry.workflows.audit.places import executor_for
from registry.workflows.audit.selection import Chosen, Wanted, choose, ranked
from registry.workflows.audit.settings_varied import BASE, CONTRAST, Varied, variants
from registry.workflows.audit.station import replay_station
from registry.workflows.calibration import FRACTION, LEVELS, PREDICATE_CALIBRATION, Model, model_of
from registry.workflows.leftovers import replay_folder, sweep
from registry.workflows.materialize import Shelf, materialize, shelf_for
from registry.workflows.models import list_models
from registry.workflows.personal import is_personal, read_row
from registry.workflows.replay.worker import Replayed, Request
from registry.workflows.reproduce import Target, target_of
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.view import RecordView

Progress = Callable[[int, int], None]
LEAST = 5
"""Fewest outputs that bounds are taken from."""
REFUSED = ("calibration.samples", "calibration.indistinct")


def calibrate(
    services: Services,
    models: Sequence[str] = (),
    *,
    campaign: str | None = None,
    sample: int = 12,
    executor: str = "processes",
    jobs: int = 1,
    progress: Progress | None = None,
) -> Calibrations:
    """Measure the bounds of models, or of those of a campaign, and sign each as a record.

    A model is measured for each precision that it was used in. Raises InputError when nothing
    could be measured: too few pictures that come back exactly (`calibration.samples`), or another
    seed is not well outside the bounds (`calibration.indistinct`); NotFoundError for an unknown
    model.
    """
    sweep(services)
    if sample < LEAST:
        raise InputError(
            f"a sample of {sample} is too small to calibrate from; {LEAST} are the fewest",
            code="calibration.samples",
        )
    groups = _groups(services, models, campaign)
    drawn = {model: _drawn(services, model, found, sample) for model, found in groups.items()}
    everything = [subject for subjects, _ in drawn.values() for subject in subjects]
    if everything:
        factory = replay_station(services.settings.limits.replay_s)
        with executor_for(executor, factory, jobs) as place, shelf_for(services) as shelf:
            bench = _Bench(services, shelf, _tasks(everything))
            with closing(bench), closing(work(place, bench.requests())) as outcomes:
                for number, done in enumerate(outcomes, 1):
                    bench.take(done)
                    if progress is not None:
                        progress(number, bench.total)
    return _signed(services, drawn)


def _groups(
    services: Services, models: Sequence[str], campaign: str | None
) -> Mapping[Model, list[Chosen]]:
    """Return the candidates of each model and precision."""
    size = services.reader.head().size
    if not models:
        found = choose(services, Wanted(campaign=campaign), size, "").chosen
    else:
        used = [node for name in models for node in _made_from(services, _digest(services, name))]
        everything = choose(services, Wanted(campaign=campaign), size, "").chosen
        found = tuple(one for one in everything if one.node in set(used))
    groups: dict[Model, list[Chosen]] = {}
    for one in found:
        model = model_of(RecordView(services, one.index).statement.document)
        if model is not None:
            groups.setdefault(model, []).append(one)
    if not groups:
        raise InputError(
            "no generated asset was made with such a model",
            code="calibration.samples",
            hint="`genops catalog models` lists what was declared; name one by its id",
        )
    return groups


def _digest(services: Services, name: str) -> bytes:
    """Return a model's digest by its declared name, id, prefix or path."""
    for known in list_models(services):
        if known["name"] == name:
            return bytes.fromhex(known["id"].removeprefix("sha256:"))
    with read(services.engine) as conn:
        return refs.digest(conn, name)


def _made_from(services: Services, digest: bytes) -> Sequence[int]:
    query = (
        select(EDGES.c.child)
        .join(NODES, NODES.c.id == EDGES.c.parent)
        .where(NODES.c.sha256 == digest)
    )
    with read(services.engine) as conn:
        return list(conn.scalars(query))


def _drawn(
    services: Services, model: Model, candidates: Iterable[Chosen], sample: int
) -> tuple[list[Sample], Counter[str]]:
    """Draw outputs that can be measured, one for each record and each content."""
    subjects: list[Sample] = []
    skipped: Counter[str] = Counter()
    seen: set[object] = set()
    for one in ranked(model.digest, candidates):
        if len(subjects) == sample:
            break
        target = target_of(services, _row(services, one))
        why = _unfit(services, target)
        if why is None and not seen & {one.index, bytes(target.row["sha256"])}:
            subjects.append(Sample(one, target))
        elif why is not None:
            skipped[why] += 1
        seen |= {one.index, bytes(target.row["sha256"])}
    return subjects, skipped


def _unfit(services: Services, target: Target) -> str | None:
    """Say why an output cannot be measured; None when it can."""
    row = target.row
    if not (row["media_type"] or "").startswith("image/"):
        return "no picture"
    if target.refused is not None:
        return f"{target.refused.verdict}"
    if row["seed"] is None:
        return "no seed"
    view = RecordView(services, row["record_idx"])
    return "personal" if is_personal(view.statement.subjects[row["position"]]) else None


def _row(services: Services, one: Chosen) -> RowMapping:
    with read(services.engine) as conn:
        return queries.list_nodes(conn, [one.node])[0]


Task = tuple[Sample, Varied]


def _tasks(subjects: Sequence[Sample]) -> list[Task]:
    """Return every replay to be made, those with the same settings together."""
    tasks = [(subject, one) for subject in subjects for one in variants(subject.target)]
    order: dict[str, int] = {}
    for _, one in tasks:
        order.setdefault(one.process, len(order))
    return sorted(tasks, key=lambda task: order[task[1].process])


class _Bench:
    """Lays materials out for workers, and keeps the pictures that they made."""

    def __init__(self, services: Services, shelf: Shelf, tasks: Sequence[Task]) -> None:
        self._services = services
        self._shelf = shelf
        self._tasks = tasks
        self._open: dict[Path, tuple[Task, ExitStack]] = {}
        self.total = len(tasks)

    def requests(self) -> Iterator[Request]:
        """Yield a request for each task; an output whose materials are gone is left out."""
        for task in self._tasks:
            subject, varied = task
            if subject.error is not None:
                continue
            try:
                yield self._request(task, varied)
            except GenopsError as error:
                subject.error = error.code

    def take(self, done: Done[Request]) -> None:
        """Keep what one replay made."""
        (subject, varied), held = self._open.pop(done.task.workdir)
        with held:
            try:
                if done.error is not None:
                    raise done.error
                replayed: Replayed = done.value.get()
                output = replayed.output(subject.one.position)
                subject.made[varied.name] = output.file.read_bytes()
            except GenopsError as error:
                if varied.name in (BASE, CONTRAST):  # any other setting may be one it cannot have
                    subject.error = error.code

    def close(self) -> None:
        """Let go of the folders of what is not awaited any more."""
        while self._open:
            self._open.popitem()[1][1].close()

    def _request(self, task: Task, varied: Varied) -> Request:
        document = varied.document
        with ExitStack() as stack:
            folder = replay_folder(self._services, task[0].one.leaf_hash)
            place = stack.enter_context(folder)
            workdir = place / "outputs"
            workdir.mkdir()
            materials = materialize(self._services, document, place / "materials", self._shelf)
            self._open[workdir] = (task, stack.pop_all())
        return Request(document, materials, workdir, overrides=varied.overrides)


def _signed(
    services: Services, drawn: Mapping[Model, tuple[list[Sample], Counter[str]]]
) -> Calibrations:
    """Sign the bounds of each model that has any; raise when none has."""
    reports, refused = [], []
    for model, (subjects, skipped) in drawn.items():
        try:
            reports.append(_report(services, model, subjects, skipped))
        except InputError as error:
            if error.code not in REFUSED:
                raise
            refused.append((model, error))
    if not reports:
        raise refused[0][1]
    return Calibrations(
        calibrated=tuple(reports),
        refused=tuple(Uncalibrated(m.digest, m.precision, e.code, e.message) for m, e in refused),
    )


def _report(
    services: Services, model: Model, subjects: Sequence[Sample], skipped: Counter[str]
) -> CalibrationReport:
    sound = [subject for subject in subjects if _is_sound(services, subject, skipped)]
    if len(sound) < LEAST:
        why = ", ".join(f"{count} {reason}" for reason, count in sorted(skipped.items()))
        raise InputError(
            f"{len(sound)} pictures of model {model.digest[:16]} can be measured, {LEAST} are the"
            f" fewest{f' ({why})' if why else ''}",
            code="calibration.samples",
            hint="bounds from few pictures say little: the defaults stay",
        )
    pairs = [pair for subject in sound for pair in pairs_of(subject)]
    alike = [pair for pair in pairs if pair.setting != CONTRAST]
    others = [pair.distance for pair in pairs if pair.setting == CONTRAST]
    measured = PixelDistance(
        max(pair.distance.max_level for pair in alike),
        max(pair.distance.fraction for pair in alike),
    )
    contrast = PixelDistance(min(d.max_level for d in others), min(d.fraction for d in others))
    bounds = with_margin(measured, sound)
    check_bounds(model, bounds, others)
    table = services.vault.put(table_of_pairs(pairs))
    receipt = declare(
        services,
        [Subject("out/0", table.sha256, "text/csv")],
        PREDICATE_CALIBRATION,
        predicates.calibration(
            services.head(),
            name=model.digest,
            fingerprint=model.fingerprint,
            samples=len(alike),
            bounds={
                LEVELS: bounds.max_level,
                FRACTION: bounds.fraction,
                f"measured-{LEVELS}": measured.max_level,
                f"measured-{FRACTION}": measured.fraction,
            },
        ),
        role="reviewer",
        blobs=[table],
    )
    return CalibrationReport(
        record=receipt.record,
        model=asset_id(model.digest),
        precision=model.precision,
        assets=len(sound),
        samples=len(alike),
        settings=tuple(dict.fromkeys(pair.setting for pair in alike)),
        measured=measured.to_dict(),
        contrast=contrast.to_dict(),
        bounds=bounds.to_dict(),
        skipped=dict(skipped),
        table=asset_id(table.sha256),
    )


def _is_sound(services: Services, subject: Sample, skipped: Counter[str]) -> bool:
    """Tell whether an output came back exactly under its own settings.

    One that does not is of another machine or library: more than numbers may differ then.
    """
    if subject.error is not None:
        skipped[subject.error] += 1
        return False
    try:
        stored = read_row(services, subject.target.row)
    except GenopsError as error:
        skipped[error.code] += 1
        return False
    distance = pixel_distance(stored, subject.made[BASE])
    if distance is None or distance.max_level:
        skipped["does not come back exactly"] += 1
        return False
    moved = pixel_distance(subject.made[BASE], subject.made[CONTRAST])
    if moved is None or not moved.max_level:
        skipped["does not depend on its seed"] += 1
        return False
    return True
