"""What a ComfyUI server tells of a run over its WebSocket, until the run is done. All bounded.

A connection that breaks is no failure: the server's history says the same, later.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from generators.hosted.transport import MAX_MESSAGE
from registry.errors import GenopsError, InputError, MissingExtraError, UnavailableError

if TYPE_CHECKING:
    from generators.comfyui.server import ComfyServer
    from generators.comfyui.workflow import Workflow

MAX_MESSAGES = 2_000_000
"""Most messages of one run."""
MAX_TEXT = 4 * 1024 * 1024
"""Longest message in text, characters."""
SILENCE_S = 20.0
"""Longest silence before the server is asked what it is doing, seconds."""
POLL_S = 1.0
"""Pause between two questions to the history where there is no connection, seconds."""
SHORT_POLL_S = 0.1
"""Pause between two where the run is known to be done, seconds."""
FRAME_HEAD = 8
"""Bytes before the picture in a binary message: what it is, and its format."""
SOCKET_OUTPUT = "SaveImageWebsocket"
"""The class of nodes that send their pictures over the connection, and keep none."""

Tell = Callable[[str, int, int], None]
"""Hears how far a run is: `nodes` or `steps`, done, in all."""


@dataclass(slots=True)
class Run:
    """What became of one run. `frames` are pictures that nodes sent over the connection."""

    prompt_id: str = ""
    done: bool = False
    cached: list[str] = field(default_factory=list)
    executed: list[str] = field(default_factory=list)
    frames: list[tuple[str, bytes]] = field(default_factory=list)


def run_to_the_end(
    server: ComfyServer,
    workflow: Workflow,
    client_id: str,
    submit: Callable[[], str],
    tell: Tell = lambda _what, _done, _total: None,
) -> Run:
    """Connect, submit, and listen until the run is done.

    Raises InputError (`comfyui.failed`) with the node that failed and why, UnavailableError
    (`comfyui.interrupted`, `comfyui.lost`, `hosted.timeout`) when it did not finish, FormatError
    for a server that sends more than the bounds allow, MissingExtraError without `websockets`.
    """
    return _Listener(server, workflow, client_id, tell).run(submit)


class _Listener:
    def __init__(self, server: ComfyServer, workflow: Workflow, client_id: str, tell: Tell) -> None:
        self._server, self._workflow, self._tell = server, workflow, tell
        self._bounds = server.transport.bounds
        self._now = server.transport.now
        self._client_id = client_id
        self._deadline = self._now() + self._bounds.total_s
        self._received = 0
        self._at: str | None = None
        self._run = Run()

    def run(self, submit: Callable[[], str]) -> Run:
        connect, broken = _library()
        try:
            with connect(
                _socket_url(self._server.service.url, self._client_id),
                open_timeout=self._bounds.connect_s,
                close_timeout=1,
                ping_timeout=None,
                compression=None,
                max_size=self._bounds.picture_bytes + FRAME_HEAD,
                proxy=None,
            ) as socket:
                self._run.prompt_id = submit()
                self._listen(socket)
        except broken as error:
            if not self._run.prompt_id:
                place = self._server.service.url
                raise UnavailableError(
                    f"{place} gives no WebSocket connection: {type(error).__name__}",
                    code="hosted.unreachable",
                    hint="check the address, and that ComfyUI runs there",
                ) from None
            # A connection that broke later is no failure: the history says what became of the run.
        self._wait_for_history()
        return self._run

    def _listen(self, socket: Any) -> None:
        for _ in range(MAX_MESSAGES):
            try:
                message = socket.recv(timeout=max(0.01, min(SILENCE_S, self._left())))
            except TimeoutError:
                if self._finished_in_silence():
                    return
                continue
            self._received += len(message)
            if self._received > 4 * self._bounds.answer_bytes:
                raise _flood(f"more than {4 * self._bounds.answer_bytes} bytes")
            self._take(message)
            if self._run.done:
                return
            self._check_time()
        raise _flood(f"more than {MAX_MESSAGES} messages")

    def _take(self, message: str | bytes) -> None:
        if isinstance(message, bytes):
            self._take_frame(message)
            return
        if len(message) > MAX_TEXT:
            raise _flood(f"a message of more than {MAX_TEXT} characters")
        try:
            event = json.loads(message)
        except (ValueError, RecursionError):
            return
        data = event.get("data") if isinstance(event, dict) else None
        if not isinstance(data, dict) or data.get("prompt_id") != self._run.prompt_id:
            return  # of the queue, or of somebody else's run
        take = _EVENTS.get(str(event.get("type")))
        if take is not None:
            take(self, data)

    def _take_frame(self, message: bytes) -> None:
        node = self._workflow.nodes.get(self._at or "")
        if node is not None and node.kind == SOCKET_OUTPUT and len(message) > FRAME_HEAD:
            self._run.frames.append((node.id, message[FRAME_HEAD:]))

    def _on_cached(self, data: dict[str, Any]) -> None:
        nodes = data.get("nodes")
        known = [n for n in nodes if n in self._workflow.nodes] if isinstance(nodes, list) else []
        self._run.cached = list(dict.fromkeys(known))
        self._tell("nodes", len(self._seen()), len(self._workflow.nodes))

    def _on_executing(self, data: dict[str, Any]) -> None:
        node = data.get("node")
        if node is None:
            self._run.done = True
        elif isinstance(node, str) and node in self._workflow.nodes:
            self._at = node
            self._tell("nodes", len(self._seen()), len(self._workflow.nodes))
            if node not in self._run.executed:
                self._run.executed.append(node)

    def _on_progress(self, data: dict[str, Any]) -> None:
        done, total = data.get("value"), data.get("max")
        if isinstance(done, int) and isinstance(total, int) and 0 <= done <= total:
            self._tell("steps", done, total)

    def _on_success(self, _data: dict[str, Any]) -> None:
        self._run.done = True

    def _on_error(self, data: dict[str, Any]) -> None:
        raise failed(data)

    def _on_interrupted(self, data: dict[str, Any]) -> None:
        raise _interrupted(data)

    def _seen(self) -> set[str]:
        return {*self._run.cached, *self._run.executed}

    def _left(self) -> float:
        return self._deadline - self._now()

    def _check_time(self) -> None:
        if self._left() <= 0:
            raise UnavailableError(
                f"the run took over {self._bounds.total_s:.0f} s",
                code="hosted.timeout",
                hint="it may go on at the server; --timeout waits longer",
            )

    def _finished_in_silence(self) -> bool:
        """Ask a silent server what it is doing; UnavailableError when it forgot the run."""
        self._check_time()
        if _is_complete(self._server.history(self._run.prompt_id)):
            return True
        if self._server.is_queued(self._run.prompt_id):
            return False
        if self._server.history(self._run.prompt_id) is not None:
            return True  # it ended between the two questions
        raise UnavailableError(
            "the server knows the run no more",
            code="comfyui.lost",
            hint="it was restarted, or somebody cleared its queue; nothing was recorded",
        )

    def _wait_for_history(self) -> None:
        """Wait until the history has the run, which is a moment after the last event."""
        while True:
            entry = self._server.history(self._run.prompt_id)
            if entry is not None and (self._run.done or _is_complete(entry)):
                _refuse_failure(entry)
                self._run.done = True
                return
            self._check_time()
            if not self._run.done and self._finished_in_silence():
                continue
            pause = SHORT_POLL_S if self._run.done else POLL_S
            self._server.transport.sleep(min(pause, max(0.0, self._left())))


_EVENTS: dict[str, Callable[[_Listener, dict[str, Any]], None]] = {
    "execution_cached": _Listener._on_cached,
    "executing": _Listener._on_executing,
    "progress": _Listener._on_progress,
    "execution_success": _Listener._on_success,
    "execution_error": _Listener._on_error,
    "execution_interrupted": _Listener._on_interrupted,
}


def failed(data: dict[str, Any]) -> InputError:
    """Return the error for a node that failed, in the server's words."""
    node, kind = _line(data.get("node_id")), _line(data.get("node_type"))
    why = f"{_line(data.get('exception_type'))}: {_line(data.get('exception_message'))}"
    return InputError(
        f"node {node} ({kind}) failed: {why}"[:MAX_MESSAGE],
        code="comfyui.failed",
        hint="nothing was recorded; the server's own log has the traceback",
    )


def cached_in(entry: Any) -> list[str]:
    """Return the nodes that a history calls cached."""
    return [
        node
        for kind, data in _messages(entry)
        if kind == "execution_cached" and isinstance(data.get("nodes"), list)
        for node in data["nodes"]
        if isinstance(node, str)
    ]


def _refuse_failure(entry: Any) -> None:
    """Raise what a history says of a run that failed."""
    for kind, data in _messages(entry):
        if kind == "execution_error":
            raise failed(data)
        if kind == "execution_interrupted":
            raise _interrupted(data)
    status = entry.get("status")
    if isinstance(status, dict) and status.get("status_str") == "error":
        raise failed({})


def _messages(entry: Any) -> list[tuple[str, dict[str, Any]]]:
    status = entry.get("status") if isinstance(entry, dict) else None
    messages = status.get("messages") if isinstance(status, dict) else None
    return [
        (str(one[0]), one[1])
        for one in (messages if isinstance(messages, list) else ())
        if isinstance(one, list) and len(one) == 2 and isinstance(one[1], dict)
    ]


def _is_complete(entry: Any) -> bool:
    """Tell whether a history has the end of a run; old servers have it there only then."""
    if not isinstance(entry, dict):
        return False
    status = entry.get("status")
    if not isinstance(status, dict):
        return True
    return bool(status.get("completed")) or status.get("status_str") == "error"


def _interrupted(data: dict[str, Any]) -> UnavailableError:
    return UnavailableError(
        f"the run was interrupted at node {_line(data.get('node_id'))}",
        code="comfyui.interrupted",
        hint="nothing was recorded",
    )


def _line(value: Any) -> str:
    text = "".join(c if c.isprintable() else " " for c in str(value)[:MAX_MESSAGE])
    return " ".join(text.split()) if value is not None else "?"


def _flood(what: str) -> GenopsError:
    from generators.hosted.answers import unusable

    return unusable(f"the server sent {what}")


def _socket_url(url: str, client_id: str) -> str:
    parts = urlsplit(url)
    scheme = "wss" if parts.scheme == "https" else "ws"
    return urlunsplit((scheme, parts.netloc, f"{parts.path}/ws", f"clientId={client_id}", ""))


def _library() -> tuple[Any, tuple[type[Exception], ...]]:
    try:
        from websockets.exceptions import WebSocketException
        from websockets.sync.client import connect
    except ImportError:
        raise MissingExtraError(
            "ComfyUI needs websockets, which is not installed",
            hint="pip install 'genops-registry[comfyui]'",
        ) from None
    return connect, (WebSocketException, OSError, EOFError)
