"""Retention: a home's rules say how long texts are kept, and what is older is erased."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sqlalchemy import RowMapping, select

from registry.catalog.graph import RECORDS
from registry.catalog.queries import ERASURES
from registry.core.privacy import ErasureReport, RetentionReport, RetentionRule, RetentionView
from registry.core.statements import PREDICATES, predicate_name
from registry.core.times import format_time
from registry.errors import NotFoundError, PolicyError
from registry.log.head import read_head
from registry.policy.document import read_document
from registry.store.transaction import read
from registry.workflows import erase
from registry.workflows.choose import Choice, Reason
from registry.workflows.erase import Because
from registry.workflows.services import Services
from registry.workflows.texts import SEALED, Progress

SCHEMA = "retention/v1"
DAY_MS = 86_400_000
_KEPT = {"erasure", "hold", "trust"}
"""Erasing an erasure's texts would only leave another erasure behind; the others are evidence."""


@dataclass(frozen=True, slots=True)
class _Due:
    """What is to be erased as of a log time, and the rule that says so, by record index."""

    as_of_ms: int
    rules: Mapping[int, RetentionRule]

    @property
    def choice(self) -> Choice:
        return Choice({index: Reason(("rule",)) for index in self.rules})

    def report(self, erasure: ErasureReport) -> RetentionReport:
        counts = Counter(rule.name for rule in self.rules.values())
        return RetentionReport(format_time(self.as_of_ms), dict(sorted(counts.items())), erasure)


def rules(services: Services) -> RetentionView:
    """Return the home's rules.

    Raises NotFoundError (`retention.none`) without a `retention.yaml`, PolicyError for one that
    cannot be read, with the place.
    """
    path = services.settings.home.retention
    if not path.exists():
        raise NotFoundError(
            f"there are no rules at {path}",
            code="retention.none",
            hint="docs/privacy.md shows how to write them; until then every text is kept",
        )
    document = read_document(path, str(path))
    document.check(services.schemas, SCHEMA)
    found = tuple(map(_rule, document.value["rules"]))
    twice = [name for name, count in Counter(rule.name for rule in found).items() if count > 1]
    if twice:
        raise PolicyError(f"{path}: two rules are called {twice[0]}", code="retention.duplicate")
    return RetentionView(str(path), found)


def plan(services: Services) -> RetentionReport:
    """Say what the rules ask for now: due records by rule, each item marked when it is held."""
    due = _due(services)
    return due.report(erase.plan(services, due.choice))


def run(
    services: Services, *, actor: str | None = None, progress: Progress | None = None
) -> RetentionReport:
    """Erase what is due; what is held is left and reported. Goes on where an earlier run stopped.

    Each erasure says its rule as the reason. Log time decides, so that a record's own claims do
    not.
    """
    erase.finish_erasures(services)
    due = _due(services)
    if not due.rules:
        return due.report(ErasureReport(dry_run=False, items=()))

    def because(index: int) -> Because:
        rule = due.rules[index]
        return Because(f"retention rule {rule.name}: {rule.after_days} days", actor)

    return due.report(erase.erase_each(services, due.choice, because, progress=progress))


def _rule(document: Mapping[str, Any]) -> RetentionRule:
    return RetentionRule(
        name=document["name"],
        after_days=document.get("after_days"),
        project=document.get("project", "*"),
        campaign=document.get("campaign", ""),
        predicates=tuple(document.get("predicates", ())),
    )


def _due(services: Services) -> _Due:
    chosen = rules(services).rules
    with read(services.engine) as conn:
        now_ms = max(services.now(), read_head(conn).time_ms)  # what a record would get now
    found = {}
    for row in _candidates(services):
        rule = next((rule for rule in chosen if _covers(rule, row)), None)
        if rule is None or rule.after_days is None:
            continue
        if row["time_ms"] + rule.after_days * DAY_MS <= now_ms:
            found[row["idx"]] = rule
    return _Due(now_ms, found)


def _candidates(services: Services) -> Iterator[RowMapping]:
    """Yield the records that have sealed texts which are not erased."""
    kinds = [uri for uri in PREDICATES if predicate_name(uri) not in _KEPT]
    query = (
        select(RECORDS)
        .join(SEALED, SEALED.c.record_idx == RECORDS.c.idx)
        .where(RECORDS.c.leaf_hash.not_in(select(ERASURES.c.of_record)))
        .where(RECORDS.c.predicate_type.in_(kinds))
        .order_by(RECORDS.c.idx)
    )
    with read(services.engine) as conn:
        yield from conn.execute(query).mappings()


def _covers(rule: RetentionRule, row: RowMapping) -> bool:
    if rule.predicates and predicate_name(row["predicate_type"]) not in rule.predicates:
        return False
    if rule.campaign and not (row["campaign"] and fnmatchcase(row["campaign"], rule.campaign)):
        return False
    return fnmatchcase(row["project"], rule.project)
