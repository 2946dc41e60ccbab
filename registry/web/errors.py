"""From the registry's errors to answers: JSON for programs, a page for people.

Nothing of an unexpected error leaves the process but that it happened.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from registry import errors
from registry.errors import GenopsError
from registry.web.services import services_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI, Request

_LOG = logging.getLogger(__name__)

STATUS_BY_CODE: Mapping[str, int] = {
    "request.too-large": 413,
    "image.too-large": 413,
    "image.unreadable": 415,
    "image.truncated": 415,
    "image.suffix": 415,
    "request.media-type": 415,
    "request.foreign": 403,
    "request.host": 403,
    "auth.required": 401,
    "material.missing": 404,
}
"""Codes whose status differs from that of their class."""

STATUS_BY_CLASS: tuple[tuple[type[GenopsError], int], ...] = (
    (errors.NotFoundError, 404),
    (errors.AmbiguousError, 409),
    (errors.ConflictError, 409),
    (errors.MaterialError, 409),
    (errors.ErasedError, 410),
    (errors.TrustError, 403),
    (errors.RollbackError, 503),
    (errors.UnavailableError, 503),
    (errors.HomeError, 503),
    (errors.KeyFileError, 503),
    (errors.MissingExtraError, 501),
    (errors.PolicyError, 422),
    (errors.CaptureError, 422),
    (errors.InputError, 422),
)
"""HTTP status of each class of error; the first that fits counts, anything else is a 500."""

_HEADERS_BY_STATUS: Mapping[int, Mapping[str, str]] = {
    401: {"WWW-Authenticate": "Bearer"},
    413: {"Connection": "close"},  # or the rest of the body would be read for nothing
}
_PROGRAMS = ("/api/", "/tlog/", "/witness/", "/openapi.json")
_HTTP_CODES = {404: "page.unknown", 405: "request.method", 413: "request.too-large"}


def status_of(error: GenopsError) -> int:
    """Return the HTTP status that says what kind of error this is."""
    if error.code in STATUS_BY_CODE:
        return STATUS_BY_CODE[error.code]
    return next((status for kind, status in STATUS_BY_CLASS if isinstance(error, kind)), 500)


def error_body(error: GenopsError) -> dict[str, Any]:
    """Return an error's JSON: code, message, hint, and `kind`, its class in `registry.errors`."""
    known = (c for c in type(error).__mro__ if c.__module__ == errors.__name__)
    return error.to_dict() | {"kind": next(known, GenopsError).__name__}


def error_response(request: Request, error: GenopsError, *, status: int | None = None) -> Response:
    """Return the answer to a request that failed: JSON under /api and /tlog, else a page."""
    code = status_of(error) if status is None else status
    headers = _HEADERS_BY_STATUS.get(code)
    if request.url.path.startswith(_PROGRAMS):
        return JSONResponse(error_body(error), code, headers)
    context = {"error": error, "status": code, "phrase": HTTPStatus(code).phrase}
    templates = services_of(request).templates
    return templates.TemplateResponse(
        request, "error.html", context, status_code=code, headers=headers
    )


def unexpected_response(request: Request, error: Exception) -> Response:
    """Log an error that nobody foresaw; the answer says only that it happened."""
    _LOG.error("unexpected error at %s", request.url.path, exc_info=error)
    problem = GenopsError(
        "the service failed on this request",
        code="server.error",
        hint="its log says why",
    )
    return error_response(request, problem, status=500)


def install_handlers(app: FastAPI) -> None:
    """Let every foreseen error of the application end in `error_response`."""
    app.add_exception_handler(GenopsError, _registry_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)


def _registry_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, GenopsError):
        raise error
    return error_response(request, error)


def _validation_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    problem = errors.InputError(f"{where}: {first['msg']}", hint="see /openapi.json")
    return error_response(request, problem)


def _http_error(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    code = _HTTP_CODES.get(error.status_code, "request.invalid")
    message = str(error.detail)
    if error.status_code == 404:
        problem: GenopsError = errors.NotFoundError(
            f"there is nothing at {request.url.path}", code=code, hint="the list is at /"
        )
    else:
        problem = errors.InputError(message, code=code)
    return error_response(request, problem, status=error.status_code)
