"""Questions about assets: listings, searches, passports, proofs, lineage and the bytes themselves.

Paths on this machine are left out of every answer.
"""

from dataclasses import replace
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from starlette.responses import FileResponse, Response

from registry.core.answers import AssetKind, AssetSummary, Impact, Lineage, Passport, Verification
from registry.core.digests import ASSET_HEAD
from registry.core.search_answers import SavedSearch, SearchField, SearchReport
from registry.core.search_terms import FIELDS, MOST_CHARACTERS
from registry.errors import InputError
from registry.web.api.bodies import PROBLEMS, Health
from registry.web.downloads import blob_response, evidence_response
from registry.web.refs import RefPath, checked_ref
from registry.web.services import Deps

router = APIRouter(tags=["assets"], responses=PROBLEMS)

Limit = Annotated[int, Query(ge=1, description="Most rows of this page")]
Offset = Annotated[int, Query(ge=0, le=2**53 - 1, description="Rows to skip, newest first")]
Name = Annotated[str | None, Query(max_length=200)]
Sort = Literal["newest", "oldest", "largest", "smallest", "heaviest", "lightest"]


def _ref(ref: RefPath) -> str:
    return checked_ref(ref)


Ref = Annotated[str, Depends(_ref)]


@router.get("/health", tags=["service"])
def health() -> Health:
    """Say that the service answers; the one call that needs no token."""
    return Health()


@router.get("/assets")
def list_assets(
    deps: Deps,
    project: Name = None,
    campaign: Name = None,
    kind: AssetKind | None = None,
    tainted: bool | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
) -> list[AssetSummary]:
    """List outputs, newest first."""
    found = deps.registry.list(
        project=project,
        campaign=campaign,
        kind=kind,
        tainted=tainted,
        limit=_page(deps, limit),
        offset=offset,
    )
    return [replace(asset, path=None) for asset in found]


@router.get("/search")
def search(
    deps: Deps,
    q: Annotated[
        str, Query(max_length=MOST_CHARACTERS, description="Terms, such as `width:1024..`")
    ] = "",
    sort: Sort | None = None,
    limit: Limit = 100,
    offset: Offset = 0,
    *,
    count: bool = False,
) -> SearchReport:
    """Search assets by what is known of them for certain; terms are split as a shell does.

    `@NAME` stands for a saved search. With `count`, also how many there are in all.
    """
    found = deps.registry.search(q, sort=sort, limit=_page(deps, limit), offset=offset, count=count)
    return replace(found, assets=tuple(replace(asset, path=None) for asset in found.assets))


@router.get("/search/fields")
def search_fields() -> list[SearchField]:
    """List what can be searched for, with examples."""
    return [SearchField(name, field.takes, field.example) for name, field in FIELDS.items()]


@router.get("/search/saved")
def saved_searches(deps: Deps) -> list[SavedSearch]:
    """List saved searches; each is a term: `@NAME`."""
    return deps.registry.searches.list()


@router.get("/assets/{ref}")
def show_asset(deps: Deps, ref: Ref) -> Passport:
    """Return all that is known of an asset, from its newest record or from the record named."""
    return replace(deps.registry.get(ref), path=None)


@router.get("/assets/{ref}/verification")
def verify_asset(deps: Deps, ref: Ref) -> Verification:
    """Check an asset's bytes, record, signature and proof now."""
    return deps.registry.verify(ref)


@router.get("/assets/{ref}/lineage")
def lineage(
    deps: Deps,
    ref: Ref,
    direction: Literal["up", "down", "both"] = "up",
    depth: Annotated[int | None, Query(ge=1, le=1000)] = None,
) -> Lineage:
    """Return what an asset was made from (up), what was made from it (down), or both."""
    return deps.registry.lineage(ref, direction=direction, depth=depth)


@router.get("/assets/{ref}/impact")
def impact(deps: Deps, ref: Ref, limit: Limit = 100, offset: Offset = 0) -> Impact:
    """Count and list every output that derives from an asset or material."""
    found = deps.registry.impact(ref, limit=_page(deps, limit), offset=offset)
    return replace(found, assets=tuple(replace(asset, path=None) for asset in found.assets))


@router.get("/assets/{ref}/evidence", response_class=Response)
def evidence(deps: Deps, ref: Ref, *, texts: bool = True) -> Response:
    """Return one JSON file that proves the record without this registry, maybe without texts."""
    name = deps.registry.resolve(ref).removeprefix(ASSET_HEAD)
    return evidence_response(deps.registry.evidence(ref, texts=texts), name)


@router.get("/assets/{ref}/blob", response_class=FileResponse)
def blob(deps: Deps, ref: Ref) -> Response:
    """Return an asset's bytes, checked against its digest."""
    return blob_response(deps.registry, ref)


def _page(deps: Deps, limit: int) -> int:
    most = deps.settings.limits.page_rows
    if limit > most:
        raise InputError(
            f"a page has at most {most} rows, not {limit}",
            code="input.limit",
            hint="ask for the next page with offset",
        )
    return limit
