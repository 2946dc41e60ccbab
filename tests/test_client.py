"""A served registry answers as an embedded one does; every failure has its name."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import replace

import httpx
import pytest
import uvicorn

from registry import errors
from registry.client import RemoteRegistry, error_of
from registry.core.evidence import verify_evidence
from registry.errors import GenopsError, InputError, NotFoundError, UnavailableError
from registry.web.app import create_app
from registry.web.errors import error_body

TOKEN = "sésame-ouvre-toi"


class Server:
    """The real service on a port of its own, in a thread."""

    def __init__(self, registry, **settings):
        app = create_app(registry, replace(registry.settings, **settings))
        config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="off")
        self._server = uvicorn.Server(config)
        self._socket = config.bind_socket()
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True
        )

    def __enter__(self):
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        return self

    def __exit__(self, *_):
        self._server.should_exit = True
        self._thread.join(10)
        self._socket.close()


@pytest.fixture
def remote(registry):
    with Server(registry) as server, RemoteRegistry(server.url) as opened:
        yield opened


@pytest.fixture
def recorded(registry, generation):
    return registry.record(generation(1, campaign="spring"))


def pathless(answer):
    fields = {"path": None}
    if hasattr(answer, "assets"):
        fields = {"assets": tuple(replace(a, path=None) for a in answer.assets)}
    return replace(answer, **fields)


def test_each_answer_equals_the_embedded_one(registry, remote, recorded):
    ref = recorded.assets[0]
    assert remote.get(ref) == pathless(registry.get(ref))
    assert remote.resolve(ref[7:17]) == ref
    assert remote.verify(ref) == registry.verify(ref)
    assert remote.lineage(ref, direction="both") == registry.lineage(ref, direction="both")
    assert remote.impact(ref) == pathless(registry.impact(ref))
    assert remote.list() == [pathless(a) for a in registry.list()]
    assert remote.list(campaign="autumn", tainted=False, limit=3) == []


def test_a_picture_is_found_by_bytes_and_by_path(registry, remote, recorded, generation, tmp_path):
    data = generation(1).outputs[0].data
    file = tmp_path / "a.png"
    file.write_bytes(data)
    assert remote.find(data) == registry.find(data)
    assert remote.find(file).matches == registry.find(data).matches
    assert remote.read_blob(recorded.assets[0]) == data


def test_a_file_here_is_named_by_its_digest(remote, recorded, generation, tmp_path):
    file = tmp_path / "a.png"
    file.write_bytes(generation(1).outputs[0].data)
    assert remote.resolve(file) == recorded.assets[0]
    assert remote.verify(str(file)).ok
    with pytest.raises(InputError):
        remote.resolve(tmp_path / "missing.png")


def test_taints_and_decisions_reach_the_log(registry, remote, recorded):
    ref = recorded.assets[0]
    receipt = remote.taint(ref, reason="why", severity="low")
    assert registry.get(ref).taints[0].record == receipt.record
    assert remote.gate([ref]).verdict == "fail"
    remote.clear_taint(ref, reason="was wrong")
    assert not registry.get(ref).taints
    size = registry.log.head().size
    remote.gate([ref], record=False)
    assert registry.log.head().size == size


def test_evidence_fetched_from_afar_verifies_here(registry, remote, recorded):
    vkey = (registry.settings.home.keys / "log.vkey").read_text().strip()
    assert verify_evidence(remote.evidence(recorded.record), log_vkey=vkey).ok
    assert verify_evidence(remote.evidence(recorded.record, texts=False), log_vkey=vkey).ok


def test_errors_come_back_as_they_were_raised(registry, remote):
    for ref in ("deadbeef", "sha256:" + "0" * 64):
        with pytest.raises(NotFoundError) as there:
            registry.get(ref)
        with pytest.raises(NotFoundError) as here:
            remote.get(ref)
        assert here.value.to_dict() == there.value.to_dict()
    with pytest.raises(InputError, match="direction"):
        remote.lineage("deadbeef", direction="sideways")
    with pytest.raises(InputError):
        remote.find(b"GIF89a")
    with pytest.raises(InputError) as caught:
        remote.gate(["deadbeef"], policy="../default")
    assert caught.value.code == "policy.name"


def kinds(kind=GenopsError):
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in kinds(child))]


@pytest.mark.parametrize("kind", [k for k in kinds() if k.__module__ == errors.__name__])
@pytest.mark.parametrize("code", [None, "odd.code"])
def test_every_class_of_error_survives_the_way(kind, code):
    error = kind("what", code=code, hint="do")
    back = error_of(error_body(error))
    assert type(back) is kind
    assert back.to_dict() == error.to_dict()
    assert back.exit_code == error.exit_code


def test_an_error_of_a_later_version_is_read_by_its_code():
    body = {"code": "ref.unknown", "message": "m", "kind": "LaterError"}
    assert type(error_of(body)) is NotFoundError
    assert error_of({"detail": "no"}) is None
    assert error_of(["x"]) is None


def test_the_token_is_sent_and_its_lack_is_named(registry, recorded):
    with Server(registry, api_token=TOKEN) as server:
        with RemoteRegistry(server.url, token=TOKEN) as remote:
            assert remote.list()
        for wrong in ("", "wrong"):
            with (
                RemoteRegistry(server.url, token=wrong) as remote,
                pytest.raises(InputError) as caught,
            ):
                remote.list()
            assert caught.value.code == "auth.required"


def test_the_token_of_the_settings_is_taken(registry, recorded, monkeypatch):
    monkeypatch.setenv("GENOPS_API_TOKEN", TOKEN)
    with Server(registry, api_token=TOKEN) as server, RemoteRegistry(server.url) as remote:
        assert remote.list()


def test_the_token_is_not_shown():
    assert TOKEN not in repr(vars(RemoteRegistry("http://127.0.0.1:1", token=TOKEN)))


def test_no_one_listening_is_unavailable():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    with pytest.raises(UnavailableError) as caught:
        RemoteRegistry(url).list()
    assert caught.value.exit_code == 3
    assert url in caught.value.message


def test_a_silent_service_is_unavailable():
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(UnavailableError):
            RemoteRegistry(url, timeout=0.2).list()


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>a portal</html>"),
        httpx.Response(200, json={"not": "a list"}),
        httpx.Response(302, headers={"Location": "http://elsewhere.example/"}),
        httpx.Response(404, text="nginx"),
        httpx.Response(502, text="bad gateway"),
        httpx.Response(500, json={"detail": "?"}),
    ],
)
def test_what_is_no_registry_is_unavailable(answer):
    asked = []

    def handle(request):
        asked.append(request.url.host)
        return answer

    remote = RemoteRegistry("http://a.example", transport=httpx.MockTransport(handle))
    with pytest.raises(UnavailableError):
        remote.list()
    assert asked == ["a.example"]


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "http://",
        "a.example",
        "http://me:secret@a.example",
        "ftp://me:secret@a",
        "http://a/?x=1",
    ],
)
def test_an_unusable_url_is_refused_without_repeating_a_password(url):
    with pytest.raises(InputError) as caught:
        RemoteRegistry(url)
    assert caught.value.code == "remote.url"
    assert "secret" not in caught.value.message


def test_a_registry_below_a_path_is_asked_there():
    asked = []

    def handle(request):
        asked.append(request.url.path)
        return httpx.Response(200, json=[])

    RemoteRegistry("http://a.example/team/", transport=httpx.MockTransport(handle)).list()
    assert asked == ["/team/api/v1/assets"]


@pytest.mark.parametrize(
    "verb",
    ["record", "ingest", "reproduce", "erase", "register_model", "models", "check_log",
     "rebuild_catalog", "sync_mirrors", "mirror_status", "blob"],
)  # fmt: skip
def test_what_needs_a_home_says_so(verb):
    with pytest.raises(InputError) as caught:
        getattr(RemoteRegistry("http://127.0.0.1:1"), verb)()
    assert caught.value.code == "remote.not-offered"
    assert verb in caught.value.message


def test_an_upload_over_the_limit_is_named(registry):
    limits = replace(registry.settings.limits, upload_bytes=100_000)
    with (
        Server(registry, limits=limits) as server,
        RemoteRegistry(server.url) as remote,
        pytest.raises(InputError) as caught,
    ):
        remote.find(b"x" * 8_000_000)
    assert caught.value.code == "request.too-large"
