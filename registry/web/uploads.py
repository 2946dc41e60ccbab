"""What comes in with a request: how much is taken, and one picture out of it.

The limit holds for what really arrives, whatever the request says of its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from registry.errors import InputError
from registry.web.services import services_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

UPLOAD_PATHS = frozenset({"/api/v1/find", "/verify"})
MAX_REQUEST_BYTES = 1024 * 1024
"""Largest body of a request that carries no file."""
MULTIPART_BYTES = 64 * 1024
"""What a form adds around its file."""
FIELD = "file"

_MULTIPART = "multipart/form-data"


class BodyLimit:
    """ASGI middleware: ends a request whose body outgrows what its path may take (413)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, counting its bytes."""
        if scope["type"] == "http":
            receive = _counted(receive, _limit(Request(scope)))
        await self._app(scope, receive, send)


async def read_upload(request: Request) -> bytes:
    """Return the picture in a request: the form's field `file`, or the whole body.

    Raises InputError: `request.media-type` for a form of another kind, `request.empty` without
    a byte.
    """
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith(_MULTIPART):
        data = await _form_file(request)
    elif content_type.startswith("application/x-www-form-urlencoded"):
        raise InputError(
            "a form without a file cannot be looked up",
            code="request.media-type",
            hint=f"send {_MULTIPART} with a field `{FIELD}`, or the picture as the body",
        )
    else:
        data = await request.body()
    if not data:
        raise InputError(
            "no file arrived", code="request.empty", hint="choose a picture, then send it"
        )
    return data


async def _form_file(request: Request) -> bytes:
    async with request.form(max_files=1, max_fields=8) as form:
        item = form.get(FIELD)
        if not isinstance(item, UploadFile):
            return b""
        return await item.read()


def _limit(request: Request) -> int:
    if request.url.path in UPLOAD_PATHS:
        return services_of(request).settings.limits.upload_bytes + MULTIPART_BYTES
    return MAX_REQUEST_BYTES


def _counted(receive: Receive, limit: int) -> Receive:
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limit:
            raise HTTPException(413, f"the request is larger than {limit} bytes")
        return message

    return counted
