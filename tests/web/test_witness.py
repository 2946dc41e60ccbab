"""The C2SP tlog-witness protocol: the statuses of the specification, and both ends on a socket."""

from __future__ import annotations

import shutil
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import uvicorn

from registry.core.cosignatures import CosignerKey, verified
from registry.core.notes import SignedNote, parse_signatures
from registry.core.witnessing import AddCheckpoint
from registry.errors import GenopsError
from registry.factory import create_registry, open_home
from registry.sdk import Registry
from registry.web.app import create_app
from registry.web.uploads import MAX_REQUEST_BYTES

TARGET = "sha256:" + "ab" * 32
PATH = "/witness/add-checkpoint"


def grow(registry: Registry, records: int = 1) -> None:
    for _ in range(records):
        registry.taint(TARGET, reason="a complaint")


@pytest.fixture(scope="module")
def templates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The homes of a log with three records and of a registry that is a witness."""
    root = tmp_path_factory.mktemp("homes")
    with create_registry(root / "studio", name="studio") as made:
        grow(made, 2)
    with create_registry(root / "witness", name="auditor") as made:
        made.witness.key()
    return root


@pytest.fixture
def studio(templates: Path, tmp_path: Path) -> Iterator[Registry]:
    """A log that wants cosignatures."""
    with open_home(shutil.copytree(templates / "studio", tmp_path / "studio")) as opened:
        yield opened


@pytest.fixture
def registry(templates: Path, tmp_path: Path) -> Iterator[Registry]:
    """The witness, which is the registry that is served."""
    with open_home(shutil.copytree(templates / "witness", tmp_path / "witness")) as opened:
        yield opened


@pytest.fixture
def fork(studio: Registry, tmp_path: Path) -> Iterator[Registry]:
    """The same log with another fourth record."""
    with open_home(shutil.copytree(studio.settings.home.root, tmp_path / "fork")) as opened:
        grow(opened)
        yield opened


def vkey(registry: Registry) -> str:
    return (registry.settings.home.keys / "log.vkey").read_text().strip()


def request(log: Registry, old: int = 0) -> bytes:
    size = log.log.head().size
    proof = log.log.consistency(old) if 0 < old < size else ()
    return AddCheckpoint(old, tuple(proof), log.log.checkpoint()).to_bytes()


def cosigners(registry: Registry) -> list[CosignerKey]:
    return [CosignerKey.parse(registry.witness.key().vkey)]


def test_a_checkpoint_is_cosigned_and_then_the_next(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    for old, size in ((0, 3), (3, 3), (3, 5)):
        grow(studio, size - studio.log.head().size)
        answer = client.post(PATH, content=request(studio, old))
        assert answer.status_code == 200, answer.text
        note = SignedNote.parse(studio.log.checkpoint())
        signed = SignedNote(note.text, parse_signatures(answer.content))
        assert len(verified(signed, cosigners(registry))) == 1
        assert registry.witness.list().logs[0].size == size


def test_the_body_is_signature_lines_and_nothing_else(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    text = client.post(PATH, content=request(studio)).content.decode("utf-8")
    assert text.startswith("\N{EM DASH} ")
    assert text.count("\n") == 1
    assert text.endswith("\n")


@pytest.mark.parametrize("old", [1, 2])
def test_another_old_size_is_answered_with_the_size_that_was_cosigned(
    registry, client, studio, old
):
    registry.witness.add_log(vkey(studio))
    for size in (0, 3):
        answer = client.post(PATH, content=request(studio, old))
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "text/x.tlog.size"
        assert answer.text == f"{size}\n"
        client.post(PATH, content=request(studio, 0))


def test_a_fork_of_the_same_size_is_a_conflict_and_kept_as_evidence(registry, client, studio, fork):
    registry.witness.add_log(vkey(studio))
    grow(studio)
    assert client.post(PATH, content=request(studio)).status_code == 200
    answer = client.post(PATH, content=request(fork, 4))
    assert answer.status_code == 409
    assert answer.text == "4\n"
    kept = list((registry.settings.home.witnessed / "conflicts").iterdir())
    assert {path.read_bytes() for path in kept} == {studio.log.checkpoint(), fork.log.checkpoint()}


def test_a_larger_fork_is_refused(registry, client, studio, fork):
    registry.witness.add_log(vkey(studio))
    grow(studio)
    assert client.post(PATH, content=request(studio)).status_code == 200
    grow(fork, 2)
    answer = client.post(PATH, content=request(fork, 4))
    assert answer.status_code == 422
    assert answer.json()["code"] == "proof.invalid"
    assert registry.witness.list().logs[0].size == 4


def test_what_is_no_request_is_refused(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    good = request(studio)
    for bad in (b"", b"old 0\n", good.replace(b"old 0", b"old 00"), good[:-3], b"old 4" + good[5:]):
        answer = client.post(PATH, content=bad)
        assert answer.status_code == 400, bad
        assert registry.witness.list().logs[0].size is None


def test_a_proof_from_nothing_is_refused(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    body = AddCheckpoint(0, (bytes(32),), studio.log.checkpoint()).to_bytes()
    assert client.post(PATH, content=body).status_code == 422


def test_an_unknown_log_is_not_found(client, studio):
    answer = client.post(PATH, content=request(studio))
    assert answer.status_code == 404
    assert answer.json()["code"] == "witness.unknown-log"


def test_a_checkpoint_that_its_log_did_not_sign_is_forbidden(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    body = request(studio)
    altered = client.post(PATH, content=body.replace(b"\n3\n", b"\n4\n"))
    note = SignedNote.parse(studio.log.checkpoint())
    stranger = cosigners(registry)[0].cosign(note.text, 1, lambda _: bytes(64))
    unsigned = AddCheckpoint(0, (), SignedNote(note.text, (stranger,)).to_bytes())
    assert altered.status_code == 403
    assert client.post(PATH, content=unsigned.to_bytes()).status_code == 403
    assert registry.witness.list().logs[0].size is None


def test_signatures_by_unknown_keys_are_ignored(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    note = SignedNote.parse(studio.log.checkpoint())
    stranger = cosigners(registry)[0].cosign(note.text, 1, lambda _: bytes(64))
    more = SignedNote(note.text, (stranger, *note.signatures))
    body = AddCheckpoint(0, (), more.to_bytes()).to_bytes()
    assert client.post(PATH, content=body).status_code == 200


def test_a_log_needs_no_token_to_be_witnessed_and_everything_else_does(registry, browse, studio):
    registry.witness.add_log(vkey(studio))
    client = browse(api_token="secret")
    assert client.post(PATH, content=request(studio)).status_code == 200
    assert client.get("/tlog/checkpoint").status_code == 401
    assert client.get(PATH).status_code == 405
    assert client.post(PATH + "/", content=request(studio)).status_code != 200


def test_a_page_of_another_site_cannot_submit(registry, client, studio):
    registry.witness.add_log(vkey(studio))
    foreign = {"Origin": "https://elsewhere.example"}
    assert client.post(PATH, content=request(studio), headers=foreign).status_code == 403


def test_a_request_that_is_too_large_is_cut_off(client):
    assert client.post(PATH, content=b"x" * (MAX_REQUEST_BYTES + 1)).status_code == 413


def test_the_checkpoint_is_served_with_its_cosignatures(registry, client, studio):
    registry.witness.add(studio.witness.key().vkey)
    assert client.get("/tlog/cosigned/checkpoint").status_code == 404
    home = registry.settings.home.root
    assert studio.witness.follow(home, [vkey(registry)]).handed_back
    for path in ("/tlog/checkpoint", "/tlog/cosigned/checkpoint"):
        answer = client.get(path)
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert len(verified(SignedNote.parse(answer.content), cosigners(studio))) == 1
    grow(registry)
    assert not verified(SignedNote.parse(client.get("/tlog/checkpoint").content), cosigners(studio))
    older = client.get("/tlog/cosigned/checkpoint").content
    assert verified(SignedNote.parse(older), cosigners(studio))
    assert client.get("/tlog/cosigned/tile/0/000.p/1").status_code == 200


Serve = Callable[..., str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve registries on loopback sockets; returns the URL."""
    running: list[tuple[uvicorn.Server, threading.Thread]] = []

    def start(registry: Registry, **settings: str) -> str:
        from dataclasses import replace

        app = create_app(registry, replace(registry.settings, **settings))
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        running.append((server, thread))
        return f"http://127.0.0.1:{listener.getsockname()[1]}"

    yield start
    for server, _ in running:
        server.should_exit = True
    for _, thread in running:
        thread.join(10)


def code_of(act: Callable[[], object]) -> str:
    with pytest.raises(GenopsError) as refused:
        act()
    return refused.value.code


def test_a_log_asks_a_witness_for_its_cosignature(registry, studio, serve):
    url = serve(registry) + "/witness"
    studio.witness.add(registry.witness.key().vkey)
    assert code_of(lambda: studio.witness.submit(url)) == "witness.unknown-log"
    registry.witness.add_log(vkey(studio))
    first = studio.witness.submit(url)
    assert (first.size, len(first.cosignatures)) == (3, 1)
    grow(studio, 2)
    assert studio.witness.submit(url + "/").size == 5
    assert studio.witness.head(at_least=1).size == 5


def test_a_log_whose_cosignatures_were_lost_learns_the_size_from_the_witness(
    registry, studio, fork, serve
):
    url = serve(registry) + "/witness"
    registry.witness.add_log(vkey(studio))
    for log in (studio, fork):
        log.witness.add(registry.witness.key().vkey)
    assert studio.witness.submit(url).size == 3
    assert fork.witness.submit(url).size == 4  # knows of no cosignature, and goes on from that one


def test_a_log_that_forgot_or_forked_is_told(registry, studio, fork, serve):
    url = serve(registry) + "/witness"
    registry.witness.add_log(vkey(studio))
    for log in (studio, fork):
        log.witness.add(registry.witness.key().vkey)
    grow(studio, 2)
    studio.witness.submit(url)
    assert code_of(lambda: fork.witness.submit(url)) == "log.rolled-back"
    grow(fork)
    assert code_of(lambda: fork.witness.submit(url)) == "log.forked"
    grow(fork)
    assert code_of(lambda: fork.witness.submit(url)) == "witness.refused"


def test_a_cosignature_by_a_stranger_is_not_taken(registry, studio, serve, tmp_path):
    registry.witness.add_log(vkey(studio))
    with create_registry(tmp_path / "another") as another:
        studio.witness.add(another.witness.key().vkey)
        url = serve(registry) + "/witness"
        assert code_of(lambda: studio.witness.submit(url)) == "witness.unknown"
        assert studio.witness.head().cosignatures == ()


def test_what_is_no_witness_is_said(registry, studio, serve):
    studio.witness.add(registry.witness.key().vkey)
    url = serve(registry)
    assert code_of(lambda: studio.witness.submit(url + "/login")) == "witness.unknown-log"
    assert code_of(lambda: studio.witness.submit(url + "/%00")) == "witness.unknown-log"


def test_a_served_log_is_followed_by_its_tiles(registry, studio, serve):
    url = serve(studio)
    key = [vkey(studio)]
    assert registry.witness.follow(f"{url}/tlog", key).last_size is None
    grow(studio, 3)
    second = registry.witness.follow(f"{url}/tlog/", key)
    assert (second.last_size, second.size, second.handed_back) == (3, 6, None)
    studio.witness.add(registry.witness.key().vkey)
    studio.witness.keep(second.checkpoint.encode())
    grow(studio)
    assert registry.witness.follow(f"{url}/tlog/cosigned", key).size == 6
    assert code_of(lambda: registry.witness.follow(url, key)) == "witness.source"


def test_a_token_goes_to_the_source_only_when_it_is_given(registry, studio, serve):
    url = serve(studio, api_token="secret") + "/tlog"
    key = [vkey(studio)]
    assert code_of(lambda: registry.witness.follow(url, key)) == "witness.unreachable"
    assert registry.witness.follow(url, key, token="secret").size == 3
