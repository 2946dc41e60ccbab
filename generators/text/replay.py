"""From a text record back to its model, its settings and its answers.

Loads safetensors and library classes alone, as replays of pipelines do.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from transformers import GenerationConfig

from generators import environment, seeds
from generators.ports import Job
from generators.rebuild.pipeline import component, settle
from generators.rebuild.plan import Plan
from generators.text.corpus import MATERIAL, found_changed
from generators.text.session import OWN_ARGUMENTS, outputs_of, surroundings
from generators.text.writing import Request, drawing_from, write
from registry.core.generation import Output
from registry.errors import InputError


@dataclass(slots=True)
class Desk:
    """Keeps the last model it loaded: a worker mostly replays many calls of one. One at a time."""

    _key: str = ""
    _parts: tuple[Any, Any] | None = None
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def replay(self, job: Job) -> tuple[Sequence[Output], dict[str, Any]]:
        """Answer a recorded call again; return the outputs and the environment they came from."""
        plan = Plan.of(job)
        with self._lock, environment.matching(plan.internal["environment"]):
            model, tokenizer = self._parts_of(plan)
            request, random = _request(plan), _random(plan)
            with drawing_from(random, model.device):
                answers = write(model, tokenizer, request)
            outputs, _ = outputs_of(request, answers, random)
            return outputs, surroundings(request.schema, _corpus(job, plan))

    def _parts_of(self, plan: Plan) -> tuple[Any, Any]:
        key = plan.rig_key()
        if self._parts is None or key != self._key:
            self._parts = None  # never two models in memory
            model = component("model", plan)
            settle("model", model, plan)
            # The record has every setting; the folder's must not fill what was left empty.
            model.generation_config = GenerationConfig()
            self._parts = model, component("tokenizer", plan)
            self._key = key
        return self._parts


_DESK = Desk()


def replay(job: Job) -> tuple[Sequence[Output], dict[str, Any]]:
    """Replay a job; see `generators.text.recorded.TextAdapter.replay`."""
    return _DESK.replay(job)


def _request(plan: Plan) -> Request:
    arguments = {**plan.internal["defaults"], **plan.external["arguments"]}
    prompt = arguments["prompt"]
    if not isinstance(prompt, (str, list)):
        raise InputError("the prompt is sealed", code="replay.argument")
    settings = {name: v for name, v in arguments.items() if name not in OWN_ARGUMENTS}
    schema = arguments.get("schema")
    return Request(
        prompts=(prompt,) if isinstance(prompt, str) else tuple(prompt),
        settings=settings,
        schema=None if schema is None else json.loads(plan.path(schema["ref"]).read_bytes()),
        add_special_tokens=arguments["add_special_tokens"],
    )


def _random(plan: Plan) -> Mapping[str, Any]:
    if plan.seed is not None:
        return seeds.describe(seeds.generator_for(plan.seed))
    recorded: Mapping[str, Any] = plan.external["generator"]
    return recorded


def _corpus(job: Job, plan: Plan) -> str | None:
    """Return the state of the corpus that the record quotes; None where it quotes none."""
    if "context" not in plan.external:
        return None
    dependencies = job.statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    corpus = next(one for one in dependencies if one["name"] == MATERIAL)
    return found_changed(corpus, plan.digests[MATERIAL])
