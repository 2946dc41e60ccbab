"""Taint a source, or clear it: from then on the gate knows."""

from __future__ import annotations

from typing import Literal, cast, get_args

from registry.catalog import queries
from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import asset_id
from registry.core.predicates import Severity
from registry.core.statements import Subject, predicate_uri
from registry.errors import InputError, NotFoundError
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.submit import declare

Action = Literal["taint", "clear"]


def taint(
    services: Services,
    text: str,
    *,
    action: Action,
    reason: str,
    severity: str = "high",
    actor: str | None = None,
) -> Receipt:
    """Record that an asset or material is tainted, or no longer is; the reason is sealed.

    Raises InputError without a reason or with an unknown severity, NotFoundError when there is
    no taint to clear.
    """
    if not reason.strip():
        raise InputError("a taint needs a reason", code="taint.reason", hint='--reason "…"')
    if severity not in get_args(Severity):
        raise InputError(
            f"severity {severity!r} is not one of {', '.join(get_args(Severity))}",
            code="taint.severity",
        )
    with read(services.engine) as conn:
        digest = refs.digest(conn, text)
        standing = queries.standing_taints(conn, digest)
        is_asset = bool(queries.outputs_of(conn, digest))
    if action == "clear" and not standing:
        raise NotFoundError(
            f"no taint stands on {asset_id(digest.hex())}",
            code="taint.none",
            hint="clear the source that the taint names; `genops show` lists it",
        )
    predicate = predicates.taint(
        services.head(actor=actor),
        kind="asset" if is_asset else "material",
        target=asset_id(digest.hex()),
        action=action,
        severity=cast("Severity", severity),
        reason=reason,
    )
    subjects = [Subject("out/0", digest.hex())]
    return declare(services, subjects, predicate_uri("taint"), predicate, role="reviewer")
