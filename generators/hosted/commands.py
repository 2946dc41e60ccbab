"""The verbs that ask hosted models; light to import, the network is touched when they run."""

import json as jsonlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.frame import Verb, subcommands
from registry.cli.options import Campaign, Home, Json, Project
from registry.errors import InputError

OPENAI = "https://api.openai.com/v1"
MAX_STDIN = 4 * 1024 * 1024
"""Longest prompt that is read from standard input, bytes."""

Prompt = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What to ask for; `-` reads standard input.")
]
Model = Annotated[str, typer.Option("--model", metavar="NAME", help="The model to ask.")]
Server = Annotated[str, typer.Option("--server", metavar="URL", help="The API's address.")]
KeyEnv = Annotated[
    str | None,
    typer.Option(
        "--key-env",
        metavar="NAME",
        help="The variable that holds the key; for OpenAI, OPENAI_API_KEY unless said.",
    ),
]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", metavar="FILE", help="The file that holds the key.")
]
More = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="Any other argument; VALUE is JSON or text."),
]
Prices = Annotated[
    Path | None,
    typer.Option("--prices", metavar="FILE", help="Your price table (YAML), to record the cost."),
]
Timeout = Annotated[
    float,
    typer.Option("--timeout", metavar="S", min=1.0, help="Longest time for the call, seconds."),
]
Again = Annotated[
    str | None,
    typer.Option("--request-id", metavar="UUID", help="Repeat a call whose answer got lost."),
]
Personal = Annotated[
    bool, typer.Option("--personal", help="The output shows a person: store it encrypted.")
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Also write what came here.")
]

hosted = subcommands("Ask hosted models and record their answers.")


@hosted.command("image", cls=Verb)
def image(
    prompt: Prompt,
    model: Model,
    home: Home = None,
    json: Json = False,
    project: Project = None,
    campaign: Campaign = None,
    server: Server = OPENAI,
    key_env: KeyEnv = None,
    key_file: KeyFile = None,
    picture: Annotated[
        list[str] | None,
        typer.Option("--image", metavar="ID", help="Change this asset or file; repeatable."),
    ] = None,
    mask: Annotated[
        str | None, typer.Option("--mask", metavar="ID", help="Where to change the first --image.")
    ] = None,
    size: Annotated[
        str | None, typer.Option("--size", metavar="WxH", help="Such as 1024x1024.")
    ] = None,
    count: Annotated[
        int | None, typer.Option("--count", metavar="N", min=1, max=256, help="How many pictures.")
    ] = None,
    more: More = None,
    prices: Prices = None,
    timeout: Timeout = 900.0,
    request_id: Again = None,
    personal: Personal = False,
    out: Out = None,
) -> None:
    """Have a hosted model make or change pictures, and record them.

    The bytes are stored as they came. A hosted model is not held here, so that no such picture can
    be made again; the record says what was asked, which model the service claims, and why.

    For example:
    genops hosted image "a red mug" --model gpt-image-1 --out mug.png
    genops hosted image "make it blue" --model gpt-image-1 --image 3f2a9c41
    genops hosted image "a mug" --model sdxl --server http://127.0.0.1:8000/v1
    """
    options = _options(more, size=size, n=count)
    if mask is not None and not picture:
        raise InputError("--mask needs an --image", code="usage")
    owner = {"project": project, "campaign": campaign, "personal": personal}
    place = _Place(server, key_env, key_file, prices, timeout)
    with _client(home, place, owner) as client:
        asked = _prompt(prompt)
        if picture:
            result = client.edit(
                picture, asked, model=model, mask=mask, request_id=request_id, **options
            )
        else:
            result = client.image(asked, model=model, request_id=request_id, **options)
    _emit(result, out, as_json=json)


@hosted.command("chat", cls=Verb)
def chat(
    prompt: Prompt,
    model: Model,
    home: Home = None,
    json: Json = False,
    project: Project = None,
    campaign: Campaign = None,
    server: Server = OPENAI,
    key_env: KeyEnv = None,
    key_file: KeyFile = None,
    system: Annotated[
        str | None, typer.Option("--system", metavar="TEXT", help="What the model is told first.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", metavar="T", min=0.0, help="How freely.")
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option("--max-tokens", metavar="N", min=1, help="How long at most.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", metavar="N", help="A seed to ask for.")
    ] = None,
    more: More = None,
    prices: Prices = None,
    timeout: Timeout = 900.0,
    request_id: Again = None,
    personal: Personal = False,
    out: Out = None,
) -> None:
    """Have a hosted model write a text, and record it.

    The text is an asset like a picture. What was asked is sealed; which model the service claims,
    its fingerprint and what it counted are plain.

    For example:
    genops hosted chat "Three headlines for a red mug." --model gpt-4o-mini
    genops hosted chat "Shorter." --model tiny --server http://127.0.0.1:8000/v1
    genops hosted chat - --model gpt-4o-mini --prices prices.yaml < brief.txt
    """
    options = _options(more, temperature=temperature, max_tokens=max_tokens, seed=seed)
    owner = {"project": project, "campaign": campaign, "personal": personal}
    place = _Place(server, key_env, key_file, prices, timeout)
    with _client(home, place, owner) as client:
        result = client.chat(
            _prompt(prompt), model=model, system=system, request_id=request_id, **options
        )
    _emit(result, out, as_json=json)


@dataclass(frozen=True, slots=True)
class _Place:
    """The service that a call goes to, and what the caller knows of it."""

    server: str
    key_env: str | None
    key_file: Path | None
    prices: Path | None
    timeout: float


@contextmanager
def _client(home: str | None, place: _Place, owner: dict[str, Any]) -> Iterator[Any]:
    """Open the registry and a client that records into it; waits are told on stderr."""
    from generators.hosted.client import recorded_client
    from generators.hosted.transport import Bounds
    from registry.cli.opening import opened_here

    key_env, timeout, bounds = place.key_env, place.timeout, Bounds()
    if key_env is None and place.key_file is None and place.server == OPENAI:
        key_env = "OPENAI_API_KEY"  # this key is for this address, and for no other
    with opened_here(home, "hosted", to_sign=True) as registry:
        yield recorded_client(
            place.server,
            registry,
            key_env=key_env,
            key_file=place.key_file,
            prices=place.prices,
            bounds=replace(bounds, total_s=timeout, silent_s=min(timeout, bounds.silent_s)),
            tell=lambda line: print(line, file=sys.stderr, flush=True),
            **owner,
        )


def _prompt(text: str) -> str:
    if text != "-":
        return text
    data = sys.stdin.buffer.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise InputError(f"the prompt has more than {MAX_STDIN} bytes", code="input.text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("the prompt on standard input is not UTF-8", code="input.text") from None


def _options(more: list[str] | None, **known: Any) -> dict[str, Any]:
    options = {name: value for name, value in known.items() if value is not None}
    for text in more or ():
        name, equals, value = text.partition("=")
        if not equals or name in {"model", "prompt", "messages"}:
            raise InputError(
                f"--set {text[:80]!r} is not NAME=VALUE, or has an option of its own",
                code="usage",
                hint="--set quality=high",
            )
        try:
            options[name] = jsonlib.loads(value)
        except (ValueError, RecursionError):
            options[name] = value
    return options


def _emit(result: Any, out: Path | None, *, as_json: bool) -> None:
    from generators.hosted.files import write_outputs
    from registry.cli.output import emit
    from registry.core.remote_answers import HostedAnswer

    is_text = result.outputs[0].media_type.startswith("text/")
    answer = HostedAnswer(
        receipt=result.receipt,
        model=result.claims.model,
        usage=dict(result.claims.usage),
        cost=None if result.cost is None else dict(result.cost),
        text=result.text if is_text else None,
        files=write_outputs(result.outputs, out),
        attempts=result.attempts,
        request_id=result.request_id,
    )
    emit(answer, _text, as_json=as_json)


def _text(answer: Any) -> str:
    from registry.cli.text import visible

    receipt = answer.receipt
    lines = [] if answer.text is None else [*map(visible, answer.text.splitlines()), ""]
    lines += receipt.assets
    known = "" if receipt.new else ", recorded before"
    lines.append(f"record {receipt.record} at index {receipt.index}{known}")
    lines.append(f"model  {answer.model or 'not said by the service'} (claimed)")
    if answer.cost is not None:
        lines.append(f"cost   {answer.cost['amount']} {answer.cost['currency']}")
    lines += [f"wrote  {file}" for file in answer.files]
    return "\n".join(lines) + "\n"
