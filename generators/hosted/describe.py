"""One call of a hosted model as a record holds it: what was asked, of whom, and what came of it.

Texts are sealed, names of models and settings are plain, the key is nowhere. Takes values, returns
values.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from generators.hosted.urls import Service, in_the_open, is_plain_name
from registry.core.digests import sha256_hex
from registry.core.generation import Material, Sealed
from registry.core.jsonio import SAFE_INTEGER
from registry.errors import InputError

CLAIMED = "model/claimed"
"""Name of the material that stands for a model that nobody here holds."""
REASON = (
    "the model runs at a service: its weights, its software and its state are not held here, and"
    " another call may be answered by others"
)
UNNAMED = "the service does not say which model answered"
_PLAIN = frozenset(
    (
        "background", "encoding_format", "input_fidelity", "moderation", "output_format",
        "quality", "reasoning_effort", "response_format", "service_tier", "size", "style",
        "tool_choice", "verbosity",
    )
)  # fmt: skip
"""Arguments whose texts are words of the API, not of a person."""
_OPTION = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")


def arguments(request: Mapping[str, Any]) -> dict[str, Any]:
    """Describe what was asked, argument by argument; every text that may be free is sealed."""
    return {name: _argument(name, value) for name, value in request.items() if name != "model"}


def check_names(request: Mapping[str, Any]) -> None:
    """Refuse arguments that no API takes, and streams; InputError (`hosted.argument`)."""
    for name in request:
        if not _NAME.fullmatch(name):
            raise InputError(f"{name[:80]!r} is not an argument's name", code="hosted.argument")
    if request.get("stream"):
        raise InputError(
            "a streamed answer is not recorded",
            code="hosted.argument",
            hint="leave `stream` out: the whole answer comes at once",
        )


def external(
    endpoint: str, service: Service, request: Mapping[str, Any], inputs: list[str]
) -> dict[str, Any]:
    """Return what the caller chose; `inputs` are names of materials."""
    described: dict[str, Any] = {
        "endpoint": endpoint,
        "service": service.url if service.public else Sealed(service.url),
        "model": in_the_open(str(request["model"])),
        "arguments": arguments(request),
    }
    return described | ({"inputs": inputs} if inputs else {})


def claimed_model(
    service: Service, claimed: str | None, asked: str
) -> tuple[Material, bytes] | None:
    """Return a material, and its bytes, that stand for a model by what it is called.

    They let hosted models be approved, licensed and tainted like others. The bytes are a small
    JSON document that says whose claim it is: two services, or two names, are two models. None for
    a model without a public name. Where the service names none, it is the one that was asked for.
    """
    model = claimed or asked
    if not is_plain_name(model):
        return None
    data = json.dumps(
        {"claim": "hosted-model-v1", "model": model, "service": service.name},
        sort_keys=True,
        separators=(",", ":"),
    ).encode("ascii")
    material = Material(
        name=CLAIMED,
        kind="model",
        sha256=sha256_hex(data),
        storage="vaulted",
        media_type="application/json",
        annotations={
            "claimed_by": "service" if claimed else "caller",
            "model": model,
            "service": service.name,
        },
    )
    return material, data


def _argument(name: str, value: Any) -> Any:
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return str(value) if name == "seed" or abs(value) >= SAFE_INTEGER else value
    if isinstance(value, float):
        return value
    if name in _PLAIN and isinstance(value, str) and _OPTION.fullmatch(value):
        return value
    return Sealed(_storable(value))


def _storable(value: Any) -> Any:
    """Return a JSON value whose large integers are texts."""
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= SAFE_INTEGER:
        return str(value)
    if isinstance(value, Mapping):
        return {str(key): _storable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_storable(item) for item in value]
    return value
