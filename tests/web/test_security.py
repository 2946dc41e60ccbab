"""Who may ask, from where, and what every answer carries."""

from __future__ import annotations

import pytest

from registry.errors import HomeError
from registry.web import app as web_app
from registry.web.security import COOKIE, SESSION_S, host_name, local_path, session_cookie

TOKEN = "correct-horse-battery-staple"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HTML = {"Accept": "text/html"}


class Clock:
    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.7", "registry.example.com", ""])
def test_other_machines_are_not_served_without_a_token(still, host):
    home = still.settings.home.root
    with pytest.raises(HomeError) as caught:
        web_app.serve(home, host, 0)
    assert caught.value.code == "serve.unauthenticated"


def test_any_host_name_needs_a_token(visit):
    with pytest.raises(HomeError) as caught:
        visit({"hosts": None})
    assert caught.value.code == "serve.unauthenticated"
    assert visit({"hosts": None}, api_token=TOKEN).get("/api/v1/health").status_code == 200


@pytest.mark.parametrize(
    "path", ["/", "/verify", "/api/v1/assets", "/api/v1/health", "/static/genops.css"]
)
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8765", "[", ""]
)
def test_a_foreign_host_name_is_refused_on_loopback(visitor, path, host):
    answer = visitor.get(path, headers={"Host": host})
    assert answer.status_code == 403
    assert "request.host" in answer.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9999", "LOCALHOST", "[::1]:8765"])
def test_every_name_of_this_machine_is_answered(visitor, host):
    assert visitor.get("/api/v1/assets", headers={"Host": host}).status_code == 200


def test_a_named_host_is_answered_beside_loopback(visit):
    client = visit({"hosts": ["Registry.Example", "127.0.0.1"]})
    assert client.get("/", headers={"Host": "registry.example"}).status_code == 200
    assert client.get("/", headers={"Host": "other.example"}).status_code == 403


@pytest.mark.parametrize(
    "path", ["/api/v1/assets", "/api/v1/checkpoint", "/tlog/checkpoint", "/openapi.json"]
)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Bearer {TOKEN}x"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer "},
        {"Cookie": f"{COOKIE}={TOKEN}"},
    ],
)  # fmt: skip
def test_programs_without_the_token_are_refused(visit, path, headers):
    answer = visit(api_token=TOKEN).get(path, headers=headers)
    assert answer.status_code == 401
    assert answer.json()["code"] == "auth.required"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize("path", ["/", "/verify", "/log", "/api/v1/assets", "/tlog/checkpoint"])
def test_the_token_opens_everything(visit, path):
    assert visit(api_token=TOKEN).get(path, headers=BEARER).status_code == 200


def test_a_token_beyond_ascii_is_compared_as_utf8(visit):
    client = visit(api_token="sésame-ouvre-toi")
    header = b"Bearer " + "sésame-ouvre-toi".encode()
    assert client.get("/api/v1/assets", headers={b"Authorization": header}).status_code == 200


@pytest.mark.parametrize("path", ["/api/v1/health", "/login", "/static/genops.css"])
def test_health_login_and_style_need_no_token(visit, path):
    assert visit(api_token=TOKEN).get(path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/static/../api/v1/assets", "/static/%2e%2e/%2e%2e/app.py", "/api/v1/health/"]
)
def test_open_paths_open_nothing_else(visit, path):
    answer = visit(api_token=TOKEN).get(path, follow_redirects=False)
    assert answer.status_code in {401, 404}


def test_a_person_is_sent_to_the_login_and_back(visit):
    client = visit(api_token=TOKEN)
    first = client.get("/log?x=1", headers=HTML, follow_redirects=False)
    assert first.status_code == 303
    assert first.headers["location"] == "/login?next=%2Flog%3Fx%3D1"
    back = client.post("/login", data={"token": TOKEN, "next": "/log?x=1"}, follow_redirects=False)
    assert back.status_code == 303
    assert back.headers["location"] == "/log?x=1"
    assert client.get("/log").status_code == 200


def test_the_login_cookie_is_strict_hidden_and_without_the_token(visit):
    answer = visit(api_token=TOKEN).post("/login", data={"token": TOKEN}, follow_redirects=False)
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert TOKEN not in cookie


def test_a_wrong_token_opens_nothing(visit):
    client = visit(api_token=TOKEN)
    answer = client.post("/login", data={"token": "wrong"})
    assert answer.status_code == 401
    assert "set-cookie" not in answer.headers
    assert client.get("/log").status_code == 401


@pytest.mark.parametrize(
    ("path", "headers"), [("/login", {}), ("/log", {}), ("/log", {"Host": "evil.example"})]
)
def test_a_stranger_learns_nothing_of_the_registry(visit, still, path, headers):
    text = visit(api_token=TOKEN).get(path, headers=headers).text
    assert still.settings.uuid not in text
    assert f"{still.settings.name}</title>" not in text


def test_a_login_runs_out(visit):
    clock = Clock()
    client = visit({"clock": clock}, api_token=TOKEN)
    client.post("/login", data={"token": TOKEN})
    clock.now += SESSION_S - 1
    assert client.get("/log").status_code == 200
    clock.now += 2
    assert client.get("/log").status_code == 401


def test_signing_out_forgets_the_cookie(visit):
    client = visit(api_token=TOKEN)
    client.post("/login", data={"token": TOKEN})
    client.post("/logout", headers={"Origin": "http://127.0.0.1:8765"})
    assert client.get("/log").status_code == 401


def test_a_cookie_that_was_not_made_with_this_token_is_refused(visit):
    clock = Clock()
    client = visit({"clock": clock}, api_token=TOKEN)
    good = session_cookie(TOKEN, clock.now)
    expires, mac = good.split(".")
    forged = [
        session_cookie("another token", clock.now),
        f"{int(expires) + 1}.{mac}",
        f"{expires}.{'0' * len(mac)}",
        f"{expires}.",
        f".{mac}",
        "99999999999999999999.x",
        "",
    ]
    for cookie in forged:
        answer = client.get("/api/v1/assets", headers={"Cookie": f"{COOKIE}={cookie}"})
        assert answer.status_code == 401, cookie
    assert client.get("/api/v1/assets", headers={"Cookie": f"{COOKIE}={good}"}).status_code == 200


@pytest.mark.parametrize(
    "target",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:x", "", "/a\nb"],
)
def test_a_login_leads_nowhere_else(visit, target):
    assert local_path(target) == "/"
    client = visit(api_token=TOKEN)
    answer = client.post("/login", data={"token": TOKEN, "next": target}, follow_redirects=False)
    assert answer.headers["location"] == "/"


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:9999"},
    {"Origin": "http://127.0.0.1:8765.evil.example"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
]


@pytest.mark.parametrize("headers", FOREIGN)
@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/taints",
        "/api/v1/gate",
        "/api/v1/find",
        "/api/v1/matches",
        "/verify",
        "/login",
        "/logout",
    ],
)
def test_a_write_from_another_site_is_refused(visitor, path, headers):
    answer = visitor.post(path, headers=headers)
    assert answer.status_code == 403
    assert "request.foreign" in answer.text


def test_a_foreign_page_cannot_taint(registry, client, recorded):
    body = {"ref": recorded.assets[0], "reason": "because"}
    for headers in FOREIGN:
        client.post("/api/v1/taints", json=body, headers=headers)
    assert not registry.get(recorded.assets[0]).taints


@pytest.mark.parametrize(
    "headers", [{"Origin": "http://127.0.0.1:8765"}, {"Sec-Fetch-Site": "same-origin"}, {}]
)
def test_own_pages_and_programs_may_write(client, recorded, headers):
    body = {"ref": recorded.assets[0], "reason": "because"}
    assert client.post("/api/v1/taints", json=body, headers=headers).status_code == 200


def test_a_login_alone_does_not_vouch_for_a_write_without_origin(browse, recorded):
    client = browse(api_token=TOKEN)
    client.post("/login", data={"token": TOKEN})
    body = {"ref": recorded.assets[0], "reason": "because"}
    assert client.post("/api/v1/taints", json=body).status_code == 403
    own = {"Origin": "http://127.0.0.1:8765"}
    assert client.post("/api/v1/taints", json=body, headers=own).status_code == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/verify", "/log", "/nothing", "/assets/zz", "/static/genops.css", "/api/v1/assets",
     "/api/v1/assets/zz", "/tlog/checkpoint", "/openapi.json", "/boom"],
)  # fmt: skip
def test_every_answer_carries_the_security_headers(client, path):
    client.app.add_api_route("/boom", _boom)
    headers = client.get(path).headers
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert "Server" not in headers


def test_what_went_wrong_inside_stays_inside(visitor):
    visitor.app.add_api_route("/boom", _boom)
    visitor.app.add_api_route("/api/boom", _boom)
    page, answer = visitor.get("/boom"), visitor.get("/api/boom")
    assert page.status_code == answer.status_code == 500
    assert answer.json()["code"] == "server.error"
    assert "secret" not in page.text + answer.text
    assert "Traceback" not in page.text + answer.text


def _boom() -> None:
    raise RuntimeError("secret detail")


@pytest.mark.parametrize(
    ("authority", "host"),
    [("a.example:80", "a.example"), ("[::1]:8", "::1"), ("[", ""), ("x@y", "y"), ("A", "a")],
)
def test_a_host_is_read_without_port(authority, host):
    assert host_name(authority) == host
