"""Briefs: what a campaign is to make, read from YAML and checked against `brief/v1`.

Every refusal names the line. Knows nothing of registries; expanding a brief is `plan`'s duty.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from registry.errors import InputError, PolicyError
from registry.policy.document import read_document
from registry.resources import schema_set

How = Literal["img2img", "inpaint", "clean", "swap", "outpaint", "upscale"]
MASTER = "master"
SHORT_SIDE = 1080
"""Shorter side of a format that is named by its proportion alone, pixels."""
DEFAULT_STEPS = 20
DEFAULT_GUIDANCE = 3.0
STRENGTHS: Mapping[str, float] = {
    "img2img": 0.6,
    "inpaint": 1.0,
    "clean": 1.0,
    "swap": 1.0,
    "outpaint": 0.7,
}
"""How far each kind of variant may leave what it starts from, where a brief does not say."""
MAX_SIDE = 16_384
"""Longest side of a picture that is made, pixels."""
WHOLE_MASK = {"left": 0.1, "top": 0.05, "right": 0.95, "bottom": 0.92}
"""What is painted anew where a brief names no mask: all but a margin, as parts of both sides."""
NAMING = frozenset({"campaign", "picture", "format", "file", "width", "height", "dpi", "ext", "id"})
"""What a delivered file's name may say beside the axes."""

_PLACE = re.compile(r"\{([a-z0-9][a-z0-9-]*)\}")


@dataclass(frozen=True, slots=True)
class Picture:
    """How one picture is painted; texts still hold the places of axes.

    `strength` (0 to 1) only counts where it starts from another, `mask` where a part is painted.
    """

    name: str
    prompt: str
    how: How | Literal["master"] = "img2img"
    parent: str = MASTER
    negative_prompt: str = ""
    seed: int | None = None
    loras: Mapping[str, float] = field(default_factory=dict)
    strength: float = 0.6
    mask: Mapping[str, float] = field(default_factory=dict)
    size: str = ""
    factor: int = 2
    steps: int = DEFAULT_STEPS
    guidance_scale: float = DEFAULT_GUIDANCE
    model: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """A size that pictures are brought to; `of` are the pictures that get it, all where empty."""

    name: str
    width: int
    height: int
    mode: Literal["crop", "pad"] = "crop"
    anchor: tuple[float, float] = (0.5, 0.5)
    colour: str = "#ffffff"
    of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class FileKind:
    """A container that pictures are written to."""

    name: str
    format: str
    dpi: float | None = None
    quality: int | None = None
    profile: str | None = None


@dataclass(frozen=True, slots=True)
class CopyPart:
    """What a language model is told to write about; texts still hold the places of axes."""

    product: str
    audience: str = ""
    tone: str = ""
    facts: tuple[str, ...] = ()
    corpus: str | None = None


@dataclass(frozen=True, slots=True)
class Brief:
    """A campaign: what is combined, one master of each combination, and what is made from it.

    `axes` maps each axis to its values: plain names with what stands for them in texts.
    """

    name: str
    master: Picture
    variants: tuple[Picture, ...] = ()
    project: str | None = None
    seed: int = 0
    approve: Literal["review", "automatic"] = "review"
    takes: int = 1
    axes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    copy: CopyPart | None = None
    formats: tuple[Format, ...] = ()
    files: tuple[FileKind, ...] = ()
    naming: str = ""
    channel: str = "web"

    @property
    def pictures(self) -> tuple[Picture, ...]:
        """The master and the variants."""
        return (self.master, *self.variants)


def load_brief(path: Path) -> Brief:
    """Read a brief; raises InputError (`brief.invalid`) naming the line of what is wrong with it.

    The form of release 0.1.0 (no `version`) is read as it was meant: masters are approved
    automatically, and seeds are given.
    """
    try:
        document = read_document(path, str(path))
        value = document.value
        if isinstance(value, dict) and "version" not in value:
            value = _migrated(value)
            schema_set().check("brief/v1", value)
        else:
            document.check(schema_set(), "brief/v1")
        brief = _brief(value)
        for where, why in _problems(brief):
            raise document.error(where, why, hint="see docs/campaign.md")
    except PolicyError as error:
        raise _invalid(error.message, error.hint) from None
    except InputError as error:  # a schema's
        raise _invalid(f"{path} is not a campaign brief: {error.message}", error.hint) from None
    return brief


def fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in their places; a place without one stays as it is."""
    return _PLACE.sub(lambda found: values.get(found[1], found[0]), text)


def places(text: str) -> set[str]:
    """Return the names that a text has places for."""
    return set(_PLACE.findall(text))


def proportion(size: str) -> tuple[int, int]:
    """Return the two numbers of `16:9` or `300x250`."""
    across, down = re.split("[:x]", size)
    return int(across), int(down)


def _invalid(message: str, hint: str = "") -> InputError:
    return InputError(
        message, code="brief.invalid", hint=hint or "generators/briefs/demo.yaml is an example"
    )


def _migrated(value: Mapping[str, Any]) -> dict[str, Any]:
    return {"version": 1, "approve": "automatic", **value}


def _brief(value: Mapping[str, Any]) -> Brief:
    common = {k: value[k] for k in ("steps", "guidance_scale") if k in value}
    delivery = value.get("delivery", {})
    copy = value.get("copy")
    return Brief(
        name=value["name"],
        master=_picture({"name": MASTER, "how": MASTER, **common, **value["master"]}),
        variants=tuple(_picture({**common, **one}) for one in value.get("variants", ())),
        project=value.get("project"),
        seed=int(value.get("seed", 0)),
        approve=value.get("approve", "review"),
        takes=value.get("takes", 1),
        axes={axis: dict(map(_value, found)) for axis, found in value.get("axes", {}).items()},
        copy=None if copy is None else CopyPart(**{**copy, "facts": tuple(copy.get("facts", ()))}),
        formats=tuple(_format(one) for one in value.get("formats", ())),
        files=tuple(_file(one) for one in value.get("files", ())),
        naming=delivery.get("name", ""),
        channel=delivery.get("channel", "web"),
    )


def _picture(value: Mapping[str, Any]) -> Picture:
    fields = {"parent" if k == "from" else k: v for k, v in value.items()}
    how = fields.setdefault("how", "img2img")
    fields.setdefault("prompt", "")
    fields.setdefault("strength", STRENGTHS.get(how, 0.6))
    if how in {"inpaint", "clean", "swap"}:
        fields.setdefault("mask", WHOLE_MASK)
    if "seed" in fields:
        fields["seed"] = int(fields["seed"])
    return Picture(**fields)


def _value(found: Any) -> tuple[str, str]:
    if isinstance(found, str):
        return found, found.replace("-", " ")
    return found["name"], found["text"]


def _format(found: Any) -> Format:
    value: dict[str, Any] = {"size": found} if isinstance(found, str) else dict(found)
    size = value.pop("size")
    across, down = proportion(size)
    given = value.pop("width", None)
    width, height = (across, down) if "x" in size else _sides(across, down, given)
    value.setdefault("name", size.replace(":", "x"))
    value["anchor"] = tuple(value.get("anchor", (0.5, 0.5)))
    return Format(width=width, height=height, **value | {"of": tuple(value.get("of", ()))})


def _sides(across: int, down: int, width: int | None) -> tuple[int, int]:
    """Return the sides of a proportion: of a width, else with `SHORT_SIDE`."""
    if not across or not down:
        return 0, 0
    if width is None:
        width = SHORT_SIDE if across <= down else round(SHORT_SIDE * across / down)
    return width, round(width * down / across)


def _file(value: Mapping[str, Any]) -> FileKind:
    dpi = value.get("dpi")
    name = value["format"] if dpi is None else f"{value['format']}-{dpi:g}".replace(".", "-")
    return FileKind(**{"name": name, **value})


Where = Sequence[str | int]


def _problems(brief: Brief) -> Iterator[tuple[Where, str]]:
    """Yield what no schema can see, with its place in the document."""
    yield from _doubled(brief)
    yield from _unknown_pictures(brief)
    for number, one in enumerate(brief.variants):
        yield from (((("variants", number, part)), why) for part, why in _shapeless(one))
    for number, wanted in enumerate(brief.formats):
        if not (1 <= wanted.width <= MAX_SIDE and 1 <= wanted.height <= MAX_SIDE):
            yield ("formats", number), f"{wanted.width}x{wanted.height} is not a size"
    for number, kind in enumerate(brief.files):
        if kind.format == "webp" and kind.dpi is not None:
            yield ("files", number, "dpi"), "webp has no place for a resolution"
        if kind.quality is not None and kind.format not in {"jpeg", "webp"}:
            yield ("files", number, "quality"), f"{kind.format} has no quality"
    yield from _unknown_places(brief)


def _unknown_pictures(brief: Brief) -> Iterator[tuple[Where, str]]:
    known = {MASTER}
    for number, one in enumerate(brief.variants):
        if one.parent not in known:
            why = f"{one.parent!r} is not master or a variant that stands before"
            yield ("variants", number, "from"), why
        known.add(one.name)
    for number, wanted in enumerate(brief.formats):
        for name in sorted(set(wanted.of) - known):
            yield ("formats", number, "of"), f"there is no picture {name!r}"


def _shapeless(picture: Picture) -> Iterator[tuple[str, str]]:
    mask = picture.mask
    if mask and not (mask["left"] < mask["right"] and mask["top"] < mask["bottom"]):
        yield "mask", "the mask is empty"
    if picture.size and 0 in proportion(picture.size):
        yield "size", f"{picture.size} is not a proportion"


def _doubled(brief: Brief) -> Iterator[tuple[Where, str]]:
    lists: Mapping[str, Sequence[str]] = {
        "variants": [MASTER, *(one.name for one in brief.variants)],
        "formats": [one.name for one in brief.formats],
        "files": [one.name for one in brief.files],
    }
    for part, names in lists.items():
        for name in sorted({name for name in names if names.count(name) > 1}):
            yield (part,), f"the name {name!r} stands for two things"
    for axis in brief.axes.keys() & NAMING:
        yield ("axes", axis), f"an axis cannot be called {axis!r}"


def _unknown_places(brief: Brief) -> Iterator[tuple[Where, str]]:
    texts: list[tuple[Where, str]] = [
        (("master", "prompt"), brief.master.prompt),
        (("master", "negative_prompt"), brief.master.negative_prompt),
    ]
    for number, one in enumerate(brief.variants):
        texts.append((("variants", number, "prompt"), one.prompt))
        texts.append((("variants", number, "negative_prompt"), one.negative_prompt))
    if brief.copy is not None:
        told = (brief.copy.product, brief.copy.audience, brief.copy.tone, *brief.copy.facts)
        texts += [(("copy",), text) for text in told]
    for where, text in texts:
        for name in sorted(places(text) - brief.axes.keys()):
            yield where, f"{{{name}}} is not an axis of this brief"
    for name in sorted(places(brief.naming) - brief.axes.keys() - NAMING):
        yield ("delivery", "name"), f"{{{name}}} is not an axis, nor one of {sorted(NAMING)}"
    if ".." in brief.naming or brief.naming.startswith("/"):
        yield ("delivery", "name"), "a file's name stays inside its folder"
