"""A double of the images and chat protocol on loopback, and a registry to record into."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from PIL import Image

from generators.hosted.client import RecordedClient, recorded_client
from generators.hosted.transport import Bounds, Transport
from registry.sdk import Registry

KEY = "sk-test-9f2c41d7e8b64a"


@dataclass
class Reply:
    """What the double answers once. `cut` closes the connection that many bytes early."""

    status: int = 200
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"
    cut: int = 0
    endless: bool = False
    silent: bool = False


@dataclass
class Seen:
    """One request as the double got it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Double:
    """A server of the protocol: scripted replies first, then good answers for ever."""

    def __init__(self, pictures: Callable[[int], bytes]) -> None:
        self.seen: list[Seen] = []
        self.script: list[Reply] = []
        self.by_key: dict[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.as_url = False
        self.remembers = True
        self.made = 0
        self.changes: dict[str, Any] = {}
        self.pictures = pictures
        self.released = threading.Event()
        handler = type("Handler", (_Handler,), {"double": self})
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True)
        self.thread.start()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/v1"

    def close(self) -> None:
        self.released.set()
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(5)

    def answer(self, seen: Seen) -> bytes:
        """Make an answer, or give the one that the request's key had."""
        key = seen.headers.get("idempotency-key", "")
        if not (self.remembers and key in self.by_key):
            self.made += 1
            self.by_key[key] = json.dumps(self.document(seen) | self.changes).encode()
        return self.by_key[key]

    def document(self, seen: Seen) -> dict[str, Any]:
        if seen.path.endswith("/chat/completions"):
            return {
                "id": f"chatcmpl-{self.made}",
                "object": "chat.completion",
                "created": 1_790_000_000,
                "model": "tiny-chat-2026-05-01",
                "system_fingerprint": "fp_44709d6fcb",
                "choices": [
                    {
                        "index": 0,
                        "message": {"role": "assistant", "content": f"Reply {self.made}"},
                        "finish_reason": "stop",
                    }
                ],
                "usage": {"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15},
            }
        count = seen.json.get("n", 1) if seen.headers["content-type"] == "application/json" else 1
        return {
            "created": 1_790_000_000,
            "data": [self.item(self.made * 10 + number) for number in range(count)],
            "usage": {"input_tokens": 20, "output_tokens": 1056, "total_tokens": 1076},
        }

    def item(self, number: int) -> dict[str, str]:
        data = self.pictures(number)
        if not self.as_url:
            return {"b64_json": base64.b64encode(data).decode(), "revised_prompt": "a redder mug"}
        self.files[f"/files/{number}.png"] = data
        return {"url": f"{self.origin}/files/{number}.png?sig=secret-of-the-url"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    double: Double

    def log_message(self, *args: Any) -> None:
        pass

    def do_POST(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        seen = Seen(self.command, self.path, headers, body)
        self.double.seen.append(seen)
        reply = self.double.script.pop(0) if self.double.script else Reply()
        if reply.body is None and reply.status == 200:
            path = seen.path.partition("?")[0]
            if path in self.double.files:
                reply.body, reply.media_type = self.double.files[path], "image/png"
            else:
                reply.body = self.double.answer(seen)
        self.send(reply)

    def send(self, reply: Reply) -> None:
        if reply.silent:
            self.double.released.wait(30)
            return
        data = reply.body or b""
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.media_type)
        self.send_header("x-request-id", "req_5d1f")
        for name, value in reply.headers.items():
            self.send_header(name, value)
        if not reply.endless:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        try:
            self.wfile.write(data[: len(data) - reply.cut] if reply.cut else data)
            for _ in range(10_000 if reply.endless else 0):
                self.wfile.write(b" " * 65536)
        except OSError:
            pass
        if reply.cut or reply.endless:
            self.close_connection = True


@dataclass
class Clock:
    """A clock that only sleeping moves; sleeping takes no time."""

    time: float = 1000.0
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += seconds

    def now(self) -> float:
        return self.time


@pytest.fixture(scope="session")
def pictures() -> Callable[[int], bytes]:
    """Make a PNG by number, with a chunk of credentials that no encoder of ours would write."""
    import io
    import struct
    import zlib

    def make(number: int) -> bytes:
        stream = io.BytesIO()
        picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
        picture.putpixel((number % 64, number // 64), (255, 0, 0))
        picture.save(stream, "PNG")
        data, credentials = stream.getvalue(), b"jumb c2pa signed credentials"
        chunk = b"caBX" + credentials
        crc = struct.pack(">I", zlib.crc32(chunk))
        return data[:33] + struct.pack(">I", len(credentials)) + chunk + crc + data[33:]

    return make


@pytest.fixture
def double(pictures: Callable[[int], bytes]) -> Iterator[Double]:
    server = Double(pictures)
    yield server
    server.close()


@pytest.fixture
def other(pictures: Callable[[int], bytes]) -> Iterator[Double]:
    """Another server, which nobody asked for."""
    server = Double(pictures)
    yield server
    server.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(copied: Registry) -> Registry:
    return copied


Connect = Callable[..., RecordedClient]


@pytest.fixture
def connect(
    double: Double, registry: Registry, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Connect:
    """Make a client of the double whose waits take no time."""
    monkeypatch.setenv("TEST_API_KEY", KEY)

    def make(
        url: str | None = None, bounds: Bounds | None = None, **options: Any
    ) -> RecordedClient:
        options.setdefault("key_env", "TEST_API_KEY")
        client = recorded_client(url or double.url, registry, **options)
        client._transport = Transport(
            client._transport.key,
            bounds or Bounds(connect_s=2, silent_s=5),
            sleep=clock.sleep,
            now=clock.now,
            epoch=lambda: 1_790_000_000.0,
        )
        return client

    return make


@pytest.fixture
def key() -> str:
    return KEY


@pytest.fixture
def reply() -> type[Reply]:
    return Reply
