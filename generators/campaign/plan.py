"""From a brief to steps: every combination, what is made of it, in which order, with which seeds.

Pure: the same brief gives the same steps, and another value of an axis adds steps without changing
the others.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from generators.campaign.brief import (
    MASTER,
    MAX_SIDE,
    Brief,
    FileKind,
    Format,
    Picture,
    fill,
    proportion,
)
from registry.errors import InputError

MAX_STEPS = 20_000
"""Most steps of a campaign."""
SEED_BYTES = 6
"""Length of a derived seed: 48 bits, as fresh ones have."""
DEMO_SIDE = 64
"""Side of what the demo model makes, pixels."""
CANVAS_STEP = 16
"""Sides of a canvas that is painted on are multiples of this, pixels."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to be made, named by its key; `parents` are keys of earlier steps.

    `parameters` are everything beside seed and parents that decides what comes out, as JSON.
    `told` is what a record says of the step, sealed; `naming` what a file's name may say.
    """

    key: str
    kind: str
    parents: tuple[str, ...] = ()
    seed: int | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)
    told: Mapping[str, Any] = field(default_factory=dict)
    naming: Mapping[str, str] = field(default_factory=dict)
    width: int | None = None
    height: int | None = None
    delivered: bool = False


def expand(brief: Brief) -> tuple[Step, ...]:
    """Return every step of a brief, parents first; raises InputError (`brief.too-large`)."""
    steps: list[Step] = []
    for chosen in combinations(brief):
        steps += _Expansion(brief, chosen).steps()
        if len(steps) > MAX_STEPS:
            raise InputError(
                f"the brief {brief.name} makes more than {MAX_STEPS} things",
                code="brief.too-large",
                hint="divide it into several campaigns",
            )
    return tuple(steps)


def combinations(brief: Brief) -> Iterator[Mapping[str, str]]:
    """Yield one value for each axis, by name, in the order of the brief."""
    axes = list(brief.axes)
    for chosen in itertools.product(*brief.axes.values()):
        yield dict(zip(axes, chosen, strict=True))


def combination_key(chosen: Mapping[str, str]) -> str:
    """Return a combination's name: `colour=red,product=mug`, axes in order of their names."""
    return ",".join(f"{axis}={chosen[axis]}" for axis in sorted(chosen))


def derived_seed(seed: int, *names: str) -> int:
    """Return the seed of one thing: it depends on the brief's seed and on the thing's names only.

    The first 48 bits of SHA-256 over `genops-campaign-seed-v1`, the brief's seed in decimal, and
    the names (campaign, combination, picture, take), each UTF-8 and ended by a NUL.
    """
    parts = ("genops-campaign-seed-v1", str(seed), *names)
    digest = hashlib.sha256(b"".join(part.encode("utf-8") + b"\0" for part in parts)).digest()
    return int.from_bytes(digest[:SEED_BYTES], "big")


class _Expansion:
    """The steps of one combination."""

    def __init__(self, brief: Brief, chosen: Mapping[str, str]) -> None:
        self._brief = brief
        self._chosen = chosen
        self._values = {axis: brief.axes[axis][name] for axis, name in chosen.items()}
        self._name = combination_key(chosen)
        self._sizes: dict[str, tuple[int | None, int | None]] = {}

    def steps(self) -> Iterator[Step]:
        yield from self._copy()
        yield from self._masters()
        for picture in self._brief.variants:
            yield from self._variant(picture)
        yield from self._deliverables()

    def _key(self, rest: str) -> str:
        return f"{self._name}/{rest}" if self._name else rest

    def _step(
        self, rest: str, kind: str, told: Mapping[str, Any] | None = None, **more: Any
    ) -> Step:
        key = self._key(rest)
        about = {"step": key, "combination": dict(self._chosen), **(told or {})}
        naming = {"campaign": self._brief.name, **self._chosen, **more.pop("naming", {})}
        return Step(key=key, kind=kind, told=about, naming=naming, **more)

    def _copy(self) -> Iterator[Step]:
        copy = self._brief.copy
        if copy is None:
            return
        parameters = {
            "product": fill(copy.product, self._values),
            "audience": fill(copy.audience, self._values),
            "tone": fill(copy.tone, self._values),
            "facts": [fill(fact, self._values) for fact in copy.facts],
            "corpus": copy.corpus,
        }
        seed = self._seed("copy")
        naming = {"picture": "copy", "format": "text", "file": "json"}
        yield self._step(
            "copy", "copy", seed=seed, parameters=parameters, naming=naming, delivered=True
        )

    def _seed(self, *names: str) -> int:
        return derived_seed(self._brief.seed, self._brief.name, self._name, *names)

    def _masters(self) -> Iterator[Step]:
        """Yield the takes, and the choice among them, which is the one parent of all variants."""
        master = self._brief.master
        side = None if master.model else DEMO_SIDE
        size = (master.width or side, master.height or side)
        self._sizes[MASTER] = size
        takes = [f"{MASTER}/{number}" for number in range(1, self._brief.takes + 1)]
        for number, take in enumerate(takes, start=1):
            given = master.seed if number == 1 else None
            seed = self._seed(MASTER, str(number)) if given is None else given
            parameters = self._painting(master) | {"width": master.width, "height": master.height}
            told = self._told(master)
            yield self._step(take, MASTER, told, seed=seed, parameters=parameters, **_sides(size))
        naming = {"picture": MASTER}
        yield self._step(
            MASTER,
            "approval",
            parents=tuple(map(self._key, takes)),
            naming=naming,
            delivered=self._is_delivered(MASTER),
            **_sides(size),
        )

    def _painting(self, picture: Picture) -> dict[str, Any]:
        return {
            "prompt": fill(picture.prompt, self._values),
            "negative_prompt": fill(picture.negative_prompt, self._values),
            "loras": dict(picture.loras),
            "model": picture.model or self._brief.master.model,
            "steps": picture.steps,
            "guidance_scale": picture.guidance_scale,
        }

    def _told(self, picture: Picture) -> Mapping[str, Any]:
        return {"prompt_template": picture.prompt}

    def _variant(self, picture: Picture) -> Iterator[Step]:
        width, height = self._sizes[picture.parent]
        parent = self._key(picture.parent)
        parameters: dict[str, Any] = {}
        if picture.how == "outpaint":
            room = _room(width or DEMO_SIDE, height or DEMO_SIDE, picture.size)
            canvas = self._step(
                f"{picture.name}/canvas",
                "convert",
                parents=(parent,),
                parameters={"operation": "extend", "arguments": room},
            )
            yield canvas
            parent, parameters = canvas.key, {"room": room}
            width = (width or DEMO_SIDE) + room["left"] + room["right"]
            height = (height or DEMO_SIDE) + room["top"] + room["bottom"]
        elif picture.how == "upscale":
            parameters = {"factor": picture.factor}
            width, height = (s and s * picture.factor for s in (width, height))
        elif picture.mask:
            parameters = {"mask": dict(picture.mask)}
        seed: int | None = None
        if picture.how != "upscale":
            parameters |= self._painting(picture) | {"strength": picture.strength}
            seed = self._seed(picture.name) if picture.seed is None else picture.seed
        self._sizes[picture.name] = (width, height)
        yield self._step(
            picture.name,
            picture.how,
            self._told(picture) if picture.prompt else None,
            parents=(parent,),
            seed=seed,
            parameters=parameters,
            naming={"picture": picture.name},
            delivered=self._is_delivered(picture.name),
            **_sides((width, height)),
        )

    def _is_delivered(self, picture: str) -> bool:
        """Tell whether a picture is delivered as it is: no format or file is made of it."""
        wanted = [one for one in self._brief.formats if picture in (one.of or (picture,))]
        return not wanted and not self._brief.files

    def _deliverables(self) -> Iterator[Step]:
        for picture in self._brief.pictures:
            name = picture.name
            wanted = [one for one in self._brief.formats if name in (one.of or (name,))]
            for shape in wanted:
                made = self._format(name, shape)
                yield made
                yield from self._files(made)
            if not wanted and self._brief.files:
                width, height = self._sizes[name]
                naming = {"picture": name}
                source = self._step(name, "", naming=naming, width=width, height=height)
                yield from self._files(source)

    def _format(self, name: str, shape: Format) -> Step:
        arguments: dict[str, Any] = {"width": shape.width, "height": shape.height}
        if shape.mode == "crop":
            arguments["anchor"] = list(shape.anchor)
        else:
            arguments["colour"] = shape.colour
        operation = "fit" if shape.mode == "crop" else "pad"
        return self._step(
            f"{name}@{shape.name}",
            "convert",
            parents=(self._key(name),),
            parameters={"operation": operation, "arguments": arguments},
            naming={"picture": name, "format": shape.name},
            delivered=not self._brief.files,
            width=shape.width,
            height=shape.height,
        )

    def _files(self, source: Step) -> Iterator[Step]:
        rest = source.key.removeprefix(self._key(""))
        for kind in self._brief.files:
            parent = source.key
            profile = _profile_arguments(kind)
            if profile:
                step = self._step(
                    f"{rest}#{kind.name}/profile",
                    "convert",
                    parents=(parent,),
                    parameters=profile,
                    width=source.width,
                    height=source.height,
                )
                yield step
                parent = step.key
            arguments = {"format": kind.format, "dpi": kind.dpi, "quality": kind.quality}
            naming = {**source.naming, "file": kind.name}
            if kind.dpi is not None:
                naming["dpi"] = f"{kind.dpi:g}"
            yield self._step(
                f"{rest}#{kind.name}",
                "convert",
                parents=(parent,),
                parameters={
                    "operation": "wrap",
                    "arguments": {
                        **{k: v for k, v in arguments.items() if v is not None},
                        "profile": "srgb" if not profile and kind.profile == "srgb" else "keep",
                    },
                },
                naming=naming,
                delivered=True,
                width=source.width,
                height=source.height,
            )


def _profile_arguments(kind: FileKind) -> dict[str, Any]:
    """Return the conversion into a file's profile; none for sRGB, which pictures are in already."""
    from generators.icc import PRIMARIES

    if kind.profile in {None, "srgb"}:
        return {}
    if kind.profile in PRIMARIES:
        return {"operation": "profile", "arguments": {"to": kind.profile}}
    return {"operation": "profile", "arguments": {"to": "file"}, "profile": kind.profile}


def _sides(size: tuple[int | None, int | None]) -> dict[str, Any]:
    return {"width": size[0], "height": size[1]}


def _room(width: int, height: int, size: str) -> dict[str, int]:
    """Return the pixels to add on each side so that a picture gets a proportion, nothing cut."""
    across, down = proportion(size)
    wide = max(width, _rounded(height * across / down))
    high = max(height, _rounded(width * down / across))
    if wide > MAX_SIDE or high > MAX_SIDE:
        raise InputError(f"{size} of {width}x{height} is too large", code="brief.invalid")
    left, top = (wide - width) // 2, (high - height) // 2
    return {
        "left": left,
        "top": top,
        "right": wide - width - left,
        "bottom": high - height - top,
    }


def _rounded(side: float) -> int:
    return max(CANVAS_STEP, round(side / CANVAS_STEP) * CANVAS_STEP)
