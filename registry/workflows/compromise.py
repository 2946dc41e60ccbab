"""After a key was stolen: what it signed since, and vouching anew for what is sound.

The records stay as they are: each was judged by the trust of its day.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import Connection, RowMapping, select

from registry.catalog import signers
from registry.catalog.graph import chunked
from registry.catalog.projector import ASSET_KINDS
from registry.core import trust_predicates
from registry.core.digests import asset_id, record_id
from registry.core.statements import Subject, predicate_name
from registry.core.times import format_time
from registry.core.trust import ROLE_FOR, TrustState
from registry.core.trust_answers import (
    AffectedRecord,
    AffectedReport,
    Reattested,
    ReattestReport,
)
from registry.errors import InputError, TrustError
from registry.store.catalog_tables import SubjectRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows import choose
from registry.workflows.key_names import key_named
from registry.workflows.services import Services
from registry.workflows.standing import PREDICATE_REATTESTATION, vouching
from registry.workflows.submit import declare

_ROLE = ROLE_FOR[PREDICATE_REATTESTATION]
_SUBJECTS = table_of(SubjectRow)
_AT_ONCE = 16
"""Re-attestations that are submitted together, so that they share commits."""

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


def affected(
    services: Services,
    digits: str,
    *,
    since_ms: int | None = None,
    limit: int = 100,
    offset: int = 0,
) -> AffectedReport:
    """Return a page of the records that a key signed since it is not believed.

    `since_ms` asks what another moment would touch, before it is declared. Raises InputError
    (`trust.not-compromised`), and what `key_named` raises.
    """
    history = services.reader.trust_history()
    state = services.reader.trust()
    keyid = key_named(state, digits)
    declared = history.declared_by(keyid)
    since = state.compromised.get(keyid) if since_ms is None else since_ms
    if since is None:
        raise InputError(
            f"key {keyid} was not declared compromised",
            code="trust.not-compromised",
            hint="add --since TIME to see what it would touch",
        )
    most = services.settings.limits.page_rows
    with read(services.engine) as conn:
        rows = signers.signed_since(conn, keyid, since, limit=min(limit, most), offset=offset)
        assets = _assets(conn, rows)
        records = tuple(
            _affected(services, conn, state, row, assets.get(row["idx"], ())) for row in rows
        )
        count = signers.count_signed_since(conn, keyid, since)
        left = signers.count_doubtful(conn, keyid, since, state.compromised)
    told = None if declared is None or since_ms is not None else declared.record
    return AffectedReport(keyid, format_time(since), told, count, left, records)


def reattest(
    services: Services, texts: Sequence[str], *, reason: str, actor: str | None = None
) -> ReattestReport:
    """Vouch for records (of an asset, for all that made it) whose signer is not believed any more.

    Records whose signer is believed are left out. Raises InputError without a reason,
    `reattest.sound` when none of them needs it, `reattest.four-eyes` for one's own record;
    TrustError for a signer of no authority.
    """
    chosen = choose.rows(services, choose.by_ids(services, texts).reasons)
    state = services.reader.trust()
    with read(services.engine) as conn:
        due = [row for row in chosen if _is_doubtful(services, conn, state, row)]
    if not due:
        raise InputError(
            "the signer of none of these records is in doubt",
            code="reattest.sound",
            hint="`genops keys affected` lists those that are",
        )
    return _vouch(services, due, reason, actor, None)


def reattest_all(
    services: Services,
    digits: str,
    *,
    reason: str,
    actor: str | None = None,
    progress: Progress | None = None,
) -> ReattestReport:
    """Vouch for all that a compromised key signed since and nobody has vouched for yet."""
    state = services.reader.trust()
    keyid = key_named(state, digits)
    since = state.compromised.get(keyid)
    if since is None:
        raise InputError(f"key {keyid} was not declared compromised", code="trust.not-compromised")
    due: list[RowMapping] = []
    after = -1
    with read(services.engine) as conn:
        while page := signers.doubtful(conn, keyid, since, state.compromised, after):
            due += page
            after = page[-1]["idx"]
    return _vouch(services, due, reason, actor, progress)


def _vouch(
    services: Services,
    due: Sequence[RowMapping],
    reason: str,
    actor: str | None,
    progress: Progress | None,
) -> ReattestReport:
    if not reason.strip():
        raise InputError("a re-attestation needs a reason", code="reattest.reason")
    me = services.pseudonym(actor or services.settings.actor)
    mine = services.signer(_ROLE).keyid
    for row in due:
        _refuse_own(row, me, mine)
    done: list[Reattested] = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for item in pool.map(lambda row: _vouch_one(services, row, reason, actor), due):
            done.append(item)
            if progress is not None:
                progress(len(done), len(due))
    return ReattestReport(tuple(done))


def _refuse_own(row: RowMapping, me: str, mine: str) -> None:
    """Refuse that somebody vouches for a record of their own, or by its own key."""
    record = record_id(row["leaf_hash"].hex())
    if row["actor"] == me:
        raise InputError(
            f"{record} was made on behalf of the same person: another one must vouch for it",
            code="reattest.four-eyes",
            hint="name who does by --actor or GENOPS_ACTOR",
        )
    if row["keyid"] == mine:
        raise TrustError(
            f"{record} is signed by the key that would vouch for it",
            code="trust.compromised",
            hint=f"rotate it first: `genops keys rotate {_ROLE}`",
        )


def _vouch_one(services: Services, row: RowMapping, reason: str, actor: str | None) -> Reattested:
    record = record_id(row["leaf_hash"].hex())
    payload = row["payload_sha256"].hex()
    declared = services.reader.trust_history().declared_by(row["keyid"])
    assert declared is not None  # noqa: S101  # a record is in doubt by what the log declares
    predicate = trust_predicates.reattestation(
        services.head(row["project"], actor),
        record=record,
        payload_sha256=payload,
        trust_record=declared.record,
        reason=reason,
    )
    with read(services.engine) as conn:
        query = select(_SUBJECTS.c.sha256).where(_SUBJECTS.c.record_idx == row["idx"])
        digests = list(conn.scalars(query.order_by(_SUBJECTS.c.position)))
    subjects = [Subject(f"out/{n}", digest.hex()) for n, digest in enumerate(digests)]
    receipt = declare(services, subjects, PREDICATE_REATTESTATION, predicate, role=_ROLE)
    return Reattested(record, receipt.record, receipt.index)


def _is_doubtful(services: Services, conn: Connection, state: TrustState, row: RowMapping) -> bool:
    doubted = state.doubted(row["keyid"], row["time_ms"]) is not None
    return doubted and not vouching(services, conn, state, row["keyid"], row["leaf_hash"])


def _affected(
    services: Services,
    conn: Connection,
    state: TrustState,
    row: RowMapping,
    assets: Iterable[str],
) -> AffectedRecord:
    return AffectedRecord(
        record=record_id(row["leaf_hash"].hex()),
        index=row["idx"],
        time=format_time(row["time_ms"]),
        predicate=predicate_name(row["predicate_type"]) or row["predicate_type"],
        assets=tuple(assets),
        reattested_by=vouching(services, conn, state, row["keyid"], row["leaf_hash"]),
    )


def _assets(conn: Connection, rows: Sequence[RowMapping]) -> dict[int, list[str]]:
    """Return the assets that these records made or took in, by index."""
    made = [row["idx"] for row in rows if row["predicate_type"] in ASSET_KINDS]
    found: dict[int, list[str]] = {}
    for index, digest in _subjects(conn, made):
        found.setdefault(index, []).append(asset_id(digest.hex()))
    return found


def _subjects(conn: Connection, indices: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    for chunk in chunked(indices):
        query = select(_SUBJECTS.c.record_idx, _SUBJECTS.c.sha256)
        query = query.where(_SUBJECTS.c.record_idx.in_(chunk))
        for row in conn.execute(query.order_by(_SUBJECTS.c.record_idx, _SUBJECTS.c.position)):
            yield row.record_idx, row.sha256
