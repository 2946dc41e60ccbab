"""One pipeline under observation: describes each call before it runs.

Puts together what the modules beside it read off; neither runs nor records anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from generators import environment, lock, seeds
from generators.arguments import ArgumentReader
from generators.capture import loras
from generators.capture.assemblies import options_of
from generators.capture.calls import Binder, Sharing, copies, texts
from generators.capture.components import ComponentReader, Findings, Parts
from generators.capture.locks import exclusively
from generators.capture.surroundings import describe as surroundings_of
from generators.capture.trusted import qualified
from generators.encode import png_encoding
from generators.files import Content, file_material, files_below, folder_material
from generators.ports import SeedSource
from registry.core.generation import Material

MODEL_KINDS = frozenset({"lora", "model", "vae", "controlnet"})
PICTURE_WORDS = ("image", "mask", "latents")
OUTPUT_TYPES = frozenset({"pil", "np", "pt", "latent"})
"""Values of `output_type` that are words of diffusers, not of the caller."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call about to run: its arguments, its description, and the contents it names.

    `arguments` are to be passed by name. `reasons` is what a replay would miss, so far.
    """

    arguments: Mapping[str, Any]
    external: Mapping[str, Any]
    internal: Mapping[str, Any]
    materials: tuple[Material, ...]
    blobs: tuple[bytes | Path, ...]
    reasons: tuple[str, ...]
    sharing: Sharing


class Session:
    """Observes one pipeline, one call at a time, under `exclusively`.

    `declared` names files and folders by material where the loaders left no trace, and whatever
    else the calls consume.
    """

    def __init__(self, pipe: Any, declared: Mapping[str, Path], draw_seed: SeedSource) -> None:
        self._pipe = pipe
        self._declared = declared
        self._components = ComponentReader(declared)
        self._draw_seed = draw_seed

    def exclusively(self) -> AbstractContextManager[None]:
        """Keep other threads off every component of the pipeline."""
        return exclusively(c for c in self._pipe.components.values() if c is not None)

    def describe(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> Call:
        """Describe a call completely, or say in `reasons` what could not be described.

        Raises InputError for a seed, text or number that no record can hold, and for arguments
        that the pipeline does not take.
        """
        binder = Binder(self._pipe, self._draw_seed)
        arguments = binder.bind(args, options)
        reader = ArgumentReader(takes_array=_is_content)
        described = _read_arguments(arguments, binder, reader)
        generator = arguments.get("generator")
        random = None if generator is None else seeds.describe(generator)
        surroundings, oddities = surroundings_of()
        parts = Parts.of(self._pipe)
        findings = self._components.read(self._pipe, parts)
        adapters = loras.describe(findings.walks, findings.states, self._declared)
        contents = [*findings.contents, *adapters.contents, *self._declared_contents()]
        materials = (
            *(content.material for content in contents),
            *reader.materials,
            lock.material(),
        )
        return Call(
            arguments=arguments,
            external={
                **self._external(parts, findings),
                "loras": adapters.entries,
                "arguments": described,
                "generator": random,
            },
            internal={
                "components": findings.states,
                "encoding": png_encoding(),
                "environment": environment.capture(),
                "surroundings": surroundings,
            },
            materials=materials,
            blobs=(
                *(path for content in contents for path in content.paths),
                *reader.blobs,
                lock.lock(),
            ),
            reasons=(
                *findings.reasons,
                *adapters.reasons,
                *reader.reasons,
                *options_of(self._pipe)[1],
                *oddities,
            ),
            sharing=Sharing(
                prompts=texts(arguments.get("prompt")),
                copies=copies(arguments),
                generator=random,
                materials=[material.name for material in materials],
                inputs=reader.inputs,
            ),
        )

    def _external(self, parts: Parts, findings: Findings) -> dict[str, Any]:
        """Return the pipeline as the caller put it together."""
        return {
            "pipeline": {
                "class": qualified(type(self._pipe)),
                "options": options_of(self._pipe)[0],
                "absent": parts.absent,
            },
            "components": findings.places,
            "scheduler": findings.scheduler,
            **findings.added,
        }

    def _declared_contents(self) -> list[Content]:
        """Describe what the caller declared beyond models and adapters."""
        contents = []
        for name, path in self._declared.items():
            kind = name.partition("/")[0]
            if kind in MODEL_KINDS:
                continue
            if path.is_dir():
                contents.append(folder_material(name, kind, path, files_below(path)))
            else:
                contents.append(file_material(name, kind, path))
        return contents


def _read_arguments(
    arguments: Mapping[str, Any], binder: Binder, reader: ArgumentReader
) -> dict[str, Any]:
    described = {}
    for name, value in arguments.items():
        if name in {"generator", "return_dict"}:
            continue
        word = name == "output_type" and value in OUTPUT_TYPES
        described[name] = reader.read(name, value, value if word else binder.default(name))
    if "generator" not in binder.parameters:
        reader.reasons.append("the pipeline takes no generator: its randomness has no seed")
    return described


def _is_content(argument: str) -> bool:
    """Tell whether an array is content. Embeddings are not: a digest would let texts be tried."""
    return any(word in argument for word in PICTURE_WORDS) and "embed" not in argument
