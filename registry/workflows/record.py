"""Record one generation: store its bytes, build and sign its statement, append it to the log."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from registry.core.answers import Receipt
from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.core.generation import Blob, Generation, Material, Output, as_draft
from registry.core.modelsets import modelset_manifest
from registry.core.provenance import generation_payload
from registry.errors import InputError, MaterialError
from registry.similarity.prints import prints_of
from registry.workflows.personal import store_output
from registry.workflows.services import Services
from registry.workflows.submit import check_texts, new_key, submit

Content = bytes | Path


def record(
    services: Services,
    generation: Generation,
    *,
    blobs: Iterable[Content] = (),
    project: str | None = None,
    actor: str | None = None,
    personal: bool = False,
    draft: bool = False,
) -> Receipt:
    """Append a generation to the log; durable on return, outputs and materials included.

    `blobs` are the bytes (or files) of materials that the vault is to keep. The outputs of a
    `personal` one are encrypted under its record's key, and leave no fingerprint; those of a
    `draft` go when nobody keeps them. Raises
    InputError for a generation without outputs or with unusable text, MaterialError when a
    material is called vaulted and its bytes are neither given nor known.
    """
    head = services.head(project, actor)
    generation = as_draft(generation) if draft else generation
    _check(services, generation)
    stored = _put_all(services, generation, blobs)
    key = new_key(services) if personal else None
    outputs = [
        store_output(services, output, number, key)
        for number, output in enumerate(generation.outputs)
    ]
    if not personal:
        _check_fingerprints(generation.outputs, [blob for blob, _ in outputs])
    prints, thumbnails = ((), ()) if personal else looks_of(services, generation.outputs)
    subjects = [subject for _, subject in outputs]
    sealed = generation_payload(
        generation,
        subjects,
        project=head.project,
        actor=head.actor,
        invocation_id=generation.invocation_id or head.invocation_id,
        salts=services.salt,
    )
    receipt = submit(
        services,
        sealed,
        role="generator",
        subjects=subjects,
        blobs=[*stored.values(), *(blob for blob, _ in outputs)],
        fingerprints=prints,
        thumbnails=thumbnails,
        key=key,
    )
    for (blob, _), output in zip(outputs, generation.outputs, strict=True):
        # A draft of the same bytes may have expired between the vault and the log.
        if not personal and not services.vault.path(blob).exists():
            services.vault.put(output.data)
    return receipt


def looks_of(
    services: Services, outputs: Iterable[Output]
) -> tuple[list[FingerprintValue], list[Thumbnail]]:
    """Return fingerprints and thumbnails of the outputs, given or made here.

    Formats that are not decoded, such as SVG, have none.
    """
    prints: list[FingerprintValue] = []
    thumbnails: list[Thumbnail] = []
    for output in outputs:
        if output.fingerprints is not None:
            prints += output.fingerprints
            thumbnails += [output.thumbnail] if output.thumbnail else []
            continue
        made = prints_of(
            output.data, services.settings.limits, media_type=output.media_type, pixels=False
        )
        prints += made.values
        thumbnails += made.thumbnails
    return prints, thumbnails


def _check(services: Services, generation: Generation) -> None:
    most = services.settings.limits.outputs
    if not 1 <= len(generation.outputs) <= most:
        raise InputError(
            f"a generation has 1 to {most} outputs, not {len(generation.outputs)}",
            code="record.outputs",
            hint="record a larger batch as several generations",
        )
    for output in generation.outputs:
        if not output.data:
            raise InputError("an output is empty", code="record.outputs")
        check_texts(services, output.extra)
    check_texts(services, generation.external)
    check_texts(services, generation.internal)


def _check_fingerprints(outputs: Iterable[Output], blobs: Iterable[Blob]) -> None:
    """Refuse fingerprints of other bytes; the vault has hashed the outputs, so that nobody need.

    What was stored stays in the vault, as it does when the log refuses a record.
    """
    for output, blob in zip(outputs, blobs, strict=True):
        given = (*(output.fingerprints or ()), *([output.thumbnail] if output.thumbnail else ()))
        if any(value.sha256 != blob.sha256 for value in given):
            raise InputError("a fingerprint is of other bytes", code="record.fingerprint")


def _put_all(
    services: Services, generation: Generation, blobs: Iterable[Content]
) -> Mapping[str, Blob]:
    """Store the given contents and folder manifests; check that every vaulted material is there."""
    stored = [_put(services, content) for content in blobs]
    stored += [
        services.vault.put(modelset_manifest(material.files))
        for material in generation.materials
        if material.files
    ]
    known = {blob.sha256: blob for blob in stored}
    for material in generation.materials:
        if material.storage == "vaulted":
            _require(services, material, known)
    return known


def _put(services: Services, content: Content) -> Blob:
    if isinstance(content, Path):
        return services.vault.put_file(content)
    return services.vault.put(content)


def _require(services: Services, material: Material, known: Mapping[str, Blob]) -> None:
    wanted = [material.sha256, *(file.sha256 for file in material.files)]
    missing = [digest for digest in wanted if digest not in known]
    found: Mapping[str, Any] = services.blobs.get_many(missing) if missing else {}
    for digest in missing:
        if digest not in found:
            raise MaterialError(
                f"material {material.name} is called vaulted, but its bytes "
                f"(sha256:{digest}) were not given and are not in the vault",
                code="material.missing",
                hint="pass them in `blobs`, or record the material as referenced",
            )
