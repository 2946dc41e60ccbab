"""The log's own page: how long it is, what its head says, and what came last."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from starlette.responses import Response

from registry.core.digests import asset_id, record_id
from registry.core.entries import LogEntry
from registry.core.statements import Statement, predicate_name
from registry.core.times import format_time
from registry.web.services import Deps, Services

router = APIRouter()

NEWEST = 50


@dataclass(frozen=True, slots=True)
class LogLine:
    """One record as the log's page lists it."""

    index: int
    time: str
    predicate: str
    record: str
    subjects: tuple[str, ...]
    linked: bool


@router.get("/log")
def log_page(deps: Deps, request: Request) -> Response:
    """Show the newest checkpoint and records."""
    head = deps.registry.log.head()
    first = max(0, head.size - NEWEST)
    context = {
        "head": head,
        "note": head.note.decode("utf-8"),
        "lines": [_line(deps, index) for index in range(head.size - 1, first - 1, -1)],
    }
    return deps.templates.TemplateResponse(request, "log.html", context)


def _line(deps: Services, index: int) -> LogLine:
    entry = LogEntry.parse(deps.registry.log.entry(index))
    statement = Statement.parse(deps.registry.log.envelope(index).payload)
    name = predicate_name(statement.predicate_type) or statement.predicate_type
    return LogLine(
        index=index,
        time=format_time(entry.time_ms),
        predicate=name,
        record=record_id(entry.leaf_hash().hex()),
        subjects=tuple(asset_id(subject.sha256) for subject in statement.subjects),
        linked=name in {"generation", "ingest", "claim", "decision"},
    )
