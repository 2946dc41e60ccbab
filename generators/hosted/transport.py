"""HTTP to a service that nobody here vouches for: bounded in bytes, in time and in attempts.

Every call either returns a whole answer or raises one of the registry's errors. Knows nothing of
what is asked or answered. Headers never reach a message: one of them carries the key.
"""

from __future__ import annotations

import email.utils
import functools
import json
import math
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin

import httpx

from generators.hosted.keys import Key, NoKey
from generators.hosted.urls import is_public, origin_of, shown
from registry.errors import FormatError, GenopsError, InputError, UnavailableError

MAX_MESSAGE = 500
"""Longest part of a service's own words that is shown, characters."""
_REDIRECTS = {301, 302, 303, 307, 308}
_SAME_METHOD = {307, 308}
_BUSY = {429, 503, 529}
_AMBIGUOUS = {408, 500, 502, 504}

Explain = Callable[[Any], str | None]
"""Returns what else the JSON of an error says, or None."""


@dataclass(frozen=True, slots=True)
class Bounds:
    """Every limit of a call to a service, each with its unit."""

    connect_s: float = 10.0
    """Longest wait for a connection, seconds."""
    silent_s: float = 300.0
    """Longest wait between two parts of an answer, seconds."""
    total_s: float = 900.0
    """Longest time for a call with all its attempts and waits, seconds."""
    wait_s: float = 60.0
    """Longest wait that a busy service may ask for between two attempts, seconds."""
    attempts: int = 4
    """Most times that one request is sent."""
    redirects: int = 3
    """Most redirects of one attempt, all within the service."""
    answer_bytes: int = 256 * 1024 * 1024
    """Largest answer, bytes, its pictures in base64 included."""
    picture_bytes: int = 128 * 1024 * 1024
    """Largest picture, bytes."""
    error_bytes: int = 64 * 1024
    """Most of an error's body that is read, bytes."""


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; names of headers are in lower case. `attempts` ends with its own status."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)
    attempts: tuple[str, ...] = ()

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class _Lost(Exception):  # noqa: N818 (an outcome of an attempt, not an error of the registry)
    """No answer came: `outcome` in a word, and whether the request may have been worked on."""

    def __init__(self, outcome: str, *, maybe_done: bool) -> None:
        super().__init__(outcome)
        self.outcome = outcome
        self.maybe_done = maybe_done


@dataclass(frozen=True, slots=True)
class Transport:
    """Sends requests to services. `tell` hears of waits and new attempts."""

    key: Key = field(default_factory=NoKey)
    bounds: Bounds = field(default_factory=Bounds)
    tell: Callable[[str], None] = lambda _line: None
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    epoch: Callable[[], float] = time.time

    def call(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        limit: int | None = None,
        secret: bool = True,
        explain: Explain = lambda _document: None,
        **content: Any,
    ) -> Answer:
        """Send a request until it is answered; a retry is the same request to the letter.

        Tried again are a service that is busy (as long as it asks to wait, within bounds), one
        that failed, and an answer that got lost. `content` is httpx's `json`, `data` and `files`;
        `secret` sends the key; `explain` reads more out of an error's JSON. Raises InputError
        (`hosted.refused`) for a request that the service refuses, UnavailableError
        (`hosted.busy`, `hosted.timeout`, `hosted.unreachable`, `hosted.failed`,
        `hosted.cut-off`) when the bounds are spent, FormatError (`hosted.answer`) for an answer
        that is too large, and InputError (`hosted.redirect`).
        """
        sent = dict(headers or {}) | (self.key.headers() if secret else {})
        call = _Call(self, method, url, sent, limit or self.bounds.answer_bytes, content)
        call.explain = explain
        return call.run()


class _Call:
    """One request with its attempts."""

    def __init__(
        self,
        transport: Transport,
        method: str,
        url: str,
        headers: dict[str, str],
        limit: int,
        content: Mapping[str, Any],
    ) -> None:
        self._transport = transport
        self._bounds = transport.bounds
        self._method, self._url, self._limit = method, url, limit
        self._host = origin_of(url)[1]
        self._headers = {"Accept-Encoding": "identity"} | headers
        self._content = content
        self.explain: Explain = lambda _document: None
        self._deadline = transport.now() + transport.bounds.total_s
        self._outcomes: list[str] = []

    def run(self) -> Answer:
        for attempt in range(1, self._bounds.attempts + 1):
            last = attempt == self._bounds.attempts
            try:
                answer = self._exchange()
            except _Lost as lost:
                self._outcomes.append(lost.outcome)
                if last or self._left() <= 0:
                    raise self._gave_up(lost) from None
                self._wait(_pause(attempt), lost.outcome)
                continue
            self._outcomes.append(str(answer.status))
            if answer.status < 300:
                return Answer(answer.status, answer.headers, answer.body, tuple(self._outcomes))
            if answer.status not in _BUSY | _AMBIGUOUS or last or _is_final(answer):
                raise self._refused(answer)
            asked = retry_after(answer.headers, self._transport.epoch())
            if asked is not None and asked > min(self._bounds.wait_s, self._left()):
                raise self._refused(answer, asked)
            self._wait(_pause(attempt) if asked is None else asked, f"status {answer.status}")
        raise AssertionError("the last attempt returns or raises")

    def _left(self) -> float:
        return self._deadline - self._transport.now()

    def _wait(self, seconds: float, why: str) -> None:
        seconds = max(0.0, min(seconds, self._left()))
        count = len(self._outcomes)
        self._transport.tell(
            f"{why}: attempt {count + 1} of {self._bounds.attempts} in {seconds:.0f} s"
        )
        self._transport.sleep(seconds)

    def _exchange(self) -> Answer:
        """Send the request once and read the whole answer; raises _Lost."""
        timeout = httpx.Timeout(
            max(0.001, min(self._bounds.silent_s, self._left())), connect=self._bounds.connect_s
        )
        try:
            # A proxy of the environment is for the world outside, not for servers of the house.
            own = not is_public(self._host)
            with httpx.Client(timeout=timeout, trust_env=not own, verify=_tls()) as client:
                return self._follow(client)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
            raise _Lost("not reached", maybe_done=False) from None
        except httpx.TimeoutException:
            raise _Lost("timed out", maybe_done=True) from None
        except httpx.DecodingError:
            raise _bad(f"the answer of {shown(self._url)} does not decompress") from None
        except (httpx.TransportError, OSError):
            raise _Lost("cut off", maybe_done=True) from None
        except (httpx.InvalidURL, httpx.UnsupportedProtocol, UnicodeError):
            raise InputError(f"{shown(self._url)} cannot be called", code="hosted.url") from None

    def _follow(self, client: httpx.Client) -> Answer:
        url, method, content = self._url, self._method, dict(self._content)
        for _ in range(self._bounds.redirects + 1):
            with client.stream(method, url, headers=self._headers, **content) as response:
                location = response.headers.get("location")
                if response.status_code not in _REDIRECTS or location is None:
                    return self._read(response)
                target = urljoin(url, location)
                if response.status_code not in _SAME_METHOD and method != "GET":
                    method, content = "GET", {}
            if not _same_place(url, target):
                raise _redirected(url, target)
            url = target
        raise _redirected(self._url, url)

    def _read(self, response: httpx.Response) -> Answer:
        ok = response.status_code < 300
        limit = self._limit if ok else self._bounds.error_bytes
        body = bytearray()
        for part in response.iter_bytes():
            body += part
            if len(body) > limit and ok:
                raise _bad(f"the answer of {shown(self._url)} has more than {limit} bytes")
            if len(body) > limit:
                break
            if self._left() <= 0:
                raise _Lost("timed out", maybe_done=True)
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status_code, headers, bytes(body[:limit]))

    def _gave_up(self, lost: _Lost) -> UnavailableError:
        place, tries = shown(self._url), len(self._outcomes)
        if not lost.maybe_done:
            return UnavailableError(
                f"{place} cannot be reached ({tries} attempts)",
                code="hosted.unreachable",
                hint="check the address, and that the service runs",
            )
        kind = "timeout" if lost.outcome == "timed out" else "cut-off"
        return UnavailableError(
            f"the answer of {place} {_LOST[kind]} ({tries} attempts)",
            code=f"hosted.{kind}",
            hint="the service may have worked, and charge for it; nothing was recorded",
        )

    def _refused(self, answer: Answer, asked: float | None = None) -> GenopsError:
        said = said_by(answer, self._transport.key, self.explain)
        line = f"{shown(self._url)} answered {answer.status}: {said}"
        if asked is not None:
            return UnavailableError(
                f"{line}; it asks to wait {asked:.0f} s, longer than the"
                f" {self._bounds.wait_s:.0f} s that a call waits",
                code="hosted.busy",
                hint="try again later",
            )
        if answer.status in _BUSY:
            return UnavailableError(
                f"{line} ({len(self._outcomes)} attempts)",
                code="hosted.busy",
                hint="try again later, or look at the account's limits",
            )
        if answer.status >= 500 or answer.status in _AMBIGUOUS:
            return UnavailableError(
                f"{line} ({len(self._outcomes)} attempts)",
                code="hosted.failed",
                hint="the service may have worked, and charge for it; nothing was recorded",
            )
        return InputError(line, code="hosted.refused", hint=_ADVICE.get(answer.status, ""))


_LOST = {"timeout": "did not come in time", "cut-off": "broke off"}
_ADVICE = {
    401: "check the key: --key-env or --key-file",
    403: "the key may not do this",
    404: "check the address (it often ends with /v1) and the model's name",
}


@functools.cache
def _tls() -> ssl.SSLContext:
    """Return the process's trusted certificates: reading them takes longer than a short call."""
    return httpx.create_ssl_context()


def retry_after(headers: Mapping[str, str], epoch_s: float) -> float | None:
    """Return how many seconds a busy service asks to wait, by RFC 9110 10.2.3; None if it does not.

    A number of seconds or a date; `retry-after-ms` wins where a service sends it.
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            continue
        if math.isfinite(seconds) and seconds >= 0:
            return seconds
    try:
        then = email.utils.parsedate_to_datetime(headers.get("retry-after", ""))
        return max(0.0, then.timestamp() - epoch_s)
    except (TypeError, ValueError, OverflowError, IndexError):
        return None


def said_by(answer: Answer, key: Key, explain: Explain = lambda _document: None) -> str:
    """Return a service's own message of an error: one line, cut, and without the key."""
    document = _as_json(answer.body)
    found: Any = document
    for name in ("error", "message", "detail"):
        if isinstance(found, dict) and name in found:
            found = found[name]
    if isinstance(found, str):
        text = found
    elif found is None or answer.media_type == "text/html":
        text = "no message" if answer.media_type == "text/html" else ""
        text = text or answer.body.decode("utf-8", "replace")
    else:
        text = str(found)
    more = explain(document)
    text = f"{text}; {more}" if more else text
    line = " ".join("".join(c if c.isprintable() else " " for c in key.scrub(text)).split())
    return (line[:MAX_MESSAGE] + ("…" if len(line) > MAX_MESSAGE else "")) or "no message"


def _as_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _is_final(answer: Answer) -> bool:
    """Tell a refusal that no waiting will change: an account without credit."""
    error = _as_json(answer.body)
    code = error["error"].get("code") if _holds_error(error) else None
    return answer.status == 429 and code in {"insufficient_quota", "billing_hard_limit_reached"}


def _holds_error(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("error"), dict)


def _pause(attempt: int) -> float:
    """Return the seconds before the next attempt: one, and twice as many each time."""
    return float(2 ** (attempt - 1))


def _same_place(url: str, target: str) -> bool:
    try:
        return origin_of(url) == origin_of(target)
    except InputError:
        return False


def _redirected(url: str, target: str) -> InputError:
    return InputError(
        f"{shown(url)} redirects to {shown(target)}, which is not followed",
        code="hosted.redirect",
        hint="give the address that it redirects to, if you trust it with the prompt and the key",
    )


def _bad(message: str) -> FormatError:
    return FormatError(message, code="hosted.answer", hint="nothing was recorded")
