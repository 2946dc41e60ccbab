"""A workflow in ComfyUI's API format: read strictly, walked along its links, described.

Pure: text in, values out. Knows neither server nor files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.core.generation import Sealed
from registry.core.jsonio import SAFE_INTEGER
from registry.errors import InputError

MAX_BYTES = 2 * 1024 * 1024
"""Largest workflow that is read, bytes."""
MAX_NODES = 1000
"""Most nodes of a workflow."""
MAX_DESCRIBED = 512 * 1024
"""Most room that the description of all nodes may take in a record, bytes."""
MAX_DEPTH = 24
"""Most nested arrays and objects."""
SEEDS = frozenset(("seed", "noise_seed"))
TEXTS = frozenset(("text", "text_g", "text_l", "clip_l", "t5xxl", "prompt", "string", "value"))
"""Inputs that hold prompts, in the nodes that encode texts or hand them on."""
_PLAIN = frozenset(
    (
        "sampler_name", "scheduler", "upscale_method", "crop", "weight_dtype", "type", "add_noise",
        "return_with_leftover_noise", "device", "channel", "method", "mode", "blend_mode",
        "interpolation", "precision", "set_cond_area", "noise_mode", "rotation", "flip_method",
    )
)  # fmt: skip
"""Inputs whose texts are choices from a list of the program, not words of a person."""
_CHOICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_ .+-]{0,63}")
_ID = re.compile(r"[\w:.-]{1,64}", re.ASCII)
_CLASS = re.compile(r"[^\x00-\x1f\x7f]{1,128}")
_SEALED_SIZE = 80


@dataclass(frozen=True, slots=True)
class Node:
    """One node: its id, its class, its inputs (values, or links to outputs of other nodes)."""

    id: str
    kind: str
    inputs: Mapping[str, Any]
    title: str | None = None

    def links(self) -> Iterator[tuple[str, str]]:
        """Yield each linked input with the id of the node that it is linked to."""
        for name, value in self.inputs.items():
            if is_link(value):
                yield name, value[0]


@dataclass(frozen=True, slots=True)
class Workflow:
    """The nodes by id, in the order of the file, and the JSON as it is submitted."""

    nodes: Mapping[str, Node]
    document: Mapping[str, Any] = field(repr=False)

    @property
    def text(self) -> str:
        """The workflow as JSON text, which holds its largest seeds exactly."""
        return json.dumps(self.document, ensure_ascii=False)

    def above(self, node_id: str) -> list[str]:
        """Return a node and all that it depends on, nearest first."""
        found, waiting = {node_id: None}, [node_id]
        while waiting:
            for _, source in self.nodes[waiting.pop(0)].links():
                if source not in found:
                    found[source] = None
                    waiting.append(source)
        return list(found)

    def users(self, node_id: str, name: str) -> Iterator[Node]:
        """Yield the nodes whose input `name` is linked to a node."""
        for node in self.nodes.values():
            if (name, node_id) in node.links():
                yield node

    def texts(self, side: str, among: Sequence[str]) -> list[str]:
        """Return the prompts that reach an input `side` (`positive`, `negative`) of some nodes."""
        found: dict[str, None] = {}
        for node_id in among:
            for name, source in self.nodes[node_id].links():
                if name == side:
                    found |= dict.fromkeys(self._texts_above(source))
        return list(found)

    def seeds(self, among: Sequence[str]) -> list[str]:
        """Return the distinct seeds of some nodes, as decimal strings."""
        found = (
            str(value)
            for node_id in among
            for name, value in self.nodes[node_id].inputs.items()
            if name in SEEDS and isinstance(value, int) and not isinstance(value, bool)
        )
        return list(dict.fromkeys(found))

    def with_values(self, values: Mapping[str, Any]) -> Workflow:
        """Return a workflow with other values, named `node.input`.

        Raises InputError (`comfyui.workflow`) for a node or input that is not there.
        """
        document = json.loads(self.text)
        for name, value in values.items():
            node_id, _, key = name.rpartition(".")
            if node_id not in self.nodes or key not in self.nodes[node_id].inputs:
                raise _wrong(
                    f"it has no input {name[:120]!r}", "name it NODE.INPUT, such as 6.text"
                )
            document[node_id]["inputs"][key] = value
        return read_workflow(json.dumps(document))

    def _texts_above(self, node_id: str) -> Iterator[str]:
        for source in self.above(node_id):
            for name, value in self.nodes[source].inputs.items():
                if name in TEXTS and isinstance(value, str) and value.strip():
                    yield value


def is_link(value: Any) -> bool:
    """Tell whether an input is linked: `[node id, number of its output]`."""
    return (
        isinstance(value, list)
        and len(value) == 2
        and isinstance(value[0], str)
        and isinstance(value[1], int)
        and not isinstance(value[1], bool)
    )


def read_workflow(source: str | bytes | Mapping[str, Any]) -> Workflow:
    """Read a workflow in API format; InputError (`comfyui.workflow`) for anything else.

    The format that the editor saves (`nodes` and `links`) does not say what is run.
    """
    document = _document(source)
    if "nodes" in document and "links" in document:
        raise _wrong(
            "it is in the editor's own format",
            "export it in ComfyUI with File, Export (API)",
        )
    if set(document) == {"prompt"} and isinstance(document["prompt"], dict):
        document = document["prompt"]
    if not 1 <= len(document) <= MAX_NODES:
        raise _wrong(f"it has {len(document)} nodes, of 1 to {MAX_NODES}")
    nodes = {node_id: _node(node_id, item) for node_id, item in document.items()}
    for node in nodes.values():
        for name, source_id in node.links():
            if source_id not in nodes:
                raise _wrong(f"{node.id}.{name} is linked to a node that is not there")
    return Workflow(nodes, document)


Refs = Mapping[tuple[str, str], str]
"""Names of materials by node and input."""


def describe(
    workflow: Workflow, refs: Refs, modules: Mapping[str, str | None]
) -> dict[str, dict[str, Any]]:
    """Return every node as a record holds it: class, origin, inputs; free texts sealed.

    `refs` names the materials that inputs stand for, `modules` where each class comes from.
    Raises InputError (`comfyui.workflow`) for what would not fit into a record.
    """
    described = {
        node.id: {
            "class": node.kind,
            "module": modules.get(node.kind),
            "inputs": {
                name: _described(name, value, refs.get((node.id, name)))
                for name, value in node.inputs.items()
            },
        }
        | ({"title": Sealed(node.title)} if node.title else {})
        for node in workflow.nodes.values()
    }
    size = len(json.dumps(described, default=lambda _: "x" * _SEALED_SIZE))
    if size > MAX_DESCRIBED:
        raise _wrong(f"its description would take {size} bytes of a record, over {MAX_DESCRIBED}")
    return described


def _described(name: str, value: Any, ref: str | None) -> Any:
    if ref is not None:
        return {"ref": ref, "value": Sealed(_storable(value))}
    if is_link(value):
        return {"link": value}
    if value is None or isinstance(value, (bool, float)):
        return value
    if isinstance(value, int):
        return str(value) if name in SEEDS or abs(value) >= SAFE_INTEGER else value
    if name in _PLAIN and isinstance(value, str) and _CHOICE.fullmatch(value):
        return value
    return Sealed(_storable(value))


def _storable(value: Any) -> Any:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= SAFE_INTEGER:
        return str(value)
    if isinstance(value, dict):
        return {key: _storable(item) for key, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def _document(source: str | bytes | Mapping[str, Any]) -> dict[str, Any]:
    try:
        raw = json.dumps(source) if isinstance(source, Mapping) else source
        size = len(raw.encode("utf-8") if isinstance(raw, str) else raw)
        if size > MAX_BYTES:
            raise _wrong(f"it has more than {MAX_BYTES} bytes")
        text = raw if isinstance(raw, str) else raw.decode("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_constant)
        _check(document, MAX_DEPTH)
    except (ValueError, TypeError, RecursionError) as error:
        raise _wrong(f"it is not JSON as it should be: {str(error)[:120]}") from None
    if not isinstance(document, dict):
        raise _wrong("it is no JSON object")
    return document


def _node(node_id: str, item: Any) -> Node:
    kind = item.get("class_type") if isinstance(item, dict) else None
    inputs = item.get("inputs") if isinstance(item, dict) else None
    if not _ID.fullmatch(node_id):
        raise _wrong(f"{node_id[:80]!r} is no id of a node")
    if not isinstance(kind, str) or not _CLASS.fullmatch(kind) or not isinstance(inputs, dict):
        raise _wrong(f"node {node_id} has no class_type, or no inputs")
    meta = item.get("_meta")
    title = meta.get("title") if isinstance(meta, dict) else None
    node = Node(node_id, kind, inputs)
    return replace(node, title=title) if isinstance(title, str) else node


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("a key stands twice")
    return result


def _constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")


def _check(value: Any, depth: int) -> None:
    """Refuse what no record can hold: depth, infinities, halves of surrogate pairs."""
    if isinstance(value, str):
        value.encode("utf-8")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    elif isinstance(value, (dict, list)):
        if depth == 0:
            raise ValueError("nested too deep")
        for item in (*value, *value.values()) if isinstance(value, dict) else value:
            _check(item, depth - 1)


def _wrong(why: str, hint: str = "") -> InputError:
    return InputError(f"the workflow cannot be used: {why}", code="comfyui.workflow", hint=hint)
