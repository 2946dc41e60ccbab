"""One language model under observation: describes each call before it runs, then runs it.

Reads the model with what reads pipelines; knows neither recorders nor replays.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import GenerationConfig

from generators import environment, lock, seeds
from generators.arguments import ArgumentReader, check_text
from generators.capture.components import ComponentReader, Findings, Parts
from generators.capture.locks import exclusively
from generators.capture.trusted import is_library_code, qualified
from generators.text.guidance import check_schema, engine, spelled
from generators.text.verdicts import Verdict, judge
from generators.text.writing import Answer, Request, drawing_from, effective_settings, write
from registry.core.digests import sha256_hex
from registry.core.generation import Material, Output, Sealed
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.ports import SeedSource
    from generators.text.corpus import Retrieval

SCHEMA = "input/schema"
SCHEMA_TYPE = "application/schema+json"
TEXT = "text/plain; charset=utf-8"
JSON = "application/json"
OWN_ARGUMENTS = frozenset({"prompt", "schema", "add_special_tokens"})
"""Arguments of a recorded call that are no settings of a GenerationConfig."""
HANDED_ON = frozenset(
    {"streamer", "logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn"}
)
"""Arguments that go to `generate` as they are; all but a streamer decide the text, unseen."""
TOKEN_LISTS = frozenset({"eos_token_id"})
"""Lists of token ids that are words of the model, not of the caller."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call about to run: what to ask, its description, and the contents it names."""

    request: Request
    external: Mapping[str, Any]
    internal: Mapping[str, Any]
    materials: tuple[Material, ...]
    blobs: tuple[bytes | Path, ...]
    reasons: tuple[str, ...]

    def outputs(self, answers: Sequence[Answer]) -> tuple[list[Output], tuple[Verdict, ...]]:
        """Encode the answers; see `outputs_of`."""
        return outputs_of(self.request, answers, self.external["generator"])


def outputs_of(
    request: Request, answers: Sequence[Answer], random: Mapping[str, Any]
) -> tuple[list[Output], tuple[Verdict, ...]]:
    """Encode answers as outputs, each with its prompt and verdict; no verdicts without a schema.

    Raises InputError (`text.empty`) when the model wrote nothing at all.
    """
    outputs, verdicts = [], []
    for number, answer in enumerate(answers):
        if not answer.text:
            raise InputError(
                f"the model answered prompt {number // request.copies} with nothing",
                code="text.empty",
                hint="Try another seed, or ask for more tokens.",
            )
        extra: dict[str, Any] = {"prompt": Sealed(request.prompts[number // request.copies])}
        kind = TEXT
        if request.schema is not None:
            verdict = judge(answer.text, request.schema, finished=answer.finished)
            verdicts.append(verdict)
            extra["verdict"] = verdict.to_dict()
            kind = TEXT if verdict.document is None else JSON
        outputs.append(
            Output(
                data=answer.text.encode("utf-8"),
                media_type=kind,
                seed=seeds.seed_of(random, number),
                batch_index=number,
                extra=extra,
            )
        )
    return outputs, tuple(verdicts)


class Session:
    """Observes one model and its tokenizer, one call at a time, under `exclusively`.

    Digests a model again only when it changed: keep the session of a large one.
    """

    def __init__(
        self, model: Any, tokenizer: Any, declared: Mapping[str, Path], draw_seed: SeedSource
    ) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self._draw_seed = draw_seed
        self._components = ComponentReader(declared)

    def exclusively(self) -> AbstractContextManager[None]:
        """Keep other threads off the model and its tokenizer."""
        return exclusively((self.model, self.tokenizer))

    def run(self, call: Call, generator: Any) -> list[Answer]:
        """Answer a described call; a generator of the caller goes on from where it ended."""
        with drawing_from(call.external["generator"], self.model.device) as drawn:
            answers = write(self.model, self.tokenizer, call.request)
        if generator is not None:
            generator.set_state(drawn.get_state())
        return answers

    def describe(
        self,
        prompt: str | Sequence[str],
        schema: Mapping[str, Any] | None,
        seed: int | None,
        generator: Any,
        context: Retrieval | None,
        add_special_tokens: bool,
        settings: Mapping[str, Any],
    ) -> Call:
        """Describe a call completely, or say in `reasons` what could not be described.

        Raises InputError for a prompt, seed, schema or setting that cannot be used.
        """
        if getattr(self.model.config, "is_encoder_decoder", False):
            raise InputError("an encoder-decoder model is not recorded", code="model.unusable")
        if schema is not None:
            check_schema(schema)
        passed = {n: v for n, v in settings.items() if n in HANDED_ON and v is not None}
        given = {n: v for n, v in settings.items() if n not in HANDED_ON}
        request = Request(
            prompts=_prompts(prompt),
            settings=effective_settings(self.model, given),
            schema=schema,
            add_special_tokens=add_special_tokens,
            passed=passed,
        )
        parts = Parts({"model": self.model}, {"tokenizer": self.tokenizer})
        findings = self._components.read(self.model, parts)
        reader = ArgumentReader()
        arguments = _describe_arguments(request, reader)
        random = self._random(seed, generator)
        corpus = () if context is None else (context.content.material,)
        schemas = () if schema is None else (spelled(schema),)
        return Call(
            request=request,
            external={
                **_rig(self.model, findings),
                "arguments": arguments,
                "generator": random,
                **({} if context is None else {"context": context.to_record()}),
            },
            internal={
                "components": findings.states,
                "defaults": _defaults(request),
                "environment": surroundings(schema, corpus[0].sha256 if corpus else None),
            },
            materials=(
                *(content.material for content in findings.contents),
                *corpus,
                *map(_schema_material, schemas),
                lock.material(),
            ),
            blobs=(
                *(path for content in findings.contents for path in content.paths),
                *schemas,
                lock.lock(),
            ),
            reasons=tuple(
                dict.fromkeys(
                    [*findings.reasons, *reader.reasons, *self._reasons(findings, random, request)]
                )
            ),
        )

    def _random(self, seed: int | None, generator: Any) -> dict[str, Any]:
        if seed is not None and generator is not None:
            raise InputError("give a seed or a generator, not both", code="input.seed")
        if generator is not None:
            return seeds.describe(generator)
        chosen = self._draw_seed() if seed is None else seeds.check_seed(seed)
        return seeds.describe(seeds.generator_for(chosen))

    def _reasons(
        self, findings: Findings, random: Mapping[str, Any], request: Request
    ) -> list[str]:
        reasons = [
            f"model.{name} was replaced on the object"
            for name, value in vars(self.model).items()
            if name != "forward"  # told by the component reader
            and callable(getattr(type(self.model), name, None))
            and callable(value)
            and not is_library_code(value)
        ]
        if adapters := sorted(findings.states["model"]["adapters"]):
            reasons.append(f"model carries adapters that a text record does not name: {adapters}")
        used = any("state" in one for one in random["generators"])
        if used and self.model.device.type != "cpu":
            reasons.append("a used generator cannot be taken on by the model's device")
        if request.settings.get("max_time") is not None:
            reasons.append("max_time cuts the text by the clock")
        return reasons


def surroundings(schema: Mapping[str, Any] | None, corpus: str | None) -> dict[str, Any]:
    """Return the environment of a call: the process's, the guide's, the state of the corpus."""
    found = environment.capture()
    if schema is not None:
        found["guidance"] = engine()
    if corpus is not None:
        found["corpus"] = corpus
    return found


def _rig(model: Any, findings: Findings) -> dict[str, Any]:
    """Return the model as a record of a pipeline has it, so that one plan reads both."""
    return {
        "pipeline": {"class": qualified(type(model)), "options": {}, "absent": []},
        "components": findings.places,
        "scheduler": None,
        "loras": [],
    }


def _prompts(prompt: str | Sequence[str]) -> tuple[str, ...]:
    given = (prompt,) if isinstance(prompt, str) else tuple(prompt)
    if not given or not all(isinstance(one, str) for one in given):
        raise InputError(
            "a prompt is a text, or a list of texts",
            code="input.text",
            hint="Apply a chat template first: tokenizer.apply_chat_template(…, tokenize=False).",
        )
    return tuple(check_text("prompt", one) for one in given)


def _describe_arguments(request: Request, reader: ArgumentReader) -> dict[str, Any]:
    prompts = list(request.prompts)
    described: dict[str, Any] = {
        "prompt": Sealed(prompts[0] if len(prompts) == 1 else prompts),
        "add_special_tokens": request.add_special_tokens,
    }
    if request.schema is not None:
        described["schema"] = {"ref": SCHEMA, "as": "bytes"}
    defaults = _defaults(request)
    for name, value in request.settings.items():
        if name not in defaults:
            described[name] = _describe_setting(name, value, reader)
    for name, value in request.passed.items():
        if name != "streamer":
            described[name] = reader.read(name, value, None)
            reader.reasons.append(f"{name} decides the text, and is not recorded")
    return described


def _defaults(request: Request) -> dict[str, Any]:
    """Return the settings that are as the library has them: bound, as they change between versions.

    Apart from the arguments, where they would hide what somebody chose.
    """
    known = GenerationConfig._get_default_generation_params()
    return {n: v for n, v in request.settings.items() if v is not None and v == known.get(n)}


def _describe_setting(name: str, value: Any, reader: ArgumentReader) -> Any:
    """Describe a setting; a text, or a list of tokens that may be one, is sealed."""
    if value is None or isinstance(value, (bool, int, float)):
        return reader.read(name, value, None)
    if name in TOKEN_LISTS:
        return [int(token) for token in value]
    try:
        plain = json.loads(json.dumps(value))
    except (TypeError, ValueError):
        return reader.read(name, value, None)
    return Sealed(plain)


def _schema_material(data: bytes) -> Material:
    return Material(
        name=SCHEMA,
        kind="text",
        sha256=sha256_hex(data),
        storage="vaulted",
        media_type=SCHEMA_TYPE,
    )
