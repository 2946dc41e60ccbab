"""The list of assets, and the passport that a compliance officer reads."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from registry.core.answers import Passport
from registry.core.digests import ASSET_HEAD
from registry.core.search_terms import FIELDS, MOST_CHARACTERS, SORTS, split
from registry.core.search_values import CHOICES
from registry.core.statements import Statement
from registry.errors import InputError, NotFoundError
from registry.web import thumbnails
from registry.web.downloads import blob_response, evidence_response
from registry.web.pages import present
from registry.web.pages.verdict import Decision, decision_of, newest_decision, standing
from registry.web.refs import RefPath, checked_ref
from registry.web.services import Deps, Services

router = APIRouter()

PAGE_ROWS = 48
DERIVED_ROWS = 12
KINDS = CHOICES["kind"]

_LONGEST = 200
_Name = Annotated[str, Query(max_length=_LONGEST)]


class Wanted(BaseModel):
    """What the form above the list asks for."""

    q: str = Field("", max_length=MOST_CHARACTERS)
    sort: str = Field("", max_length=_LONGEST)
    project: str = Field("", max_length=_LONGEST)
    campaign: str = Field("", max_length=_LONGEST)
    kind: str = Field("", max_length=_LONGEST)
    tainted: str = Field("", max_length=_LONGEST)
    page: int = Field(1, ge=1, le=10**6)

    def terms(self) -> list[str]:
        """Return the terms that the fields beside the search stand for.

        A comma, which would part two values, is any character.
        """
        given = {"project": self.project, "campaign": self.campaign}
        given |= {
            name: getattr(self, name)
            for name in ("kind", "tainted")
            if getattr(self, name) in CHOICES[name]
        }
        return [
            f"{name}:{value.replace(',', '*')}" for name, value in given.items() if value.strip()
        ]


@router.get("/")
def list_page(
    deps: Deps,
    request: Request,
    wanted: Annotated[Wanted, Query()],
) -> Response:
    """Show a page of assets, newest first unless said; what is no search is told above it."""
    chosen, page = wanted.model_dump(exclude={"page"}), wanted.page
    found, problem = None, None
    try:
        found = deps.registry.search(
            [*split(wanted.q), *wanted.terms()],
            sort=wanted.sort or None,
            limit=PAGE_ROWS,
            offset=(page - 1) * PAGE_ROWS,
        )
    except (InputError, NotFoundError) as error:
        problem = error
    context = {
        "assets": found.assets if found else (),
        "notes": found.notes if found else (),
        "problem": problem,
        "chosen": chosen,
        "filtered": any(chosen.values()),
        "kinds": KINDS,
        "sorts": SORTS,
        "fields": FIELDS,
        "page": page,
        "newer": _page_link(chosen, page - 1) if page > 1 else None,
        "older": _page_link(chosen, page + 1) if found and found.more else None,
    }
    status = HTTPStatus.UNPROCESSABLE_ENTITY if problem else HTTPStatus.OK
    return deps.templates.TemplateResponse(request, "assets.html", context, status_code=status)


@router.get("/assets")
def look_up(deps: Deps, request: Request, ref: _Name = "") -> Response:
    """Show the passport of an id that was typed into the look-up field."""
    return passport_page(deps, request, ref)


@router.get("/assets/{ref}")
def passport_page(deps: Deps, request: Request, ref: RefPath) -> Response:
    """Show an asset's passport; the record is verified while the page is made."""
    passport = deps.registry.get(checked_ref(ref))
    checks = deps.registry.verify(passport.record)
    context = _passport_context(passport) | {
        "asset": passport,
        "checks": checks,
        "standing": standing(passport, checks, _decision(deps, passport)),
        "impact": deps.registry.impact(passport.id, limit=DERIVED_ROWS),
        "head": deps.registry.log.head(),
    }
    return deps.templates.TemplateResponse(request, "passport.html", context)


@router.get("/assets/{ref}/thumbnail")
def thumbnail(deps: Deps, request: Request, ref: RefPath) -> Response:
    """Return a small PNG of a picture; 404 for what is none."""
    passport = deps.registry.get(checked_ref(ref))
    if not present.is_picture(passport.media_type):
        raise NotFoundError(f"{passport.id} is no picture", code="thumbnail.none")
    if passport.encrypted:
        data = deps.thumbnails.make(deps.registry.read(passport.record))
        headers = {"Cache-Control": "no-store"}
        return Response(data, media_type=thumbnails.MEDIA_TYPE, headers=headers)
    path = deps.registry.blob(passport.id)  # checks the bytes, and that they may still be seen
    digest = passport.id.removeprefix(ASSET_HEAD)
    tag = thumbnails.etag(digest)
    headers = {"ETag": tag, "Cache-Control": "private, no-cache"}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    data = deps.thumbnails.get(digest, path)
    return Response(data, media_type=thumbnails.MEDIA_TYPE, headers=headers)


@router.get("/assets/{ref}/blob")
def blob(deps: Deps, ref: RefPath) -> Response:
    """Return the asset's own bytes."""
    return blob_response(deps.registry, checked_ref(ref))


@router.get("/assets/{ref}/evidence")
def evidence(deps: Deps, ref: RefPath, *, texts: bool = True) -> Response:
    """Return the evidence file of a record, with or without its texts."""
    wanted = checked_ref(ref)
    name = deps.registry.resolve(wanted).removeprefix(ASSET_HEAD)
    return evidence_response(deps.registry.evidence(wanted, texts=texts), name)


def _page_link(chosen: dict[str, str], page: int) -> str:
    query = {name: value for name, value in chosen.items() if value} | {"page": str(page)}
    return "/?" + urlencode(query)


def _passport_context(passport: Passport) -> dict[str, Any]:
    prompts, settings = present.split_texts(present.rows(passport.parameters, passport.text))
    scales = present.scales(passport.parameters)
    return {
        "prompts": prompts,
        "parameters": settings,
        "setup": present.rows(passport.setup, passport.text),
        "internals": present.rows(passport.internals, passport.text),
        "loras": [(m, scales.get(m.name)) for m in passport.materials if m.kind == "lora"],
        "models": [m for m in passport.materials if m.kind == "model"],
        "actor": present.rows(passport.actor, passport.text),
    }


def _decision(deps: Services, passport: Passport) -> Decision | None:
    """Read the newest decision on these bytes from the log itself, not from its projection."""
    event = newest_decision(passport.events)
    if event is None:
        return None
    payload = deps.registry.log.envelope(event.index).payload
    return decision_of(event, Statement.parse(payload))
