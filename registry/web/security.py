"""The door: which host, which caller, which origin; and the headers on every answer.

Runs before any handler and knows nothing of the registry's content.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.datastructures import MutableHeaders
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from registry.errors import GenopsError, HomeError, InputError
from registry.web.errors import error_response, unexpected_response
from registry.web.services import services_of

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

COOKIE = "genops_session"
SESSION_S = 12 * 3600
"""How long a login lasts, seconds."""
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

# A witness hears any log: what counts there is the log's own signature.
_OPEN_PATHS = frozenset({"/login", "/api/v1/health", "/witness/add-checkpoint"})
_OPEN_FOLDER = "/static/"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # Not `no-referrer`: with it browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def check_binding(host: str, api_token: str | None) -> None:
    """Refuse to be reachable from other machines without a token.

    Raises HomeError (`serve.unauthenticated`).
    """
    if not is_loopback(host) and not api_token:
        raise HomeError(
            f"will not serve on {host} without authentication",
            code="serve.unauthenticated",
            hint="set GENOPS_API_TOKEN, or serve on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Tell whether an address to listen on can only be reached from this machine."""
    return host in LOOPBACK_HOSTS


def host_name(authority: str) -> str:
    """Return the host of a Host header or origin, in lower case, without port and brackets."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").lower()
    except ValueError:
        return ""


def token_matches(given: bytes, token: str) -> bool:
    """Compare a token's UTF-8 bytes in constant time, whatever their lengths."""
    return hmac.compare_digest(_digest(given), _digest(_raw(token)))


def session_cookie(token: str, now_s: float) -> str:
    """Return a cookie that proves a login until `SESSION_S` from now, without the token in it."""
    expires = str(int(now_s) + SESSION_S)
    return f"{expires}.{_session_mac(token, expires)}"


def session_valid(cookie: str, token: str, now_s: float) -> bool:
    """Tell whether a cookie was made with this token and has not run out."""
    expires, _, mac = cookie.partition(".")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 16 and mac.isascii()):
        return False
    return hmac.compare_digest(mac, _session_mac(token, expires)) and now_s < int(expires)


def local_path(target: str) -> str:
    """Return `target` if it is a path on this site, else `/`: logins redirect nowhere else."""
    plain = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if plain and target.isprintable() else "/"


class Guard:
    """ASGI middleware: refuses what must not reach a handler, adds the security headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge one request, then pass it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        answer = _Answer(send)
        app: ASGIApp = _refusal(Request(scope)) or self._app
        try:
            await app(scope, receive, answer.send)
        except Exception as error:
            if answer.started:
                raise
            await unexpected_response(Request(scope), error)(scope, receive, answer.send)


class _Answer:
    """The way back: adds the headers, and remembers whether an answer has begun."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.started = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await self._send(message)


def _refusal(request: Request) -> Response | None:
    try:
        _check_host(request)
        by_cookie = _check_caller(request)
        _check_origin(request, by_cookie=by_cookie)
    except GenopsError as error:
        if error.code == "auth.required" and _is_page_view(request):
            return _to_login(request)
        return error_response(request, error)
    return None


def _check_host(request: Request) -> None:
    """Refuse names that are not ours: a foreign page may have pointed its name at this machine."""
    allowed = services_of(request).hosts
    host = request.headers.get("host", "")
    if allowed is not None and host_name(host) not in allowed:
        raise InputError(
            f"this service does not answer for host {host!r}",
            code="request.host",
            hint="use http://127.0.0.1 or http://localhost with the service's port",
        )


def _check_caller(request: Request) -> bool:
    """Refuse callers without the token; returns True when a login's cookie vouched for it."""
    services = services_of(request)
    token, path = services.settings.api_token, request.url.path
    if not token or path in _OPEN_PATHS or path.startswith(_OPEN_FOLDER):
        return False
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token_matches(given.strip().encode("latin-1"), token):
        return False
    if session_valid(request.cookies.get(COOKIE, ""), token, services.clock()):
        return True
    raise InputError(
        "this registry asks for a token",
        code="auth.required",
        hint="send `Authorization: Bearer <token>` (genops reads GENOPS_API_TOKEN)",
    )


def _check_origin(request: Request, *, by_cookie: bool) -> None:
    """Refuse writes that another site's page made a browser send."""
    if request.method in _SAFE_METHODS:
        return
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site")
    if origin is not None:
        own = urlsplit(origin).netloc.lower() == request.headers.get("host", "").lower()
    elif site is not None:
        own = site in {"same-origin", "none"}
    else:
        own = not by_cookie  # not a browser; one that has our cookie would say where it stands
    if not own:
        raise InputError(
            "this request comes from another site",
            code="request.foreign",
            hint="send it from the registry's own pages, or from a program without Origin",
        )


def _is_page_view(request: Request) -> bool:
    accepted = request.headers.get("accept", "")
    return request.method in _SAFE_METHODS and "text/html" in accepted


def _to_login(request: Request) -> Response:
    target = request.url.path
    if request.url.query:
        target += f"?{request.url.query}"
    return RedirectResponse(f"/login?next={quote(target, safe='')}", 303)


def _session_mac(token: str, expires: str) -> str:
    text = f"genops-session-v1 {expires}".encode("ascii")
    return hmac.new(_raw(token), text, hashlib.sha256).hexdigest()


def _raw(token: str) -> bytes:
    return token.encode("utf-8")


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
