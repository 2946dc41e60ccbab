"""The answers of generators whose models run elsewhere: at a hosted service, or in ComfyUI."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry.core.answers import Answer, Receipt


@dataclass(frozen=True, slots=True)
class HostedAnswer(Answer):
    """What a hosted service answered, and the receipt of its record.

    `model` is the model that the service claims to have run, None where it does not say. `usage`
    is what it counted, `cost` what that comes to by the caller's prices, None without one. `text`
    is the first text of a chat, `files` where outputs were also written. `attempts` has the
    outcome of each time that the request was sent. `request_id` makes the same call again.
    """

    receipt: Receipt
    model: str | None
    usage: dict[str, Any]
    cost: dict[str, Any] | None
    text: str | None
    files: tuple[str, ...]
    attempts: tuple[str, ...]
    request_id: str


@dataclass(frozen=True, slots=True)
class ComfyRun(Answer):
    """What a ComfyUI server made of a workflow, and the receipt of its record.

    `prompt_id` is the server's own id of the run. `cached` are the nodes whose results it had from
    an earlier run. `models` counts the model files that were recorded by digest, `unread` names
    the inputs (`node.input`) whose files were not. `embedded` counts the pictures that hold the
    workflow, texts and all, in their own metadata.
    """

    receipt: Receipt
    prompt_id: str
    nodes: int
    cached: tuple[str, ...]
    models: int
    unread: tuple[str, ...]
    embedded: int
    reasons: tuple[str, ...]
    files: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ComfyWorkflow(Answer):
    """The workflow of a record, as it was submitted. `file` is where it was also written."""

    record: str
    workflow: dict[str, Any]
    file: str | None
