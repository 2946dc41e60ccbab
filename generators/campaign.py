"""Run a small campaign through the wrapper: a master picture, and variants made from it.

A brief (YAML) names prompts, seeds and LoRAs; every call is recorded, and each variant's record
names the master's output as its input. `python -m generators.campaign --home HOME BRIEF`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from generators.demo_model import BASE, lora_file
from registry.errors import InputError

if TYPE_CHECKING:
    from generators.studio import Request
    from registry.core.answers import Receipt
    from registry.sdk import Registry

DEMO_BRIEF = Path(__file__).parent / "briefs" / "demo.yaml"
Progress = Callable[[str, "Receipt"], None]
"""Called with a picture's name and its receipt, as soon as it is recorded."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture of a brief; `strength` (0 to 1) only counts for variants."""

    name: str
    prompt: str
    seed: int
    negative_prompt: str = ""
    strength: float = 0.6
    loras: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Brief:
    """A campaign: its name, one master, the variants made from it, and how they are sampled."""

    name: str
    master: Shot
    variants: tuple[Shot, ...]
    steps: int = 20
    guidance_scale: float = 3.0


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a brief became: a receipt for each picture, by its name, the master's first."""

    name: str
    receipts: Mapping[str, Receipt]


def load_brief(path: Path) -> Brief:
    """Read a brief; raises InputError (`brief.invalid`) naming what is wrong with it."""
    try:
        document = yaml.safe_load(path.read_text("utf-8"))
        master = Shot(name="master", **document.pop("master"))
        variants = tuple(Shot(**shot) for shot in document.pop("variants"))
        return Brief(master=master, variants=variants, **document)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="brief.invalid") from error
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is not a campaign brief: {error}",
            code="brief.invalid",
            hint="generators/briefs/demo.yaml is an example",
        ) from error


def run_campaign(registry: Registry, brief: Brief, progress: Progress | None = None) -> Campaign:
    """Generate and record every picture of a brief with the demo model."""
    from generators.studio import shoot

    receipts: dict[str, Receipt] = {}
    master = ""
    for shot in (brief.master, *brief.variants):
        receipt = shoot(registry, _request(brief, shot, master), campaign=brief.name)
        master = master or receipt.assets[0]
        receipts[shot.name] = receipt
        if progress is not None:
            progress(shot.name, receipt)
    return Campaign(brief.name, receipts)


def _request(brief: Brief, shot: Shot, master: str) -> Request:
    from generators.studio import Request

    return Request(
        prompt=shot.prompt,
        negative_prompt=shot.negative_prompt,
        seed=shot.seed,
        loras=shot.loras,
        image=master or None,
        strength=shot.strength,
        steps=brief.steps,
        guidance_scale=brief.guidance_scale,
    )


def main(arguments: list[str] | None = None) -> int:
    """Run a brief against a registry home from the command line."""
    from generators.environment import prepare
    from registry.factory import open_home

    parser = argparse.ArgumentParser(description="Run a campaign brief through the wrapper.")
    parser.add_argument("--home", required=True, help="the registry's folder")
    parser.add_argument("brief", nargs="?", type=Path, default=DEMO_BRIEF)
    options = parser.parse_args(arguments)
    prepare()
    with open_home(options.home) as registry:
        declare_demo_models(registry)
        run_campaign(registry, load_brief(options.brief), _say)
    return 0


def declare_demo_models(registry: Registry) -> None:
    """Put the demo model and its LoRAs on the log, with their licence, approved."""
    from generators.demo_model import STYLES

    registry.register_model(
        BASE, name="demo-scenes", kind="model", licence="Apache-2.0", approved=True
    )
    for style in STYLES:
        registry.register_model(
            lora_file(style), name=style, kind="lora", licence="Apache-2.0", approved=True
        )


def _say(name: str, receipt: Receipt) -> None:
    sys.stdout.write(f"{name}: {receipt.assets[0]} (index {receipt.index})\n")


if __name__ == "__main__":
    sys.exit(main())
