"""Take in a file that no generator of ours made: registered, never called generated.

An edit comes back this way: it names what it was made from, and what people did to it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from sqlalchemy import Connection

from registry.core import predicates
from registry.core.answers import Ingested, Receipt
from registry.core.digests import asset_id, record_id
from registry.core.fingerprint import FingerprintValue, Thumbnail
from registry.core.generation import Blob, Output
from registry.core.statements import Subject, predicate_uri
from registry.errors import InputError, NotFoundError
from registry.similarity.decode import MEDIA_TYPES, ImageLimits, open_image, suffix_problem
from registry.similarity.fingerprints import DRAFT_SIDE
from registry.similarity.media import TIFF, media_type_of
from registry.similarity.nearness import FAR, distances
from registry.similarity.prints import prints_of
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.personal import store_output
from registry.workflows.services import Services
from registry.workflows.submit import declare, new_key

INGEST = predicate_uri("ingest")
"""The type of the record of a file to which nobody contributed by hand."""
_PLACED = {"layout", "composited"}
"""Contributions that set a picture among others: the whole need not look like any of them."""


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of a file: the assets it was made from, a remark, and what people did to it.

    `contributions` are of `predicates.CONTRIBUTIONS`.
    """

    parents: Sequence[str] = ()
    note: str = ""
    contributions: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """A file that is in the vault already, as the subject of its record; can be pickled."""

    blob: Blob
    subject: Subject
    fingerprints: tuple[FingerprintValue, ...]
    thumbnails: tuple[Thumbnail, ...] = ()


def ingest(
    services: Services,
    path: str | Path,
    said: Said = Said(),
    *,
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    personal: bool = False,
) -> Ingested:
    """Register an existing file, with what is said of it.

    A `personal` file is encrypted under its record's key, and no fingerprint of it is kept. The
    answer warns of parents that it does not look like. Raises InputError for a file that cannot be
    read, a damaged image, a suffix that contradicts the content or an unknown contribution,
    NotFoundError (`parent.unknown`) with all parents that are not here; nothing is written then.
    """
    head = services.head(project, actor)
    made = _contributions(said.contributions)
    file = Path(path)
    limits = services.settings.limits
    with plain_file(file) as opened:
        output = read_output(read_all(opened, limits), file, limits)
    origins = _parents(services, said.parents)
    key = new_key(services) if personal else None
    blob, subject = store_output(services, output, 0, key)
    prints = () if personal else output.fingerprints or ()
    predicate = predicates.ingest(
        head,
        source=file.name,
        media_type=output.media_type,
        parents=origins,
        note=said.note or None,
        campaign=campaign,
        contributions=made,
    )
    small = () if personal or output.thumbnail is None else (output.thumbnail,)
    receipt = log_ingest(services, predicate, Taken(blob, subject, prints, small), key=key)
    unlike = () if _PLACED & set(made) else _unlike(services, prints, origins)
    return Ingested(**receipt.to_dict(), warnings=unlike)


def log_ingest(
    services: Services, predicate: predicates.Predicate, taken: Taken, *, key: bytes | None = None
) -> Receipt:
    """Sign and append the record of a file that is in the vault; durable on return."""
    made = "contributions" in predicate
    return declare(
        services,
        [taken.subject],
        predicate_uri("ingest", 2) if made else INGEST,
        predicate,
        role="generator",
        blobs=[taken.blob],
        fingerprints=taken.fingerprints,
        thumbnails=taken.thumbnails,
        key=key,
    )


def _contributions(named: Sequence[str]) -> tuple[str, ...]:
    """Return the kinds of contribution, each once; raises InputError for an unknown one."""
    for kind in named:
        if kind not in predicates.CONTRIBUTIONS:
            raise InputError(
                f"{kind!r} is no kind of contribution",
                code="ingest.contribution",
                hint=f"one of {', '.join(predicates.CONTRIBUTIONS)}; say the rest in the note",
            )
    return tuple(dict.fromkeys(named))


def _parents(services: Services, named: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the record says of its parents, each once; names all that are not known."""
    found: dict[str, dict[str, Any]] = {}
    unknown: list[str] = []
    with read(services.engine) as conn:
        for text in named:
            try:
                parent = _parent(conn, text)
            except NotFoundError:
                unknown.append(text)
            else:
                found[parent["digest"]] = parent
    if unknown:
        raise NotFoundError(
            f"no parent here is called {', '.join(unknown)}",
            code="parent.unknown",
            hint="`genops list` shows what there is; record the parents first",
        )
    return list(found.values())


def _unlike(
    services: Services, prints: Sequence[FingerprintValue], parents: Sequence[dict[str, Any]]
) -> tuple[str, ...]:
    """Say so when a picture looks like none of its parents: most often another file was meant."""
    found = distances(services.engine, prints, [parent["digest"] for parent in parents])
    if not found or min(found.values()) <= FAR:
        return ()
    named = ", ".join(f"{asset_id(digest)[:15]}… ({n} of 256 bits)" for digest, n in found.items())
    return (f"the picture does not look like {named}: was another file meant, or another parent?",)


@contextmanager
def plain_file(file: Path) -> Iterator[BufferedReader]:
    """Open a file that is one: a pipe or a device could hold anybody up.

    Raises InputError (`file.unreadable`), of the block too.
    """
    try:
        with open(file, "rb", opener=_without_waiting) as opened:
            if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                raise InputError(f"{file} is not a file", code="file.unreadable")
            yield opened
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}", code="file.unreadable") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def read_all(opened: BufferedReader, limits: ImageLimits) -> bytes:
    """Return a file's bytes; raises InputError (`file.empty`, `file.too-large`)."""
    if os.fstat(opened.fileno()).st_size > limits.image_bytes:
        raise InputError(
            f"{opened.name} is larger than {limits.image_bytes} bytes", code="file.too-large"
        )
    data = opened.read()
    if not data:
        raise InputError(f"{opened.name} is empty", code="file.empty")
    return data


def read_output(
    data: bytes, file: Path, limits: ImageLimits, *, sha256: str | None = None
) -> Output:
    """Return what a file's bytes are, with their fingerprints; a picture is decoded once.

    What is no picture that can be decoded is kept as it is. `sha256` (hex) is the digest of the
    bytes, where it is known. Raises InputError (`image.*`) for a damaged picture, and for one whose
    suffix names another format.
    """
    media_type = media_type_of(data, file.name)
    if media_type not in MEDIA_TYPES.values():
        made = prints_of(data, limits, media_type=media_type, sha256=sha256)
        return Output(data, media_type, fingerprints=made.values)
    try:
        image = open_image(data, limits, least=DRAFT_SIDE)
    except InputError as error:
        if media_type != TIFF or error.code != "image.unreadable":
            raise
        # Layers, floats, inks: studios' own TIFFs are kept as they are, undecoded.
        return Output(data, media_type, fingerprints=())
    if misnamed := suffix_problem(file, image):
        raise InputError(
            f"{file} {misnamed}",
            code="image.suffix",
            hint="rename it, or check that it is the file you mean",
        )
    made = prints_of(data, limits, image=image, sha256=sha256)
    return Output(
        data,
        MEDIA_TYPES[image.format or ""],
        width=made.width,
        height=made.height,
        pixels=made.pixels,
        fingerprints=made.values,
        thumbnail=next(iter(made.thumbnails), None),
    )


def _parent(conn: Connection, text: str) -> dict[str, Any]:
    row = refs.output(conn, text)
    return {
        "digest": row["sha256"].hex(),
        "output_of": record_id(row["leaf_hash"].hex()),
    }
