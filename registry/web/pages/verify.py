"""Drop a file, learn what the registry knows of it."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from registry.core.look_up import FindResult, Match
from registry.errors import InputError
from registry.web.errors import status_of
from registry.web.lookup import look_up
from registry.web.services import Deps
from registry.web.uploads import read_upload

router = APIRouter()


@router.get("/verify")
def verify_form(deps: Deps, request: Request) -> Response:
    """Show the form."""
    return deps.templates.TemplateResponse(request, "verify.html", _context(deps))


@router.post("/verify")
async def verify_file(deps: Deps, request: Request) -> Response:
    """Look one file up and show the three kinds of match apart."""
    try:
        upload = await read_upload(request)
        result = await look_up(deps, upload.data)
    except InputError as error:
        context = _context(deps) | {"error": error}
        code = status_of(error)
        return deps.templates.TemplateResponse(request, "verify.html", context, status_code=code)
    context = _context(deps) | {
        "result": result,
        "exact": _of_kind(result, "exact"),
        "pixels": _of_kind(result, "pixels"),
        "similar": _of_kind(result, "perceptual"),
    }
    return await run_in_threadpool(deps.templates.TemplateResponse, request, "verify.html", context)


def _context(deps: Deps) -> dict[str, object]:
    limit = deps.settings.limits.upload_bytes
    return {"result": None, "error": None, "upload_bytes": limit}


def _of_kind(result: FindResult, kind: str) -> list[Match]:
    return [match for match in result.matches if match.kind == kind]
