"""Train the base model from nothing: `python -m generators.demo_model.train --out FOLDER`.

Step-based and seeded, so that `dvc repro` remakes it. Writes a fp16 pipeline folder.
"""

from __future__ import annotations

import argparse
import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.demo_model import architecture, scenes, training
from generators.demo_model.params import BaseParams, load_base

if TYPE_CHECKING:
    import torch

# Words that prompts of later tasks use and that no caption has: they get tokens of their own.
TASK_WORDS = (
    "a photo of a product in brand style",
    "inpaint expand remove object clean background",
    "line art poster halftone noir grain",
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Captions and their uint8 pictures (n, 3, side, side), plain and in the brand style."""

    captions: list[str]
    plain: torch.Tensor
    styled: torch.Tensor


def main(argv: list[str] | None = None) -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args(argv)
    environment.prepare()
    pipe = train(load_base(options.params))
    save(pipe, options.out)


def train(params: BaseParams) -> Any:
    """Train all parts and return the pipeline in fp32. Sets the process's torch determinism."""
    import torch

    training.deterministic_runtime(params.seed)
    random_source = torch.Generator().manual_seed(params.seed)
    corpus = draw_corpus(params)
    words = architecture.tokenizer([*corpus.captions, *TASK_WORDS * 50], params)
    text = architecture.text_encoder(words, params)
    vae = architecture.autoencoder(params)
    denoiser = architecture.unet(params)
    train_autoencoder(vae, corpus, params, random_source)
    latents = scale_latents(vae, corpus)
    ids = training.token_ids(words, corpus.captions)
    blank = training.token_ids(words, [""])[0]
    noising = training.Noising(latents, architecture.scheduler(), params.unet_batch, random_source)
    train_denoiser(denoiser, text, noising, (ids, blank), params)
    return architecture.pipeline(words, text, vae, denoiser)


def save(pipe: Any, folder: Path) -> None:
    """Write the pipeline as fp16 safetensors."""
    import torch

    pipe.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def draw_corpus(params: BaseParams) -> Corpus:
    """Render the scenes; the first `styled_share` of them in the brand style as well."""
    rng = random.Random(params.seed)  # noqa: S311 (data, not secrets)
    drawn = [scenes.sample(rng) for _ in range(params.scenes)]
    styled = drawn[: int(params.scenes * params.styled_share)]
    return Corpus(
        captions=[scene.caption for scene in drawn],
        plain=training.pictures_to_bytes(scenes.render(s, params.side) for s in drawn),
        styled=training.pictures_to_bytes(scenes.render(s, params.side, "brand") for s in styled),
    )


def train_autoencoder(
    vae: Any, corpus: Corpus, params: BaseParams, random_source: torch.Generator
) -> None:
    """Fit the autoencoder to pixels and edges, with a whisper of KL; freeze it."""
    import torch

    weights = list(vae.parameters())
    optimizer = torch.optim.AdamW(weights, params.vae_rate, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.vae_rate, total_steps=params.vae_steps, pct_start=0.08
    )
    progress = training.Progress("autoencoder")
    for _ in range(params.vae_steps):
        pixels = training.to_unit_range(_mixed_batch(corpus, params.vae_batch, random_source))
        latent = vae.encode(pixels).latent_dist
        rebuilt = vae.decode(latent.sample(generator=random_source)).sample
        level = (rebuilt - pixels).abs().mean()
        loss = level + 0.5 * _edge_error(rebuilt, pixels) + 1e-6 * latent.kl().mean()
        training.step(loss, weights, optimizer, schedule)
        progress.report(level.item())
    vae.eval().requires_grad_(False)


def _mixed_batch(
    corpus: Corpus, sizes: tuple[int, int], random_source: torch.Generator
) -> torch.Tensor:
    import torch

    parts = [
        pictures[torch.randint(0, len(pictures), (size,), generator=random_source)]
        for pictures, size in zip((corpus.plain, corpus.styled), sizes, strict=True)
    ]
    return torch.cat(parts)


def _edge_error(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Mean difference of the two pictures' gradients: keeps outlines sharp."""
    across = (one.diff(dim=-1) - other.diff(dim=-1)).abs().mean()
    down = (one.diff(dim=-2) - other.diff(dim=-2)).abs().mean()
    return across + down


def scale_latents(vae: Any, corpus: Corpus) -> torch.Tensor:
    """Encode the plain pictures to unit variance and tell the autoencoder the factor."""
    import torch

    latents = training.latents_of(vae, corpus.plain)
    factor = 1 / latents.std().item()
    vae.register_to_config(scaling_factor=factor)
    with torch.no_grad():
        original = training.to_unit_range(corpus.plain[:64])
        error = (vae.decode(latents[:64]).sample.clamp(-1, 1) - original) / 2
    print(f"autoencoder: {-10 * math.log10(error.square().mean().item()):.1f} dB", flush=True)
    return (latents * factor).contiguous(memory_format=torch.channels_last)


def train_denoiser(
    denoiser: Any,
    text: Any,
    noising: training.Noising,
    tokens: tuple[torch.Tensor, torch.Tensor],
    params: BaseParams,
) -> None:
    """Train UNet and text encoder together; leave the running average of their weights.

    `tokens` holds the captions' ids (n, tokens) and the ids of the empty prompt (tokens,).
    """
    import torch

    captions, blank = tokens
    weights = [*denoiser.parameters(), *text.parameters()]
    averages = [weight.detach().clone() for weight in weights]
    optimizer = torch.optim.AdamW(weights, params.unet_rate, betas=(0.9, 0.98), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _warm_cosine(params.unet_steps))
    progress = training.Progress("denoiser")
    denoiser.train()
    text.train()
    for count in range(params.unet_steps):
        index, noised, times, target = noising.draw()
        ids = captions[index].clone()
        ids[noising.dropped(params.caption_dropout)] = blank
        answer = denoiser(noised, times, text(ids)[0]).sample
        loss = torch.nn.functional.mse_loss(answer, target)
        training.step(loss, weights, optimizer, schedule)
        decay = min(0.997, (1 + count) / (10 + count))
        torch._foreach_lerp_(averages, [weight.detach() for weight in weights], 1 - decay)
        progress.report(loss.item())
    with torch.no_grad():
        for weight, average in zip(weights, averages, strict=True):
            weight.copy_(average)


def _warm_cosine(steps: int) -> Any:
    """Return the schedule: 100 steps of warm-up, half a cosine down to 3% of the peak rate."""

    def factor(count: int) -> float:
        warm = min(1.0, (count + 1) / 100)
        return warm * (0.485 * (1 + math.cos(math.pi * count / steps)) + 0.03)

    return factor


if __name__ == "__main__":
    main()
