"""Releases: an asset leaves for a channel, on the strength of a decision of the gate.

And what a campaign has on the log already, so that nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import select

from registry.catalog.graph import RECORDS
from registry.catalog.queries import SUBJECTS
from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import asset_id, record_id
from registry.core.statements import PREDICATE_GENERATION, Subject, predicate_uri
from registry.core.times import format_time
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.services import Services
from registry.workflows.submit import declare

PREDICATE_RELEASE = predicate_uri("release")


def release(
    services: Services,
    text: str,
    *,
    channel: str,
    decision: str,
    reviews: Sequence[str] = (),
    reason: str | None = None,
) -> Receipt:
    """Record that an asset is released for a channel (a word, such as `web`).

    `decision` is the gate's record that let it pass, `reviews` the records of those who approved
    it. Raises NotFoundError for an asset that is not here.
    """
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    predicate = predicates.release(
        services.head(row["project"]),
        action="release",
        channel=channel,
        decision=decision,
        reviews=reviews,
        reason=reason,
    )
    subjects = [Subject("out/0", row["sha256"].hex())]
    return declare(services, subjects, PREDICATE_RELEASE, predicate, role="reviewer")


def recorded(services: Services, campaign: str) -> Mapping[str, Receipt]:
    """Return the receipts of a campaign's generations by invocation id, in log order."""
    query = (
        select(RECORDS, SUBJECTS.c.sha256)
        .join(SUBJECTS, SUBJECTS.c.record_idx == RECORDS.c.idx)
        .where(RECORDS.c.campaign == campaign, RECORDS.c.predicate_type == PREDICATE_GENERATION)
        .order_by(RECORDS.c.idx, SUBJECTS.c.position)
    )
    found: dict[str, Receipt] = {}
    with read(services.engine) as conn:
        for row in conn.execute(query).mappings():
            asset = asset_id(row["sha256"].hex())
            before = found.get(row["invocation_id"])
            found[row["invocation_id"]] = Receipt(
                record=record_id(row["leaf_hash"].hex()),
                index=row["idx"],
                time=format_time(row["time_ms"]),
                assets=(*(before.assets if before else ()), asset),
                new=False,
            )
    return found
