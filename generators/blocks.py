"""Any block of code, recorded: what it was given, what it called, and what it made.

    with recording(registry, "grade", inputs=[path, asset_id], parameters={"lut": 3}) as run:
        run.output(grade(picture))
    print(run.receipt.assets)

One record at the end; a block that raises leaves none. Imports nothing heavy.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from generators import environment
from generators.callables import output_from, seed_in
from generators.declared import Inputs
from generators.encode import png_encoding
from generators.recent import Calls, outputs_of
from registry.core.generation import Generation, Material, Output
from registry.core.statements import build_uri
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.ports import Clock, Recorder
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("recording")
BUILDER_ID = "https://w3id.org/genops/builder/recording"
MOST_MATERIALS = 256
"""As many as a record holds."""
NOT_CAPTURED = "a block of code is not captured: only its inputs, parameters and outputs are"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Whose:
    """Whose work a recording is, and whether its outputs are drafts."""

    project: str | None = None
    campaign: str | None = None
    actor: str | None = None
    draft: bool = False
    clock: Clock = field(default=lambda: time.time_ns() // 1_000_000)


def recording(
    registry: Recorder,
    name: str,
    *,
    inputs: Sequence[Any] | Mapping[str, Any] = (),
    parameters: Mapping[str, Any] | None = None,
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    draft: bool = False,
) -> Recording:
    """Record a block of code as one generation, when it ends.

    `name` (a word) is plain in the record, as are the names of inputs and parameters; texts among
    the parameters are sealed. An input is a file or folder (a path), an asset (an id, or a prefix
    of one), a picture, an array or bytes; one that the registry knows names its record. Calls that
    are recorded inside, by pipelines, functions or recordings, are named in the record, and what
    they made counts as an input: which of it the block used cannot be seen from outside.

    Raises InputError for what no record can hold; at the end also when nothing was handed over.
    """
    if not _NAME.fullmatch(name):
        raise InputError(
            f"{name[:80]!r} is no name for a recording",
            code="recording.name",
            hint="it is plain in the record: give a word, such as `grade`; texts are parameters",
        )
    whose = Whose(project, campaign, actor, draft)
    return Recording(registry, name, _named(inputs), dict(parameters or {}), whose)


class Recording:
    """One block that is being recorded; `receipt` is there once it has ended well.

    A context manager, in asynchronous code too (`async with`). Outputs may be handed over from
    several threads. Calls in threads are noticed where the block's context is handed on, as
    `asyncio.to_thread` does.
    """

    receipt: Receipt

    def __init__(
        self,
        recorder: Recorder,
        name: str,
        inputs: Mapping[str, Any],
        parameters: dict[str, Any],
        whose: Whose,
    ) -> None:
        self._recorder = recorder
        self._name = name
        self._given = inputs
        self._parameters = parameters
        self._whose = whose
        self._inputs = Inputs(recorder)
        self._described: dict[str, Any] = {}
        self._outputs: list[Output] = []
        self._calls = Calls(outputs_of(recorder))
        self._started = 0

    def __enter__(self) -> Self:
        """Describe inputs and parameters as they are now; from here on calls are noticed."""
        self._described = {
            name: self._inputs.parameter(name, value) for name, value in self._parameters.items()
        }
        for name, value in self._given.items():
            self.input(value, name)
        self._started = self._whose.clock()
        self._calls.enter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.leave()
        if kind is None:
            self._finish()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._calls.leave()
        if kind is None:
            await asyncio.to_thread(self._finish)

    def input(self, value: Any, name: str | None = None) -> str:
        """Declare an input that the block comes upon; return its name as a material.

        Raises InputError for what no record can hold, or a name that is taken, NotFoundError for
        an asset that is not here.
        """
        return self._inputs.add(str(len(self._inputs.materials)) if name is None else name, value)

    def output(self, value: Any, *, made_from: Sequence[str] | None = None) -> Any:
        """Hand over an output as it is now, and return it: a picture, text, bytes, or a path.

        `made_from` names the inputs that it depends on, where that is not all of them and of what
        was called. Raises InputError.
        """
        names = None if made_from is None else tuple(map(_label, made_from))
        made = self._inputs.file_output(value) if isinstance(value, Path) else output_from(value)
        seed, number = seed_in(self._parameters), len(self._outputs)
        self._outputs.append(replace(made, seed=seed, batch_index=number, materials=names))
        return value

    def _finish(self) -> None:
        finished = self._whose.clock()
        if not self._outputs:
            raise InputError(
                f"the recording {self._name} ended without an output",
                code="recording.no-output",
                hint="hand over what it made: `run.output(picture)`",
            )
        recent = outputs_of(self._recorder)
        declared = recent.name(self._inputs.settled())
        materials = [*declared, *_made_inside(self._calls, declared)]
        if len(materials) > MOST_MATERIALS:
            raise InputError(
                f"the recording {self._name} has {len(materials)} inputs and results of calls; a"
                f" record holds {MOST_MATERIALS}",
                code="recording.too-many",
                hint="record it in parts, each a recording of its own",
            )
        generation = Generation(
            build_type=BUILD_TYPE,
            external={"name": self._name, "arguments": self._described},
            internal={
                "calls": [call.record for call in self._calls.receipts],
                "encoding": png_encoding(),
                "environment": environment.capture(),
            },
            materials=materials,
            outputs=self._outputs,
            started_ms=self._started,
            finished_ms=finished,
            builder_id=BUILDER_ID,
            builder_version={"python": environment.capture()["python"]},
            reasons=(NOT_CAPTURED, *self._inputs.reasons),
            campaign=self._whose.campaign,
        )
        self.receipt = self._recorder.record(
            generation,
            blobs=self._inputs.blobs,
            project=self._whose.project,
            actor=self._whose.actor,
            **({"draft": True} if self._whose.draft else {}),
        )
        recent.remember(self.receipt)


def _named(inputs: Sequence[Any] | Mapping[str, Any]) -> Mapping[str, Any]:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if not isinstance(inputs, (list, tuple)):
        raise InputError(
            f"the inputs of a recording are a list or names with values, not a"
            f" {type(inputs).__name__}",
            code="recording.input",
        )
    return {str(number): value for number, value in enumerate(inputs)}


def _label(name: str) -> str:
    """Return the name of a material for the name of an input."""
    return name if name.partition("/")[0] in {"input", "call"} else f"input/{name}"


def _made_inside(calls: Calls, declared: Sequence[Material]) -> list[Material]:
    """Return what the calls inside made, as materials; what is declared already stays that."""
    known = {material.sha256 for material in declared}
    found: dict[str, Material] = {}
    for number, receipt in enumerate(calls.receipts):
        for position, asset in enumerate(receipt.assets):
            digest = asset.removeprefix("sha256:")
            if digest not in known:
                found[digest] = Material(
                    name=f"call/{number}-{position}",
                    kind="asset",
                    sha256=digest,
                    storage="vaulted",
                    output_of=receipt.record,
                )
    return list(found.values())
