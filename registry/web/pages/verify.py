"""Drop a file, learn what the registry and its banks know of it."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from registry.core.look_up import REGISTERED, FindResult
from registry.errors import InputError
from registry.web.errors import status_of
from registry.web.lookup import look_up
from registry.web.pages.matches import groups
from registry.web.services import Deps, Services
from registry.web.uploads import read_upload

router = APIRouter()


@router.get("/verify")
def verify_form(deps: Deps, request: Request) -> Response:
    """Show the form."""
    return deps.templates.TemplateResponse(request, "verify.html", _context(deps))


@router.post("/verify")
async def verify_file(deps: Deps, request: Request) -> Response:
    """Look one file up in every bank, and show the kinds of match apart."""
    try:
        upload = await read_upload(request)
        kinds = await run_in_threadpool(_kinds, deps)
        result = await look_up(deps, upload.data, banks=tuple(kinds))
    except InputError as error:
        context = _context(deps) | {"error": error}
        code = status_of(error)
        return deps.templates.TemplateResponse(request, "verify.html", context, status_code=code)
    return await run_in_threadpool(_page, deps, request, result, kinds)


def _page(deps: Services, request: Request, result: FindResult, kinds: dict[str, str]) -> Response:
    found = groups(deps, result, kinds)
    flat = [one for group in found for one in group.found]
    context = _context(deps) | {
        "result": result,
        "groups": found,
        "blocked": [one for one in flat if one.blocked and one.match.verdict != "review"],
        "own": [one for one in flat if one.asset],
        "certain": [one for one in flat if one.asset and one.verdict == "Certain"],
    }
    return deps.templates.TemplateResponse(request, "verify.html", context)


def _kinds(deps: Services) -> dict[str, str]:
    """Return what each bank that is searched is for, by its name; assets first."""
    banks = {bank.name: str(bank.kind) for bank in deps.registry.banks.list()}
    return {REGISTERED: REGISTERED} | {n: kind for n, kind in banks.items() if kind != "negative"}


def _context(deps: Services) -> dict[str, object]:
    limit = deps.settings.limits.upload_bytes
    return {"result": None, "error": None, "upload_bytes": limit}
