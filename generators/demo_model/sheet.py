"""Draw what the demo model does: `python -m generators.demo_model.sheet --out FOLDER`.

One strip of labelled pictures for each operation, from fixed seeds: each page of documentation
shows what the shipped weights give. Records nothing.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment
from generators.demo_model import BASE, CONTROLNET, STYLES, UPSCALER, lora_file

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE = 64
CELL = 96
"""Side of a picture on a strip, pixels; a large one fills it pixel by pixel."""
MARGIN, LINE = 6, 14
QUALITY = 82
STEPS, GUIDANCE = 20, 3.0

Strip = list[tuple[str, Any]]
"""Pictures (PIL) with their labels, from left to right."""


@dataclass(slots=True)
class Easel:
    """The pipelines of the demo model, made once from the same parts."""

    _pipes: dict[str, Any] = field(default_factory=dict)

    def pipe(self, kind: str, **parts: Any) -> Any:
        """Return the pipeline of a class of diffusers."""
        import diffusers
        import torch

        if not self._pipes:
            base = diffusers.StableDiffusionPipeline.from_pretrained(
                BASE, local_files_only=True, dtype=torch.float32
            )
            for style in STYLES:
                base.load_lora_weights(lora_file(style), adapter_name=style)
            self._pipes["StableDiffusionPipeline"] = base
        if kind not in self._pipes:
            base = self._pipes["StableDiffusionPipeline"]
            self._pipes[kind] = getattr(diffusers, kind).from_pipe(base, **parts)
        found = self._pipes[kind]
        found.set_progress_bar_config(disable=True)
        return found

    def draw(
        self,
        prompt: str,
        seed: int,
        *,
        kind: str = "StableDiffusionPipeline",
        loras: Mapping[str, float] | None = None,
        **options: Any,
    ) -> Image:
        """Return one picture; `loras` maps styles to weights."""
        import torch

        pipe = self.pipe(kind)
        weights = dict.fromkeys(STYLES, 0.0) | dict(loras or {})
        pipe.set_adapters(list(weights), list(weights.values()))
        given = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE} | options
        generator = torch.Generator().manual_seed(seed)
        picture: Image = pipe(prompt, generator=generator, **given).images[0]
        return picture


def base(easel: Easel) -> Strip:
    """Prompts alone."""
    prompts = {
        "red mug": "a red mug on a blue table, studio light",
        "yellow vase": "a yellow vase on a teal table, studio light",
        "green lamp": "a green lamp on a white table, sunset light",
        "pink ball": "a pink ball on a purple table, night light",
        "orange box": "an orange box on a green table, studio light",
        "empty table": "an empty red table, sunset light",
    }
    return [(label, easel.draw(prompt, 7)) for label, prompt in prompts.items()]


def loras(easel: Easel) -> Strip:
    """One prompt and seed, two LoRAs at several weights."""
    weights: dict[str, dict[str, float]] = {
        "none": {},
        "brand 0.5": {"brand": 0.5},
        "brand 1": {"brand": 1.0},
        "noir 1": {"noir": 1.0},
        "brand .7 noir .3": {"brand": 0.7, "noir": 0.3},
        "brand .4 noir .6": {"brand": 0.4, "noir": 0.6},
    }
    prompt = "a red mug on a blue table, studio light"
    return [(label, easel.draw(prompt, 7, loras=chosen)) for label, chosen in weights.items()]


def img2img(easel: Easel) -> Strip:
    """From one picture, by how far it may be left."""
    source = easel.draw("a red mug on a blue table, studio light", 7)
    prompt = "a red mug on a blue table, sunset light"
    strip: Strip = [("source", source)]
    for strength in (0.3, 0.5, 0.7, 0.9):
        picture = easel.draw(
            prompt, 5, kind="StableDiffusionImg2ImgPipeline", image=source, strength=strength
        )
        strip.append((f"sunset, {strength}", picture))
    return strip


def inpaint(easel: Easel) -> Strip:
    """Another subject in the same scene; and none, which cleans the table."""
    from PIL import Image

    source = easel.draw("a red mug on a blue table, studio light", 7)
    mask = Image.new("L", (SIDE, SIDE), 0)
    mask.paste(255, (10, 6, 64, 62))
    strip: Strip = [("source", source), ("mask", mask)]
    for label, words in (
        ("swap: vase", "a yellow vase on a blue table, studio light"),
        ("swap: lamp", "a green lamp on a blue table, studio light"),
        ("cleaned", "an empty blue table, studio light"),
    ):
        strip.append((label, _inpainted(easel, source, mask, words)))
    return strip


def outpaint(easel: Easel) -> Strip:
    """More of the scene around a picture that filled the frame."""
    from PIL import Image

    prompt = "a yellow vase on a teal table, studio light"
    source = easel.draw(prompt, 7)
    inner = source.resize((44, 44), Image.Resampling.LANCZOS)
    canvas = source.resize((SIDE, SIDE)).copy()
    canvas.paste(inner, (10, 12))
    mask = Image.new("L", (SIDE, SIDE), 255)
    mask.paste(0, (11, 13, 53, 55))
    strip: Strip = [("source", source), ("placed", canvas), ("mask", mask)]
    for seed in (4, 6):
        strip.append((f"seed {seed}", _inpainted(easel, canvas, mask, prompt, seed)))
    return strip


def upscale(easel: Easel) -> Strip:
    """Twice the side: pixels repeated, Lanczos, and the network."""
    from PIL import Image

    from generators.upscale import enlarge

    strip: Strip = []
    for prompt, chosen in (("plain", {}), ("brand", {"brand": 1.0})):
        small = easel.draw("a yellow vase on a teal table, studio light", 7, loras=chosen)
        strip += [
            (f"{prompt}, 64 px", small.resize((2 * SIDE, 2 * SIDE), Image.Resampling.NEAREST)),
            ("Lanczos", enlarge(small)),
            ("network", enlarge(small, 2, UPSCALER)),
        ]
    return strip


def controlnet(easel: Easel) -> Strip:
    """Outlines decide where and what, the prompt which colours."""
    import torch
    from diffusers import ControlNetModel

    from generators.demo_model import scenes
    from generators.demo_model.controlnet import outlines

    kind = "StableDiffusionControlNetPipeline"
    control = ControlNetModel.from_pretrained(
        CONTROLNET, local_files_only=True, dtype=torch.float32
    )
    easel.pipe(kind, controlnet=control)
    strip: Strip = []
    for subject, x, scale, words in (
        ("lamp", 0.37, 0.9, "a red lamp on a teal table, studio light"),
        ("vase", 0.63, 1.1, "an orange vase on a purple table, sunset light"),
    ):
        drawn = scenes.Scene(subject, "blue", "yellow", "studio", x, scale)
        lines = outlines(scenes.render(drawn), SIDE)
        strip.append((f"outlines, {subject}", lines))
        for label, prompt, weight in (
            ("without", words, 0.0),
            ("with", words, 1.0),
            ("no prompt", "", 1.0),
        ):
            picture = easel.draw(
                prompt, 5, kind=kind, image=lines, controlnet_conditioning_scale=weight
            )
            strip.append((label, picture))
    return strip


STRIPS: Mapping[str, Callable[[Easel], Strip]] = {
    "base": base,
    "loras": loras,
    "img2img": img2img,
    "inpaint": inpaint,
    "outpaint": outpaint,
    "upscale": upscale,
    "controlnet": controlnet,
}


def compose(strip: Sequence[tuple[str, Image]]) -> Image:
    """Put labelled pictures side by side; small ones are enlarged by whole pixels' averages."""
    from PIL import Image, ImageDraw, ImageFont

    cell = max(CELL, *(picture.width for _, picture in strip))
    sheet = Image.new("RGB", (MARGIN + len(strip) * (cell + MARGIN), MARGIN + cell + LINE), "white")
    pen, small = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    for number, (label, picture) in enumerate(strip):
        left = MARGIN + number * (cell + MARGIN)
        shown = picture.convert("RGB").resize((cell, cell), Image.Resampling.LANCZOS)
        sheet.paste(shown, (left, MARGIN))
        pen.text((left, MARGIN + cell), label, (32, 32, 36), small)
    return sheet


def main(argv: list[str] | None = None) -> None:
    """Draw every strip, or those that are named, as WebP."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/images/demo-model"))
    parser.add_argument("strips", nargs="*", help=", ".join(STRIPS))
    options = parser.parse_args(argv)
    environment.prepare()
    options.out.mkdir(parents=True, exist_ok=True)
    easel = Easel()
    for name in options.strips or STRIPS:
        picture = compose(STRIPS[name](easel))
        picture.save(options.out / f"{name}.webp", quality=QUALITY, method=6)


def _inpainted(easel: Easel, picture: Image, mask: Image, prompt: str, seed: int = 3) -> Image:
    return easel.draw(
        prompt,
        seed,
        kind="StableDiffusionInpaintPipeline",
        image=picture,
        mask_image=mask,
        strength=1.0,
    )


if __name__ == "__main__":
    main()
