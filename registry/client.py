"""A served registry, spoken to over HTTP: the façade of `sdk.Registry`, as far as it is offered.

Every error that the service reports comes back as the class that it was raised as there. Must not
open a home, a database or a key.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar, cast
from urllib.parse import quote, urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from registry import errors
from registry.core.answers import (
    AssetSummary,
    GateReport,
    Impact,
    Lineage,
    Passport,
    Receipt,
    Verification,
)
from registry.core.digests import asset_id, parse_ref
from registry.core.search_answers import SearchReport
from registry.errors import GenopsError, InputError, UnavailableError
from registry.settings import remote_token

if TYPE_CHECKING:
    import builtins
    from types import TracebackType

    from registry.core.find_answers import FoundFile
    from registry.core.look_up import FindResult

CONNECT_S = 5.0
"""Longest wait for a connection, seconds."""
ANSWER_S = 120.0
"""Longest wait between two parts of an answer, seconds; a gate of many assets takes its time."""

_T = TypeVar("_T")
_API = "/api/v1"
_READ_BYTES = 1024 * 1024


class RemoteRegistry:
    """A registry behind `url` (http or https), as `genops serve` offers it.

    `token` is sent as `Authorization: Bearer`; without one, that of the settings is. Safe to share
    between threads; a context manager.
    Every method raises UnavailableError when the service cannot be reached or does not answer in
    time, and InputError (`auth.required`) without the right token. Records are not yet written
    over HTTP: `record` and what else needs a home raise InputError (`remote.not-offered`).
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        timeout: httpx.Timeout | float | None = None,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.url = _base(url)
        secret = remote_token() if token is None else token
        headers = [(b"Authorization", b"Bearer " + secret.encode("utf-8"))] if secret else []
        self._http = httpx.Client(
            base_url=self.url,
            headers=headers,
            timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S) if timeout is None else timeout,
            transport=transport,
            follow_redirects=False,  # a token must not travel to another host
        )

    def __enter__(self) -> Self:
        """Return the registry itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections; the registry cannot be used afterwards."""
        self._http.close()

    def list(
        self,
        *,
        project: str | None = None,
        campaign: str | None = None,
        kind: str | None = None,
        tainted: bool | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> builtins.list[AssetSummary]:
        """Return a page of outputs, newest first."""
        query = {
            "project": project,
            "campaign": campaign,
            "kind": kind,
            "tainted": tainted,
            "limit": limit,
            "offset": offset,
        }
        return self._ask(list[AssetSummary], "GET", "/assets", params=query)

    def search(
        self,
        terms: str | Iterable[str] = (),
        *,
        sort: str | None = None,
        limit: int = 100,
        offset: int = 0,
        count: bool = False,
    ) -> SearchReport:
        """Return a page of the outputs that all terms are true of, such as `width:1024..`."""
        text = terms if isinstance(terms, str) else shlex.join(terms)
        query = {"q": text, "sort": sort, "limit": limit, "offset": offset, "count": count}
        return self._ask(SearchReport, "GET", "/search", params=query)

    def get(self, ref: str | Path) -> Passport:
        """Return all that is known of an asset (id, prefix, record, or path to a file here)."""
        return self._ask(Passport, "GET", _asset(ref))

    def resolve(self, ref: str | Path) -> str:
        """Return the asset id that `ref` names."""
        return self.get(ref).id

    def verify(self, ref: str | Path) -> Verification:
        """Return every check of an asset's record, as the service made them."""
        return self._ask(Verification, "GET", _asset(ref, "verification"))

    def lineage(
        self, ref: str | Path, *, direction: str = "up", depth: int | None = None
    ) -> Lineage:
        """Return the graph around an asset: `up`, `down` or `both`."""
        query = {"direction": direction, "depth": depth}
        return self._ask(Lineage, "GET", _asset(ref, "lineage"), params=query)

    def impact(self, ref: str | Path, *, limit: int = 100, offset: int = 0) -> Impact:
        """Return what derives from an asset or material."""
        query = {"limit": limit, "offset": offset}
        return self._ask(Impact, "GET", _asset(ref, "impact"), params=query)

    def evidence(self, ref: str | Path, *, texts: bool = True) -> bytes:
        """Return the evidence file of an asset's record, with or without its texts."""
        return self._send("GET", _asset(ref, "evidence"), params={"texts": texts}).content

    def evidence_bundle(self, named: Sequence[str | Path], *, texts: bool = True) -> bytes:
        """Return a ZIP with the evidence of several assets' records, packed here."""
        from registry.core.evidence_zip import build_bundle  # noqa: PLC0415  # only here

        return build_bundle([self.evidence(ref, texts=texts) for ref in named])

    def find(
        self,
        source: str | Path | bytes,
        *,
        radius: int = 62,
        banks: Sequence[str] = ("registered",),
    ) -> FindResult:
        """Look a file up: same bytes, same pixels, and what looks or reads like it, told apart."""
        from registry.core.look_up import FindResult  # noqa: PLC0415  # only here

        content = source if isinstance(source, bytes) else _read(Path(source))
        headers = {"Content-Type": "application/octet-stream"}
        params = {"radius": radius, "banks": list(banks)}
        return self._ask(
            FindResult, "POST", "/find", params=params, content=content, headers=headers
        )

    def find_many(
        self,
        paths: Sequence[str | Path],
        *,
        radius: int = 62,
        banks: Sequence[str] = ("registered",),
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        hidden: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Iterator[FoundFile]:
        """Look files up, and all in folders here; as `Registry.find_many`."""
        from registry.workflows.look_up_many import look_up_many  # noqa: PLC0415  # only here

        find = partial(self.find, radius=radius, banks=banks)
        return look_up_many(
            find, paths, include=include, exclude=exclude, hidden=hidden, progress=progress
        )

    def gate(
        self, refs: Sequence[str | Path], *, policy: str = "default", record: bool = True
    ) -> GateReport:
        """Judge assets under a policy that the service ships, by its name."""
        body = {"refs": [_spelled(ref) for ref in refs], "policy": policy, "record": record}
        return self._ask(GateReport, "POST", "/gate", json=body)

    def taint(
        self, ref: str | Path, *, reason: str, severity: str = "high", actor: str | None = None
    ) -> Receipt:
        """Taint an asset, material or record, and all that derives from it."""
        return self._taint(ref, reason=reason, severity=severity, actor=actor, action="taint")

    def clear_taint(self, ref: str | Path, *, reason: str, actor: str | None = None) -> Receipt:
        """Clear a taint."""
        return self._taint(ref, reason=reason, actor=actor, action="clear")

    def record(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: a generation is recorded where its home is."""
        _not_offered("record")

    def ingest(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: a file is taken in where the home is."""
        _not_offered("ingest")

    def ingest_many(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: files are taken in where the home is."""
        _not_offered("ingest_many")

    def reproduce(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: a replay runs where the home is."""
        _not_offered("reproduce")

    def erase(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: keys are destroyed where the home is."""
        _not_offered("erase")

    def register_model(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: a model is registered where the home is."""
        _not_offered("register_model")

    def models(self) -> NoReturn:
        """Raise InputError: declarations are listed where the home is."""
        _not_offered("models")

    def check_log(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: the whole log is checked where it is; tiles are under /tlog."""
        _not_offered("check_log")

    def rebuild_catalog(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: the projection is rebuilt where the home is."""
        _not_offered("rebuild_catalog")

    def sync_mirrors(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: mirrors are fed where the home is."""
        _not_offered("sync_mirrors")

    def mirror_status(self) -> NoReturn:
        """Raise InputError: mirrors are fed where the home is."""
        _not_offered("mirror_status")

    def blob(self, *_: object, **__: object) -> NoReturn:
        """Raise InputError: the vault's files are where the home is; `read_blob` fetches one."""
        _not_offered("blob")

    def read_blob(self, ref: str | Path) -> bytes:
        """Return an asset's bytes; the service checked them against their digest."""
        return self._send("GET", _asset(ref, "blob")).content

    def _taint(self, ref: str | Path, **fields: str | None) -> Receipt:
        body = {name: value for name, value in fields.items() if value is not None}
        return self._ask(Receipt, "POST", "/taints", json=body | {"ref": _spelled(ref)})

    def _ask(self, kind: type[_T], method: str, path: str, **request: Any) -> _T:
        answer = self._send(method, path, **request)
        try:
            parsed: _T = _adapter(cast("Any", kind)).validate_json(answer.content)
        except ValidationError as error:
            raise _no_registry(self.url, f"its answer does not read as one: {error}") from error
        return parsed

    def _send(self, method: str, path: str, **request: Any) -> httpx.Response:
        if "params" in request:
            request["params"] = {k: v for k, v in request["params"].items() if v is not None}
        try:
            answer = self._http.request(method, _API + path, **request)
        except httpx.TimeoutException as error:
            raise _unreachable(self.url, "it does not answer in time") from error
        except httpx.HTTPError as error:
            raise _unreachable(self.url, str(error) or type(error).__name__) from error
        if answer.status_code != HTTPStatus.OK:
            raise _problem(self.url, answer)
        return answer


def error_of(body: object) -> GenopsError | None:
    """Return the error that a service's JSON describes, or None when it describes none.

    Its class is the `kind` that the service names, else the one that its code speaks for.
    """
    if not isinstance(body, Mapping) or not {"code", "message"} <= body.keys():
        return None
    fields = {name: str(body.get(name, "")) for name in ("code", "message", "hint")}
    kind = _classes().get(str(body.get("kind")))
    if kind is None:
        return errors.revive(fields)
    return kind(fields["message"], code=fields["code"], hint=fields["hint"])


@cache
def _classes() -> Mapping[str, type[GenopsError]]:
    return {kind.__name__: kind for kind in _tree(GenopsError)}


def _tree(kind: type[GenopsError]) -> Iterator[type[GenopsError]]:
    if kind.__module__ == errors.__name__:
        yield kind
    for child in kind.__subclasses__():
        yield from _tree(child)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _base(url: str) -> str:
    parts = urlsplit(url)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InputError(
            "the URL of a registry has a password, query or fragment in it",
            code="remote.url",
            hint="give the token in GENOPS_API_TOKEN",
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InputError(
            f"{url!r} is not the URL of a served registry",
            code="remote.url",
            hint="give http://HOST:PORT or https://HOST",
        )
    return url.rstrip("/")


def _asset(ref: str | Path, part: str = "") -> str:
    path = f"/assets/{quote(_spelled(ref), safe=':')}"
    return f"{path}/{part}" if part else path


def _spelled(ref: str | Path) -> str:
    """Return a reference as the service takes it: a file on this machine goes by its digest."""
    text = str(ref)
    try:
        parse_ref(text)
    except InputError:
        path = Path(text)
        if path.is_file():
            return asset_id(_file_sha256(path))
        raise
    return text.strip().lower()


def _file_sha256(path: Path) -> str:
    import hashlib  # noqa: PLC0415  # only for references by path

    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="file.unreadable") from error


def _problem(url: str, answer: httpx.Response) -> GenopsError:
    try:
        body = answer.json()
    except ValueError:
        body = None
    known = error_of(body)
    if known is not None:
        return known
    if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _unreachable(url, f"it answers {answer.status_code}")
    return _no_registry(url, f"it answers {answer.status_code}")


def _unreachable(url: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"the registry at {url} cannot be reached: {why}",
        hint="check that `genops serve` runs there, and the network between",
    )


def _no_registry(url: str, why: str) -> UnavailableError:
    return UnavailableError(
        f"there is no registry of this version at {url}: {why}",
        code="registry.foreign",
        hint="check the URL, and that both sides run the same release",
    )


def _not_offered(verb: str) -> NoReturn:
    raise InputError(
        f"`{verb}` is not offered over HTTP",
        code="remote.not-offered",
        hint="run it on the machine that holds the registry's home",
    )
