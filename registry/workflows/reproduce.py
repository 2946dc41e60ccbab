"""Reproduce an asset from its id: replay in a fresh process, compare, and log the verdict.

Records and environments are compared before pixels: pixels cannot tell a cause.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from registry.core import predicates
from registry.core.answers import Difference, Reproduction, Verdict
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.statements import PREDICATE_GENERATION, Subject, predicate_uri
from registry.errors import GenopsError, InputError
from registry.similarity.compare import PixelDistance, pixel_distance
from registry.similarity.media import suffix_of
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.calibration import Bounds, bounds_for
from registry.workflows.inspect import ARGUMENTS
from registry.workflows.leftovers import replay_folder, sweep
from registry.workflows.materialize import Shelf, materialize
from registry.workflows.personal import is_personal, read_row
from registry.workflows.replay.environs import differences, recorded_environment
from registry.workflows.replay.judging import Evidence, judge
from registry.workflows.replay.recreate import Told, recreated
from registry.workflows.replay.triptych import triptych
from registry.workflows.replay.worker import ReplayWorker, Request
from registry.workflows.replaying import Numerics
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

MOST_DIFFERENCES = 256
"""As many as a record holds."""


@dataclass(frozen=True, slots=True)
class How:
    """How to replay: with the record's numeric settings or the present ones, where, and in what.

    `overrides` change parameters on purpose (`{"seed": "43"}`); `device` is where to compute
    instead of where the record did. With `recreate` the replay runs in the recorded versions of
    all libraries, built from the record's lock.
    """

    overrides: Mapping[str, Any] = field(default_factory=dict)
    numerics: Numerics = "recorded"
    device: str | None = None
    recreate: bool = False


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where replays run: a warm worker and a shelf of models, where there are some.

    `told` hears what takes long before it begins.
    """

    worker: ReplayWorker | None = None
    shelf: Shelf | None = None
    told: Told = lambda _: None


@dataclass(frozen=True, slots=True)
class Target:
    """An output to make again: its catalog row, and its record's opened statement.

    `refused` is the outcome where the record cannot be replayed at all.
    """

    row: RowMapping
    document: Mapping[str, Any]
    refused: Reproduction | None = None


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay made of one output: its bytes, and the environment it ran in."""

    data: bytes
    pixels: str | None
    environment: Mapping[str, Any]
    seconds: float


def reproduce(
    services: Services,
    text: str,
    *,
    overrides: Mapping[str, Any] | None = None,
    how: How | None = None,
    record: bool = True,
    out: Path | None = None,
    place: Workplace | None = None,
) -> Reproduction:
    """Make an asset again from its record and judge the result.

    Runs in a fresh process, unless `place` has a warm one. `overrides` are those of `how`, for
    short; `out` receives the file, and for a picture a comparison beside it. A stored output that
    is gone is put back when it was reproduced byte for byte. Raises MaterialError when a material
    is missing or altered, InputError for an asset that no generator made.
    """
    how = how or How()
    if overrides:
        how = replace(how, overrides=dict(how.overrides) | dict(overrides))
    target = find_target(services, text)
    outcome = target.refused
    if outcome is None:
        made = replay(services, target, how, place)
        outcome = compare(services, target, how, made, out)
    return log_outcome(services, target, outcome) if record else outcome


def find_target(services: Services, text: str) -> Target:
    """Return what an id or a file names; raises InputError for what no generator made."""
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    return target_of(services, row)


def target_of(services: Services, row: RowMapping) -> Target:
    """Return the target of a catalog row; raises as `find_target` does."""
    statement = RecordView(services, row["record_idx"]).statement
    if statement.predicate_type != PREDICATE_GENERATION:
        raise InputError(
            f"{asset_id(row['sha256'].hex())} was taken in as a file, not generated here",
            code="reproduce.not-generated",
        )
    opened = open_statement(services, row["record_idx"], statement)
    return Target(row, opened.document, _refusal(row, opened.document, opened.state))


def replay(services: Services, target: Target, how: How, place: Workplace | None = None) -> Replay:
    """Lay out the materials and run the record again; nothing is judged or logged.

    Raises MaterialError, IntegrityError for a stored file that is not what it was, and what
    `ReplayWorker.replay` raises.
    """
    place = place or Workplace()
    sweep(services)
    position: int = target.row["position"]
    with ExitStack() as stack:
        folder = stack.enter_context(replay_folder(services, target.row["leaf_hash"]))
        outputs = folder / "outputs"
        outputs.mkdir()
        request = Request(
            statement=target.document,
            materials=materialize(services, target.document, folder / "materials", place.shelf),
            workdir=outputs,
            overrides=how.overrides,
            numerics=how.numerics,
            device=how.device,
        )
        worker = place.worker or stack.enter_context(_fresh_worker(services, target, how, place))
        done = worker.replay(request)
        output = done.output(position)
        return Replay(output.file.read_bytes(), output.pixels, done.environment, done.seconds)


def _fresh_worker(services: Services, target: Target, how: How, place: Workplace) -> ReplayWorker:
    """Return a worker for one replay, in the recorded environment where that was asked for."""
    python = recreated(services, target.document, place.told) if how.recreate else sys.executable
    return ReplayWorker(timeout_s=services.settings.limits.replay_s, python=python)


def _refusal(row: RowMapping, document: Mapping[str, Any], state: str) -> Reproduction | None:
    """Say why a record cannot be replayed at all, if so."""
    stated = document["predicate"].get("genops_reproducible", {})
    if state in {"erased", "locked"}:
        why = "its texts were erased" if state == "erased" else "the keyring is not here"
        return _outcome(row, "erased" if state == "erased" else "not-reproducible", (why,))
    if not stated.get("reproducible", False):
        reasons = tuple(stated.get("reasons", ())) or ("the record does not say how",)
        return _outcome(row, "not-reproducible", reasons)
    return None


def _outcome(row: RowMapping, verdict: Verdict, reasons: tuple[str, ...] = ()) -> Reproduction:
    return Reproduction(
        id=asset_id(row["sha256"].hex()),
        of_record=record_id(row["leaf_hash"].hex()),
        verdict=verdict,
        record=None,
        original=asset_id(row["sha256"].hex()),
        reproduced=None,
        reasons=reasons,
    )


def compare(
    services: Services, target: Target, how: How, made: Replay, out: Path | None = None
) -> Reproduction:
    """Hold a replay against its record: what was changed, the environments, bytes, pixels."""
    row, document = target.row, target.document
    inputs = tuple(_changed(document, row, how.overrides))
    environment = tuple(_environment(document, how, made))
    stored = _stored(services, row)
    bounds = bounds_for(services, document)
    secret = _is_personal(services, row)
    original = _own_digest(stored) if secret else row["sha256"].hex()
    distance = _distance(row, stored, made)
    same_bytes = sha256_hex(made.data) == original
    same_pixels = bool(made.pixels and row["pixels"]) and made.pixels == row["pixels"].hex()
    evidence = Evidence(same_bytes, same_pixels, inputs, environment, distance, bounds)
    verdict, reasons = judge(evidence)
    if verdict == "identical" and not secret:
        _put_back(services, row, made)
    kept = _Kept() if out is None else _keep(out, row, made, stored)
    return replace(
        _outcome(row, verdict, reasons),
        # The digest of a personal picture would tell for ever which one it was.
        reproduced=None if secret else asset_id(sha256_hex(made.data)),
        inputs=inputs,
        environment=environment,
        pixels=distance.to_dict() if distance else None,
        bounds=_bounds(bounds) if distance and not inputs else None,
        calibration=None if inputs else bounds.record,
        path=kept.file,
        comparison=kept.comparison,
    )


def _bounds(bounds: Bounds) -> dict[str, float]:
    return {"max_level": float(bounds.levels), "fraction": bounds.fraction}


def _environment(document: Mapping[str, Any], how: How, made: Replay) -> Iterator[Difference]:
    """Yield how the environment of a replay differs from the recorded one."""
    recorded = recorded_environment(document)
    if not recorded and made.environment:
        yield Difference("environment", None, "not recorded")
    yield from differences(recorded, made.environment) if recorded else ()
    internal = document["predicate"]["buildDefinition"]["internalParameters"]
    components = internal.get("components", {})
    devices = sorted({str(c["device"]) for c in components.values() if c.get("device")})
    if how.device is not None and devices and devices != [how.device]:
        yield Difference("device", "+".join(devices), how.device)


def _is_personal(services: Services, row: RowMapping) -> bool:
    view = RecordView(services, row["record_idx"])
    return is_personal(view.statement.subjects[row["position"]])


def _own_digest(stored: bytes | None) -> str | None:
    """Return the digest of a personal output's own bytes, None where they cannot be read."""
    return None if stored is None else sha256_hex(stored)


def _changed(
    document: Mapping[str, Any], row: RowMapping, overrides: Mapping[str, Any]
) -> Iterator[Difference]:
    """Yield the parameters that an override really changes."""
    external = document["predicate"]["buildDefinition"]["externalParameters"]
    asked = external.get(ARGUMENTS, external)
    for name, value in overrides.items():
        recorded = row["seed"] if name == "seed" else asked.get(name, external.get(name))
        if str(recorded) != str(value):
            yield Difference(name, recorded, value)


def _stored(services: Services, row: RowMapping) -> bytes | None:
    """Return the recorded output, where it is still there and as it was."""
    try:
        return read_row(services, row)
    except GenopsError:
        return None


def _distance(row: RowMapping, stored: bytes | None, made: Replay) -> PixelDistance | None:
    """Measure how far the pictures are apart."""
    if stored is None or not (row["media_type"] or "").startswith("image/"):
        return None
    return pixel_distance(stored, made.data)


def _put_back(services: Services, row: RowMapping, made: Replay) -> None:
    """Restore a stored output that is gone; one that was altered stays as evidence."""
    blob = services.blobs.get(row["sha256"].hex())
    if blob is not None and not services.vault.path(blob).exists():
        services.vault.put(made.data)


@dataclass(frozen=True, slots=True)
class _Kept:
    """Files that a replay left for its caller."""

    file: str | None = None
    comparison: str | None = None


def _keep(out: Path, row: RowMapping, made: Replay, stored: bytes | None) -> _Kept:
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{sha256_hex(made.data)[:12]}{suffix_of(row['media_type'])}"
    path.write_bytes(made.data)
    picture = (row["media_type"] or "").startswith("image/")
    sheet = triptych(stored, made.data) if picture and stored is not None else None
    if sheet is None:
        return _Kept(str(path))
    beside = path.with_name(f"{path.stem}-compared.png")
    beside.write_bytes(sheet)
    return _Kept(str(path), str(beside))


def log_outcome(
    services: Services, target: Target, outcome: Reproduction, invocation: str | None = None
) -> Reproduction:
    """Record a verdict; its subject is the reproduced output, or the original without one.

    `invocation` (UUIDv7) is the record's, where the caller has to know it again.
    """
    row = target.row
    head = services.head(row["project"])
    limits = outcome.bounds or {}
    predicate = predicates.reproduction(
        head if invocation is None else replace(head, invocation_id=invocation),
        record=outcome.of_record,
        verdict=outcome.verdict,
        original_sha256=row["sha256"].hex(),
        reasons=outcome.reasons,
        differences=[
            # Values of inputs may be sealed texts: a signed record names the inputs only.
            *({"name": d.where} for d in outcome.inputs),
            *(
                {"name": d.where, "recorded": _text(d.recorded), "found": _text(d.replayed)}
                for d in outcome.environment
            ),
        ][:MOST_DIFFERENCES],
        measures=[
            {"name": k, "value": v} | ({"bound": limits[k]} if k in limits else {})
            for k, v in (outcome.pixels or {}).items()
        ],
    )
    digest = (outcome.reproduced or outcome.original).removeprefix("sha256:")
    receipt = declare(
        services,
        [Subject("out/0", digest)],
        predicate_uri("reproduction"),
        predicate,
        role="generator",
    )
    return replace(outcome, record=receipt.record)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
