"""Look-ups with a file, and what changes the registry: gate decisions and taints."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from registry.core.answers import GateReport, Receipt
from registry.core.look_up import REGISTERED, FindResult
from registry.web.api.bodies import PROBLEMS, GateBody, Problem, TaintBody
from registry.web.lookup import MOST_BANKS, RADIUS, look_up
from registry.web.refs import checked_policy, checked_ref
from registry.web.services import Deps
from registry.web.uploads import check_declared, read_upload

router = APIRouter(tags=["actions"], responses=PROBLEMS)

_FIND_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {"file": {"type": "string", "format": "binary"}},
                }
            },
        },
    }
}

_FIND_PROBLEMS: dict[int | str, dict[str, Any]] = {
    413: {"model": Problem, "description": "The body, or the picture in it, is too large"},
    415: {"model": Problem, "description": "Not the file itself, broken, or not what it says"},
    422: {"model": Problem, "description": "No file, no such bank, or no radius"},
}


@router.post("/find", openapi_extra=_FIND_BODY, responses=_FIND_PROBLEMS)
async def find(
    deps: Deps,
    request: Request,
    radius: Annotated[int, Query(ge=0, le=256)] = RADIUS,
    banks: Annotated[list[str], Query(min_length=1, max_length=MOST_BANKS)] = [REGISTERED],  # noqa: B006  # FastAPI copies it
) -> FindResult:
    """Look a file up: the same bytes, the same pixels, and what looks or reads like it.

    `radius` is the largest perceptual distance in bits of 256; `banks` may be repeated, and
    `registered` is the bank of all assets. What is no picture or text is looked up by its bytes
    alone, and a note says so. No record does not mean not AI.
    """
    upload = await read_upload(request)
    check_declared(upload, deps.settings.limits)
    return await look_up(deps, upload.data, radius=radius, banks=banks)


@router.post("/gate")
def gate(deps: Deps, body: GateBody) -> GateReport:
    """Judge assets under a shipped policy; the decisions are signed and put on the log."""
    refs = [checked_ref(ref) for ref in body.refs]
    return deps.registry.gate(refs, policy=checked_policy(body.policy), record=body.record)


@router.post("/taints")
def taint(deps: Deps, body: TaintBody) -> Receipt:
    """Taint an asset, material or record, and all that derives from it; or clear a taint."""
    ref = checked_ref(body.ref)
    if body.action == "clear":
        return deps.registry.clear_taint(ref, reason=body.reason, actor=body.actor)
    return deps.registry.taint(ref, reason=body.reason, severity=body.severity, actor=body.actor)
