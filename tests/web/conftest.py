"""Served registries: real homes, real records, the application without a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from registry.core.answers import Receipt
from registry.factory import create_registry
from registry.sdk import Registry
from registry.web.app import create_app

BASE = "http://127.0.0.1:8765"


class Browser:
    """Opens the application of one registry, with other settings where a test needs them."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._opened: list[TestClient] = []

    def __call__(self, app_options: dict[str, Any] | None = None, **settings: Any) -> TestClient:
        """Return a client; keywords replace settings, `app_options` go to `create_app`."""
        chosen = replace(self._registry.settings, **settings)
        app = create_app(self._registry, chosen, **(app_options or {}))
        client = TestClient(app, base_url=BASE, raise_server_exceptions=False)
        self._opened.append(client)
        return client

    def close(self) -> None:
        """Close every client."""
        for client in self._opened:
            client.close()


@pytest.fixture
def browse(registry: Registry) -> Iterator[Browser]:
    """Open the application of this test's own registry."""
    browser = Browser(registry)
    yield browser
    browser.close()


@pytest.fixture
def client(browse: Browser) -> TestClient:
    """The application of this test's own registry at its defaults: loopback, no token."""
    return browse()


@pytest.fixture
def recorded(registry: Registry, generation: Callable[..., Any]) -> Receipt:
    """One generation on record in this test's own registry."""
    return registry.record(generation(1))


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """One registry for all tests that write nothing."""
    with create_registry(tmp_path_factory.mktemp("still") / "home", name="still") as opened:
        yield opened


@pytest.fixture
def visit(still: Registry) -> Iterator[Browser]:
    """Open the application of the registry that nothing is written to."""
    browser = Browser(still)
    yield browser
    browser.close()


@pytest.fixture
def visitor(visit: Browser) -> TestClient:
    """The application of the registry that nothing is written to, at its defaults."""
    return visit()
