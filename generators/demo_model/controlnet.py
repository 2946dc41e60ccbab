"""Train the ControlNet: `python -m generators.demo_model.controlnet --out FOLDER`.

Teaches a copy of the frozen model's encoder to follow outlines: where things stand and what shape
they have. What colour they are stays the prompt's.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.demo_model import BASE, CONTROLNET, scenes, training
from generators.demo_model.params import ControlParams, load_controlnet

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

EDGE = 20.0
"""Least difference of neighbours, in levels of a channel, that is an edge."""


def main(argv: list[str] | None = None) -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--out", type=Path, default=CONTROLNET)
    options = parser.parse_args(argv)
    environment.prepare()
    train(load_controlnet(options.params), options.base, options.out)


def outlines(picture: Image, side: int = 64) -> Image:
    """Return where colours change in a picture: white on black, RGB, `side` x `side` pixels.

    Taken at twice the side and halved, so that lines are thin and soft. They tell nothing of the
    colours on either hand.
    """
    import numpy as np
    from PIL import Image

    large = np.asarray(picture.convert("RGB").resize((2 * side, 2 * side))).astype(np.float32)
    across = np.abs(np.diff(large, axis=1, append=large[:, -1:])).max(axis=2)
    down = np.abs(np.diff(large, axis=0, append=large[-1:])).max(axis=2)
    lines = (np.maximum(across, down) > EDGE).astype(np.uint8) * 255
    return Image.fromarray(lines).resize((side, side), Image.Resampling.BOX).convert("RGB")


def train(params: ControlParams, base: Path, out: Path) -> None:
    """Train on outlines of drawn scenes and write the ControlNet in half precision.

    Sets the process's torch determinism.
    """
    import torch
    from diffusers import ControlNetModel, StableDiffusionPipeline

    training.deterministic_runtime(params.seed)
    pipe = StableDiffusionPipeline.from_pretrained(base, local_files_only=True, dtype=torch.float32)
    for part in (pipe.unet, pipe.vae, pipe.text_encoder):
        part.requires_grad_(False)
    control = ControlNetModel.from_unet(
        pipe.unet, conditioning_embedding_out_channels=params.channels
    )
    latents, lines, prompts, blank = _lessons(pipe, params)
    random_source = torch.Generator().manual_seed(params.seed)
    noising = training.Noising(latents, pipe.scheduler, params.batch, random_source)
    _fit((control, pipe.unet), noising, lines, (prompts, blank), params)
    control.eval().to(torch.float16).save_pretrained(out, safe_serialization=True)


def _lessons(
    pipe: Any, params: ControlParams
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return scaled latents, outlines in [0, 1], the captions' embeddings, and the empty one's."""
    import torch

    rng = random.Random(params.seed)  # noqa: S311 (data, not secrets)
    drawn = [scenes.sample(rng) for _ in range(params.scenes)]
    pictures = [scenes.render(scene, params.side) for scene in drawn]
    lines = training.pictures_to_bytes(outlines(picture, params.side) for picture in pictures)
    pixels = training.pictures_to_bytes(pictures)
    latents = training.latents_of(pipe.vae, pixels) * pipe.vae.config.scaling_factor
    with torch.no_grad():
        ids = training.token_ids(pipe.tokenizer, [scene.caption for scene in drawn])
        prompts = pipe.text_encoder(ids)[0]
        blank = pipe.text_encoder(training.token_ids(pipe.tokenizer, [""]))[0][0]
    return latents, lines, prompts, blank


def _fit(
    models: tuple[Any, Any],
    noising: training.Noising,
    lines: torch.Tensor,
    embeddings: tuple[torch.Tensor, torch.Tensor],
    params: ControlParams,
) -> None:
    import torch

    control, denoiser = models
    prompts, blank = embeddings
    weights = list(control.parameters())
    optimizer = torch.optim.AdamW(weights, params.rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.rate, total_steps=params.steps, pct_start=0.1
    )
    progress = training.Progress("controlnet")
    for model in (control, denoiser):
        model.to(memory_format=torch.channels_last)
    control.train()
    for _ in range(params.steps):
        index, noised, times, target = noising.draw()
        prompt = prompts[index].clone()
        prompt[noising.dropped(params.caption_dropout)] = blank
        down, middle = control(
            noised, times, prompt, controlnet_cond=lines[index].float() / 255, return_dict=False
        )
        answer = denoiser(
            noised,
            times,
            prompt,
            down_block_additional_residuals=down,
            mid_block_additional_residual=middle,
        ).sample
        loss = torch.nn.functional.mse_loss(answer, target)
        training.step(loss, weights, optimizer, schedule)
        progress.report(loss.item())


if __name__ == "__main__":
    main()
