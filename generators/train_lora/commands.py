"""The verb `genops train-lora`; light to import, heavy when it runs."""

from pathlib import Path
from typing import Annotated, Any

import typer

from registry.cli.options import Campaign, Home, Json, Project


def train_lora(
    dataset: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="Pictures, each with a caption in a .txt.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="Where to write the LoRA (safetensors).")
    ],
    home: Home = None,
    json: Json = False,
    project: Project = None,
    campaign: Campaign = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", metavar="FOLDER", help="A diffusers model; else the demo model."),
    ] = None,
    caption: Annotated[
        str, typer.Option("--caption", metavar="TEXT", help="For pictures without one.")
    ] = "",
    seed: Annotated[
        str | None, typer.Option("--seed", metavar="N", help="0 to 2^64-1; else a fresh one.")
    ] = None,
    rank: Annotated[int, typer.Option("--rank", min=1, max=256, help="The LoRA's rank.")] = 8,
    steps: Annotated[int, typer.Option("--steps", min=1, help="Training steps.")] = 400,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures a step.")] = 8,
    rate: Annotated[float, typer.Option("--rate", help="Peak learning rate.")] = 0.002,
    caption_dropout: Annotated[
        float, typer.Option("--caption-dropout", help="Share of steps without a caption.")
    ] = 0.1,
    side: Annotated[
        int | None,
        typer.Option("--side", metavar="PIXELS", help="Side of the pictures; else the model's."),
    ] = None,
    layers: Annotated[
        str, typer.Option("--layers", metavar="all|attention", help="Which layers to adapt.")
    ] = "all",
    keep: Annotated[
        bool,
        typer.Option("--keep/--no-keep", help="Keep the pictures in the vault, to train again."),
    ] = True,
) -> None:
    """Train a LoRA on a folder of pictures and record it.

    The record names every picture, the model, settings, seed and environment; captions and file
    names are sealed. A taint on one picture reaches the LoRA and all that is made with it.

    For example:
    genops train-lora shoot-12 --out brand.safetensors
    genops train-lora shoot-12 --out brand.safetensors --steps 900 --seed 7
    genops generate "a red mug on a blue table" --lora brand.safetensors:0.8
    """
    from generators.environment import prepare
    from registry.cli.opening import opened_here
    from registry.cli.output import emit
    from registry.cli.progress import progress

    prepare()
    from generators.seeds import fresh_seed, parse_seed
    from generators.train_lora.dataset import read_dataset
    from generators.train_lora.recording import Whose, train_lora
    from generators.train_lora.settings import LoraSettings

    settings = LoraSettings(
        seed=fresh_seed() if seed is None else parse_seed(seed),
        rank=rank,
        steps=steps,
        batch=batch,
        rate=rate,
        caption_dropout=caption_dropout,
        side=side,
        layers=layers,  # type: ignore[arg-type]  # the settings refuse any other word
    )
    with opened_here(home, "train-lora", to_sign=True) as registry, progress() as line:
        receipt = train_lora(
            registry,
            read_dataset(dataset, caption=caption),
            out=out,
            model=model,
            settings=settings,
            keep=keep,
            whose=Whose(project=project, campaign=campaign),
            report=line("steps"),
        )
    emit(receipt, _text, as_json=json)


def _text(receipt: Any) -> str:
    return f"{receipt.assets[0]}\nrecord {receipt.record} at index {receipt.index}\n"
