"""Where another log is read from: a registry's home, a folder of static tiles, or a URL of them.

Fetches bytes and believes none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from registry.core.merkle import HASH_BYTES
from registry.core.notes import MAX_NOTE_BYTES, SignedNote
from registry.core.tiles import TILE_WIDTH, Tile
from registry.errors import HomeError, InputError, NotFoundError, UnavailableError
from registry.log import cosigned
from registry.log.reader import LogReader
from registry.settings import CONFIG_NAME, Limits, Settings, is_url, load_settings
from registry.store.engine import open_engine
from registry.workflows.setup import vkey_of
from registry.workflows.witness_keys import witnesses

if TYPE_CHECKING:
    import httpx

CHECKPOINT = "checkpoint"


class LogSource(Protocol):
    """A log as C2SP tlog-tiles shows it, which whoever offers it may change at any time.

    Methods raise NotFoundError for what is not there and UnavailableError when it cannot be asked.
    """

    def checkpoint(self) -> bytes:
        """Return the newest checkpoint's note."""

    def tile(self, tile: Tile) -> bytes:
        """Return a tile of hashes, partial ones with the width that is asked for."""

    def hand_back(self, note: SignedNote) -> bool | None:
        """Give a cosigned checkpoint to the log: was it kept? None where nobody takes it."""


@contextmanager
def open_source(where: str, limits: Limits, token: str | None = None) -> Iterator[LogSource]:
    """Open the log at a home, a folder of tiles or an http(s) prefix, to which `token` is sent."""
    if is_url(where):
        with http_client(limits, token) as http:
            yield _Prefix(where.rstrip("/"), http)
    elif (Path(where) / CONFIG_NAME).is_file():
        # Another registry: this process's environment is not about it.
        home = _OtherHome(load_settings(where, {}))
        try:
            yield home
        finally:
            home.close()
    else:
        yield _Folder(Path(where))


def http_client(limits: Limits, token: str | None = None) -> httpx.Client:
    """Return a client that follows no redirects: neither token nor request may go elsewhere."""
    import httpx  # noqa: PLC0415  # only for logs that are served

    headers = [(b"Authorization", b"Bearer " + token.encode("utf-8"))] if token else []
    return httpx.Client(headers=headers, timeout=limits.witness_wait_s, follow_redirects=False)


def fetch(http: httpx.Client, request: httpx.Request, most: int) -> tuple[int, str, bytes]:
    """Return an answer's status, media type and body of at most `most` bytes.

    Raises UnavailableError (`witness.unreachable`).
    """
    import httpx  # noqa: PLC0415  # only for logs that are served

    try:
        answer = http.send(request, stream=True)
        try:
            body = b""
            for part in answer.iter_bytes():
                body += part
                if len(body) > most:
                    raise _unreachable(request.url, f"it answers with more than {most} bytes")
        finally:
            answer.close()
    except httpx.HTTPError as error:
        raise _unreachable(request.url, str(error) or type(error).__name__) from error
    return answer.status_code, answer.headers.get("content-type", ""), body


class _Prefix:
    """A log under an http(s) prefix."""

    def __init__(self, prefix: str, http: httpx.Client) -> None:
        self._prefix = prefix
        self._http = http

    def checkpoint(self) -> bytes:
        return self._get(CHECKPOINT, MAX_NOTE_BYTES)

    def tile(self, tile: Tile) -> bytes:
        return self._get(tile.path, TILE_WIDTH * HASH_BYTES)

    def hand_back(self, note: SignedNote) -> None:  # noqa: ARG002
        return None

    def _get(self, path: str, most: int) -> bytes:
        request = self._http.build_request("GET", f"{self._prefix}/{path}")
        status, _, body = fetch(self._http, request, most)
        if status == 404:
            raise _nothing(str(request.url))
        if status != 200:
            raise _unreachable(request.url, f"it answers {status}")
        return body


class _Folder:
    """A folder of static tiles, as `genops log export-tiles` writes it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def checkpoint(self) -> bytes:
        return self._read(CHECKPOINT, MAX_NOTE_BYTES)

    def tile(self, tile: Tile) -> bytes:
        return self._read(tile.path, TILE_WIDTH * HASH_BYTES)

    def hand_back(self, note: SignedNote) -> None:  # noqa: ARG002
        return None

    def _read(self, name: str, most: int) -> bytes:
        path = self._root / name
        try:
            with path.open("rb") as file:
                data = file.read(most + 1)
        except (FileNotFoundError, NotADirectoryError):
            raise _nothing(str(path)) from None
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", code="input.file") from error
        if len(data) > most:
            raise InputError(f"{path} has more than {most} bytes", code="input.file")
        return data


class _OtherHome:
    """Another registry's own folder; only here can a cosignature be handed back."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._engine = open_engine(settings)
        self._reader = LogReader(self._engine, settings.origin, vkey_of(settings))

    def close(self) -> None:
        self._engine.dispose()

    def checkpoint(self) -> bytes:
        return self._reader.checkpoint()

    def tile(self, tile: Tile) -> bytes:
        if tile.level is None:
            raise NotFoundError("a witness needs no entries", code="tile.unknown")
        return self._reader.tile(tile.level, tile.index, tile.width)

    def hand_back(self, note: SignedNote) -> bool:
        known = witnesses(self._settings.home)
        try:
            return bool(cosigned.keep(self._reader, note, known))
        except (HomeError, UnavailableError):
            return False  # read-only or busy: the cosignature itself stands


def _nothing(where: str) -> NotFoundError:
    return NotFoundError(
        f"there is nothing at {where}",
        code="witness.source",
        hint="name a registry's folder, a folder of static tiles, or a URL such as https://HOST/tlog",
    )


def _unreachable(where: object, why: str) -> UnavailableError:
    return UnavailableError(
        f"{where} cannot be used: {why}",
        code="witness.unreachable",
        hint="check that it is served, and the network between",
    )
