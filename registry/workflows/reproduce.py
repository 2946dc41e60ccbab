"""Reproduce an asset from its id: replay in a fresh process, compare, and log the verdict.

Records and environments are compared before pixels: pixels cannot tell a cause.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from registry import errors
from registry.core import predicates
from registry.core.answers import Difference, Reproduction, Verdict
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.statements import PREDICATE_GENERATION, Subject, predicate_uri
from registry.errors import GenopsError, InputError
from registry.settings import child_environ
from registry.similarity.compare import PixelDistance, pixel_distance
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.inspect import ARGUMENTS
from registry.workflows.leftovers import replay_folder, sweep
from registry.workflows.materialize import materialize
from registry.workflows.personal import is_personal, read_row
from registry.workflows.replaying import RESULT
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

NUMERIC_LEVELS = 2
"""Largest change of a channel, of 255, that a different environment explains."""
NUMERIC_FRACTION = 0.001
"""Largest fraction of pixels that a different environment changes."""
_OURS = "GENOPS_"
"""Passphrase, token and home are no business of a replay."""
_VARIABLES = ("ATEN_", "CUBLAS_", "DNNL_", "KMP_", "MKL_", "OMP_", "ONEDNN_", "TOKENIZERS_")


@dataclass(frozen=True, slots=True)
class _Replay:
    """What a replay process left behind: one output's bytes and the process's environment."""

    data: bytes
    pixels: str | None
    environment: Mapping[str, Any]


def reproduce(
    services: Services,
    text: str,
    *,
    overrides: Mapping[str, Any],
    record: bool = True,
    out: Path | None = None,
) -> Reproduction:
    """Make an asset again from its record and judge the result.

    `overrides` change parameters on purpose (`{"seed": "43"}`); `out` receives the picture. A
    stored output that is gone is put back when it was reproduced byte for byte. Raises
    MaterialError when a material is missing or altered, InputError for an asset that no
    generator made.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    statement = RecordView(services, row["record_idx"]).statement
    if statement.predicate_type != PREDICATE_GENERATION:
        raise InputError(
            f"{asset_id(row['sha256'].hex())} was taken in as a file, not generated here",
            code="reproduce.not-generated",
        )
    opened = open_statement(services, row["record_idx"], statement)
    outcome = _refusal(row, opened.document, opened.state)
    if outcome is None:
        outcome = _replay_and_judge(services, row, opened.document, overrides, out)
    return _log(services, row, outcome) if record else outcome


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


def _replay_and_judge(
    services: Services,
    row: RowMapping,
    document: Mapping[str, Any],
    overrides: Mapping[str, Any],
    out: Path | None,
) -> Reproduction:
    replay = _replay(services, document, row, overrides)
    path = _keep(out, row, replay) if out is not None else None
    inputs = tuple(_changed(document, row, overrides))
    recorded = document["predicate"]["buildDefinition"]["internalParameters"]
    environment = tuple(differences(recorded.get("environment", {}), replay.environment))
    distance = _distance(services, row, replay)
    secret = _is_personal(services, row)
    original = _personal_digest(services, row) if secret else row["sha256"].hex()
    verdict, reasons = _judge(row, replay, original, inputs, environment, distance)
    if verdict == "identical" and not secret:
        _put_back(services, row, replay)
    return replace(
        _outcome(row, verdict, reasons),
        # The digest of a personal picture would tell for ever which one it was.
        reproduced=None if secret else asset_id(sha256_hex(replay.data)),
        inputs=inputs,
        environment=environment,
        pixels=distance.to_dict() if distance else None,
        path=str(path) if path else None,
    )


def _is_personal(services: Services, row: RowMapping) -> bool:
    view = RecordView(services, row["record_idx"])
    return is_personal(view.statement.subjects[row["position"]])


def _personal_digest(services: Services, row: RowMapping) -> str | None:
    """Return the digest of a personal output's own bytes, None where they cannot be read."""
    try:
        return sha256_hex(read_row(services, row))
    except GenopsError:
        return None


def _judge(
    row: RowMapping,
    replay: _Replay,
    original: str | None,
    inputs: tuple[Difference, ...],
    environment: tuple[Difference, ...],
    distance: PixelDistance | None,
) -> tuple[Verdict, tuple[str, ...]]:
    """Judge by inputs first, then bytes, then pixels, and by distance last."""
    if inputs:
        return "different", tuple(f"{d.where} was changed" for d in inputs)
    if sha256_hex(replay.data) == original:
        return "identical", ()
    if replay.pixels is not None and row["pixels"] and replay.pixels == row["pixels"].hex():
        return "identical-pixels", ("the same pixels in other bytes",)
    causes = tuple(f"{d.where} differs" for d in environment)
    if environment and distance is not None and distance.within(NUMERIC_LEVELS, NUMERIC_FRACTION):
        return "equivalent", causes
    return "different", causes or ("same inputs and environment, other bytes",)


def _replay(
    services: Services, document: Mapping[str, Any], row: RowMapping, overrides: Mapping[str, Any]
) -> _Replay:
    sweep(services)
    position: int = row["position"]
    with replay_folder(services, row["leaf_hash"]) as workdir:
        job = {
            "statement": document,
            "materials": {
                key: str(path)
                for key, path in materialize(services, document, workdir / "materials").items()
            },
            "overrides": dict(overrides),
        }
        result = _run(services, job, workdir)
        outputs = result["outputs"]
        if position >= len(outputs):
            raise GenopsError(f"the replay made {len(outputs)} outputs, not {position + 1}")
        output = outputs[position]
        data = (workdir / output["file"]).read_bytes()
        return _Replay(data, output["pixels"], result["environment"])


def _run(services: Services, job: Mapping[str, Any], workdir: Path) -> Mapping[str, Any]:
    """Run the job in a fresh interpreter with the recorded numeric settings."""
    try:
        done = subprocess.run(  # noqa: S603  # our own module in our own interpreter
            [sys.executable, "-m", "registry.workflows.replaying", str(workdir)],
            input=json.dumps(job).encode("utf-8"),
            env=_environ(job["statement"]),
            capture_output=True,
            timeout=services.settings.limits.replay_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise GenopsError(
            f"the replay took over {services.settings.limits.replay_s:.0f} s",
            code="reproduce.timeout",
            hint="raise GENOPS_LIMIT_REPLAY_S",
        ) from None
    result_file = workdir / RESULT
    if done.returncode != 0 or not result_file.is_file():
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise GenopsError(
            f"the replay process failed: {lines[-1] if lines else 'no message'}",
            code="reproduce.failed",
        )
    result: dict[str, Any] = json.loads(result_file.read_text("utf-8"))
    if "error" in result:
        raise errors.revive(result["error"])
    return result


def _environ(statement: Mapping[str, Any]) -> dict[str, str]:
    """Return this process's environment with the recorded numeric variables, without secrets."""
    internal = statement["predicate"]["buildDefinition"]["internalParameters"]
    recorded = internal.get("environment", {}).get("variables", {})
    chosen = {k: str(v) for k, v in recorded.items() if k.startswith(_VARIABLES) and v is not None}
    return child_environ(without=(*_VARIABLES, _OURS), extra=chosen)


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


def differences(recorded: Any, found: Any, where: str = "") -> Iterator[Difference]:
    """Yield the leaves in which two JSON documents differ, by dotted path, in key order."""
    if isinstance(recorded, Mapping) and isinstance(found, Mapping):
        for key in sorted({*recorded, *found}):
            inner = f"{where}.{key}" if where else str(key)
            yield from differences(recorded.get(key), found.get(key), inner)
    elif recorded != found:
        yield Difference(where, recorded, found)


def _distance(services: Services, row: RowMapping, replay: _Replay) -> PixelDistance | None:
    """Measure how far the pictures are apart, where the stored one is still there."""
    blob = services.blobs.get(row["sha256"].hex())
    if blob is None or not (row["media_type"] or "").startswith("image/"):
        return None
    try:
        stored = read_row(services, row)
    except GenopsError:
        return None
    return pixel_distance(stored, replay.data)


def _put_back(services: Services, row: RowMapping, replay: _Replay) -> None:
    """Restore a stored output that is gone; one that was altered stays as evidence."""
    blob = services.blobs.get(row["sha256"].hex())
    if blob is not None and not services.vault.path(blob).exists():
        services.vault.put(replay.data)


def _keep(out: Path, row: RowMapping, replay: _Replay) -> Path:
    out.mkdir(parents=True, exist_ok=True)
    suffix = {"image/png": ".png", "text/plain": ".txt"}.get(row["media_type"] or "", "")
    path = out / f"{sha256_hex(replay.data)[:12]}{suffix}"
    path.write_bytes(replay.data)
    return path


def _log(services: Services, row: RowMapping, outcome: Reproduction) -> Reproduction:
    """Record the verdict; its subject is the reproduced output, or the original without one."""
    measures = [{"name": k, "value": v} for k, v in (outcome.pixels or {}).items()]
    predicate = predicates.reproduction(
        services.head(row["project"]),
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
        ],
        measures=measures,
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
