"""A client of a hosted service whose answers are recorded before they are handed on.

client = recorded_client("https://api.openai.com/v1", registry, key_env="OPENAI_API_KEY")
picture = client.image("a red mug on a blue table", model="gpt-image-1", size="1024x1024")
reply = client.chat("Three headlines for a red mug.", model="gpt-4o-mini")
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.hosted import answers, describe
from generators.hosted.inputs import Input, read_inputs
from generators.hosted.keys import Key, read_key, scrub_deep
from generators.hosted.outputs import picture_output, sealed_texts, text_output
from generators.hosted.prices import Prices, read_prices
from generators.hosted.recording import Owner, check_id, new_id, record_once
from generators.hosted.transport import Answer, Bounds, Transport
from generators.hosted.urls import (
    Service,
    origin_of,
    parse_service,
    refuse_own_network,
    shown,
)
from generators.recent import outputs_of
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.statements import build_uri
from registry.errors import GenopsError, InputError

if TYPE_CHECKING:
    from PIL.Image import Image

    from generators.ports import Clock, Recorder
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("hosted")
BUILDER_ID = "https://w3id.org/genops/builder/hosted"
MAX_BODY_BYTES = 1024 * 1024
"""Largest answer, its contents aside, that is kept in the record."""
Picture = str | Path | bytes
"""A picture to send: its bytes, its file, or the id of an asset."""


def recorded_client(  # noqa: PLR0913 (a façade: each is a word that its caller may leave out)
    url: str,
    registry: Recorder,
    *,
    key_env: str | None = None,
    key_file: str | Path | None = None,
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    personal: bool = False,
    prices: str | Path | Mapping[str, Any] | None = None,
    bounds: Bounds | None = None,
    tell: Callable[[str], None] = lambda _line: None,
) -> RecordedClient:
    """Return a client of the OpenAI-compatible API at `url`, every answer of which is recorded.

    The key is read from the variable `key_env` or the file `key_file`. `prices` (a table or its
    file) turns the tokens that the service counts into a cost. `personal` outputs are stored
    encrypted. `tell` hears of waits and new attempts.

    Raises InputError for a URL, key or price table that cannot be used.
    """
    key = read_key(key_env, key_file)
    service = parse_service(url)
    if key.headers() and service.public and service.origin[0] == "http":
        raise InputError(
            f"{service.url} would get the key in the clear",
            code="hosted.url",
            hint="use its https address",
        )
    return RecordedClient(
        service,
        registry,
        Transport(key, bounds or Bounds(), tell),
        Owner(project, campaign, actor, personal),
        None if prices is None else read_prices(prices),
    )


@dataclass(frozen=True, slots=True)
class HostedResult:
    """One answer, recorded: its outputs, the receipt, and what the service says of itself.

    `claims` names the model that the service says it ran. `cost` is None where no price applies.
    """

    outputs: tuple[Output, ...] = field(repr=False)
    receipt: Receipt
    claims: answers.Claims
    cost: Mapping[str, Any] | None
    attempts: tuple[str, ...]
    request_id: str

    @property
    def data(self) -> bytes:
        """The bytes of the first output, as the service made them."""
        return self.outputs[0].data

    @property
    def text(self) -> str:
        """The first text."""
        return self.data.decode("utf-8")

    @property
    def image(self) -> Image:
        """The first picture, decoded."""
        from generators.encode import decode_image

        return decode_image(self.data)


@dataclass(frozen=True, slots=True)
class _Ask:
    """One call: the endpoint below the service's URL, its arguments, and the pictures sent."""

    endpoint: str
    request: Mapping[str, Any]
    inputs: tuple[Input, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)


class RecordedClient:
    """Asks a service and records what it answers; made by `recorded_client`.

    Safe to call from several threads. Every call takes any further argument of the API by its
    name, and `request_id`: the id of an earlier attempt whose answer got lost. The service is sent
    it as `Idempotency-Key`; where it knows such keys, it answers as before and charges once.
    `unrecorded` holds answers that the registry failed to take, by request id.
    """

    def __init__(
        self,
        service: Service,
        recorder: Recorder,
        transport: Transport,
        owner: Owner,
        prices: Prices | None = None,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._service = service
        self._recorder = recorder
        self._transport = transport
        self._owner = owner
        self._prices = prices
        self._clock = clock
        self.unrecorded: dict[str, tuple[Generation, tuple[bytes, ...]]] = {}

    def __repr__(self) -> str:
        return f"recorded_client({self._service.url!r})"

    def image(
        self, prompt: str, *, model: str, request_id: str | None = None, **options: Any
    ) -> HostedResult:
        """Have pictures made from a text (`images/generations`) and record them.

        Raises as `Transport.call` does, FormatError (`hosted.answer`) for an answer without whole
        pictures, InputError (`hosted.argument`), and whatever the registry raises.
        """
        request = {"model": model, "prompt": prompt} | options
        return self._run(_Ask("images/generations", request, (), {"json": request}), request_id)

    def edit(
        self,
        images: Picture | Sequence[Picture],
        prompt: str,
        *,
        model: str,
        mask: Picture | None = None,
        request_id: str | None = None,
        **options: Any,
    ) -> HostedResult:
        """Have pictures changed by a text (`images/edits`) and record the results; as `image`.

        The pictures that are sent become materials, to the byte.
        """
        given = [images] if isinstance(images, (str, Path, bytes)) else list(images)
        inputs = read_inputs(self._recorder, given, mask, self._transport.bounds.picture_bytes)
        request = {"model": model, "prompt": prompt} | options
        content = {"data": _form(request), "files": [one.part(len(given)) for one in inputs]}
        return self._run(_Ask("images/edits", request, tuple(inputs), content), request_id)

    def chat(
        self,
        prompt: str | Sequence[Mapping[str, Any]],
        *,
        model: str,
        system: str | None = None,
        request_id: str | None = None,
        **options: Any,
    ) -> HostedResult:
        """Have a text written (`chat/completions`) and record it; as `image`.

        `prompt` is what the user says, or the whole list of messages.
        """
        said = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else list(prompt)
        opening = [] if system is None else [{"role": "system", "content": system}]
        request = {"model": model, "messages": [*opening, *said]} | options
        return self._run(_Ask("chat/completions", request, (), {"json": request}), request_id)

    def record_again(self, request_id: str) -> Receipt:
        """Record an answer that the registry failed to take; KeyError when there is none."""
        generation, blobs = self.unrecorded[request_id]
        receipt = record_once(self._recorder, generation, blobs=blobs, owner=self._owner)
        del self.unrecorded[request_id]
        return receipt

    def _run(self, ask: _Ask, request_id: str | None) -> HostedResult:
        call_id = new_id() if request_id is None else check_id(request_id)
        self._check(ask)
        started = self._clock()
        try:
            answer = self._transport.call(
                "POST",
                f"{self._service.url}/{ask.endpoint}",
                headers={"Idempotency-Key": call_id, "Accept": "application/json"},
                **ask.content,
            )
            document = answers.read_json(answer, shown(self._service.url))
            scrubbed = scrub_deep(document, self._transport.key)
            answers.refuse_error(scrubbed)
            outputs = self._outputs(ask, document)
        except GenopsError as error:
            raise _with_id(error, call_id) from None
        claims = answers.read_claims(scrubbed, answer.headers)
        cost = self._cost(ask, claims, len(outputs))
        materials, blobs = self._materials(ask, claims)
        generation = Generation(
            build_type=BUILD_TYPE,
            external=describe.external(
                ask.endpoint, self._service, ask.request, [one.material.name for one in ask.inputs]
            ),
            internal=_internal(answer, scrubbed, claims, cost),
            materials=materials,
            outputs=outputs,
            started_ms=started,
            finished_ms=self._clock(),
            builder_id=BUILDER_ID,
            builder_version={"httpx": metadata.version("httpx")},
            reasons=(describe.REASON, *(() if claims.model else (describe.UNNAMED,))),
            campaign=self._owner.campaign,
            invocation_id=call_id,
        )
        receipt = self._record(generation, blobs)
        return HostedResult(tuple(outputs), receipt, claims, cost, answer.attempts, call_id)

    def _check(self, ask: _Ask) -> None:
        describe.check_names(ask.request)
        try:
            text = json.dumps(ask.request, ensure_ascii=False, allow_nan=False)
            text.encode("utf-8")
        except (TypeError, ValueError, RecursionError):
            raise InputError(
                "an argument of the call cannot be sent as JSON", code="hosted.argument"
            ) from None
        key = self._transport.key
        if key.is_in(text) or any(key.is_in(one.data) for one in ask.inputs):
            raise InputError(
                "the API key stands in what is to be sent, and would be recorded",
                code="hosted.key",
                hint="take it out of the prompt",
            )

    def _outputs(self, ask: _Ask, document: Mapping[str, Any]) -> list[Output]:
        if ask.endpoint == "chat/completions":
            made = answers.read_texts(document)
        else:
            most = self._transport.bounds.picture_bytes
            made = answers.read_pictures(document, self._fetch, most)
        if any(_repeats(self._transport.key, one) for one in made):
            raise answers.unusable("the answer repeats the API key")
        if ask.endpoint == "chat/completions":
            return [text_output(one.data, number) for number, one in enumerate(made)]
        return [
            picture_output(one.data, number, extra={"delivered": one.how} | sealed_texts(one.said))
            for number, one in enumerate(made)
        ]

    def _fetch(self, url: str) -> bytes:
        """Fetch a picture that the service names; its own key goes to itself alone."""
        own = origin_of(url, code="hosted.picture-url") == self._service.origin
        if not own and self._service.public:
            refuse_own_network(url)
        most = self._transport.bounds.picture_bytes
        return self._transport.call("GET", url, limit=most, secret=own).body

    def _cost(self, ask: _Ask, claims: answers.Claims, outputs: int) -> Mapping[str, Any] | None:
        if self._prices is None:
            return None
        names = tuple(filter(None, (claims.model, str(ask.request["model"]))))
        pictures = 0 if ask.endpoint == "chat/completions" else outputs
        return self._prices.cost(names, claims.usage, pictures)

    def _materials(
        self, ask: _Ask, claims: answers.Claims
    ) -> tuple[tuple[Material, ...], tuple[bytes, ...]]:
        """Return the model by its claim and the pictures sent, and their bytes."""
        model = describe.claimed_model(self._service, claims.model, str(ask.request["model"]))
        found = [*([model] if model else []), *((one.material, one.data) for one in ask.inputs)]
        named = outputs_of(self._recorder).name(material for material, _ in found)
        return named, tuple(data for _, data in found)

    def _record(self, generation: Generation, blobs: tuple[bytes, ...]) -> Receipt:
        try:
            return record_once(self._recorder, generation, blobs=blobs, owner=self._owner)
        except Exception:
            self.unrecorded[str(generation.invocation_id)] = generation, blobs
            raise


def _internal(
    answer: Answer,
    document: Mapping[str, Any],
    claims: answers.Claims,
    cost: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """Return what came back beside the outputs: claims in the open, the rest sealed."""
    body: Any = answers.without_contents(document, shown)
    size = len(json.dumps(body))
    internal: dict[str, Any] = {
        "answer": claims.described(),
        "body": Sealed(body) if size <= MAX_BODY_BYTES else {"omitted_bytes": size},
        "attempts": list(answer.attempts),
    }
    return internal | ({} if cost is None else {"cost": cost})


def _form(request: Mapping[str, Any]) -> dict[str, str]:
    """Return arguments as the fields of a form."""
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in request.items()
        if value is not None
    }


def _repeats(key: Key, made: answers.Made) -> bool:
    return key.is_in(made.data) or any(key.is_in(text) for text in made.said.values())


def _with_id(error: GenopsError, call_id: str) -> GenopsError:
    """Say under which id the same call is made again, where its answer may have got lost."""
    if error.code in {"hosted.timeout", "hosted.cut-off", "hosted.failed", "hosted.answer"}:
        advice = f"the same call again: request id {call_id}"
        error.hint = f"{error.hint}; {advice}" if error.hint else advice
    return error
