"""From a captured generation to the payload of its record: SLSA Provenance v1, sealed.

Takes ids, times and salts from the caller; neither signs nor stores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from registry.core.digests import is_sha256, sha256_hex
from registry.core.generation import Generation, Material, Output
from registry.core.modelsets import modelset_digest
from registry.core.predicates import SealedPayload, seal_statement
from registry.core.statements import PREDICATE_GENERATION, Subject
from registry.core.times import format_time
from registry.errors import InputError

STORAGES = ("vaulted", "referenced")

_OUTPUT_FIELDS = {"subject", "seed", "batch_index", "materials"}
_EXTENSION_PREFIX = "genops_"


def output_subjects(g: Generation) -> tuple[Subject, ...]:
    """Return one subject per output, over its bytes as they are (not encrypted ones)."""
    return tuple(
        output_subject(number, output, sha256_hex(output.data), len(output.data))
        for number, output in enumerate(g.outputs)
    )


def output_subject(number: int, output: Output, sha256: str, size: int) -> Subject:
    """Return the subject `out/<number>`; `sha256` and `size` are of the bytes in the vault."""
    known = {
        "size": size,
        "pixels-v1": output.pixels,
        "width": output.width,
        "height": output.height,
    }
    annotations = {name: value for name, value in known.items() if value is not None}
    return Subject(f"out/{number}", sha256, output.media_type, annotations)


def generation_payload(
    g: Generation,
    subjects: Sequence[Subject],
    *,
    project: str,
    actor: Mapping[str, Any],
    invocation_id: str,
    salts: Callable[[], bytes],
) -> SealedPayload:
    """Build and seal the statement of a generation, with one subject per output.

    `salts` gives 16 fresh random bytes a call. Raises InputError (`generation.invalid`) when the
    description contradicts itself, FormatError for values that JSON cannot carry.
    """
    if len(subjects) != len(g.outputs):
        raise _invalid(f"{len(g.outputs)} outputs have {len(subjects)} subjects")
    names = [material.name for material in g.materials]
    if len(set(names)) != len(names):
        raise _invalid("two materials have the same name")
    predicate: dict[str, Any] = {
        "buildDefinition": {
            "buildType": g.build_type,
            "externalParameters": g.external,
            "internalParameters": g.internal,
            "resolvedDependencies": [dependency(material) for material in g.materials],
        },
        "runDetails": _run_details(g, invocation_id),
        "genops_project": project,
        "genops_actor": actor,
        "genops_reproducible": {"reproducible": g.reproducible, "reasons": list(g.reasons)},
        "genops_outputs": [
            _output(output, subject, names)
            for output, subject in zip(g.outputs, subjects, strict=True)
        ],
    }
    if g.campaign is not None:
        predicate["genops_campaign"] = g.campaign
    return seal_statement(subjects, PREDICATE_GENERATION, predicate, salts)


def dependency(material: Material) -> dict[str, Any]:
    """Return a material as an in-toto ResourceDescriptor; raises InputError when it is unfit."""
    _check_material(material)
    annotations: dict[str, Any] = dict(material.annotations)
    annotations["genops_kind"] = material.kind
    annotations["genops_storage"] = material.storage
    annotations["genops_digest"] = "modelset-v1" if material.files else "sha256"
    if material.output_of is not None:
        annotations["genops_output_of"] = material.output_of
    descriptor: dict[str, Any] = {"name": material.name, "digest": {"sha256": material.sha256}}
    if material.uri:
        descriptor["uri"] = material.uri
    if material.media_type is not None:
        descriptor["mediaType"] = material.media_type
    descriptor["annotations"] = annotations
    return descriptor


def _run_details(g: Generation, invocation_id: str) -> dict[str, Any]:
    builder: dict[str, Any] = {"id": g.builder_id}
    if g.builder_version:
        builder["version"] = dict(g.builder_version)
    metadata = {
        "invocationId": invocation_id,
        "startedOn": format_time(g.started_ms),
        "finishedOn": format_time(g.finished_ms),
    }
    return {"builder": builder, "metadata": metadata}


def _output(output: Output, subject: Subject, names: Sequence[str]) -> dict[str, Any]:
    """Map a subject to its own seed, prompt and materials, so that taint stays where it belongs."""
    materials = names if output.materials is None else output.materials
    if unknown := set(materials) - set(names):
        raise _invalid(f"{subject.name} depends on materials that it does not list: {unknown}")
    if taken := _OUTPUT_FIELDS & output.extra.keys():
        raise _invalid(f"{subject.name} has extra fields with reserved names: {taken}")
    mapped: dict[str, Any] = dict(output.extra)
    mapped |= {
        "subject": subject.name,
        "batch_index": output.batch_index,
        "materials": list(materials),
    }
    if output.seed is not None:
        mapped["seed"] = output.seed
    return mapped


def _check_material(material: Material) -> None:
    if not material.name or not is_sha256(material.sha256):
        raise _invalid(f"material {material.name!r} has no name, or no hex SHA-256")
    if material.storage not in STORAGES:
        raise _invalid(f"storage of {material.name} is not one of {', '.join(STORAGES)}")
    if material.files and modelset_digest(material.files) != material.sha256:
        raise _invalid(f"digest of {material.name} is not the modelset-v1 digest of its files")
    if any(name.startswith(_EXTENSION_PREFIX) for name in material.annotations):
        raise _invalid(f"annotations of {material.name} use the prefix {_EXTENSION_PREFIX}")


def _invalid(why: str) -> InputError:
    return InputError(f"generation cannot be recorded: {why}", code="generation.invalid")
