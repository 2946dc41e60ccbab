"""Verdicts of people on matches: signed by a reviewer's key, and heeded by every later look-up.

A verdict is about a file, known by its bytes, pixels or fingerprint, and one candidate of one
bank, matched in one way. The newest one whose signer is believed counts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from sqlalchemy import RowMapping, select

from registry.core import bank_predicates
from registry.core.bank_answers import MatchVerdictView
from registry.core.bank_predicates import PREDICATE_MATCH_VERDICT_V2
from registry.core.banks import Said, said_of
from registry.core.digests import Ref, asset_id, parse_ref, record_id
from registry.core.look_up import CERTAIN, REGISTERED, FindResult, Match, MatchKind
from registry.core.statements import Subject
from registry.core.times import format_time
from registry.errors import AmbiguousError, InputError, NotFoundError
from registry.similarity.banks import refuted
from registry.similarity.fingerprints import read_source
from registry.store.believed import RECORDS, believed
from registry.store.catalog_tables import MatchVerdictRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows import inspect, refs
from registry.workflows.look_up import look_up
from registry.workflows.personal import is_personal
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

Verdict = Literal["confirmed", "refuted"]

_VERDICTS = table_of(MatchVerdictRow)


def say(
    services: Services,
    query: str | Path | bytes,
    candidate: str,
    *,
    verdict: Verdict,
    reason: str,
    bank: str = REGISTERED,
    actor: str | None = None,
) -> MatchVerdictView:
    """Confirm or refute that a file is what a look-up finds in a bank; the reason is sealed.

    `query` is a file, its bytes, or an asset that is kept here; `candidate` the id or a prefix of
    one of its matches. Raises InputError (`match.reason`, `match.verdict`, `match.personal`,
    `match.certain`: equal bytes or pixels cannot be refuted), NotFoundError (`match.none`: no such
    match comes up), TrustError when the home's key may not say so.
    """
    if not reason.strip():
        raise InputError("a verdict needs a reason", code="match.reason", hint='--reason "…"')
    if verdict not in get_args(Verdict):
        raise InputError(f"{verdict!r} is no verdict on a match", code="match.verdict")
    data = _bytes(services, query)
    said = _match(services, data, refs.parse(candidate), bank)
    if verdict == "refuted" and said.kind in CERTAIN:
        raise InputError(
            f"{asset_id(said.candidate)} is equal ({said.kind}): no chance is involved",
            code="match.certain",
            hint="only what looks alike can be refuted; a bank's entry can be taken out of it",
        )
    predicate = bank_predicates.match_verdict(
        services.head(None, actor), said=said, verdict=verdict, reason=reason
    )
    subjects = [Subject("out/0", said.query)]
    done = declare(services, subjects, PREDICATE_MATCH_VERDICT_V2, predicate, role="reviewer")
    return MatchVerdictView(
        record=done.record,
        index=done.index,
        time=done.time,
        query=asset_id(said.query),
        candidate=asset_id(said.candidate),
        bank=said.bank,
        kind=said.kind,
        distance=said.distance,
        verdict=verdict,
        reason=reason,
    )


def list_verdicts(
    services: Services, *, limit: int = 100, offset: int = 0
) -> list[MatchVerdictView]:
    """Return a page of the verdicts whose signers are believed, the newest first."""
    most = min(limit, services.settings.limits.page_rows)
    query = select(RECORDS.c.idx, RECORDS.c.leaf_hash, RECORDS.c.time_ms).join(
        _VERDICTS, _VERDICTS.c.record_idx == RECORDS.c.idx
    )
    page = query.where(believed(RECORDS)).order_by(RECORDS.c.idx.desc())
    with read(services.engine) as conn:
        rows = conn.execute(page.limit(most).offset(offset)).mappings().all()
    return [_view(services, row) for row in rows]


def _view(services: Services, row: RowMapping) -> MatchVerdictView:
    statement = RecordView(services, row["idx"]).statement
    said, confirmed = said_of(statement)
    reason: Any = open_statement(services, row["idx"], statement).document["predicate"]["reason"]
    return MatchVerdictView(
        record=record_id(row["leaf_hash"].hex()),
        index=row["idx"],
        time=format_time(row["time_ms"]),
        query=asset_id(said.query),
        candidate=asset_id(said.candidate),
        bank=said.bank,
        kind=said.kind,
        distance=said.distance,
        verdict="confirmed" if confirmed else "refuted",
        reason=reason if isinstance(reason, str) else None,
    )


def _bytes(services: Services, query: str | Path | bytes) -> bytes:
    """Return what was looked up; a personal asset would leave its fingerprint on the log."""
    limits = services.settings.limits
    if isinstance(query, bytes):
        return query
    if isinstance(query, Path) or Path(query).is_file():
        return read_source(Path(query), limits)
    parse_ref(query)
    with read(services.engine) as conn:
        row = refs.output(conn, query)
    if is_personal(RecordView(services, row["record_idx"]).statement.subjects[row["position"]]):
        raise InputError(f"{query} is personal, and leaves no fingerprint", code="match.personal")
    return inspect.stored_bytes(services, query)


def _match(services: Services, data: bytes, candidate: Ref, bank: str) -> Said:
    """Look the file up, and return the match that is meant: one that comes up, or was refuted."""
    result = look_up(services, data, banks=(bank,))
    meant = [m for m in result.matches if m.id.removeprefix("sha256:").startswith(candidate.hex)]
    if len(meant) > 1:
        raise AmbiguousError(
            f"several matches begin so: {', '.join(match.id for match in meant)}",
            code="ref.ambiguous",
        )
    if meant:
        return _said(result, bank, meant[0].kind, meant[0].id, meant[0])
    value = result.query["fingerprint"]
    with read(services.engine) as conn:
        before = refuted(
            conn,
            result.query["sha256"],
            [] if value is None else [bytes.fromhex(value)],
            result.query["pixels"],
        )
    for where, sha256, kind in sorted(before):
        if where == bank and sha256.startswith(candidate.hex):
            return _said(result, bank, kind, asset_id(sha256), None)
    raise NotFoundError(
        f"no match with {candidate.hex[:16]} comes up in {bank}",
        code="match.none",
        hint=f"`genops find FILE --bank {bank}` lists those that do",
    )


def _said(result: FindResult, bank: str, kind: Any, found: str, match: Match | None) -> Said:
    value = result.query["fingerprint"]
    chosen: MatchKind = kind
    return Said(
        query=result.query["sha256"],
        candidate=found.removeprefix("sha256:"),
        bank=bank,
        kind=chosen,
        fingerprint="" if match is None else match.fingerprint,
        distance=None if match is None else match.distance,
        pixels=result.query["pixels"],
        value_name="" if value is None else result.query["algorithm"],
        value=None if value is None else bytes.fromhex(value),
    )
