"""Declare models and LoRAs: name, licence, and whether they are approved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from registry.catalog import queries
from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import asset_id, record_id
from registry.core.statements import Subject, predicate_uri
from registry.core.times import format_time
from registry.errors import InputError
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.submit import declare

KINDS = ("model", "lora", "vae", "controlnet", "embedding", "dataset", "text-model", "other")


def register_model(
    services: Services,
    source: str | Path,
    *,
    name: str,
    kind: str,
    licence: str,
    approved: bool = False,
    uri: str = "",
    actor: str | None = None,
) -> Receipt:
    """Declare what stands behind a file, model folder or digest; the newest declaration counts.

    `licence` is an SPDX id or expression. Raises InputError for an unknown kind or an empty name
    or licence.
    """
    if kind not in KINDS:
        raise InputError(f"kind {kind!r} is not one of {', '.join(KINDS)}", code="model.kind")
    if not name.strip() or not licence.strip():
        raise InputError("a model needs a name and a licence", code="model.fields")
    with read(services.engine) as conn:
        digest = refs.digest(conn, source)
    folder = Path(source).is_dir()
    predicate = predicates.model(
        services.head(actor=actor),
        name=name,
        kind=kind,
        digest_kind="modelset-v1" if folder else "sha256",
        licence=licence,
        approved=approved,
        uri=uri,
    )
    subjects = [Subject("out/0", digest.hex())]
    return declare(services, subjects, predicate_uri("model"), predicate, role="reviewer")


def list_models(services: Services) -> list[dict[str, Any]]:
    """Return every declaration, oldest first."""
    with read(services.engine) as conn:
        rows = queries.all_models(conn)
    return [
        {
            "id": asset_id(row["sha256"].hex()),
            "name": row["name"],
            "kind": row["kind"],
            "licence": row["licence"],
            "approved": bool(row["approved"]),
            "record": record_id(row["leaf_hash"].hex()),
            "time": format_time(row["time_ms"]),
        }
        for row in rows
    ]
