"""What an asset looks like in each bank, as a policy sees it: from what is stored, nothing decoded.

Leaves out what it should look like: itself, the pictures that it was made from, and what else was
made from them. What a match means for a release is the business of policies.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from sqlalchemy import Connection, RowMapping

from registry.catalog.origins import picture_origins
from registry.core.look_up import REGISTERED, FindResult, Match
from registry.policy.model import Bundle
from registry.similarity import banks
from registry.similarity.certainty import Calibration
from registry.similarity.finder import find_stored
from registry.similarity.stored_query import stored_query
from registry.store.transaction import read
from registry.workflows.facts import Facts, Similar
from registry.workflows.look_up import calibration
from registry.workflows.services import Services

_FACT = re.compile(r"\bsimilar\b")


def asks_for_similar(bundle: Bundle) -> bool:
    """Tell whether a rule speaks of what an asset looks like; only then is it looked for."""
    texts = (text for rule in bundle.rules for text in (rule.when, rule.require, rule.show))
    return any(_FACT.search(text) for text in texts if text)


def similar_in(services: Services) -> Similar:
    """Return what gives the fact `similar` of outputs, by the calibration that counts now."""
    with read(services.engine) as conn:
        kinds = {n: kind for n, kind in banks.kinds(conn).items() if kind != "negative"}
    chosen, _ = calibration(services)
    return partial(_similar, services, chosen, {REGISTERED: REGISTERED, **kinds})


def _similar(
    services: Services,
    chosen: Calibration,
    kinds: Mapping[str, str],
    row: RowMapping,
) -> list[Facts] | None:
    """Return the surest match in each bank; None for a picture of which nothing is stored."""
    pixels = row["pixels"].hex() if row["pixels"] else None
    with read(services.engine) as conn:
        query = stored_query(conn, row["sha256"].hex(), pixels)
    if query is None and (row["media_type"] or "image/").startswith("image/"):
        return None
    found = find_stored(
        services.engine,
        row["sha256"].hex(),
        query,
        banks=tuple(kinds),
        now_ms=services.now(),
        calibration=chosen,
    )
    return [_fact(match, kinds[match.bank]) for match in _surest(services, found, row["sha256"])]


def _surest(services: Services, found: FindResult, sha256: bytes) -> Iterator[Match]:
    """Yield the first match of each bank that is no relative: they come the surest first."""
    with read(services.engine) as conn:
        origins = picture_origins(conn, sha256)
        seen: set[str] = set()
        for match in found.matches:
            if match.bank not in seen and not _related(conn, match, origins):
                seen.add(match.bank)
                yield match


def _related(conn: Connection, match: Match, origins: frozenset[bytes]) -> bool:
    if match.bank != REGISTERED:
        return False
    theirs = picture_origins(conn, bytes.fromhex(match.id.removeprefix("sha256:")))
    return not origins.isdisjoint(theirs)


def _fact(match: Match, kind: str) -> Facts:
    numbers: dict[str, Any] = {
        "distance": match.distance,
        "expected": match.expected,
        "expectedBound": match.expected_bound,
    }
    return {
        "bank": match.bank,
        "kind": kind,
        "id": match.id,
        "match": match.kind,
        "verdict": match.verdict,
        "state": match.state,
        "fingerprint": match.fingerprint,
        "extrapolated": match.extrapolated,
    } | {name: value for name, value in numbers.items() if value is not None}
