"""What every request handler needs, built once per application.

Modules of handlers leave postponed annotations off: FastAPI reads them when a route is made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from anyio import CapacityLimiter
    from fastapi.templating import Jinja2Templates

    from registry.sdk import Registry
    from registry.settings import Settings
    from registry.web.thumbnails import Thumbnails


@dataclass(frozen=True, slots=True)
class Services:
    """The registry that is served and the parts around it.

    `lookups` limits how many pictures are looked up at once. `hosts` are the host names that
    requests may be addressed to, None for any. `clock` gives epoch seconds.
    """

    registry: Registry
    settings: Settings
    templates: Jinja2Templates
    thumbnails: Thumbnails
    lookups: CapacityLimiter
    hosts: frozenset[str] | None
    clock: Callable[[], float]


def services_of(connection: HTTPConnection) -> Services:
    """Return the application's services; raises AttributeError outside `create_app`."""
    return cast("Services", connection.app.state.services)


Deps = Annotated[Services, Depends(services_of)]
