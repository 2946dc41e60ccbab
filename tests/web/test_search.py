"""Searching over HTTP and from the list of assets answers as the embedded registry does."""

from __future__ import annotations

from dataclasses import replace

import httpx
import pytest
from starlette.testclient import TestClient

from registry.client import RemoteRegistry
from registry.core.search_terms import FIELDS
from registry.errors import InputError, NotFoundError
from tests.conftest import make_generation, make_output

API = "/api/v1"
BASE = "http://127.0.0.1:8765"


@pytest.fixture(scope="module")
def recorded(request):
    """A registry of three pictures, one of them wide, with a saved search; and a client of it."""
    from registry.factory import create_registry
    from registry.web.app import create_app

    folder = request.getfixturevalue("tmp_path_factory").mktemp("web-search")
    with create_registry(folder / "home", name="test", project="brand") as registry:
        for seed in (1, 2):
            registry.record(make_generation(seed, campaign="spring"))
        wide = make_output(3, width=400, height=100)
        registry.record(make_generation(3, outputs=(wide,), campaign="a, b <i>"))
        registry.searches.save("wide", "orientation:landscape", sort="oldest")
        app = create_app(registry, registry.settings)
        with TestClient(app, base_url=BASE) as client:
            yield registry, client


def test_a_search_over_http_answers_as_the_embedded_one(recorded):
    registry, client = recorded

    def through(request):
        answer = client.request(request.method, str(request.url), headers=request.headers)
        return httpx.Response(answer.status_code, content=answer.content)

    with RemoteRegistry(BASE, transport=httpx.MockTransport(through)) as remote:
        for terms in ((), ["width:..300", "campaign:spr*"], "@wide", ["campaign:a* b <i>"]):
            here = registry.search(terms, limit=1, count=True)
            assets = tuple(replace(asset, path=None) for asset in here.assets)
            assert assets
            assert remote.search(terms, limit=1, count=True) == replace(here, assets=assets)
        assert remote.search("seed:1", sort="lightest").total is None
        for terms, kind in (("wide:1", InputError), ("@nothing", NotFoundError)):
            with pytest.raises(kind) as there:
                remote.search(terms)
            with pytest.raises(kind) as own:
                registry.search(terms)
            assert there.value.to_dict() == own.value.to_dict()
    assert client.get(f"{API}/search", params={"limit": 100_000}).status_code == 422
    assert client.get(f"{API}/search", params={"sort": "biggest"}).status_code == 422
    fields = client.get(f"{API}/search/fields").json()
    assert [(one["field"], one["example"]) for one in fields] == [
        (name, field.example) for name, field in FIELDS.items()
    ]
    (saved,) = client.get(f"{API}/search/saved").json()
    assert (saved["name"], saved["query"]) == ("wide", "orientation:landscape")


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({}, 3),
        ({"q": "orientation:landscape"}, 1),
        ({"q": "@wide"}, 1),
        ({"q": "width:..300", "campaign": "spring"}, 2),
        ({"campaign": "a, b <i>"}, 1),
        ({"q": "orientation:portrait"}, 0),
        ({"kind": "ingested"}, 0),
        ({"kind": "unheard-of", "tainted": "no", "sort": "heaviest"}, 3),
    ],
)
def test_the_list_shows_what_the_field_and_the_filters_ask_for(recorded, query, shown):
    _, client = recorded
    page = client.get("/", params=query)
    assert page.status_code == 200
    assert page.text.count('class="card"') == shown


def test_the_list_tells_what_is_no_search_and_takes_nothing_literally(recorded):
    _, client = recorded
    for hostile in ("<script>alert(1)</script>", "campaign:'", "' OR 1=1 --", "x" * 3000):
        page = client.get("/", params={"q": hostile})
        assert page.status_code == 422
        assert "<script>alert" not in page.text
    page = client.get("/", params={"q": "campain:x"})
    assert page.status_code == 422
    assert "did you mean campaign:" in page.text
    assert 'value="campain:x"' in page.text
    assert 'class="card"' not in page.text
