"""Enlarge a picture: by a small super-resolution network where its weights are given, else Lanczos.

    larger = recorded_callable(enlarge, registry, inputs={"weights": "model"})
    picture = larger(small, weights=UPSCALER)

One file with all that decides the result, because a record keeps the file that a function is in.
Imports torch only for weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from registry.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch
    from PIL.Image import Image

MAX_FACTOR = 8
MAX_PIXELS = 2**26
"""Most pixels of a result: 8192 x 8192."""
STEP = 2
"""What the network enlarges by at once."""
STRIPE = 256
"""Rows that the network sees at once, so that a large picture does not need memory to match."""

_DAMAGED = (OSError, ValueError, RuntimeError, KeyError)


def enlarge(picture: Image, factor: int = 2, weights: str | Path | None = None) -> Image:
    """Return `picture` with both sides times `factor` (1 to 8).

    With `weights`, a safetensors file as `demo_model.upscaler` trains it, the network adds to
    Lanczos what that blurs; the factor is a power of two then. An alpha channel is enlarged by
    Lanczos. Takes pictures of any mode of 8 bits and gives RGB, RGBA or L.

    Raises InputError (`upscale.factor`, `upscale.size`, `model.unusable`).
    """
    _check(picture, factor, learnt=weights is not None)
    network = None if weights is None else load(Path(weights))
    colours, alpha = _split(picture)
    if network is None:
        large = _lanczos(colours, factor)
    else:
        large = colours.convert("RGB")
        for _ in range(factor.bit_length() - 1):
            large = _enlarge_once(large, network)
        large = large.convert(colours.mode)
    if alpha is not None:
        large.putalpha(_lanczos(alpha, factor))
    return large


def load(file: Path) -> dict[str, torch.Tensor]:
    """Read the network's tensors, as float32 by name; InputError (`model.unusable`) else."""
    from safetensors import SafetensorError
    from safetensors.torch import load as read

    try:
        found = {name: tensor.float() for name, tensor in read(file.read_bytes()).items()}
        _check_layers(found)
    except (*_DAMAGED, SafetensorError) as error:
        raise InputError(
            f"{file} holds no upscaler: {str(error).splitlines()[0] if str(error) else 'empty'}",
            code="model.unusable",
            hint="give the safetensors file that `generators.demo_model.upscaler` writes",
        ) from error
    return found


def detail(network: Mapping[str, torch.Tensor], low: torch.Tensor) -> torch.Tensor:
    """Return what Lanczos lacks: (n, 3, h, w) in [0, 1] to (n, 3, 2h, 2w), about 0.

    Residual blocks after a first layer, then sub-pixel convolution (EDSR, Lim et al. 2017, without
    its width). `network` maps `head`, `block.<n>.0`, `block.<n>.1` and `tail`, each with
    `.weight` and `.bias`, to tensors.
    """
    from torch.nn import functional

    def layer(name: str, at: torch.Tensor) -> torch.Tensor:
        return functional.conv2d(at, network[f"{name}.weight"], network[f"{name}.bias"], padding=1)

    seen = layer("head", low - 0.5)
    for number in range(blocks(network)):
        seen = seen + layer(f"block.{number}.1", layer(f"block.{number}.0", seen).relu())
    return functional.pixel_shuffle(layer("tail", seen), STEP)


def blocks(network: Mapping[str, Any]) -> int:
    """Return how many residual blocks a network has."""
    return sum(name.startswith("block.") and name.endswith(".0.weight") for name in network)


def _check(picture: Image, factor: int, *, learnt: bool) -> None:
    whole = isinstance(factor, int) and not isinstance(factor, bool)
    if not whole or not 1 <= factor <= MAX_FACTOR or (learnt and factor & (factor - 1)):
        raise InputError(
            f"a picture cannot be enlarged by {factor!r}",
            code="upscale.factor",
            hint=f"1, 2, 4 or 8 with weights; any whole number to {MAX_FACTOR} without",
        )
    if picture.width * picture.height * factor**2 > MAX_PIXELS:
        raise InputError(
            f"{picture.width} x {picture.height} times {factor} is over {MAX_PIXELS} pixels",
            code="upscale.size",
        )


def _check_layers(network: Mapping[str, torch.Tensor]) -> None:
    """Raise ValueError unless the tensors are those of one network."""
    import torch

    width = network["head.weight"].shape[0]
    shapes = {"head": (width, 3), "tail": (3 * STEP**2, width)}
    for number in range(blocks(network)):
        shapes |= {f"block.{number}.{half}": (width, width) for half in (0, 1)}
    wanted: dict[str, tuple[int, ...]] = {}
    for name, (wide, deep) in shapes.items():
        wanted |= {f"{name}.weight": (wide, deep, 3, 3), f"{name}.bias": (wide,)}
    if {name: tuple(tensor.shape) for name, tensor in network.items()} != wanted:
        raise ValueError("its layers do not fit together")
    if not all(torch.isfinite(tensor).all() for tensor in network.values()):
        raise ValueError("some of its numbers are not finite")


def _split(picture: Image) -> tuple[Image, Image | None]:
    """Return the picture in RGB or L, and its alpha channel, if it has one."""
    if "A" in picture.getbands() or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        return whole.convert("RGB"), whole.getchannel("A")
    return (picture if picture.mode in {"L", "RGB"} else picture.convert("RGB")), None


def _lanczos(picture: Image, factor: int) -> Image:
    from PIL.Image import Resampling

    return picture.resize((picture.width * factor, picture.height * factor), Resampling.LANCZOS)


def _enlarge_once(picture: Image, network: Mapping[str, torch.Tensor]) -> Image:
    """Enlarge an RGB picture by `STEP`, stripe by stripe; each sees its neighbours' rows."""
    import numpy as np
    import torch
    from PIL import Image

    low = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    plain = np.asarray(_lanczos(picture, STEP)).astype(np.float32)
    reach = 2 * blocks(network) + 2  # rows beyond which a pixel has no influence
    parts = []
    for top in range(0, picture.height, STRIPE):
        first, last = max(0, top - reach), min(picture.height, top + STRIPE + reach)
        with torch.no_grad():
            found = detail(network, low[:, :, first:last])[0]
        rows = min(STRIPE, picture.height - top) * STEP
        parts.append(found[:, (top - first) * STEP :][:, :rows])
    added = torch.cat(parts, dim=1).permute(1, 2, 0).numpy() * 255
    return Image.fromarray((plain + added).round().clip(0, 255).astype(np.uint8))
