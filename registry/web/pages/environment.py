"""The template environment: strict, escaping everything, with the filters of `present`."""

from __future__ import annotations

from importlib import resources
from typing import TYPE_CHECKING, Any

from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from registry.web.pages import present
from registry.web.services import services_of

if TYPE_CHECKING:
    from fastapi import Request


def templates() -> Jinja2Templates:
    """Return the templates of every page; an unknown variable is an error, never an empty text."""
    folder = resources.files("registry.web") / "templates"
    environment = Environment(
        loader=FileSystemLoader(str(folder)),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (
        present.text,
        present.short,
        present.when,
        present.size,
        present.build,
        present.plain,
    ):
        environment.filters[function.__name__] = function
    environment.tests["picture"] = present.is_picture
    environment.tests["sealed_text"] = _is_sealed
    environment.globals["is_small"] = present.is_small
    return Jinja2Templates(env=environment, context_processors=[_common])


def _common(request: Request) -> dict[str, Any]:
    settings = services_of(request).settings
    return {
        "registry_name": settings.name,
        "origin": settings.origin,
        "by_token": bool(settings.api_token),
        "here": request.url.path,
    }


def _is_sealed(value: object) -> bool:
    return isinstance(value, present.SealedText)
