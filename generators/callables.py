"""The adapter for any Python function that returns pictures, text or bytes.

    upscale = recorded_callable(upscale_twice, registry)
    large = upscale(small, seed=7)

Captures the arguments and the file that the function's code is in; replays it by import, if the
file is still the same. Imports nothing heavy.
"""

from __future__ import annotations

import inspect
import random
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.arguments import ArgumentReader, ArgumentWriter, check_text
from generators.encode import image_output, is_picture, png_encoding
from generators.files import DIGESTS
from generators.recent import outputs_of
from generators.seeds import parse_seed
from registry.core.generation import Generation, Material, Output
from registry.core.statements import build_uri
from registry.errors import CaptureError, InputError, MaterialError
from registry.similarity.media import media_type_of

if TYPE_CHECKING:
    from generators.ports import Clock, Job, Recorder
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("callable")
BUILDER_ID = "https://w3id.org/genops/builder/callable"
TEXT = "text/plain; charset=utf-8"
CODE = "code/function"


@dataclass(frozen=True, slots=True)
class CallableContext:
    """What a recorded function needs beside the function; see `recorded_callable`."""

    inputs: Mapping[str, str] = field(default_factory=dict)
    project: str | None = None
    campaign: str | None = None
    actor: str | None = None
    strict: bool = False
    draft: bool = False
    clock: Clock = lambda: time.time_ns() // 1_000_000


def recorded_callable(
    function: Callable[..., Any],
    registry: Recorder,
    *,
    inputs: Mapping[str, str] | Sequence[str] = (),
    project: str | None = None,
    campaign: str | None = None,
    actor: str | None = None,
    strict: bool = False,
    draft: bool = False,
) -> RecordedCallable:
    """Wrap a function so that every call is recorded before its result comes back.

    The function returns a picture (PIL), a text, bytes, or a list of those. Pictures, arrays and
    bytes among its arguments become materials; `inputs` names the arguments that are paths of
    files to keep as well (with the kind of material each is, `image` unless said). Texts are
    sealed. What cannot be replayed (closures, opaque arguments, undeclared paths, global
    randomness) is recorded with reasons, or refused beforehand when `strict`. The outputs of a
    `draft` go when nobody keeps them.
    """
    kinds = inputs if isinstance(inputs, Mapping) else dict.fromkeys(inputs, "image")
    context = CallableContext(kinds, project, campaign, actor, strict, draft)
    return RecordedCallable(function, registry, context)


class RecordedCallable:
    """A function whose calls are recorded; calling it returns what the function returns."""

    def __init__(
        self, function: Callable[..., Any], recorder: Recorder, context: CallableContext
    ) -> None:
        self.__wrapped__ = function
        self._recorder = recorder
        self._context = context
        self._signature = inspect.signature(function)

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the function, record the generation, and return the function's result."""
        return self.with_receipt(*args, **options)[0]

    def with_receipt(self, *args: Any, **options: Any) -> tuple[Any, Receipt]:
        """Run and record as a call does; return (result, receipt).

        Raises InputError for what no record can hold, CaptureError when strict, and whatever the
        function and the registry raise.
        """
        reader = ArgumentReader(files=self._context.inputs)
        arguments, described = self._read(reader, args, options)
        code, reasons = _describe_code(self.__wrapped__)
        reasons = [*reasons, *reader.reasons]
        if self._context.strict and reasons:
            raise CaptureError(
                f"this call could not be replayed: {'; '.join(reasons)}",
                hint="Remove the causes, or record without strict=True and with these reasons.",
            )
        before, started = dict(_random_states()), self._context.clock()
        result = self.__wrapped__(*args, **options)
        finished = self._context.clock()
        if not before.items() <= dict(_random_states()).items():
            reasons.append("global random state moved during the call")
        materials = [*([code.material] if code.material else []), *reader.materials]
        generation = Generation(
            build_type=BUILD_TYPE,
            external={"function": code.name, "arguments": described},
            internal={"encoding": png_encoding(), "environment": environment.capture()},
            materials=outputs_of(self._recorder).name(materials),
            outputs=_outputs(result, seed_in(arguments)),
            started_ms=started,
            finished_ms=finished,
            builder_id=BUILDER_ID,
            builder_version={"python": environment.capture()["python"]},
            reasons=reasons,
            campaign=self._context.campaign,
        )
        receipt: Receipt = self._recorder.record(
            generation,
            blobs=[*([code.path] if code.path else []), *reader.blobs],
            project=self._context.project,
            actor=self._context.actor,
            **({"draft": True} if self._context.draft else {}),
        )
        outputs_of(self._recorder).remember(receipt)
        return result, receipt

    def _read(
        self, reader: ArgumentReader, args: tuple[Any, ...], options: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the bound arguments, and their description."""
        try:
            bound = self._signature.bind(*args, **options)
        except TypeError as error:
            raise InputError(f"{_name(self.__wrapped__)}: {error}", code="input.argument") from None
        bound.apply_defaults()
        parameters = self._signature.parameters
        described = {
            name: reader.read(name, value, parameters[name].default)
            for name, value in bound.arguments.items()
        }
        return dict(bound.arguments), described


class CallableAdapter:
    """Replays records of `recorded_callable` (`generators.ports.Adapter`)."""

    build_type = BUILD_TYPE

    def environment(self) -> dict[str, Any]:
        """Return the present environment as a record would hold it."""
        return environment.capture()

    def replay(self, job: Job) -> Sequence[Output]:
        """Import the recorded function, if its file is unchanged, and call it again.

        `job.overrides` may hold any argument by name. Raises MaterialError (`material.differs`)
        when the code is another, before any of it runs.
        """
        external = job.statement["predicate"]["buildDefinition"]["externalParameters"]
        dependencies = job.statement["predicate"]["buildDefinition"]["resolvedDependencies"]
        digests = {one["name"]: one["digest"]["sha256"] for one in dependencies}
        function = _import(external["function"], digests.get(CODE))
        writer = ArgumentWriter(
            path=lambda name: _material(job, name),
            media_types={one["name"]: one.get("mediaType") for one in dependencies},
        )
        values = {n: writer.write(n, v) for n, v in external["arguments"].items()}
        values |= _overrides(job.overrides, external["arguments"])
        bound = inspect.signature(function).bind_partial()
        bound.arguments.update(values)
        return _outputs(function(*bound.args, **bound.kwargs), seed_in(values))


adapter = CallableAdapter()


@dataclass(frozen=True, slots=True)
class _Code:
    """A function's name as `module:qualname`, and the file of its module as a material."""

    name: str
    material: Material | None = None
    path: Path | None = None


def _describe_code(function: Callable[..., Any]) -> tuple[_Code, list[str]]:
    name = _name(function)
    module, _, qualname = name.partition(":")
    if module == "__main__" or "<" in name:
        return _Code(name), [f"{name} cannot be imported by its name"]
    path = _module_file(module)
    found = None if path is None else _resolve(module, qualname)
    if path is None or function not in (found, getattr(found, "__wrapped__", None)):
        return _Code(name), [f"{name} is not a function of a Python source file"]
    file = DIGESTS.describe(path, path.name)
    material = Material(
        name=CODE, kind="code", sha256=file.sha256, storage="vaulted", media_type="text/x-python"
    )
    return _Code(name, material, path), []


def _name(function: Any) -> str:
    module = getattr(function, "__module__", None) or "<unknown>"
    return f"{module}:{getattr(function, '__qualname__', type(function).__qualname__)}"


def _module_file(module: str) -> Path | None:
    """Return the source file of a module without running it (its parent packages do run)."""
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        return None
    origin = None if spec is None else spec.origin
    return Path(origin) if origin is not None and origin.endswith(".py") else None


def _resolve(module: str, qualname: str) -> Any:
    found: Any = import_module(module)
    for part in qualname.split("."):
        found = getattr(found, part, None)
    return found


def _import(name: str, digest: str | None) -> Any:
    module, _, qualname = name.partition(":")
    path = _module_file(module)
    if digest is None or path is None:
        raise MaterialError(
            f"the code of {name} was not captured, or is not installed here",
            code="material.missing",
            hint="Install the package that the function is in.",
        )
    if DIGESTS.describe(path, path.name).sha256 != digest:
        raise MaterialError(
            f"the file of {name} is not the one that was recorded",
            code="material.differs",
            hint="Check out the recorded version; the vault holds the file.",
        )
    function = _resolve(module, qualname)
    if not callable(function):
        raise MaterialError(f"{name} is not a function", code="material.differs")
    return getattr(function, "__wrapped__", function)


def _material(job: Job, name: str) -> Path:
    found = job.materials.get(name)
    if found is None or not found.exists():
        raise MaterialError(f"material {name} is not at hand", code="material.missing")
    return found


def _overrides(overrides: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    if unknown := overrides.keys() - known.keys():
        raise InputError(
            f"the recorded call has no argument {', '.join(sorted(unknown))}",
            code="replay.override",
        )
    return {name: parse_seed(v) if name == "seed" else v for name, v in overrides.items()}


def seed_in(arguments: Mapping[str, Any]) -> str | None:
    """Return the argument `seed` as a decimal string, where it is an integer."""
    seed = arguments.get("seed")
    return str(seed) if isinstance(seed, int) and not isinstance(seed, bool) else None


def _outputs(result: Any, seed: str | None) -> list[Output]:
    results = result if isinstance(result, (list, tuple)) else [result]
    return [output_from(one, seed=seed, batch_index=n) for n, one in enumerate(results)]


def output_from(result: Any, **fields: Any) -> Output:
    """Return a picture, text or bytes as an `Output`, `fields` beside; raises InputError."""
    if is_picture(result):
        return image_output(result, **fields)
    if isinstance(result, str):
        return Output(check_text("return", result).encode("utf-8"), TEXT, **fields)
    if isinstance(result, bytes):
        return Output(result, media_type_of(result, ""), **fields)
    raise InputError(
        f"a recorded function returned a {type(result).__name__}",
        code="input.output",
        hint="Return a PIL picture, a text, bytes, or a list of those.",
    )


def _random_states() -> Iterator[tuple[str, Any]]:
    """Yield the states of the global generators that a function may have drawn from, by library.

    A library that the call itself imports was not there before it, and starts as in a replay.
    """
    yield "python", random.getstate()
    if "numpy.random" in sys.modules:
        name, keys, *rest = sys.modules["numpy.random"].get_state()
        yield "numpy", (name, keys.tobytes(), tuple(rest))
    if "torch" in sys.modules:
        yield "torch", sys.modules["torch"].get_rng_state().numpy().tobytes()
