"""The application: one registry behind routes, with the door in front of them."""

from __future__ import annotations

import time
from importlib import resources
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.staticfiles import StaticFiles

from registry.web import api, pages
from registry.web.errors import install_handlers
from registry.web.lookup import AT_ONCE
from registry.web.security import LOOPBACK_HOSTS, Guard, check_binding, is_loopback
from registry.web.services import Services
from registry.web.thumbnails import Thumbnails
from registry.web.uploads import BodyLimit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from registry.sdk import Registry
    from registry.settings import Settings

DEFAULT_PORT = 8765
_DESCRIPTION = "Lineage registry for generated assets: records, proofs, look-up and gates."


def create_app(
    registry: Registry,
    settings: Settings,
    *,
    hosts: Iterable[str] | None = LOOPBACK_HOSTS,
    clock: Callable[[], float] = time.time,
) -> FastAPI:
    """Return the service of one open registry, which stays the caller's to close.

    `hosts` are the names that requests may be addressed to; None takes any, and needs
    `settings.api_token`. `clock` gives epoch seconds. Raises HomeError (`serve.unauthenticated`).
    """
    if hosts is None:
        check_binding("any host", settings.api_token)
    app = FastAPI(
        title="GenOps registry",
        version=_version(),
        description=_DESCRIPTION,
        docs_url=None,  # its page loads scripts from elsewhere
        redoc_url=None,
        middleware=[Middleware(Guard), Middleware(BodyLimit)],
    )
    app.state.services = Services(
        registry=registry,
        settings=settings,
        templates=pages.templates(),
        thumbnails=Thumbnails(settings.limits),
        lookups=CapacityLimiter(AT_ONCE),
        hosts=None if hosts is None else frozenset(host.lower() for host in hosts),
        clock=clock,
    )
    install_handlers(app)
    app.include_router(api.router)
    app.include_router(api.tlog_router)
    app.include_router(pages.router)
    static = resources.files("registry.web") / "static"
    app.mount("/static", StaticFiles(directory=str(static)), name="static")
    return app


def serve(
    home: str | Path,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    *,
    allowed_hosts: Iterable[str] = (),
) -> None:
    """Serve the registry at `home` until interrupted.

    Without a token only this machine is served. With one, `allowed_hosts` limits the names that
    requests may be addressed to (a proxy on this machine passes its own). Raises HomeError
    (`serve.unauthenticated`) before a port is opened.
    """
    import uvicorn  # noqa: PLC0415  # only a running service needs it

    from registry.factory import open_home  # noqa: PLC0415  # as is all behind it

    with open_home(home) as registry:
        settings = registry.settings
        check_binding(host, settings.api_token)
        named = frozenset(allowed_hosts)
        hosts = LOOPBACK_HOSTS | named if is_loopback(host) else (named or None)
        app = create_app(registry, settings, hosts=hosts)
        uvicorn.run(app, host=host, port=port, server_header=False, log_level="info")


def _version() -> str:
    try:
        return version("genops-registry")
    except PackageNotFoundError:
        return "0"
