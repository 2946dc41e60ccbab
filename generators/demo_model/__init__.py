"""The demo model: a tiny latent diffusion model of product scenes, and the code that remakes it.

Where the shipped weights lie. Imports neither torch nor diffusers.
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
BASE = WEIGHTS / "base"
UPSCALER = WEIGHTS / "upscaler.safetensors"
CONTROLNET = WEIGHTS / "controlnet"
STYLES = ("brand", "noir")


def lora_file(style: str) -> Path:
    """Return the LoRA file of one of `STYLES`."""
    return WEIGHTS / "lora" / f"{style}.safetensors"
