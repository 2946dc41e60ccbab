"""Logging in with the service's token; the cookie that follows proves it without holding it."""

from typing import Annotated

from fastapi import APIRouter, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from registry.web.security import COOKIE, SESSION_S, local_path, session_cookie, token_matches
from registry.web.services import Deps

router = APIRouter()

_Target = Annotated[str, Query(alias="next", max_length=2000)]


@router.get("/login")
def login_form(deps: Deps, request: Request, target: _Target = "/") -> Response:
    """Show the form, or go on where no token is asked for."""
    if not deps.settings.api_token:
        return RedirectResponse("/", 303)
    context = {"target": local_path(target), "refused": False}
    return deps.templates.TemplateResponse(request, "login.html", context)


@router.post("/login")
def login(
    deps: Deps,
    request: Request,
    token: Annotated[str, Form(max_length=4096)],
    target: Annotated[str, Form(alias="next", max_length=2000)] = "/",
) -> Response:
    """Take the token; set the cookie and go on, or show the form again."""
    wanted = deps.settings.api_token
    if not wanted:
        return RedirectResponse("/", 303)
    if not token_matches(token.strip().encode("utf-8", "surrogatepass"), wanted):
        context = {"target": local_path(target), "refused": True}
        return deps.templates.TemplateResponse(request, "login.html", context, status_code=401)
    answer = RedirectResponse(local_path(target), 303)
    answer.set_cookie(
        COOKIE,
        session_cookie(wanted, deps.clock()),
        max_age=SESSION_S,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )
    return answer


@router.post("/logout")
def logout() -> Response:
    """Forget the login in this browser."""
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
