"""What both trainings share: a deterministic runtime, pictures as tensors, one optimiser step.

Knows neither what is trained nor where the result goes.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import torch
    from PIL.Image import Image


def deterministic_runtime(seed: int) -> None:
    """One thread, deterministic kernels, a seeded global generator. Process-wide: for scripts."""
    import torch

    torch.manual_seed(seed)
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)


def pictures_to_bytes(pictures: Iterable[Image]) -> torch.Tensor:
    """Stack RGB pictures into uint8 (n, 3, side, side)."""
    import numpy as np
    import torch

    grid = np.stack([np.asarray(picture) for picture in pictures])
    return torch.from_numpy(grid).permute(0, 3, 1, 2)


def to_unit_range(pixels: torch.Tensor) -> torch.Tensor:
    """Turn uint8 into floats in [-1, 1], channels last (a third quicker on a CPU)."""
    import torch

    return (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)


def token_ids(words: Any, captions: Sequence[str]) -> torch.Tensor:
    """Tokenise and pad captions to (n, tokens)."""
    batch = words(list(captions), padding="max_length", truncation=True, return_tensors="pt")
    ids: torch.Tensor = batch.input_ids
    return ids


def latents_of(vae: Any, pixels: torch.Tensor, chunk: int = 64) -> torch.Tensor:
    """Encode uint8 pictures to unscaled latent means (n, 4, side', side')."""
    import torch

    with torch.no_grad():
        parts = [
            vae.encode(to_unit_range(pixels[at : at + chunk])).latent_dist.mean
            for at in range(0, len(pixels), chunk)
        ]
    return torch.cat(parts)


@dataclass(slots=True)
class Noising:
    """Draws noised latents and what a denoiser has to answer to them, as its scheduler says."""

    latents: torch.Tensor
    scheduler: Any
    batch: int
    random: torch.Generator

    def draw(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return (indices, noised latents, timesteps, target) of one batch."""
        import torch

        steps = self.scheduler.config.num_train_timesteps
        index = torch.randint(0, len(self.latents), (self.batch,), generator=self.random)
        clean = self.latents[index]
        noise = torch.randn(clean.shape, generator=self.random)
        times = torch.randint(0, steps, (self.batch,), generator=self.random)
        noised = self.scheduler.add_noise(clean, noise, times)
        target = self._target(clean, noise, times)
        return index, noised.contiguous(memory_format=torch.channels_last), times, target

    def _target(
        self, clean: torch.Tensor, noise: torch.Tensor, times: torch.Tensor
    ) -> torch.Tensor:
        """Return the noise, or the velocity of a denoiser that predicts that."""
        if self.scheduler.config.prediction_type == "epsilon":
            return noise
        velocity: torch.Tensor = self.scheduler.get_velocity(clean, noise, times)
        return velocity

    def dropped(self, share: float) -> torch.Tensor:
        """Return the mask (batch,) of captions to leave out, for classifier-free guidance."""
        import torch

        return torch.rand(self.batch, generator=self.random) < share


def step(loss: torch.Tensor, weights: list[Any], optimizer: Any, schedule: Any) -> None:
    """Follow the clipped gradient of `loss` once."""
    import torch

    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(weights, 1.0)
    optimizer.step()
    schedule.step()


@dataclass(slots=True)
class Progress:
    """Prints a smoothed loss every hundred steps."""

    name: str
    average: float | None = None
    count: int = 0
    started: float = field(default_factory=time.monotonic)

    def report(self, loss: float) -> None:
        """Count one step."""
        self.count += 1
        self.average = loss if self.average is None else 0.97 * self.average + 0.03 * loss
        if self.count % 100 == 0:
            each = (time.monotonic() - self.started) / self.count
            print(
                f"{self.name} {self.count}: loss {self.average:.4f}, {each:.3f} s/step", flush=True
            )
