"""Campaigns: from a brief to approved masters, variants, formats, files and a signed delivery.

    outcome = run(registry, load_brief(path))

Everything is recorded, each thing with what it was made from. Light to import.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generators.campaign.brief import Brief, load_brief
from generators.demo_model import BASE, lora_file
from registry.errors import GenopsError

if TYPE_CHECKING:
    from generators.campaign.running import Standing
    from registry.core.answers import Receipt
    from registry.sdk import Registry

__all__ = [
    "DEMO_BRIEF",
    "Brief",
    "Campaign",
    "declare_demo_models",
    "load_brief",
    "run_campaign",
]

DEMO_BRIEF = Path(__file__).parents[1] / "briefs" / "demo.yaml"
Progress = Callable[[str, "Receipt"], None]
"""Called with a step's key and its receipt, as soon as it is recorded."""


@dataclass(frozen=True, slots=True)
class Campaign:
    """What a brief became: a receipt for each thing that was made, by its key.

    `master` is the take that was approved; the takes themselves are not listed apart.
    """

    name: str
    receipts: Mapping[str, Receipt]


def run_campaign(registry: Registry, brief: Brief, progress: Progress | None = None) -> Campaign:
    """Make and record everything that a brief asks for.

    Raises GenopsError (`campaign.incomplete`) naming the first step that failed or waits.
    """
    from generators.campaign.running import run

    def say(standing: Standing, _number: int, _all: int) -> None:
        if progress is not None and standing.made and standing.step.kind != "approval":
            assert standing.receipt is not None  # noqa: S101  # it was made
            progress(standing.step.key, standing.receipt)

    outcome = run(registry, brief, say)
    for key, standing in outcome.standings.items():
        if standing.state != "done":
            raise GenopsError(
                f"{key} of campaign {brief.name} is {standing.state}: {standing.why}",
                code="campaign.incomplete",
                hint="run it again when the cause is gone; what is made is kept",
            )
    receipts = {
        key: one.receipt
        for key, one in outcome.standings.items()
        if one.receipt is not None and one.step.kind != "master"
    }
    return Campaign(brief.name, receipts)


def declare_demo_models(registry: Registry) -> None:
    """Put the demo's models and LoRAs on the log, with their licence, approved."""
    from generators.demo_model import STYLES, UPSCALER
    from generators.text.model import WEIGHTS as WRITER

    declared = [(BASE, "demo-scenes", "model"), (UPSCALER, "demo-upscaler", "model")]
    declared += [(WRITER, "demo-writer", "model")]
    declared += [(lora_file(style), style, "lora") for style in STYLES]
    for source, name, kind in declared:
        if source.exists():
            registry.register_model(
                source, name=name, kind=kind, licence="Apache-2.0", approved=True
            )
