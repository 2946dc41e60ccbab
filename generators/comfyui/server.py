"""A ComfyUI server over HTTP: submit, ask what became of it, fetch pictures. All bounded.

Believes nothing that it is told: names from the server are only ever sent back to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from generators.comfyui.workflow import Workflow
from generators.hosted.answers import read_json, unusable
from generators.hosted.transport import Answer, Transport
from generators.hosted.urls import Service, shown
from registry.errors import GenopsError, InputError

MAX_NAME = 1024
"""Longest name of a file on the server, characters."""
MAX_FILES = 256
"""Most outputs of one run that are fetched."""
_PROMPT_ID = re.compile(r"[0-9A-Za-z-]{1,64}")
_WORD = re.compile(r"[\w .+:(),/-]{1,128}", re.ASCII)
_ANNOTATED = re.compile(r"(.*) \[(input|output|temp)\]", re.DOTALL)
KINDS = ("images", "gifs", "video", "videos", "audio", "3d")
"""Keys under which nodes list the files that they made."""


@dataclass(frozen=True, slots=True)
class ServerFile:
    """A file on the server, as its history names it; `node` made it."""

    node: str
    name: str
    subfolder: str
    place: str


@dataclass(frozen=True, slots=True)
class ComfyServer:
    """The HTTP side of a server."""

    service: Service
    transport: Transport

    def submit(self, workflow: Workflow, client_id: str, prompt_id: str) -> str:
        """Queue a workflow and return the id of its run; sent once, whatever happens.

        Newer servers take our `prompt_id`, older ones give their own. Raises InputError
        (`comfyui.refused`) with what the server says of the workflow's nodes.
        """
        once = replace(self.transport, bounds=replace(self.transport.bounds, attempts=1))
        body = {"prompt": workflow.document, "client_id": client_id, "prompt_id": prompt_id}
        try:
            answer = once.call("POST", f"{self.service.url}/prompt", json=body, explain=_complaints)
        except GenopsError as error:
            raise _renamed(error) from None
        found = self._json(answer).get("prompt_id")
        if not isinstance(found, str) or not _PROMPT_ID.fullmatch(found):
            raise unusable(f"{shown(self.service.url)} gave the run no id")
        return found

    def history(self, prompt_id: str) -> Mapping[str, Any] | None:
        """Return what the server keeps of a run, None while it has none."""
        document = self._get(f"history/{quote(prompt_id, safe='')}")
        entry = document.get(prompt_id)
        return entry if isinstance(entry, dict) else None

    def is_queued(self, prompt_id: str) -> bool:
        """Tell whether a run waits or works."""
        queue = self._get("queue")
        rows = [
            row for name in ("queue_running", "queue_pending") for row in _list(queue.get(name))
        ]
        return any(isinstance(row, list) and prompt_id in row[:2] for row in rows)

    def modules(self, classes: Iterable[str]) -> dict[str, str | None]:
        """Return where each class of nodes comes from, None where the server does not say."""
        return {kind: self._module(kind) for kind in dict.fromkeys(classes)}

    def described(self) -> dict[str, Any]:
        """Return the versions and devices of the server, as far as it says them."""
        try:
            stats = self._get("system_stats")
        except GenopsError:
            return {}
        system, devices = stats.get("system"), _list(stats.get("devices"))
        names = ("comfyui_version", "python_version", "pytorch_version", "os")
        found: dict[str, Any] = {
            name: word
            for name in names
            if isinstance(system, dict) and (word := _word(system.get(name)))
        }
        found["devices"] = [
            {name: word for name in ("name", "type") if (word := _word(device.get(name)))}
            for device in devices[:16]
            if isinstance(device, dict)
        ]
        return found

    def view(self, file: ServerFile) -> bytes:
        """Fetch a file to the byte."""
        query = urlencode({"filename": file.name, "subfolder": file.subfolder, "type": file.place})
        most = self.transport.bounds.picture_bytes
        body = self.transport.call("GET", f"{self.service.url}/view?{query}", limit=most).body
        if not body:
            raise unusable(f"a file of node {file.node} is empty")
        return body

    def _module(self, kind: str) -> str | None:
        try:
            info = self._get(f"object_info/{quote(kind, safe='')}").get(kind)
        except GenopsError:
            return None
        return _word(info.get("python_module")) if isinstance(info, dict) else None

    def _get(self, path: str) -> dict[str, Any]:
        url = f"{self.service.url}/{path}"
        return self._json(self.transport.call("GET", url))

    def _json(self, answer: Answer) -> dict[str, Any]:
        return read_json(answer, shown(self.service.url))


def files_of(entry: Mapping[str, Any], workflow: Workflow) -> list[ServerFile]:
    """Return the files that a run left, in the order of the workflow's nodes.

    Outputs where there are any, else previews. FormatError (`hosted.answer`) for names that are
    none.
    """
    outputs = entry.get("outputs")
    outputs = outputs if isinstance(outputs, dict) else {}
    found = [
        _file(node_id, item)
        for node_id in workflow.nodes
        if isinstance(made := outputs.get(node_id), dict)
        for kind in KINDS
        for item in _list(made.get(kind))
    ]
    if len(found) > MAX_FILES:
        raise unusable(f"the run left {len(found)} files, more than {MAX_FILES}")
    return [one for one in found if one.place == "output"] or found


def input_file(node: str, name: str) -> ServerFile:
    """Return the file that a node such as LoadImage reads: `folder/name.png [output]`."""
    annotated = _ANNOTATED.fullmatch(name)
    plain, place = annotated.groups() if annotated else (name, "input")
    subfolder, _, last = plain.replace("\\", "/").rpartition("/")
    return ServerFile(node, last, subfolder, place)


def same_workflow(entry: Mapping[str, Any], workflow: Workflow) -> bool | None:
    """Tell whether the history shows the workflow that was submitted; None where it does not."""
    prompt = entry.get("prompt")
    shown_one = prompt[2] if isinstance(prompt, list) and len(prompt) > 2 else None
    if not isinstance(shown_one, dict):
        return None
    return _core(shown_one) == _core(workflow.document)


def _core(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return class and inputs of each node, large integers as the history's reader gives them."""
    return {
        node_id: (node.get("class_type"), _texts_of_integers(node.get("inputs")))
        for node_id, node in document.items()
        if isinstance(node, dict)
    }


def _texts_of_integers(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 2**53:
        return str(value)
    if isinstance(value, dict):
        return {key: _texts_of_integers(item) for key, item in value.items()}
    return [_texts_of_integers(item) for item in value] if isinstance(value, list) else value


def _file(node: str, item: Any) -> ServerFile:
    fields = item if isinstance(item, dict) else {}
    name, subfolder = fields.get("filename"), fields.get("subfolder", "")
    place = fields.get("type", "output")
    texts = (name, subfolder, place)
    if not name or not all(isinstance(text, str) and len(text) <= MAX_NAME for text in texts):
        raise unusable(f"the server names a file of node {node} in no usable way")
    if place not in {"output", "temp", "input"}:
        raise unusable(f"the server keeps a file of node {node} where no output is")
    return ServerFile(node, str(name), str(subfolder), str(place))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _word(value: Any) -> str | None:
    """Return one short line of plain words, of a text that may go on for several."""
    line = value.splitlines()[0].strip() if isinstance(value, str) and value.strip() else ""
    return line if _WORD.fullmatch(line) else None


def _complaints(document: Any) -> str | None:
    """Return what a server says of single nodes of a workflow that it refuses."""
    errors = document.get("node_errors") if isinstance(document, dict) else None
    lines = [
        f"node {node}: {one.get('message')} {one.get('details') or ''}".strip()
        for node, found in (errors.items() if isinstance(errors, dict) else ())
        for one in (_list(found.get("errors")) if isinstance(found, dict) else ())
        if isinstance(one, dict)
    ]
    return "; ".join(lines[:8]) or None


def _renamed(error: GenopsError) -> GenopsError:
    """Give a refusal of the workflow a code of its own."""
    if error.code != "hosted.refused":
        return error
    return InputError(
        error.message,
        code="comfyui.refused",
        hint="nothing was run; the server must have the nodes and models that the workflow names",
    )
