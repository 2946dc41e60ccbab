"""What comes in with a request: how much is taken, and one file out of it.

The limit holds for what really arrives, whatever the request says of its length.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from registry.errors import InputError
from registry.similarity.decode import MEDIA_TYPES, open_header
from registry.similarity.media import UNKNOWN, media_type_of
from registry.web.errors import error_response
from registry.web.services import services_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from registry.similarity.decode import ImageLimits

UPLOAD_PATHS = frozenset({"/api/v1/find", "/api/v1/matches", "/verify"})
MAX_REQUEST_BYTES = 1024 * 1024
"""Largest body of a request that carries no file."""
MULTIPART_BYTES = 64 * 1024
"""What a form adds around its file."""
FIELD = "file"

_MULTIPART = "multipart/form-data"
_WRAPPERS = ("multipart/", "application/x-www-form-urlencoded", "application/json")
"""Types of bodies that hold a file in some way, if any: their own bytes are nobody's file."""
_SAME = {"image/jpg": "image/jpeg", "image/pjpeg": "image/jpeg", "image/x-png": "image/png"}


class Upload(NamedTuple):
    """A file that arrived, and what the request says that it is; "" where it does not matter.

    What a form says of its file follows from a name, so it does not count.
    """

    data: bytes
    media_type: str


class BodyLimit:
    """ASGI middleware: ends a request whose body outgrows what its path may take (413).

    At once where the request says so itself; else as soon as more has arrived, whatever it says.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request on, counting its bytes."""
        if scope["type"] == "http":
            request = Request(scope)
            limit = _limit(request)
            if _declared_bytes(request) > limit:
                answer = error_response(request, _too_large(limit))
                await answer(scope, receive, send)
                return
            receive = _counted(receive, limit)
        await self._app(scope, receive, send)


async def read_upload(request: Request) -> Upload:
    """Return the file in a request: the form's field `file`, or the whole body.

    Raises InputError: `request.media-type` for a body that is not the file itself, `request.empty`
    without a byte.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _no_file("a compressed body is not the file itself")
    if declared == _MULTIPART:
        upload = Upload(await _form_file(request), "")
    elif declared.startswith(_WRAPPERS):
        raise _no_file(f"a body of {declared} is not the file itself")
    else:
        upload = Upload(await request.body(), _SAME.get(declared, declared))
    if not upload.data:
        raise InputError(
            "no file arrived", code="request.empty", hint="choose a file, then send it"
        )
    return upload


def check_declared(upload: Upload, limits: ImageLimits) -> None:
    """Refuse a body whose bytes are not what its media type says (`request.media-type`).

    Also raises `image.unreadable` and `image.too-large` for what should be a picture. A type that
    nobody here can tell by its bytes passes: such a file is looked up by its bytes alone.
    """
    told = upload.media_type.startswith(("image/", "text/"))
    found = media_type_of(upload.data, "")
    if upload.media_type in MEDIA_TYPES.values():
        found = MEDIA_TYPES[open_header(upload.data, "the body", limits).format or ""]
    if told and found not in {UNKNOWN, upload.media_type}:
        raise InputError(
            f"the body says that it is {upload.media_type}, but it is {found}",
            code="request.media-type",
            hint=f"say {found}, or application/octet-stream",
        )


def _no_file(why: str) -> InputError:
    return InputError(
        why,
        code="request.media-type",
        hint=f"send the file as the body, or {_MULTIPART} with a field `{FIELD}`",
    )


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


def _declared_bytes(request: Request) -> int:
    """Return the length that the request states; 0 where it states none that can be read."""
    stated = request.headers.get("content-length", "")
    return int(stated) if stated.isascii() and stated.isdecimal() else 0


def _too_large(limit: int) -> InputError:
    return InputError(f"the request is larger than {limit} bytes", code="request.too-large")


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
