"""Looking files up over HTTP: honest files, contradictions, and what is sent to do harm."""

from __future__ import annotations

import http.client
import socket
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from registry.client import RemoteRegistry
from registry.errors import InputError
from registry.sdk import Registry
from registry.settings import Limits
from tests.conftest import encode, make_picture
from tests.test_client import Server

LIMITS = Limits(upload_bytes=300_000, image_pixels=4_000_000)
PNG = "image/png"


@pytest.fixture(scope="module")
def server(kept: Registry) -> Iterator[Server]:
    """The real service on loopback, with small limits."""
    with Server(kept, limits=LIMITS) as running:
        yield running


@pytest.fixture
def post(server: Server) -> Callable[..., tuple[int, Any]]:
    """Send a body to the service; returns status and JSON."""
    import httpx

    def send(data: Any, media_type: str | None = None, query: str = "", **more: Any) -> Any:
        headers = {} if media_type is None else {"Content-Type": media_type}
        url = f"{server.url}/api/v1/find{query}"
        answer = httpx.post(url, content=data, headers=headers | more.pop("headers", {}), **more)
        return answer.status_code, answer.json()

    return send


def bomb(side: int) -> bytes:
    """Return a small PNG that decodes to a huge picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + check

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes((side // 8 + 1) * side), 9)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_a_rival_s_picture_is_found_in_the_bank_that_was_asked_for(post: Any) -> None:
    data = encode(make_picture(2, 512), "JPEG", quality=60)
    assert post(data)[1]["matches"] == []
    status, found = post(data, query="?banks=registered&banks=rivals&radius=20")
    (match,) = found["matches"]
    assert (status, found["verdict"], match["bank"]) == (200, "match", "rivals")
    assert match["entry"]["reason"] == "theirs"
    assert 0 < match["expected_bound"] < 1e-3
    assert (found["query"]["banks"], found["query"]["radius"]) == (["registered", "rivals"], 20)


def test_the_client_asks_the_same_of_files_and_folders(
    server: Server, kept: Registry, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(encode(make_picture(2, 512), "JPEG", quality=60))
    (tmp_path / "b.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (tmp_path / "c.bin").write_bytes(bytes(400_000))
    banks = ("registered", "rivals")
    with RemoteRegistry(server.url) as remote:
        here = list(kept.find_many([tmp_path / "a.jpg"], banks=banks))
        there = list(remote.find_many([tmp_path], banks=banks))
        with pytest.raises(InputError) as caught:
            next(remote.find_many([tmp_path], banks=["nowhere"]))
    assert there[0] == here[0]
    assert [one.code for one in there] == [None, "image.unreadable", "request.too-large"]
    assert caught.value.code == "find.bank"


@pytest.mark.parametrize("query", ["?radius=257", "?radius=x", "?banks=nowhere", "?banks="])
def test_banks_and_radii_that_are_none_are_422(post: Any, query: str) -> None:
    assert post(encode(make_picture(1)), PNG, query)[0] == 422


def test_too_many_banks_are_422(post: Any) -> None:
    assert post(b"x", query="?" + "&".join(["banks=registered"] * 65))[0] == 422


@pytest.mark.parametrize(
    ("data", "media_type", "status"),
    [
        (encode(make_picture(1)), PNG, 200),
        (encode(make_picture(1)), "image/x-png; q=1", 200),
        (encode(make_picture(1)), None, 200),
        (encode(make_picture(1), "JPEG"), "image/jpg", 200),
        (encode(make_picture(1), "BMP"), "image/bmp", 200),
        (encode(make_picture(1), "JPEG"), PNG, 415),
        (encode(make_picture(1)), "text/plain", 415),
        (encode(make_picture(1)), "application/pdf", 200),
        (b"a text of a few words only", None, 200),
        (b"a text of a few words only", "text/plain", 200),
        (b"a text of a few words only", PNG, 415),
        (b"%PDF-1.7 not a picture\0", "application/pdf", 200),
        (b"%PDF-1.7 not a picture\0", "image/heic", 415),
        (b"\0\0\0\x18ftypheic", "image/heic", 200),
        (b'{"file": "aGVsbG8="}', "application/json", 415),
        (b"file=x", "application/x-www-form-urlencoded", 415),
        (b"--a--", "multipart/mixed; boundary=a", 415),
        (encode(make_picture(1))[:200], None, 415),
        (b"", None, 422),
    ],
)
def test_the_bytes_decide_and_a_type_that_contradicts_them_is_415(
    post: Any, data: bytes, media_type: str | None, status: int
) -> None:
    assert post(data, media_type)[0] == status


def test_what_is_no_picture_is_compared_by_its_bytes_and_that_is_said(post: Any) -> None:
    found = post(b"%PDF-1.7 not a picture\0")[1]
    assert (found["verdict"], found["matches"]) == ("none", [])
    assert "only the bytes were compared" in found["notes"][0]


def test_a_compressed_body_is_not_the_file_itself(post: Any) -> None:
    status, problem = post(b"\x1f\x8b", headers={"Content-Encoding": "gzip"})
    assert (status, problem["code"]) == (415, "request.media-type")


def test_a_name_in_a_form_is_not_held_against_the_file(post: Any) -> None:
    data = encode(make_picture(1), "JPEG", quality=60)
    status, found = post(None, files={"file": ("a.png", data, PNG)})
    assert (status, found["verdict"]) == (200, "match")


def test_a_bomb_is_refused_by_its_header(post: Any) -> None:
    data = bomb(20_000)
    assert len(data) < 100_000
    for media_type in (None, PNG):
        status, problem = post(data, media_type)
        assert (status, problem["code"]) == (413, "image.too-large")


def test_two_gigabytes_that_are_only_announced_are_413_before_they_arrive(server: Server) -> None:
    host = server.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    connection.putrequest("POST", "/api/v1/find")
    connection.putheader("Content-Length", str(2 * 1024**3))
    connection.endheaders()
    assert connection.getresponse().status == 413  # although not a byte was sent
    connection.close()


def test_a_body_without_a_length_is_cut_at_the_limit(server: Server) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    sent = 0
    with socket.create_connection((host, int(port)), timeout=10) as raw:
        head = f"POST /api/v1/find HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\n"
        raw.sendall(head.encode())
        try:
            for _ in range(10_000):
                raw.sendall(b"10000\r\n" + bytes(0x10000) + b"\r\n")
                sent += 0x10000
        except OSError:
            pass  # the service hung up
        else:
            pytest.fail("it took hundreds of megabytes")
    assert sent < 64_000_000


def test_after_all_that_it_still_answers(post: Any) -> None:
    assert post(encode(make_picture(1)), PNG)[1]["matches"][0]["kind"] == "exact"


def test_the_description_names_every_parameter_and_refusal(server: Server) -> None:
    import httpx

    described = httpx.get(f"{server.url}/openapi.json").json()["paths"]["/api/v1/find"]["post"]
    assert {one["name"] for one in described["parameters"]} == {"radius", "banks"}
    assert {"200", "413", "415", "422"} <= described["responses"].keys()
    assert "application/octet-stream" in described["requestBody"]["content"]


def test_banks_are_listed(server: Server) -> None:
    import httpx

    (bank,) = httpx.get(f"{server.url}/api/v1/banks").json()
    assert (bank["name"], bank["kind"], bank["entries"]) == ("rivals", "blocked", 1)
