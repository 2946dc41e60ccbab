"""Functions for the tests of the callable adapter: importable, as a replay needs them."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from PIL import Image


def gradient(width: int, height: int = 8, seed: int = 0) -> Image.Image:
    """A picture that depends on its arguments alone."""
    image = Image.new("RGB", (width, height))
    draw = random.Random(seed)
    image.putdata([(draw.randrange(256), x % 256, 0) for x in range(width * height)])
    return image


def upscale(image: Image.Image, factor: int = 2) -> list[Image.Image]:
    """Two pictures from one."""
    large = image.resize((image.width * factor, image.height * factor))
    return [large, large.transpose(Image.Transpose.FLIP_LEFT_RIGHT)]


def caption(subject: str, words: list[str] | None = None) -> str:
    """A text."""
    return " ".join([subject, *(words or [])])


def stamp(path: Path, mark: bytes) -> bytes:
    """Bytes from a file and bytes."""
    return path.read_bytes() + mark


def unlucky() -> str:
    """A text by chance."""
    return str(random.random())


def nothing(value: Any = None) -> Any:
    """What cannot be recorded."""
    return value


class Studio:
    """A class with a function that a replay can reach."""

    @staticmethod
    def blank(color: str) -> Image.Image:
        """A blank picture."""
        return Image.new("RGB", (4, 4), color)
