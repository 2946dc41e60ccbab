"""The diffusers adapter: any pipeline, recorded by one line around it.

    pipe = recorded(StableDiffusionPipeline.from_pretrained(folder), registry)
    picture = pipe("a red mug on a blue table, studio light", seed=7).images[0]

Imports neither torch nor diffusers until a pipeline is there, so that the environment can be
prepared first.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.handing import hand_over, refusal
from generators.recent import outputs_of
from generators.seeds import fresh_seed
from registry.core.generation import Generation, Output
from registry.core.statements import build_uri

if TYPE_CHECKING:
    from generators.capture.session import Call
    from generators.ports import Clock, Job, Recorder, SeedSource
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("diffusers")
BUILDER_ID = "https://w3id.org/genops/builder/diffusers"


@dataclass(frozen=True, slots=True)
class Context:
    """What a recorded pipeline needs beside the pipeline: whose work it is, and how to record it.

    `materials` names files and folders by material; see `recorded`.
    """

    project: str | None = None
    campaign: str | None = None
    actor: str | None = None
    strict: bool = False
    materials: Mapping[str, Path] = field(default_factory=dict)
    clock: Clock = lambda: time.time_ns() // 1_000_000
    draw_seed: SeedSource = fresh_seed
    draft: bool = False


def recorded(
    pipe: Any,
    registry: Recorder,
    *,
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    strict: bool = False,
    draft: bool = False,
    materials: Mapping[str, Path | str] | None = None,
) -> RecordedPipeline:
    """Wrap a diffusers pipeline so that every call is recorded before its result comes back.

    The wrapper is used like the pipeline. Calls take one more argument, `seed`: one for the call
    (counting up over a batch) or a list with one per image. Without a seed or generator each image
    gets a fresh recorded seed.

    `materials` says what the pipeline cannot: `model/base`, `vae/vae` or `lora/<adapter>` for
    what was not loaded from a folder or was loaded before wrapping (it is checked against what is
    in memory), and anything else the calls consume, such as `dataset/shoot-12`.

    What cannot be captured is recorded with the reasons; with `strict`, CaptureError is raised
    before the pipeline runs instead. The outputs of a `draft` go when nobody keeps them.
    """
    if isinstance(pipe, RecordedPipeline):
        pipe = pipe.unwrapped
    paths = {name: Path(path).absolute() for name, path in (materials or {}).items()}
    return RecordedPipeline(
        pipe, registry, Context(project, campaign, actor, strict, paths, draft=draft)
    )


class RecordedTuple(tuple[Any, ...]):  # noqa: SLOT001 (tuples cannot have slots)
    """A pipeline's tuple (`return_dict=False`) that carries the receipts as well."""

    receipt: Receipt
    receipts: tuple[Receipt, ...]


class RecordedPipeline:
    """A pipeline whose calls are recorded; everything else passes through to it.

    A call returns what the pipeline returns, with two attributes more: `receipt`, and `receipts`
    with one receipt per image, each naming that image's asset alone. Safe to call from several
    threads: calls that share a component wait for each other.
    """

    __slots__ = ("_context", "_pipe", "_recorder", "_session")

    def __init__(self, pipe: Any, recorder: Recorder, context: Context) -> None:
        from generators.capture.session import Session

        keep = object.__setattr__
        keep(self, "_pipe", pipe)
        keep(self, "_recorder", recorder)
        keep(self, "_context", context)
        keep(self, "_session", Session(pipe, context.materials, context.draw_seed))

    @property
    def unwrapped(self) -> Any:
        """The pipeline itself; its calls are not recorded."""
        return self._pipe

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the pipeline, record the generation, and return the pipeline's result.

        Raises InputError for what no record can hold, CaptureError when strict, and whatever the
        pipeline and the registry raise.
        """
        with self._session.exclusively():
            call = self._session.describe(args, options)
            if self._context.strict and call.reasons:
                raise refusal(call.reasons)
            started = self._context.clock()
            result, reasons = _run(self._pipe, call)
            finished = self._context.clock()
        outputs = call.sharing.outputs(result)
        generation = Generation(
            build_type=BUILD_TYPE,
            external=call.external,
            internal=call.internal,
            materials=outputs_of(self._recorder).name(call.materials),
            outputs=outputs,
            started_ms=started,
            finished_ms=finished,
            builder_id=BUILDER_ID,
            builder_version=environment.library_versions(),
            reasons=tuple(dict.fromkeys([*call.reasons, *reasons])),
            campaign=self._context.campaign,
        )
        return _with_receipt(result, self._record(generation, call.blobs))

    def load_lora_weights(self, *args: Any, **options: Any) -> Any:
        """Load a LoRA as the pipeline does, and remember the file that it came from."""
        from generators.capture import loras

        with self._session.exclusively():
            return loras.load(self._pipe, self._pipe.load_lora_weights, args, options)

    def load_textual_inversion(self, *args: Any, **options: Any) -> Any:
        """Load a textual inversion as the pipeline does, and remember the file that it came from.

        A replay loads safetensors alone: of another file, or of tensors, the record gives a reason.
        """
        from generators.capture import inversions

        with self._session.exclusively():
            return inversions.load(self._pipe, args, options)

    def load_ip_adapter(self, *args: Any, **options: Any) -> Any:
        """Load IP-adapters as the pipeline does, and remember the files that they came from."""
        from generators.capture import ip_adapters

        with self._session.exclusively():
            return ip_adapters.load(self._pipe, args, options)

    def to(self, *args: Any, **options: Any) -> RecordedPipeline:
        """Move or cast the pipeline; returns the wrapper, so that recording goes on."""
        self._pipe.to(*args, **options)
        return self

    def _record(self, generation: Generation, blobs: Iterable[bytes | Path]) -> Receipt:
        context = self._context
        return hand_over(
            self._recorder,
            generation,
            blobs,
            project=context.project,
            actor=context.actor,
            draft=context.draft,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(object.__getattribute__(self, "_pipe"), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._pipe, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self._pipe, name)

    def __dir__(self) -> Iterable[str]:
        return sorted({*super().__dir__(), *dir(self._pipe)})

    def __repr__(self) -> str:
        return f"recorded({self._pipe!r})"


def _run(pipe: Any, call: Call) -> tuple[Any, list[str]]:
    """Run the pipeline; say so if something in it drew from a global random state."""
    from generators.capture.surroundings import RandomStates

    states = RandomStates()
    return pipe(**call.arguments), states.reasons()


def _with_receipt(result: Any, receipt: Receipt) -> Any:
    if isinstance(result, tuple):
        result = RecordedTuple(result)
    result.receipt = receipt
    result.receipts = tuple(replace(receipt, assets=(asset,)) for asset in receipt.assets)
    return result


class DiffusersAdapter:
    """Replays records of `recorded` pipelines (`generators.ports.Adapter`)."""

    build_type = BUILD_TYPE
    takes_device = True

    def __init__(self) -> None:
        self._ran_in: dict[str, Any] | None = None

    def environment(self) -> dict[str, Any]:
        """Return the environment as a record would hold it: the last replay's, else the present.

        A replay takes on the recorded threads and switches while it lasts.
        """
        if self._ran_in is None:
            environment.prepare()
            import torch  # noqa: F401 (its switches are part of the environment)

            return environment.capture()
        return self._ran_in

    def replay(self, job: Job) -> Sequence[Output]:
        """Rebuild the pipeline from the job's materials and run the whole batch again.

        `job.overrides` may hold `seed` (counting up over the batch), `loras` (by material name: a
        weight, or None to leave it out), `replaced` (names of materials whose content is not the
        recorded one, so that it is not held against the record), and any argument of the call by
        name. Raises MaterialError when a material is missing or loads to something else than was
        recorded, InputError for a record or override that cannot be followed.
        """
        environment.prepare_like(recorded_environment(job))
        from generators.rebuild.replay import replay

        outputs, self._ran_in = replay(job)
        return outputs


def recorded_environment(job: Job) -> Mapping[str, Any]:
    """Return the environment that a record names, as far as it does."""
    definition = job.statement["predicate"]["buildDefinition"]
    found: Mapping[str, Any] = definition["internalParameters"].get("environment", {})
    return found


adapter = DiffusersAdapter()
