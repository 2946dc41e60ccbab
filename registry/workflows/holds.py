"""Legal holds: place them, lift them, and tell what they keep from being erased."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sqlalchemy import RowMapping

from registry.catalog import holds as catalog
from registry.catalog import queries
from registry.catalog.graph import RECORDS
from registry.catalog.holds import PREDICATE_HOLD
from registry.core import predicates
from registry.core.answers import Receipt
from registry.core.digests import asset_id, parse_ref, record_id
from registry.core.entries import LogEntry
from registry.core.privacy import HoldView
from registry.core.statements import Statement, Subject
from registry.core.times import format_time
from registry.errors import InputError, IntegrityError, NotFoundError
from registry.log.find import records_of
from registry.store.leaves import is_record
from registry.store.transaction import read
from registry.workflows import choose
from registry.workflows.inspect import text_of
from registry.workflows.services import Services
from registry.workflows.submit import declare
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

Action = Literal["place", "lift"]


def place(services: Services, text: str, *, reason: str, actor: str | None = None) -> Receipt:
    """Place a hold on the asset or record that `text` names: its texts cannot be erased then.

    A hold on an asset covers every record that speaks of it, later ones too. Raises InputError
    without a reason.
    """
    _check(reason)
    return _declare(services, _target(services, text), "place", reason, actor)


def place_all(
    services: Services, indices: Sequence[int], *, reason: str, actor: str | None = None
) -> list[Receipt]:
    """Place a hold on each of these records."""
    _check(reason)
    targets = [(record_id(r["leaf_hash"].hex()), r) for r in choose.rows(services, indices)]
    return [
        _log(services, target, row["payload_sha256"], "place", reason, row["project"], actor)
        for target, row in targets
    ]


def lift(services: Services, text: str, *, reason: str, actor: str | None = None) -> Receipt:
    """Lift every hold on an asset or record, or the one hold whose own record `text` names.

    Raises NotFoundError (`hold.none`) when none stands there.
    """
    _check(reason)
    target = _target(services, text)
    if not any(target in {hold.target, hold.hold} for hold in list_holds(services)):
        raise NotFoundError(
            f"no hold stands on {target}", code="hold.none", hint="`genops hold list` shows them"
        )
    return _declare(services, target, "lift", reason, actor)


def list_holds(services: Services, *, lifted: bool = False) -> list[HoldView]:
    """Return the holds that stand, oldest first; with `lifted`, those that were lifted too."""
    with read(services.engine) as conn:
        found = catalog.all_holds(conn)
    lifts = {r["idx"]: r for r in choose.rows(services, {h["lifted_by"] for h in found} - {None})}
    return [_view(services, h, lifts) for h in found if lifted or h["lifted_by"] is None]


def standing_on(services: Services, indices: Sequence[int]) -> Mapping[int, tuple[str, ...]]:
    """Return the holds on these records, by index; see `catalog.holds.holds_on`.

    Raises IntegrityError (`catalog.altered`) when a hold of the log is missing in the projection.
    """
    size = services.reader.head().size
    logged = _on_the_log(services, size)
    with read(services.engine) as conn:  # after the look into the log: what came since is here too
        known = {
            row["record_idx"]
            for row in catalog.all_holds(conn)
            if row["lifted_by"] is None or row["lifted_by"] >= size
        }
        held = catalog.holds_on(conn, indices)
    if missing := logged - known:
        raise IntegrityError(
            f"the catalog does not show the hold of index {min(missing)} as it is on the log",
            code="catalog.altered",
            hint="find out who changed it, then run `genops catalog rebuild`",
        )
    return held


def _on_the_log(services: Services, size: int) -> set[int]:
    """Return the indices of the holds that stand by the first `size` records of the log itself."""
    standing: dict[int, tuple[str, str]] = {}
    for index, entry, statement in records_of(services.engine, PREDICATE_HOLD, size):
        _fold(standing, index, entry, statement)
    return set(standing)


def _fold(
    standing: dict[int, tuple[str, str]], index: int, entry: LogEntry, statement: Statement
) -> None:
    target = statement.predicate["target"]
    if statement.predicate["action"] == "place":
        standing[index] = entry.record_id, target
        return
    for other in [i for i, names in standing.items() if target in names]:
        del standing[other]


def _check(reason: str) -> None:
    if not reason.strip():
        raise InputError("a hold needs a reason", code="hold.reason", hint='--reason "…"')


def _target(services: Services, text: str) -> str:
    """Return the id of the asset or record that `text` names."""
    with read(services.engine) as conn:
        return choose.target(conn, text)


def _declare(
    services: Services, target: str, action: Action, reason: str, actor: str | None
) -> Receipt:
    ref = parse_ref(target)
    digest = bytes.fromhex(ref.hex)
    with read(services.engine) as conn:
        if ref.kind == "record":
            query = RECORDS.select().where(is_record(digest))
            row = conn.execute(query).mappings().one()
        else:
            row = queries.outputs_of(conn, digest)[0]
    subject = row["payload_sha256"] if ref.kind == "record" else digest
    return _log(services, target, subject, action, reason, row["project"], actor)


def _log(
    services: Services,
    target: str,
    subject: bytes,
    action: Action,
    reason: str,
    project: str,
    actor: str | None,
) -> Receipt:
    head = services.head(project, actor)
    predicate = predicates.hold(head, action=action, target=target, reason=reason)
    subjects = [Subject("out/0", subject.hex())]
    return declare(services, subjects, PREDICATE_HOLD, predicate, role="reviewer")


def _view(services: Services, row: RowMapping, lifts: Mapping[int, RowMapping]) -> HoldView:
    named = record_id if row["kind"] == "record" else asset_id
    lift_row = lifts.get(row["lifted_by"])
    return HoldView(
        hold=record_id(row["leaf_hash"].hex()),
        target=named(row["target"].hex()),
        kind=row["kind"],
        placed=format_time(row["time_ms"]),
        by=_actor_of(services, row["record_idx"]),
        reason=text_of(services, row["record_idx"], "reason"),
        lifted=format_time(lift_row["time_ms"]) if lift_row else None,
        lifted_by=record_id(lift_row["leaf_hash"].hex()) if lift_row else None,
    )


def _actor_of(services: Services, index: int) -> str | None:
    opened = open_statement(services, index, RecordView(services, index).statement)
    name = opened.document["predicate"]["genops_actor"].get("name")
    return name if isinstance(name, str) else None
