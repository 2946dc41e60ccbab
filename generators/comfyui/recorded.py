"""Runs workflows on a ComfyUI server and records what came of them, node by node.

    comfy = recorded_comfyui("http://127.0.0.1:8188", registry, models=["ComfyUI/models"])
    result = comfy.run("mug.api.json", values={"3.seed": 7, "6.text": "a red mug"})

Puts the parts together; reading, sending and listening are done elsewhere.
"""

from __future__ import annotations

import mimetypes
import re
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.comfyui.events import Run, Tell, cached_in, run_to_the_end
from generators.comfyui.models import Models, read_models
from generators.comfyui.server import (
    ComfyServer,
    ServerFile,
    files_of,
    input_file,
    same_workflow,
)
from generators.comfyui.workflow import MAX_BYTES, Workflow, describe, read_workflow
from generators.hosted.answers import unusable
from generators.hosted.outputs import picture_output
from generators.hosted.recording import Owner, check_id, new_id, record_once
from generators.hosted.transport import Bounds, Transport
from generators.hosted.urls import Service, parse_service
from generators.recent import outputs_of
from registry.core.digests import sha256_hex
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.statements import build_uri
from registry.errors import GenopsError, InputError

if TYPE_CHECKING:
    from generators.ports import Clock, Recorder
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("comfyui")
BUILDER_ID = "https://w3id.org/genops/builder/comfyui"
REASON = (
    "a ComfyUI server made it, which is no part of this registry: submit the recorded workflow to"
    " one to make it again"
)
UNPROVED = "that the server loaded the very model files that were read here cannot be proved"
PICTURES = {"LoadImage": "image", "LoadImageOutput": "image", "LoadImageMask": "mask"}
"""Classes of nodes that read a picture from the server's folders."""
_OWN_MODULES = re.compile(r"(nodes|comfy_extras\.\w+)")
_HEADS = (b"\x89PNG", b"\xff\xd8\xff", b"RIFF", b"GIF8")
_METADATA = (b"tEXtprompt\0", b"tEXtworkflow\0", b"iTXtprompt\0", b"iTXtworkflow\0")


def recorded_comfyui(
    url: str,
    registry: Recorder,
    *,
    models: Sequence[str | Path] = (),
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    personal: bool = False,
    bounds: Bounds | None = None,
) -> RecordedComfy:
    """Return a client of a ComfyUI server, every run of which is recorded.

    `models` are the server's folders of models, as they are seen from here: files that a workflow
    names are recorded by digest where they are found below. `personal` outputs are stored
    encrypted. Raises InputError (`hosted.url`) for an address that is none.
    """
    return RecordedComfy(
        parse_service(url),
        registry,
        Owner(project, campaign, actor, personal),
        tuple(map(Path, models)),
        bounds or Bounds(),
    )


@dataclass(frozen=True, slots=True)
class ComfyResult:
    """One run, recorded. For the other fields see `registry.core.remote_answers.ComfyRun`."""

    outputs: tuple[Output, ...] = field(repr=False)
    receipt: Receipt
    prompt_id: str
    cached: tuple[str, ...]
    models: int
    unread: tuple[str, ...]
    embedded: int
    reasons: tuple[str, ...]
    nodes: int

    @property
    def data(self) -> bytes:
        """The bytes of the first output, as the server made them."""
        return self.outputs[0].data


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a workflow reads: its models and pictures, and where its nodes come from."""

    models: Models
    blobs: list[bytes | Path]
    modules: Mapping[str, str | None]

    @property
    def pictures(self) -> int:
        """How many of the materials are pictures."""
        return sum(one.kind in {"image", "mask"} for one in self.models.materials)


class RecordedComfy:
    """Runs workflows on one server; made by `recorded_comfyui`. Safe across threads."""

    def __init__(
        self,
        service: Service,
        recorder: Recorder,
        owner: Owner,
        models: tuple[Path, ...],
        bounds: Bounds,
        clock: Clock = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self._server = ComfyServer(service, Transport(bounds=bounds))
        self._recorder = recorder
        self._owner = owner
        self._models = models
        self._clock = clock

    def __repr__(self) -> str:
        return f"recorded_comfyui({self._server.service.url!r})"

    def run(
        self,
        workflow: str | Path | Mapping[str, Any],
        *,
        values: Mapping[str, Any] | None = None,
        request_id: str | None = None,
        tell: Tell = lambda _what, _done, _total: None,
    ) -> ComfyResult:
        """Run a workflow in API format, given as its file or document, and record its outputs.

        `values` replaces inputs, named `node.input`. With the `request_id` of an earlier attempt,
        what the server still has of that run is taken, and nothing is run twice. Raises
        InputError (`comfyui.workflow`, `comfyui.refused`, `comfyui.failed`, `comfyui.models`),
        MaterialError for a model file that cannot be read, UnavailableError and FormatError for a
        server that is away, silent or hostile, and whatever the registry raises.
        """
        call_id = new_id() if request_id is None else check_id(request_id)
        read = read_workflow(workflow if isinstance(workflow, Mapping) else _load(Path(workflow)))
        read = read.with_values(values) if values else read
        inputs = self._read_inputs(read)
        describe(read, inputs.models.refs, inputs.modules)  # refuses before anything is run
        started = self._clock()
        try:
            run, entry = self._run(read, call_id, request_id is not None, tell)
            outputs = self._outputs(read, run, entry, inputs.models)
        except GenopsError as error:
            raise _with_id(error, call_id) from None
        finished = self._clock()
        reasons = (*_reasons(read, inputs), *_doubts(read, entry))
        cached = tuple(dict.fromkeys([*run.cached, *cached_in(entry)]))
        generation = Generation(
            build_type=BUILD_TYPE,
            external=self._external(read, inputs),
            internal={
                "server": self._server.described(),
                "run": {"prompt_id": run.prompt_id, "cached": list(cached)},
            },
            materials=outputs_of(self._recorder).name(inputs.models.materials),
            outputs=outputs,
            started_ms=started,
            finished_ms=finished,
            builder_id=BUILDER_ID,
            builder_version={"websockets": metadata.version("websockets")},
            reasons=reasons,
            campaign=self._owner.campaign,
            invocation_id=call_id,
        )
        receipt = record_once(self._recorder, generation, blobs=inputs.blobs, owner=self._owner)
        return ComfyResult(
            tuple(outputs),
            receipt,
            run.prompt_id,
            cached,
            len(inputs.models.materials) - inputs.pictures,
            tuple(inputs.models.unread),
            sum(map(holds_workflow, (output.data for output in outputs))),
            reasons,
            len(read.nodes),
        )

    def _run(
        self, workflow: Workflow, call_id: str, again: bool, tell: Tell
    ) -> tuple[Run, Mapping[str, Any]]:
        """Run a workflow, or find what an earlier attempt with this id ran."""
        if again:
            known = self._server.history(call_id)
            if known is not None:
                return Run(prompt_id=call_id, done=True), known
        client_id = secrets.token_hex(16)
        run = run_to_the_end(
            self._server,
            workflow,
            client_id,
            lambda: self._server.submit(workflow, client_id, call_id),
            tell,
        )
        return run, self._server.history(run.prompt_id) or {}

    def _read_inputs(self, workflow: Workflow) -> _Inputs:
        models = read_models(workflow, self._models)
        blobs: list[bytes | Path] = list(models.paths)
        for node in workflow.nodes.values():
            name = node.inputs.get("image")
            if node.kind not in PICTURES or not isinstance(name, str) or not name:
                continue
            data = self._picture(input_file(node.id, name))
            if data is None:
                models.unread.append(f"{node.id}.image")
                continue
            kind = PICTURES[node.kind]
            material = Material(
                f"input/{kind}/{node.id}", kind, sha256_hex(data), storage="vaulted"
            )
            models.add(node.id, "image", material)
            blobs.append(data)
        modules = self._server.modules(node.kind for node in workflow.nodes.values())
        return _Inputs(models, blobs, modules)

    def _picture(self, file: ServerFile) -> bytes | None:
        try:
            return self._server.view(file)
        except InputError:  # it is not there, or this server shows none
            return None

    def _external(self, workflow: Workflow, inputs: _Inputs) -> dict[str, Any]:
        service, everything = self._server.service, list(workflow.nodes)
        texts = {
            name: "\n".join(found)
            for name, side in (("prompt", "positive"), ("negative_prompt", "negative"))
            if (found := workflow.texts(side, everything))
        }
        seeds = workflow.seeds(everything)
        return {
            "service": service.url if service.public else Sealed(service.url),
            "arguments": {name: Sealed(text) for name, text in texts.items()}
            | ({"seed": seeds[0]} if len(seeds) == 1 else {}),
            "nodes": describe(workflow, inputs.models.refs, inputs.modules),
            "workflow": Sealed(workflow.text),
            "loras": inputs.models.loras,
            "controlnets": inputs.models.controls,
        }

    def _outputs(
        self, workflow: Workflow, run: Run, entry: Mapping[str, Any], models: Models
    ) -> list[Output]:
        files = files_of(entry, workflow)
        made = [(one.node, one.name, self._server.view(one)) for one in files]
        made += [(node, "", data) for node, data in run.frames]
        if not made:
            raise unusable(
                "the run left no output",
                "a node such as SaveImage makes one; a server that had every result already"
                " may show none: change a value, such as the seed",
            )
        return [_output(workflow, models, n, one) for n, one in enumerate(made)]


def _output(
    workflow: Workflow, models: Models, number: int, made: tuple[str, str, bytes]
) -> Output:
    """Return one output with the materials and the seed of the nodes above it, and no others."""
    node, name, data = made
    above = workflow.above(node)
    materials = tuple(name for one in above for name in models.by_node.get(one, ()))
    seeds = workflow.seeds(above)
    extra: dict[str, Any] = {"node": node} | ({"file": Sealed(name)} if name else {})
    seed = seeds[0] if len(seeds) == 1 else None
    if data.startswith(_HEADS):
        output = picture_output(data, number, seed=seed, extra=extra)
    else:
        media_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
        output = Output(data, media_type, seed, number, fingerprints=(), extra=extra)
    return replace(output, materials=materials)


def _reasons(workflow: Workflow, inputs: _Inputs) -> list[str]:
    """Say why the run cannot be made again here, and what of it is not known."""
    reasons = [REASON]
    if len(inputs.models.materials) > inputs.pictures:
        reasons.append(UNPROVED)
    reasons += [f"the file of {place} was not read" for place in inputs.models.unread]
    for kind in dict.fromkeys(node.kind for node in workflow.nodes.values()):
        module = inputs.modules.get(kind)
        nodes = ", ".join(n.id for n in workflow.nodes.values() if n.kind == kind)
        if module is None:
            reasons.append(f"where the code of node {nodes} comes from is not known")
        elif not _OWN_MODULES.fullmatch(module):
            reasons.append(f"node {nodes} is code of {module}, of no recorded version")
    return reasons[:64]


def _doubts(workflow: Workflow, entry: Mapping[str, Any]) -> list[str]:
    """Say where the server's history does not bear out what was submitted."""
    if same_workflow(entry, workflow) is False:
        return ["the server's history shows another workflow than was submitted"]
    return []


def holds_workflow(data: bytes) -> bool:
    """Tell whether a picture holds the workflow, texts and all, in its own metadata."""
    return any(head in data for head in _METADATA)


def _load(path: Path) -> bytes:
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="file.unreadable") from None


def _with_id(error: GenopsError, call_id: str) -> GenopsError:
    """Say under which id a run that may be at the server is taken up again."""
    if error.code in {"hosted.timeout", "hosted.cut-off", "hosted.failed", "hosted.unreachable"}:
        advice = f"take the same run up again: request id {call_id}"
        error.hint = f"{error.hint}; {advice}" if error.hint else advice
    return error
