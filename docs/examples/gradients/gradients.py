"""A generator in one file: gradients from a seed, recorded, and made again from the record."""

import platform
import random
import time
from typing import Annotated

import typer
from PIL import Image

from generators.encode import image_output
from registry import open_registry
from registry.core.generation import Generation, Sealed
from registry.errors import InputError

BUILD_TYPE = "https://gradients.example/build/gradient/v1"


def paint(title, seed, size):
    """Return one picture as an output; the same arguments always give the same bytes."""
    draw = random.Random(f"{title}/{seed}")  # noqa: S311 (nobody's secret hangs on it)
    colours = [tuple(draw.randrange(256) for _ in range(3)) for _ in range(size)]
    picture = Image.new("RGB", (size, size))
    picture.putdata([colours[(x + y) // 2] for y in range(size) for x in range(size)])
    return image_output(picture, seed=str(seed))


class Adapter:
    """What `genops reproduce` asks of a generator."""

    build_type = BUILD_TYPE

    def environment(self):
        """Return what decides the bits beside the arguments."""
        return {"python": platform.python_version()}

    def replay(self, job):
        """Make the recorded outputs again, with what the caller changes on purpose."""
        asked = job.statement["predicate"]["buildDefinition"]["externalParameters"]
        if unknown := job.overrides.keys() - asked.keys():
            raise InputError(f"gradients have no {', '.join(unknown)}", code="replay.override")
        asked = {**asked, **job.overrides}
        return [paint(asked["title"], int(asked["seed"]), int(asked["size"]))]


adapter = Adapter()


def gradient(title: str, seed: int = 7, size: int = 64, home: Annotated[str, typer.Option()] = ""):
    """Paint a gradient and record it."""
    start = time.time_ns() // 1_000_000
    chosen = {"title": Sealed(title), "seed": str(seed), "size": size}
    inner, out = {"environment": adapter.environment()}, [paint(title, seed, size)]
    end = time.time_ns() // 1_000_000
    who = "https://gradients.example/builder"
    with open_registry(home or None) as registry:
        made = registry.record(Generation(BUILD_TYPE, chosen, inner, (), out, start, end, who))
    typer.echo(made.assets[0])
