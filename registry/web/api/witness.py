"""The registry as a witness of other logs: C2SP tlog-witness, under the prefix `/witness`.

The protocol has no callers to authenticate: what counts is the log's signature on the checkpoint.
"""

from anyio import to_thread
from fastapi import APIRouter, Request
from starlette.responses import Response

from registry.core.witnessing import SIZE_MEDIA_TYPE
from registry.errors import FormatError, GenopsError
from registry.web.errors import error_response, status_of
from registry.web.services import Deps

router = APIRouter(tags=["witness"])

_STATUSES = {"note.unsigned": 403, "note.bad-signature": 403, "proof.invalid": 422}
_BODY = {
    "requestBody": {
        "required": True,
        "content": {"text/plain": {"schema": {"type": "string"}}},
    }
}


@router.post("/witness/add-checkpoint", response_class=Response, openapi_extra=_BODY)
async def add_checkpoint(deps: Deps, request: Request) -> Response:
    """Cosign a log's checkpoint that goes on from the last one that was cosigned here.

    200 with cosignature lines; 400 for a malformed request, 403 when the log did not sign, 404 for
    a log that is not followed here, 409 with the size that was cosigned last, 422 when the proof
    does not lead from there.
    """
    body = await request.body()
    try:
        reply = await to_thread.run_sync(deps.registry.witness.add_checkpoint, body)
    except GenopsError as error:
        status = 400 if isinstance(error, FormatError) else status_of(error)
        return error_response(request, error, status=_STATUSES.get(error.code, status))
    if reply.lines is None:
        # Not by `media_type`, which would add a charset: clients compare the whole field.
        return Response(f"{reply.size}\n", 409, headers={"Content-Type": SIZE_MEDIA_TYPE})
    return Response(reply.lines, media_type="text/plain; charset=utf-8")
