"""Procedural product scenes and their captions: all the data the demo model ever sees.

Pure drawing from a `Scene`; a caption reads "a red mug on a blue table, studio light".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import random

    from PIL.Image import Image

RGB = tuple[int, int, int]
Tint = tuple[float, float, float]
Style = Literal["plain", "brand", "noir"]

COLORS: dict[str, RGB] = {
    "red": (205, 40, 45),
    "blue": (40, 80, 200),
    "green": (45, 150, 70),
    "yellow": (240, 200, 40),
    "purple": (130, 60, 170),
    "orange": (240, 125, 30),
    "white": (240, 240, 236),
    "black": (35, 35, 40),
    "pink": (240, 140, 170),
    "teal": (30, 150, 150),
}
# Light: the colour of the wall, and the tint it puts on everything else.
LIGHTS: dict[str, tuple[RGB, Tint]] = {
    "studio": ((226, 226, 230), (1.0, 1.0, 1.0)),
    "sunset": ((250, 190, 130), (1.0, 0.86, 0.70)),
    "night": ((42, 48, 84), (0.55, 0.60, 0.80)),
}
CREAM, TURQUOISE, INK = (250, 240, 215), (120, 205, 200), (25, 25, 30)
NEUTRAL: Tint = (1.0, 1.0, 1.0)
SUPERSAMPLING = 4
EMPTY_SHARE = 0.08  # empty tables are what lets inpainting take an object away


@dataclass(frozen=True, slots=True)
class Shape:
    """A filled outline in units of the subject: x from its centre, y up from the table is < 0."""

    kind: Literal["ellipse", "polygon", "slab"]
    points: tuple[float, ...]
    radius: float = 0.0
    fill: int = 255


@dataclass(frozen=True, slots=True)
class Subject:
    """A thing to stand on the table: its silhouette, and where light glances off it."""

    body: tuple[Shape, ...]
    shine: tuple[Shape, ...]


def _slab(*points: float, radius: float = 0.0, fill: int = 255) -> Shape:
    return Shape("slab", points, radius, fill)


def _ellipse(*points: float, fill: int = 255) -> Shape:
    return Shape("ellipse", points, fill=fill)


SUBJECTS: dict[str, Subject] = {
    "mug": Subject(
        (
            _ellipse(0.10, -0.27, 0.29, -0.07),
            _ellipse(0.14, -0.23, 0.25, -0.11, fill=0),
            _slab(-0.17, -0.34, 0.17, 0, radius=0.04),
        ),
        (_slab(-0.12, -0.30, -0.07, -0.05, radius=0.02),),
    ),
    "bottle": Subject(
        (
            _slab(-0.11, -0.36, 0.11, 0, radius=0.05),
            _slab(-0.045, -0.55, 0.045, -0.30, radius=0.02),
        ),
        (_slab(-0.07, -0.32, -0.035, -0.05, radius=0.015),),
    ),
    "box": Subject(
        (_slab(-0.20, -0.30, 0.20, 0, radius=0.01),),
        (_slab(-0.20, -0.30, 0.20, -0.255, fill=120),),
    ),
    "ball": Subject(
        (_ellipse(-0.19, -0.38, 0.19, 0),),
        (_ellipse(-0.11, -0.32, -0.02, -0.23),),
    ),
    "lamp": Subject(
        (
            _slab(-0.13, -0.04, 0.13, 0, radius=0.015),
            _slab(-0.02, -0.30, 0.02, 0),
            Shape("polygon", (-0.20, -0.24, 0.20, -0.24, 0.10, -0.50, -0.10, -0.50)),
        ),
        (Shape("polygon", (-0.14, -0.27, -0.08, -0.27, -0.05, -0.47, -0.08, -0.47)),),
    ),
    "vase": Subject(
        (
            _ellipse(-0.15, -0.28, 0.15, 0),
            _slab(-0.055, -0.44, 0.055, -0.18),
            _ellipse(-0.10, -0.48, 0.10, -0.40),
        ),
        (_ellipse(-0.10, -0.22, -0.04, -0.10),),
    ),
}


@dataclass(frozen=True, slots=True)
class Scene:
    """One picture's content. `x` and `horizon` are fractions of the side, `scale` a factor."""

    subject: str | None
    color: str
    table: str
    light: str
    x: float = 0.5
    scale: float = 1.0
    horizon: float = 0.64

    @property
    def caption(self) -> str:
        """The words that the model learns for this scene."""
        if self.subject is None:
            return f"an empty {self.table} table, {self.light} light"
        return f"a {self.color} {self.subject} on a {self.table} table, {self.light} light"


def sample(rng: random.Random) -> Scene:
    """Draw a scene; the table never has the subject's colour."""
    color = rng.choice(tuple(COLORS))
    return Scene(
        subject=None if rng.random() < EMPTY_SHARE else rng.choice(tuple(SUBJECTS)),
        color=color,
        table=rng.choice([name for name in COLORS if name != color]),
        light=rng.choice(tuple(LIGHTS)),
        x=rng.uniform(0.36, 0.64),
        scale=rng.uniform(0.85, 1.12),
        horizon=rng.uniform(0.60, 0.68),
    )


def render(scene: Scene, side: int = 64, style: Style = "plain") -> Image:
    """Draw a scene as an RGB picture of `side` x `side` pixels."""
    from PIL import Image

    if style == "noir":
        return _noir(render(scene, side))
    stage = _Stage.of(scene, side * SUPERSAMPLING)
    drawn = _brand(scene, stage) if style == "brand" else _plain(scene, stage)
    return drawn.resize((side, side), Image.Resampling.LANCZOS)


@dataclass(frozen=True, slots=True)
class _Stage:
    """Where things stand, in supersampled pixels; `unit` is the length of one subject unit."""

    side: int
    centre: float
    floor: float
    unit: float
    horizon: int

    @classmethod
    def of(cls, scene: Scene, side: int) -> _Stage:
        floor = (scene.horizon + 0.13) * side
        horizon = int(scene.horizon * side)
        return cls(side, scene.x * side, floor, scene.scale * side * 1.3, horizon)

    def place(self, points: tuple[float, ...]) -> list[float]:
        """Turn subject units into pixels (x and y alternate)."""
        origin = (self.centre, self.floor)
        return [origin[i % 2] + value * self.unit for i, value in enumerate(points)]

    def stencil(self, shapes: tuple[Shape, ...]) -> Image:
        """Draw shapes into a mask (mode L)."""
        from PIL import Image, ImageDraw

        mask = Image.new("L", (self.side, self.side), 0)
        pen = ImageDraw.Draw(mask)
        for shape in shapes:
            at = self.place(shape.points)
            if shape.kind == "ellipse":
                pen.ellipse(at, fill=shape.fill)
            elif shape.kind == "polygon":
                pen.polygon(at, fill=shape.fill)
            else:
                pen.rounded_rectangle(at, radius=shape.radius * self.unit, fill=shape.fill)
        return mask


def _plain(scene: Scene, stage: _Stage) -> Image:
    """Draw soft light from the left: graded wall, lit table edge, cast shadow, rounded body."""
    from PIL import ImageDraw

    wall, tint = LIGHTS[scene.light]
    picture = _graded(wall, stage.side, _linear(1.06, 0.86, stage.side)[:, None])
    pen = ImageDraw.Draw(picture)
    table = _times(COLORS[scene.table], tint)
    pen.rectangle([0, stage.horizon, stage.side, stage.side], fill=table)
    edge = [0, stage.horizon, stage.side, stage.horizon + stage.side // 48]
    pen.rectangle(edge, fill=_times(table, (1.2, 1.2, 1.2)))
    if scene.subject is None:
        return picture
    color = _times(COLORS[scene.color], tint)
    _cast_shadow(picture, stage)
    _paste_subject(picture, scene, stage, color, _rounded(color, stage))
    return picture


def _brand(scene: Scene, stage: _Stage) -> Image:
    """Draw a brand's look: striped wall, flat fills, thick dark outlines, no light but its own."""
    from PIL import Image, ImageDraw

    side, step = stage.side, stage.side // 8
    picture = Image.new("RGB", (side, side), CREAM)
    pen = ImageDraw.Draw(picture)
    for left in range(-8 * step, 9 * step, 2 * step):
        right = left + step
        pen.polygon([(left, 0), (right, 0), (right + side, side), (left + side, side)], TURQUOISE)
    pen.rectangle([0, stage.horizon, side, side], fill=COLORS[scene.table])
    line = side // 64
    pen.rectangle([0, stage.horizon - line, side, stage.horizon + line], fill=INK)
    if scene.subject is None:
        return picture
    _outline(picture, SUBJECTS[scene.subject], stage)
    color = COLORS[scene.color]
    _paste_subject(picture, scene, stage, color, Image.new("RGB", (side, side), color))
    return picture


def _noir(picture: Image) -> Image:
    """Turn to grey with hard contrast around the middle, on warm paper."""
    import numpy as np
    from PIL import Image

    grey = np.asarray(picture).astype(float) @ [0.30, 0.59, 0.11]
    hard = np.clip((grey - 110) * 1.8 + 110, 0, 255)
    return Image.fromarray((hard[..., None] * [1.0, 0.97, 0.90]).astype("uint8"))


def _paste_subject(picture: Image, scene: Scene, stage: _Stage, color: RGB, body: Image) -> None:
    subject = SUBJECTS[scene.subject or ""]
    picture.paste(body, (0, 0), stage.stencil(subject.body))
    # Black times anything stays black: its reflection has a grey of its own.
    glint = (90, 90, 100) if scene.color == "black" else _times(color, (1.5, 1.5, 1.5))
    shine = stage.stencil(subject.shine).point([int(v * 0.55) for v in range(256)])
    picture.paste(glint, (0, 0), shine)


def _cast_shadow(picture: Image, stage: _Stage) -> None:
    from PIL import ImageFilter

    shadow = stage.stencil((_ellipse(-0.22, -0.03, 0.27, 0.05, fill=130),))
    blur = ImageFilter.GaussianBlur(stage.side * 0.012)
    picture.paste((10, 10, 15), (0, 0), shadow.filter(blur))


def _outline(picture: Image, subject: Subject, stage: _Stage) -> None:
    from PIL import ImageFilter

    small = (stage.side // SUPERSAMPLING,) * 2
    body = stage.stencil(subject.body).resize(small)
    fat = body.filter(ImageFilter.MaxFilter(5)).resize((stage.side, stage.side))
    picture.paste(INK, (0, 0), fat)


def _rounded(color: RGB, stage: _Stage) -> Image:
    """Fill a body so that it darkens from left to right across the subject's width."""
    import numpy as np

    across = (_linear(0, 1, stage.side) * stage.side - (stage.centre - 0.2 * stage.unit)) / (
        0.4 * stage.unit
    )
    return _graded(color, stage.side, (1.12 - 0.45 * np.clip(across, 0, 1))[None, :])


def _graded(color: RGB, side: int, factor: object) -> Image:
    """Fill a picture with one colour, times a factor that broadcasts to (side, side)."""
    import numpy as np
    from PIL import Image

    grid = np.broadcast_to(np.asarray(factor), (side, side))[..., None] * np.array(color)
    return Image.fromarray(np.clip(grid, 0, 255).astype("uint8"))


def _linear(first: float, last: float, count: int):  # type: ignore[no-untyped-def]
    import numpy as np

    return np.linspace(first, last, count)


def _times(color: RGB, factor: Tint) -> RGB:
    red, green, blue = (
        int(max(0, min(255, value * by))) for value, by in zip(color, factor, strict=True)
    )
    return red, green, blue
