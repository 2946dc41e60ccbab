"""Reviews: a person approves or rejects an asset, signed by the reviewer's key and on the log.

The newest review whose signer is believed now is what counts; a review is of bytes, so it speaks
of every record that made them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

from sqlalchemy import select

from registry.catalog.graph import RECORDS
from registry.catalog.queries import SUBJECTS
from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.campaigns import ReviewView
from registry.core.digests import asset_id
from registry.core.statements import Subject
from registry.core.times import format_time
from registry.errors import InputError
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.inspect import PREDICATE_REVIEW, text_of
from registry.workflows.services import Services
from registry.workflows.standing import standing
from registry.workflows.submit import declare
from registry.workflows.view import RecordView

ReviewVerdict = Literal["approved", "rejected"]


def review(
    services: Services,
    text: str,
    *,
    verdict: ReviewVerdict,
    reason: str,
    actor: str | None = None,
) -> Receipt:
    """Record that an asset is approved or rejected; the reason is sealed.

    Raises InputError without a reason, NotFoundError for an asset that is not here, TrustError
    when the home's key may not review.
    """
    if not reason.strip():
        raise InputError("a review needs a reason", code="review.reason", hint='--reason "…"')
    if verdict not in get_args(ReviewVerdict):
        raise InputError(
            f"verdict {verdict!r} is not one of {', '.join(get_args(ReviewVerdict))}",
            code="review.verdict",
        )
    with read(services.engine) as conn:
        row = refs.output(conn, text)
    predicate = predicates.review(
        services.head(row["project"], actor), verdict=verdict, reason=reason
    )
    subjects = [Subject("out/0", row["sha256"].hex())]
    return declare(services, subjects, PREDICATE_REVIEW, predicate, role="reviewer")


def reviews(services: Services, text: str) -> Sequence[ReviewView]:
    """Return the reviews of an asset whose signers are believed now, newest first."""
    with read(services.engine) as conn:
        digest = refs.output(conn, text)["sha256"]
        query = (
            select(RECORDS.c.idx)
            .join(SUBJECTS, SUBJECTS.c.record_idx == RECORDS.c.idx)
            .where(RECORDS.c.predicate_type == PREDICATE_REVIEW, SUBJECTS.c.sha256 == digest)
            .order_by(RECORDS.c.idx.desc())
        )
        found = list(conn.scalars(query))
    views = ((index, RecordView(services, index)) for index in found)
    return [
        _view(services, index, view) for index, view in views if standing(services, view).trusted
    ]


def _view(services: Services, index: int, view: RecordView) -> ReviewView:
    return ReviewView(
        record=view.entry.record_id,
        index=index,
        time=format_time(view.entry.time_ms),
        asset=asset_id(view.statement.subjects[0].sha256),
        verdict=view.statement.predicate["verdict"],
        reason=text_of(services, index, "reason"),
        signer=view.envelope.signatures[0].keyid,
    )
