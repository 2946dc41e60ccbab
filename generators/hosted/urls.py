"""Where a hosted service is: which URLs are called, and which of their parts may be told.

Pure but for one look-up of a name: a service must not send us to a machine of our own network.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit, urlunsplit

from registry.core.generation import Sealed
from registry.errors import InputError

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
_OWN_SUFFIXES = (".local", ".localhost", ".internal", ".lan", ".home.arpa", ".intranet", ".corp")
_MODEL = re.compile(r"[A-Za-z0-9][\w.:@+-]{0,127}(/[A-Za-z0-9][\w.:@+-]{0,127})?")
MAX_URL = 8192
"""Longest URL, characters."""

Origin = tuple[str, str, int]
"""Scheme, host and port."""


@dataclass(frozen=True, slots=True)
class Service:
    """A service's base URL, without a slash at its end.

    `public` when its host has a name or address that the whole internet knows; the name of any
    other one tells of the house, and is sealed.
    """

    url: str
    origin: Origin
    public: bool

    @property
    def name(self) -> str:
        """Return what the service is called in the open: its host, or `private`."""
        return self.origin[1] if self.public else "private"


def parse_service(text: str, *, code: str = "hosted.url") -> Service:
    """Read a base URL; InputError for one that is none, or holds a name, password or query."""
    parts = _split(text, code)
    if parts.username is not None or parts.password is not None:
        raise _wrong("the URL of a service holds a user's name or password", code)
    if parts.query or parts.fragment:
        raise _wrong("the URL of a service ends with a query or fragment", code)
    path = parts.path.rstrip("/")
    url = urlunsplit((parts.scheme, parts.netloc, path, "", ""))
    return Service(url, origin_of(url), is_public(parts.hostname or ""))


def origin_of(url: str, *, code: str = "hosted.url") -> Origin:
    """Return scheme, host and port of an http(s) URL; InputError for any other."""
    parts = _split(url, code)
    return (
        parts.scheme,
        (parts.hostname or "").lower(),
        parts.port or _DEFAULT_PORTS[parts.scheme],
    )


def shown(url: str) -> str:
    """Return a URL without what may be secret in it: user, password, query and fragment."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        place = f"[{host}]" if ":" in host else host
        place += f":{parts.port}" if parts.port else ""
    except ValueError:
        return "a URL that does not parse"
    return urlunsplit((parts.scheme, place, parts.path, "", ""))


def is_public(host: str) -> bool:
    """Tell whether a host's name or address means the same everywhere."""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        name = host.lower().rstrip(".")
        return "." in name and not name.endswith(_OWN_SUFFIXES)


def refuse_own_network(url: str) -> None:
    """Refuse a URL of a machine that only this network reaches; InputError (`hosted.picture-url`).

    For addresses that a public service hands out. The name is looked up here and again when it is
    called: a service that answers the two differently is not caught.
    """
    _, host, port = origin_of(url, code="hosted.picture-url")
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        raise _wrong(f"the host of {shown(url)} is not known", "hosted.picture-url") from None
    if not all(ipaddress.ip_address(str(one).partition("%")[0]).is_global for one in found):
        raise _wrong(
            f"the service names a picture at {shown(url)}, which is in this network",
            "hosted.picture-url",
        )


def is_plain_name(model: str) -> bool:
    """Tell a model's public name (`gpt-image-1`, `org/name`) from a path, which may name people."""
    return _MODEL.fullmatch(model) is not None


def in_the_open(model: str) -> str | Sealed:
    """Return a model's name, sealed where it may be a path."""
    return model if is_plain_name(model) else Sealed(model)


def _split(text: str, code: str) -> SplitResult:
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        raise _wrong("a URL does not parse", code) from None
    plain = len(text) <= MAX_URL and all("!" <= character <= "~" for character in text)
    if not plain or not usable or parts.scheme not in {"http", "https"}:
        raise _wrong(f"{shown(text)[:200]!r} is not an http or https URL", code)
    return parts


def _wrong(message: str, code: str) -> InputError:
    return InputError(
        message,
        code=code,
        hint="give the API's own address, such as https://api.openai.com/v1; a key goes into"
        " --key-env or --key-file",
    )
