"""The arguments of one call: bound with their defaults, seeded, and shared out over the batch.

Knows diffusers' conventions for prompts, generators and batches; not what the components are.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from generators import seeds
from generators.encode import as_pictures, output_of
from generators.ports import SeedSource
from registry.core.generation import Output, Sealed
from registry.errors import InputError

EMBEDDINGS = ("prompt_embeds", "prompt_embeds_2")


class Binder:
    """Binds calls to the signature of a pipeline's class."""

    def __init__(self, pipe: Any, draw_seed: SeedSource) -> None:
        self._pipe = pipe
        self._draw_seed = draw_seed
        self.parameters = inspect.signature(type(pipe).__call__).parameters

    def bind(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments by name, defaults too, with a generator for every image.

        `seed=` (one, or one per image) stands for generators unless the pipeline takes it itself;
        a single seed counts up over a batch. Raises InputError (`input.argument`, `input.seed`).
        """
        given = dict(options)
        seed = None if "seed" in self.parameters else given.pop("seed", None)
        arguments = self._bound(args, given)
        if seed is not None and arguments.get("generator") is not None:
            raise InputError("give a seed or a generator, not both", code="input.seed")
        if "generator" in arguments and arguments["generator"] is None:
            arguments["generator"] = self._generators(seed, batch_size(arguments))
        return arguments

    def default(self, name: str) -> Any:
        """Return the default of a parameter; `inspect.Parameter.empty` if it has none."""
        parameter = self.parameters.get(name)
        return inspect.Parameter.empty if parameter is None else parameter.default

    def _bound(self, args: tuple[Any, ...], options: dict[str, Any]) -> dict[str, Any]:
        signature = inspect.Signature(list(self.parameters.values()))
        name = type(self._pipe).__name__
        try:
            bound = signature.bind(self._pipe, *args, **options)
        except TypeError as error:
            raise InputError(f"{name}: {error}", code="input.argument") from None
        bound.apply_defaults()
        arguments = dict(bound.arguments)
        del arguments[next(iter(self.parameters))]  # self
        for name, parameter in self.parameters.items():
            if parameter.kind is inspect.Parameter.VAR_KEYWORD:
                arguments |= arguments.pop(name)
        return arguments

    def _generators(self, seed: Any, count: int) -> Any:
        if seed is None:
            chosen = [self._draw_seed() for _ in range(count)]
        elif isinstance(seed, (list, tuple)):
            chosen = [seeds.check_seed(one) for one in seed]
        else:
            chosen = seeds.consecutive(seeds.check_seed(seed), count)
        made = [seeds.generator_for(one) for one in chosen]
        return made[0] if len(made) == 1 else made


def batch_size(arguments: Mapping[str, Any]) -> int:
    """Return how many images a call makes; 1 where nothing says so."""
    prompt = arguments.get("prompt")
    embeddings = next((arguments[n] for n in EMBEDDINGS if arguments.get(n) is not None), None)
    if isinstance(prompt, (list, tuple)):
        prompts = len(prompt)
    elif prompt is None and embeddings is not None:
        prompts = len(embeddings)
    else:
        prompts = 1
    return prompts * copies(arguments)


def copies(arguments: Mapping[str, Any]) -> int:
    """Return how many images each prompt gets."""
    return int(arguments.get("num_images_per_prompt") or 1)


@dataclass(frozen=True, slots=True)
class Sharing:
    """Which seed, prompt and materials each image of a batch has.

    `materials` names all that the call consumed, `inputs` the input materials of each argument
    in order; `generator` is a description by `generators.seeds`, or None.
    """

    prompts: Sequence[str]
    copies: int
    generator: Mapping[str, Any] | None
    materials: Sequence[str]
    inputs: Mapping[str, Sequence[str]]

    def outputs(self, returned: Any) -> list[Output]:
        """Encode what the pipeline returned, each image with what belongs to it alone."""
        items = as_pictures(_batch(returned))
        return [output_of(item, **self._fields(n, len(items))) for n, item in enumerate(items)]

    def _fields(self, index: int, count: int) -> dict[str, Any]:
        prompt = index // self.copies
        known = prompt < len(self.prompts)
        return {
            "batch_index": index,
            "seed": None if self.generator is None else seeds.seed_of(self.generator, index),
            "materials": self._materials_of(index, count),
            "extra": {"prompt": Sealed(self.prompts[prompt])} if known else {},
        }

    def _materials_of(self, index: int, count: int) -> tuple[str, ...]:
        """Leave out the inputs of other images, where there is one of a list for each image.

        With several images per prompt all inputs count for all: pipelines differ in how they
        spread them.
        """
        own: set[str] = set()
        others: set[str] = set()
        for names in self.inputs.values():
            if self.copies == 1 and len(names) == count:
                own.add(names[index])
                others.update(names)
            else:
                own.update(names)
        return tuple(name for name in self.materials if name in own or name not in others)


def texts(prompt: Any) -> list[str]:
    """Return the prompts of a call, one per image (times copies)."""
    if isinstance(prompt, str):
        return [prompt]
    given = prompt if isinstance(prompt, (list, tuple)) else ()
    return [text for text in given if isinstance(text, str)]


def _batch(returned: Any) -> Any:
    """Return the pictures of a pipeline's result: its `images`, or its first field."""
    return returned.images if hasattr(returned, "images") else returned[0]
