"""Train the upscaler: `python -m generators.demo_model.upscaler --out FILE`.

Learns from scenes drawn at twice the model's side what Lanczos loses when they are halved; a share
of the halved ones goes through the autoencoder, so that its blur is what is learnt as well.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment, upscale
from generators.demo_model import BASE, UPSCALER, scenes, training
from generators.demo_model.params import UpscalerParams, load_upscaler

if TYPE_CHECKING:
    import torch

STYLES: tuple[scenes.Style, ...] = ("plain", "plain", "brand", "noir")
"""The style of each scene, in turn."""


def main(argv: list[str] | None = None) -> None:
    """Run the stage from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--base", type=Path, default=BASE)
    parser.add_argument("--out", type=Path, default=UPSCALER)
    options = parser.parse_args(argv)
    environment.prepare()
    train(load_upscaler(options.params), options.base, options.out)


def train(params: UpscalerParams, base: Path, out: Path) -> None:
    """Train the network and write it in half precision. Sets the process's torch determinism."""
    import torch
    from safetensors.torch import save_file

    training.deterministic_runtime(params.seed)
    low, plain, high = lessons(params, base)
    network = untrained(params)
    weights = list(network.values())
    optimizer = torch.optim.Adam(weights, params.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, params.rate, total_steps=params.steps, pct_start=0.1
    )
    random_source = torch.Generator().manual_seed(params.seed)
    progress = training.Progress("upscaler")
    for _ in range(params.steps):
        at = torch.randint(0, len(low), (params.batch,), generator=random_source)
        answer = plain[at].float() / 255 + upscale.detail(network, low[at].float() / 255)
        loss = (answer - high[at].float() / 255).abs().mean()
        training.step(loss, weights, optimizer, schedule)
        progress.report(loss.item())
    halves = {name: tensor.detach().half().contiguous() for name, tensor in network.items()}
    save_file(dict(sorted(halves.items())), out)


def untrained(params: UpscalerParams) -> dict[str, torch.Tensor]:
    """Return a network that adds nothing yet: its last layer is zero."""
    import torch

    width = params.channels
    shapes = {"head": (width, 3)}
    for number in range(params.blocks):
        shapes |= {f"block.{number}.{half}": (width, width) for half in (0, 1)}
    network = {}
    for name, (wide, deep) in shapes.items():
        weight = torch.nn.init.kaiming_normal_(torch.empty(wide, deep, 3, 3), nonlinearity="relu")
        # A block's second layer starts small, so that deep networks start near the identity.
        network[f"{name}.weight"] = weight * (0.1 if name.endswith(".1") else 1.0)
        network[f"{name}.bias"] = torch.zeros(wide)
    last = 3 * upscale.STEP**2
    network |= {"tail.weight": torch.zeros(last, width, 3, 3), "tail.bias": torch.zeros(last)}
    return {name: tensor.requires_grad_() for name, tensor in network.items()}


def lessons(params: UpscalerParams, base: Path) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return uint8 pictures: halved (n, 3, side, side), those by Lanczos, and the whole ones."""
    import torch

    rng = random.Random(params.seed)  # noqa: S311 (data, not secrets)
    side = params.side
    whole = [
        scenes.render(scenes.sample(rng), upscale.STEP * side, STYLES[number % len(STYLES)])
        for number in range(params.scenes)
    ]
    low = training.pictures_to_bytes(picture.resize((side, side)) for picture in whole)
    through = int(params.scenes * params.rebuilt_share)
    low = torch.cat([_rebuilt(low[:through], base), low[through:]])
    plain = training.pictures_to_bytes(
        upscale.enlarge(picture, upscale.STEP) for picture in _pictures(low)
    )
    return low, plain, training.pictures_to_bytes(whole)


def _rebuilt(pixels: torch.Tensor, base: Path) -> torch.Tensor:
    """Send uint8 pictures through the demo model's autoencoder."""
    import torch
    from diffusers import AutoencoderKL

    if not len(pixels):
        return pixels
    vae = AutoencoderKL.from_pretrained(base / "vae", local_files_only=True, dtype=torch.float32)
    latents = training.latents_of(vae, pixels)
    with torch.no_grad():
        parts = [vae.decode(chunk).sample for chunk in torch.split(latents, 64)]
    found: torch.Tensor = ((torch.cat(parts) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return found


def _pictures(pixels: torch.Tensor) -> list[Any]:
    from PIL import Image

    return [Image.fromarray(one) for one in pixels.permute(0, 2, 3, 1).numpy()]


if __name__ == "__main__":
    main()
