"""Take in a file that no generator of ours made: registered, never called generated."""

from __future__ import annotations

import mimetypes
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import record_id
from registry.core.generation import Output
from registry.core.statements import predicate_uri
from registry.errors import InputError
from registry.similarity.decode import MEDIA_TYPES, open_image
from registry.similarity.fingerprints import pixels_digest
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.personal import store_output
from registry.workflows.record import fingerprints_of
from registry.workflows.services import Services
from registry.workflows.submit import declare, new_key


def ingest(
    services: Services,
    path: str | Path,
    *,
    parents: Sequence[str] = (),
    note: str = "",
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    personal: bool = False,
) -> Receipt:
    """Register an existing file, with the assets that it was made from, where they are known.

    A `personal` one is encrypted under its record's key, and no fingerprint of it is kept. Raises
    InputError for a file that cannot be read, a damaged image, or a suffix that contradicts the
    content; nothing is written then.
    """
    head = services.head(project, actor)
    file = Path(path)
    output = _read(services, file)
    with read(services.engine) as conn:
        origins = [_parent(conn, parent) for parent in parents]
    key = new_key(services) if personal else None
    blob, subject = store_output(services, output, 0, key)
    predicate = predicates.ingest(
        head,
        source=file.name,
        media_type=output.media_type,
        parents=origins,
        note=note or None,
        campaign=campaign,
    )
    return declare(
        services,
        [subject],
        predicate_uri("ingest"),
        predicate,
        role="generator",
        blobs=[blob],
        fingerprints=() if personal else fingerprints_of(services, [output]),
        key=key,
    )


def _read(services: Services, file: Path) -> Output:
    limit = services.settings.limits.image_bytes
    try:
        if not file.is_file():
            raise InputError(f"{file} is not a file", code="file.unreadable")
        if file.stat().st_size > limit:
            raise InputError(f"{file} is larger than {limit} bytes", code="file.too-large")
        data = file.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", code="file.unreadable") from error
    if not data:
        raise InputError(f"{file} is empty", code="file.empty")
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    if media_type not in MEDIA_TYPES.values():
        return Output(data, media_type)
    image = open_image(file, services.settings.limits)
    return Output(
        data,
        MEDIA_TYPES[image.format or ""],
        width=image.width,
        height=image.height,
        pixels=pixels_digest(image),
    )


def _parent(conn: Connection, text: str) -> dict[str, Any]:
    row = refs.output(conn, text)
    return {
        "digest": row["sha256"].hex(),
        "output_of": record_id(row["leaf_hash"].hex()),
    }
