"""Bounds of verdicts: measured, signed, read back, and never wide enough for a real change."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from generators import recorded_callable
from registry.core import predicates
from registry.core.statements import Subject
from registry.errors import InputError, NotFoundError
from registry.factory import create_registry
from registry.sdk import Registry
from registry.similarity.compare import PixelDistance
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.audit.measured import check_bounds
from registry.workflows.calibration import (
    DEFAULTS,
    PREDICATE_CALIBRATION,
    Bounds,
    Model,
    bounds_for,
    model_of,
)
from registry.workflows.reproduce import How, find_target
from registry.workflows.submit import declare

HERE = str(Path(__file__).parent)
PIXELS = 32 * 32


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Registry, Any, Path]]:
    """A registry with seven pictures of one model, calibrated, and the model's file."""
    folder = tmp_path_factory.mktemp("calibration")
    weights = folder / "base.safetensors"
    weights.write_bytes(b"weights")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(HERE)
        patch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        import auditing

        with create_registry(folder / "home", name="test", project="brand") as registry:
            render = recorded_callable(
                auditing.render, registry, inputs={"weights": "model"}, campaign="mugs"
            )
            for seed in range(7):
                render(weights, "red", seed=seed)
            write = recorded_callable(auditing.write, registry, campaign="texts")
            for seed in range(6):
                write("lamp", seed=seed)
            yield registry, registry.replays.calibrate([str(weights)], jobs=2), weights


def documents(registry: Registry) -> list[dict[str, Any]]:
    assets = [one.id for one in registry.list(campaign="mugs")]
    return [dict(find_target(registry._services, asset).document) for asset in assets]


def sign(registry: Registry, model: Model, levels: float, **more: Any) -> str:
    """Put a calibration on the log."""
    said = {"max-level": levels, "fraction": 0.01} | more
    predicate = predicates.calibration(
        registry._services.head(),
        name=model.digest,
        fingerprint=model.fingerprint,
        samples=9,
        bounds=said,
    )
    subject = [Subject("out/0", "ab" * 32)]
    return declare(
        registry._services, subject, PREDICATE_CALIBRATION, predicate, role="reviewer"
    ).record


def test_bounds_are_what_was_measured_with_a_margin_and_signed(
    calibrated: tuple[Registry, Any, Path],
) -> None:
    registry, answer, _ = calibrated
    (report,) = answer.calibrated
    assert (answer.refused, report.assets) == ((), 7)
    assert report.measured == {"max_level": 1.0, "fraction": 1 / PIXELS}
    assert report.bounds == {"max_level": 2.0, "fraction": 2 / PIXELS}
    assert report.contrast["max_level"] > 100
    assert report.samples == 7 * len(report.settings)
    assert "ATen AVX2" in report.settings
    blob = registry._services.blobs.get(report.table.removeprefix("sha256:"))
    assert blob is not None
    rows = list(csv.DictReader(io.StringIO(registry._services.vault.read(blob).decode())))
    assert len(rows) == report.samples + 7
    moved = [row for row in rows if row["setting"].startswith("ATen")]
    assert {(row["max_level"], row["fraction"]) for row in moved} == {("1", f"{1 / PIXELS:.9g}")}
    assert registry.check_log().ok


def test_verdicts_are_judged_by_the_newest_calibration_of_their_own_model(
    calibrated: tuple[Registry, Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, answer, _ = calibrated
    document = documents(registry)[0]
    model = model_of(document)
    assert model is not None
    (report,) = answer.calibrated
    assert bounds_for(registry._services, document) == Bounds(2, 2 / PIXELS, report.record)
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    asset = registry.list(campaign="mugs")[0].id
    from registry.workflows.reproduce import reproduce

    done = reproduce(registry._services, asset, how=How(numerics="present"))
    assert (done.verdict, done.calibration) == ("equivalent", report.record)
    strict = sign(registry, model, 0)
    sign(registry, Model(model.digest, "bfloat16"), 200)
    sign(registry, Model("cd" * 32, model.precision), 200)
    assert bounds_for(registry._services, document).record == strict
    done = reproduce(registry._services, asset, how=How(numerics="present"))
    assert (done.verdict, done.calibration) == ("different", strict)


def test_a_calibration_by_a_key_that_is_not_believed_does_not_count(
    calibrated: tuple[Registry, Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from registry.workflows import calibration
    from registry.workflows.standing import Standing

    registry, _, _ = calibrated
    doubted = Standing("ab", ("reviewer",), known=True, since_ms=1)
    monkeypatch.setattr(calibration, "standing", lambda *_: doubted)
    assert bounds_for(registry._services, documents(registry)[0]) == DEFAULTS


def test_too_few_pictures_are_refused(calibrated: tuple[Registry, Any, Path]) -> None:
    registry, _, weights = calibrated
    before = registry.log.head().size
    for wanted in ({"campaign": "texts"}, {"models": [str(weights)], "sample": 4}):
        with pytest.raises(InputError) as caught:
            registry.replays.calibrate(**wanted)
        assert caught.value.code == "calibration.samples"
    with pytest.raises(NotFoundError):
        registry.replays.calibrate(["sha256:" + "0" * 63])
    assert registry.log.head().size == before


def test_bounds_that_another_seed_could_pass_are_refused() -> None:
    model, bounds = Model("ab" * 32, "float32"), PixelDistance(3, 0.01)
    check_bounds(model, bounds, [PixelDistance(7, 0.5), PixelDistance(200, 0.9)])
    for close in (PixelDistance(6, 0.02), PixelDistance(1, 0.0001)):
        with pytest.raises(InputError) as caught:
            check_bounds(model, bounds, [PixelDistance(200, 0.9), close])
        assert caught.value.code == "calibration.indistinct"
    with pytest.raises(InputError):
        check_bounds(model, bounds, [])
    with pytest.raises(InputError):
        check_bounds(model, PixelDistance(17, 0.01), [PixelDistance(200, 0.9)])


def test_what_hardly_depends_on_its_seed_does_not_calibrate(
    calibrated: tuple[Registry, Any, Path],
) -> None:
    import auditing

    registry, _, weights = calibrated
    other = weights.with_name("soft.safetensors")
    other.write_bytes(b"soft weights")
    render = recorded_callable(auditing.render, registry, inputs={"weights": "model"})
    for seed in range(5):
        render(other, "red", seed=seed, soft=True)
    with pytest.raises(InputError) as caught:
        registry.replays.calibrate([str(other)])
    assert caught.value.code == "calibration.indistinct"
    with read(registry._services.engine) as conn:
        assert refs.digest(conn, other)
