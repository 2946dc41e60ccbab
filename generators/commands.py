"""Verbs that generators bring to the command line; light to import, heavy when they run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.options import Campaign, Home, Json, Project
from registry.errors import InputError


def generate(
    prompt: Annotated[str, typer.Argument(metavar="PROMPT", help="What the picture shows.")],
    home: Home = None,
    json: Json = False,
    project: Project = None,
    campaign: Campaign = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="A diffusers model; else the demo model."),
    ] = None,
    negative: Annotated[
        str, typer.Option("--negative", metavar="TEXT", help="What it must not show.")
    ] = "",
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="0 to 2^64-1; else a fresh one.")
    ] = None,
    lora: Annotated[
        list[str] | None,
        typer.Option("--lora", metavar="FILE[:SCALE]", help="A LoRA, or `brand`, `noir`."),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option("--image", metavar="ID", help="Start from this asset or file (img2img)."),
    ] = None,
    strength: Annotated[
        float, typer.Option("--strength", min=0.0, max=1.0, help="How far to leave --image.")
    ] = 0.6,
    steps: Annotated[int, typer.Option("--steps", min=1, max=1000, help="Sampling steps.")] = 20,
    guidance: Annotated[float, typer.Option("--guidance", help="Guidance scale.")] = 3.0,
    draft: Annotated[
        bool, typer.Option("--draft", help="It goes when nobody keeps it: see `genops drafts`.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the picture here.")
    ] = None,
) -> None:
    """Generate one picture through the wrapper and record it.

    The record holds model, LoRAs, seed, prompts and parameters; texts are sealed.

    For example:
    genops generate "a red mug on a blue table, studio light" --seed 7
    genops generate "a red mug on a teal table" --lora brand:0.8 --out mug.png
    genops generate "a red mug, sunset light" --image 3f2a9c41 --strength 0.7
    """
    from generators.environment import prepare
    from registry.cli.opening import opened_here
    from registry.cli.output import emit

    prepare()
    number = _seed(seed)
    with opened_here(home, "generate", to_sign=True) as registry:
        from generators.studio import Request, shoot

        loras = dict(_lora(text) for text in lora or ())
        request = Request(
            prompt=prompt,
            negative_prompt=negative,
            seed=number,
            model=model,
            loras=loras,
            image=image,
            strength=strength,
            steps=steps,
            guidance_scale=guidance,
        )
        receipt = shoot(registry, request, project=project, campaign=campaign, draft=draft, out=out)
    emit(receipt, _text, as_json=json)


def _seed(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(text, 10)
    except ValueError:
        raise InputError(
            f"seed {text!r} is not a whole number",
            code="input.seed",
            hint="give 0 to 18446744073709551615",
        ) from None


def _lora(text: str) -> tuple[str, float]:
    """Split FILE[:SCALE]; the scale is 1 where none is given."""
    name, _, scale = text.rpartition(":")
    if not name:
        return text, 1.0
    try:
        return name, float(scale)
    except ValueError:
        raise InputError(
            f"LoRA {text!r} is not FILE or FILE:SCALE", code="input.lora", hint="brand:0.8"
        ) from None


def _text(receipt: Any) -> str:
    return f"{receipt.assets[0]}\nrecord {receipt.record} at index {receipt.index}\n"
