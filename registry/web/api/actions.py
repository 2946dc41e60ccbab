"""Look-ups with a file, and what changes the registry: gate decisions and taints."""

from typing import Annotated

from fastapi import APIRouter, Query, Request

from registry.core.answers import GateReport, Receipt
from registry.core.look_up import FindResult
from registry.web.api.bodies import PROBLEMS, GateBody, TaintBody
from registry.web.lookup import RADIUS, look_up
from registry.web.refs import checked_policy, checked_ref
from registry.web.services import Deps
from registry.web.uploads import read_upload

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


@router.post("/find", openapi_extra=_FIND_BODY)
async def find(
    deps: Deps, request: Request, radius: Annotated[int, Query(ge=0, le=256)] = RADIUS
) -> FindResult:
    """Look a picture up: the same bytes, the same pixels, and what looks like it.

    `radius` is the largest perceptual distance in bits of 256. No record does not mean not AI.
    """
    data = await read_upload(request)
    return await look_up(deps, data, radius=radius)


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
