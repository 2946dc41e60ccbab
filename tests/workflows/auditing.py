"""Functions whose calls the tests of audits record: importable, as a replay needs them."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

from PIL import Image


def paint(tone: str, seed: int = 0, sharpness: int = 0) -> Image.Image:
    """A picture by its seed; another instruction set moves a few pixels by one level."""
    draw = random.Random(f"{tone} {seed} {os.environ.get('TEST_OTHER_CODE', '')}")
    image = Image.new("RGB", (32, 32))
    image.putdata([(draw.randrange(250), n % 250, sharpness) for n in range(32 * 32)])
    if os.environ.get("ATEN_CPU_CAPABILITY"):
        red, green, blue = image.getpixel((3, 3))
        image.putpixel((3, 3), (red + 1, green, blue))
    return image


def pair(tone: str, seed: int = 0) -> list[Image.Image]:
    """Two pictures of one call."""
    return [paint(tone, seed), paint(tone, seed + 1)]


def render(weights: Path, tone: str, seed: int = 0, soft: bool = False) -> Image.Image:
    """A picture of a model; a `soft` one hardly depends on its seed."""
    made = paint(tone, 0 if soft else seed)
    made.putpixel((0, 0), (weights.stat().st_size % 250, seed % 250, 0))
    return made


def write(subject: str, seed: int = 0) -> str:
    """A text by its seed."""
    return f"A {subject}.\nNumber {random.Random(seed).randrange(1000)}.\n"


def fragile(tone: str, seed: int = 0) -> Image.Image:
    """A picture whose replay takes its process with it."""
    if os.environ.get("TEST_KILL"):
        os.kill(os.getpid(), signal.SIGKILL)
    return paint(tone, seed)
