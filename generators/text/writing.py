"""One call of a language model: its settings with their defaults, its chance, its answers.

What a live call and its replay share; knows neither records nor materials.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch

from generators import seeds
from generators.text.guidance import SchemaGuide
from registry.errors import InputError

CHANCE = threading.RLock()
"""`generate` draws from the process's one random state: one call at a time, of any model."""
_RETURNS = frozenset(
    {
        "return_dict_in_generate",
        "output_scores",
        "output_logits",
        "output_attentions",
        "output_hidden_states",
        "transformers_version",
    }
)
"""Settings that decide what comes back beside the text; we ask for the tokens alone."""


@dataclass(frozen=True, slots=True)
class Request:
    """Prompts to answer as one batch; `settings` are those of a `GenerationConfig`, none left out.

    `passed` are arguments that go to `generate` as they are.
    """

    prompts: tuple[str, ...]
    settings: Mapping[str, Any]
    schema: Mapping[str, Any] | None = None
    add_special_tokens: bool = True
    passed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def copies(self) -> int:
        """How many answers each prompt gets."""
        return int(self.settings.get("num_return_sequences") or 1)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model wrote, and whether it ended by itself."""

    text: str
    finished: bool


def effective_settings(model: Any, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting that `generate` would use: given, the model's own, the library's.

    `given` may hold a `generation_config`. Raises InputError (`input.argument`) for what is no
    setting.
    """
    from transformers import GenerationConfig

    rest = dict(given)
    try:
        config, unknown = model._prepare_generation_config(
            rest.pop("generation_config", None), **rest
        )
    except (ValueError, TypeError) as error:
        raise _unusable(error) from None
    if odd := sorted(unknown.keys() - _RETURNS):
        raise InputError(
            f"a recorded text call takes no argument {', '.join(odd)}",
            code="input.argument",
            hint="Give prompts and the settings of a transformers GenerationConfig.",
        )
    defaults = config._get_default_generation_params()
    fields = GenerationConfig().to_dict()
    if config.max_new_tokens is not None:
        fields.pop("max_length")  # it would count for nothing
    return {
        name: value
        for name, value in config.to_dict().items()
        # What was set to None on purpose must not become the library's default again.
        if (value is not None or defaults.get(name) is not None)
        and name in fields
        and name not in _RETURNS
        and not name.startswith("_")
    }


@contextmanager
def drawing_from(described: Mapping[str, Any], device: torch.device) -> Iterator[torch.Generator]:
    """Let torch's random state be a described one; put the caller's back afterwards.

    Yields a generator that has the state which the call left. Process-wide while it lasts.
    """
    generator = seeds.restore(described)
    if not isinstance(generator, torch.Generator):
        raise InputError("a text call has one generator", code="input.seed")
    devices = [device] if device.type == "cuda" else []
    with CHANCE, torch.random.fork_rng(devices=devices):
        torch.default_generator.set_state(generator.get_state())
        if devices:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(generator.initial_seed())
        try:
            yield generator
        finally:
            generator.set_state(torch.default_generator.get_state())


def write(model: Any, tokenizer: Any, request: Request) -> list[Answer]:
    """Answer all prompts as one batch; the answers of each prompt follow one another.

    Draws from torch's random state: see `drawing_from`. Raises InputError for prompts without
    tokens, and for settings that the model cannot follow.
    """
    ids, mask = _left_padded(tokenizer, request)
    eos = _end_tokens(request.settings.get("eos_token_id"))
    passed = dict(request.passed)
    if request.schema is not None:
        guide = _guide(tokenizer, request, eos)
        passed["logits_processor"] = [guide, *passed.get("logits_processor", ())]
    try:
        with torch.no_grad():
            tokens = model.generate(
                ids.to(model.device),
                attention_mask=mask.to(model.device),
                **request.settings,
                **passed,
            )
    except (ValueError, RuntimeError, IndexError) as error:
        raise _unusable(error) from error
    answers = tokens[:, ids.shape[1] :].tolist()
    return [_answer(tokenizer, row, eos) for row in answers]


def _answer(tokenizer: Any, row: Sequence[int], eos: Sequence[int]) -> Answer:
    end = next((place for place, token in enumerate(row) if token in eos), len(row))
    text = tokenizer.decode(row[:end], skip_special_tokens=True, clean_up_tokenization_spaces=False)
    return Answer(text, end < len(row))


def _left_padded(tokenizer: Any, request: Request) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (ids, mask), each (prompts, longest): padded by us, so that no setting decides it."""
    rows = [
        tokenizer(prompt, add_special_tokens=request.add_special_tokens)["input_ids"]
        for prompt in request.prompts
    ]
    if not rows or not all(rows):
        raise InputError("a prompt has no tokens", code="input.text", hint="Give it some text.")
    longest = max(map(len, rows))
    filler = int(request.settings.get("pad_token_id") or 0)
    ids = torch.tensor([[filler] * (longest - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows])
    return ids, mask


def _guide(tokenizer: Any, request: Request, eos: Sequence[int]) -> SchemaGuide:
    if int(request.settings.get("num_beams") or 1) > 1:
        raise InputError(
            "beams cannot be kept to a schema", code="text.schema", hint="Leave num_beams at 1."
        )
    if not eos:
        raise InputError(
            "the model has no token that ends a text, so that JSON would never be done",
            code="text.schema",
            hint="Set eos_token_id.",
        )
    return SchemaGuide(tokenizer, dict(request.schema or {}), eos)


def _end_tokens(ids: Any) -> list[int]:
    if ids is None:
        return []
    return [int(one) for one in ids] if isinstance(ids, (list, tuple)) else [int(ids)]


def _unusable(error: Exception) -> InputError:
    said = str(error).strip().splitlines() or [type(error).__name__]
    return InputError(
        f"the model does not follow this call: {said[0]}",
        code="text.settings",
        hint="Check the generation settings, and that the prompt fits the model's context.",
    )
