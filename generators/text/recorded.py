"""The adapter of text models: any causal transformers model, recorded by one line around it.

    write = recorded_text(model, tokenizer, registry)
    text = write("Product: red mug", schema=COPY_SCHEMA, seed=7).text

Imports neither torch nor transformers until a model is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.diffusers import Context, recorded_environment
from generators.handing import hand_over, refusal
from generators.recent import outputs_of
from registry.core.generation import Generation, Output
from registry.core.statements import build_uri
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.ports import Job, Recorder
    from generators.text.corpus import Retrieval
    from generators.text.session import Session
    from generators.text.verdicts import Verdict
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("text")
BUILDER_ID = "https://w3id.org/genops/builder/text"


@dataclass(frozen=True, slots=True)
class Written:
    """What a call wrote: a text for each answer, the receipt, one receipt per answer.

    `verdicts` says whether each follows the schema; it is empty where no schema was asked for.
    """

    texts: tuple[str, ...]
    receipt: Receipt
    receipts: tuple[Receipt, ...]
    verdicts: tuple[Verdict, ...] = ()

    @property
    def text(self) -> str:
        """The first text: the only one of a call with one prompt."""
        return self.texts[0]


def recorded_text(
    model: Any,
    tokenizer: Any,
    registry: Recorder,
    *,
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    strict: bool = False,
    materials: Mapping[str, Path | str] | None = None,
) -> RecordedText:
    """Wrap a causal language model and its tokenizer so that every call is recorded.

    `materials` names the folders of what was not loaded from one: `model/model`,
    `model/tokenizer`. What cannot be captured is recorded with the reasons; with `strict`,
    CaptureError is raised before the model runs instead.
    """
    paths = {name: Path(path).absolute() for name, path in (materials or {}).items()}
    if odd := sorted(paths.keys() - {"model/model", "model/tokenizer"}):
        raise InputError(
            f"a text model has no material {', '.join(odd)}",
            code="input.argument",
            hint="Name model/model or model/tokenizer.",
        )
    from generators.text.session import Session

    context = Context(
        project=project, campaign=campaign, actor=actor, strict=strict, materials=paths
    )
    return RecordedText(Session(model, tokenizer, paths, context.draw_seed), registry, context)


class RecordedText:
    """A language model whose calls are recorded; wrappers may share a session.

    Safe to call from several threads: they wait for each other, as `generate` draws from the
    process's one random state.
    """

    def __init__(self, session: Session, recorder: Recorder, context: Context) -> None:
        self._session = session
        self._recorder = recorder
        self._context = context

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        schema: Mapping[str, Any] | None = None,
        seed: int | None = None,
        generator: Any = None,
        context: Retrieval | None = None,
        add_special_tokens: bool = True,
        **settings: Any,
    ) -> Written:
        """Answer a prompt, or several as one batch, and record it.

        `schema` (JSON Schema) is kept to while the model writes, and checked afterwards. `seed` or
        a CPU `generator` decides what is sampled; without either, a fresh seed is drawn and
        recorded. `context` says which passages of a corpus the prompt quotes. `settings` are those
        of a transformers GenerationConfig. Torch's random state is left as it was.

        Raises InputError for what no record can hold or the model cannot follow, CaptureError when
        strict, and whatever the registry raises.
        """
        with self._session.exclusively():
            call = self._session.describe(
                prompt, schema, seed, generator, context, add_special_tokens, settings
            )
            if self._context.strict and call.reasons:
                raise refusal(call.reasons)
            started = self._context.clock()
            answers = self._session.run(call, generator)
            finished = self._context.clock()
        outputs, verdicts = call.outputs(answers)
        receipt = hand_over(
            self._recorder,
            Generation(
                build_type=BUILD_TYPE,
                external=call.external,
                internal=call.internal,
                materials=outputs_of(self._recorder).name(call.materials),
                outputs=outputs,
                started_ms=started,
                finished_ms=finished,
                builder_id=BUILDER_ID,
                builder_version=environment.library_versions(),
                reasons=call.reasons,
                campaign=self._context.campaign,
            ),
            call.blobs,
            project=self._context.project,
            actor=self._context.actor,
        )
        return Written(
            texts=tuple(answer.text for answer in answers),
            receipt=receipt,
            receipts=tuple(replace(receipt, assets=(asset,)) for asset in receipt.assets),
            verdicts=verdicts,
        )


class TextAdapter:
    """Replays records of `recorded_text` models (`generators.ports.Adapter`)."""

    build_type = BUILD_TYPE

    def __init__(self) -> None:
        self._ran_in: dict[str, Any] | None = None

    def environment(self) -> dict[str, Any]:
        """Return the environment as a record would hold it: the last replay's, else the present."""
        if self._ran_in is None:
            environment.prepare()
            import torch  # noqa: F401 (its switches are part of the environment)

            return environment.capture()
        return self._ran_in

    def replay(self, job: Job) -> Sequence[Output]:
        """Load the model from the job's materials and answer the whole batch again.

        The prompt is the recorded one, passages and all: nothing is looked up again. Whether the
        corpus is another by now shows in `environment()`. `job.overrides` may hold `seed`,
        `replaced` and any argument of the call by name. Raises MaterialError when a material is
        missing or loads to something else, InputError for what cannot be followed.
        """
        environment.prepare_like(recorded_environment(job))
        from generators.text.replay import replay

        outputs, self._ran_in = replay(job)
        return outputs


adapter = TextAdapter()
