"""What people do to pictures: each change as a function of the picture and a seeded generator.

Every change gives an encoded file, as it would arrive. Knows nothing of fingerprints.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont

Change = Callable[[Image.Image, Any], bytes]
"""Takes an RGB picture and a generator; returns a file."""

_QUALITY = 85
_PAPER = (246, 247, 249)
_INK = (40, 44, 52)


@dataclass(frozen=True, slots=True)
class Transform:
    """A change, the group whose bar it counts towards, and that bar: the least recall at 10k."""

    name: str
    group: str
    bar: float | None
    change: Change


def saved(image: Image.Image, quality: int = _QUALITY, form: str = "JPEG") -> bytes:
    """Return a picture as a file."""
    out = io.BytesIO()
    image.save(out, form, quality=quality)
    return out.getvalue()


def blurred(image: Image.Image, _rng: Any) -> bytes:
    """Blur by a radius of 2 pixels."""
    return saved(image.filter(ImageFilter.GaussianBlur(2)))


def noisy(image: Image.Image, rng: Any) -> bytes:
    """Add Gaussian noise with a deviation of 10 levels."""
    levels = np.asarray(image, np.float32) + rng.normal(0, 10, (*image.size[::-1], 3))
    return saved(Image.fromarray(np.clip(levels, 0, 255).astype(np.uint8)))


def grey(image: Image.Image, _rng: Any) -> bytes:
    """Take the colours away."""
    return saved(image.convert("L"))


def resized(share: float, image: Image.Image, _rng: Any) -> bytes:
    """Scale both sides."""
    size = (round(image.width * share), round(image.height * share))
    return saved(image.resize(size, Image.Resampling.LANCZOS))


def brightened(factor: float, image: Image.Image, _rng: Any) -> bytes:
    """Multiply every level."""
    return saved(ImageEnhance.Brightness(image).enhance(factor))


def watermarked(image: Image.Image, rng: Any) -> bytes:
    """Lay a grid of faint, slanting words over the picture."""
    sheet = Image.new("RGBA", image.size, (0, 0, 0, 0))
    word = _word("© PREVIEW", max(12, image.width // 16), (255, 255, 255, 110), "black")
    word = word.rotate(30, expand=True, resample=Image.Resampling.BICUBIC)
    step_x, step_y = round(word.width * 1.2), round(word.height * 1.1)
    start_x, start_y = (int(rng.integers(0, step)) for step in (step_x, step_y))
    for x in range(start_x - step_x, image.width, step_x):
        for y in range(start_y - step_y, image.height, step_y):
            sheet.paste(word, (x, y), word)
    return saved(Image.alpha_composite(image.convert("RGBA"), sheet).convert("RGB"))


def captioned(image: Image.Image, rng: Any) -> bytes:
    """Write two lines of a meme across the top and the bottom."""
    lines = ("WHEN THE SALE IS ON", "ONE DOES NOT SIMPLY", "NOBODY:", "ME EVERY MONDAY")
    picked = rng.choice(len(lines), 2, replace=False)
    result = image.copy()
    for line, at in zip((lines[int(n)] for n in picked), ("top", "bottom"), strict=True):
        size = max(10, image.width // 11)
        word = _word(line, size, (255, 255, 255, 255), "black")
        x = (image.width - word.width) // 2
        y = image.height // 40 if at == "top" else image.height - word.height - image.height // 40
        result.paste(word, (x, y), word)
    return saved(result)


def branded(image: Image.Image, rng: Any) -> bytes:
    """Set a logo of 4.5 % of the area into a place of the picture."""
    result = image.copy()
    side = round((0.045 * image.width * image.height) ** 0.5)
    logo = Image.new("RGB", (side, side), tuple(int(v) for v in rng.integers(0, 256, 3)))
    draw = ImageDraw.Draw(logo)
    edge = side // 6
    draw.ellipse((edge, edge, side - edge, side - edge), fill="white")
    draw.text((side // 2, side // 2), "G", fill=_INK, font=_font(side // 2), anchor="mm")
    result.paste(logo, _somewhere(image.size, logo.size, rng))
    return saved(result)


def tilted(degrees: float, image: Image.Image, _rng: Any) -> bytes:
    """Turn by a small angle; the corners become white."""
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, fillcolor="white")
    return saved(turned)


def cropped(share: float, image: Image.Image, rng: Any) -> bytes:
    """Cut a share of the width and of the height away, at a random offset."""
    size = (round(image.width * (1 - share)), round(image.height * (1 - share)))
    return saved(_cut(image, size, rng))


def widescreen(image: Image.Image, rng: Any) -> bytes:
    """Cut the height to 9/16, as it happens to a square picture that is shown at 16:9."""
    return saved(_cut(image, (image.width, round(image.height * 9 / 16)), rng))


def padded(image: Image.Image, rng: Any) -> bytes:
    """Put a border of one colour and 10 % of each side around the picture."""
    edge_x, edge_y = image.width // 10, image.height // 10
    size = (image.width + 2 * edge_x, image.height + 2 * edge_y)
    sheet = Image.new("RGB", size, ("white", "black", "#d8d2c4")[int(rng.integers(3))])
    sheet.paste(image, (edge_x, edge_y))
    return saved(sheet)


def letterboxed(image: Image.Image, _rng: Any) -> bytes:
    """Put black bars left and right, or above and below, to make 16:9 or 9:16 of it."""
    wide = image.width >= image.height
    across = 16 / 9 if not wide else 9 / 16
    if not wide:
        size = (round(image.height * across), image.height)
    else:
        size = (image.width, round(image.width / across))
    sheet = Image.new("RGB", size, "black")
    sheet.paste(image, ((size[0] - image.width) // 2, (size[1] - image.height) // 2))
    return saved(sheet)


def transposed(step: Image.Transpose, image: Image.Image, _rng: Any) -> bytes:
    """Flip, or turn by quarters."""
    return saved(image.transpose(step))


def screenshot(image: Image.Image, rng: Any) -> bytes:
    """Show the picture at 40 to 70 % of the width of a page with a header, text and a button."""
    width, height = 1000, 800
    page = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(page)
    draw.rectangle((0, 0, width, 56), fill=_INK)
    draw.text((24, 14), "shop.example", fill="white", font=_font(22))
    share = rng.uniform(0.4, 0.7)
    scale = min(width * share / image.width, (height - 120) / image.height)
    shown = image.resize((round(image.width * scale), round(image.height * scale)))
    left = 24 + int(rng.integers(0, max(1, width - shown.width - 280)))
    top = 80 + int(rng.integers(0, max(1, height - shown.height - 96)))
    text = left + shown.width + 24
    for line in range(14):
        y = 90 + 44 * line
        draw.rectangle((text, y, text + int(rng.integers(90, 220)), y + 12), fill=(150, 155, 165))
    draw.rectangle((text, height - 90, text + 150, height - 50), fill=(210, 60, 60))
    page.paste(shown, (left, top))
    return saved(page, form="PNG")


def photographed(image: Image.Image, rng: Any) -> bytes:
    """Photograph the picture off a page: a slant, a cut edge, uneven light, and another encoder."""
    import cv2

    pixels = np.asarray(image)
    height, width = pixels.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-0.06, 0.06, (4, 2)).astype(np.float32) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    seen = cv2.warpPerspective(pixels, matrix, (width, height), borderValue=(190, 180, 170))
    light = np.linspace(0.85, 1.1, width, dtype=np.float32)[None, :, None]
    lit = Image.fromarray(np.clip(seen * light, 0, 255).astype(np.uint8))
    edge = 0.04
    box = (width * edge, height * edge, width * (1 - edge), height * (1 - edge))
    return saved(lit.crop(tuple(round(v) for v in box)), 70)


def _cut(image: Image.Image, size: tuple[int, int], rng: Any) -> Image.Image:
    left, top = _somewhere(image.size, size, rng)
    return image.crop((left, top, left + size[0], top + size[1]))


def _somewhere(outer: tuple[int, int], inner: tuple[int, int], rng: Any) -> tuple[int, int]:
    left = int(rng.integers(0, outer[0] - inner[0] + 1))
    return left, int(rng.integers(0, outer[1] - inner[1] + 1))


def _word(text: str, size: int, fill: tuple[int, int, int, int], stroke: str) -> Image.Image:
    font = _font(size)
    left, top, right, bottom = font.getbbox(text, stroke_width=2)
    word = Image.new("RGBA", (round(right - left), round(bottom - top)), (0, 0, 0, 0))
    edge = (*Image.new("RGB", (1, 1), stroke).getpixel((0, 0)), fill[3])  # type: ignore[misc]
    ImageDraw.Draw(word).text(
        (-left, -top), text, fill=fill, font=font, stroke_width=2, stroke_fill=edge
    )
    return word


def _font(size: int) -> Any:
    return ImageFont.load_default(size)


def _encoded(quality: int, form: str) -> Change:
    return lambda image, _rng: saved(image, quality, form)


_TURNS = Image.Transpose
TRANSFORMS: tuple[Transform, ...] = (
    *(Transform(f"JPEG q{q}", "re-encode", 1.0, _encoded(q, "JPEG")) for q in (10, 25, 50, 75)),
    *(Transform(f"WebP q{q}", "re-encode", 1.0, _encoded(q, "WEBP")) for q in (30, 75)),
    Transform("blur", "blur, noise", 1.0, blurred),
    Transform("noise", "blur, noise", 1.0, noisy),
    Transform("grey", "grey, brightness", 1.0, grey),
    *(
        Transform(f"brightness {b:+.0%}", "grey, brightness", 1.0, partial(brightened, 1 + b))
        for b in (-0.3, 0.3)
    ),
    *(
        Transform(f"resize to {s:.0%}", "resize", 1.0, partial(resized, s))
        for s in (0.5, 0.75, 2.0)
    ),
    Transform("tiled watermark", "watermark", 1.0, watermarked),
    Transform("meme text", "meme text", 0.95, captioned),
    Transform("logo 4.5 %", "logo", 0.98, branded),
    Transform("rotate 2°", "rotate 2°", None, partial(tilted, 2.0)),
    Transform("crop 5 %", "crop 5 %", 0.9, partial(cropped, 0.05)),
    Transform("crop 10 %", "crop 10 %", 0.9, partial(cropped, 0.10)),
    Transform("crop 25 %", "crop 25 %", 0.8, partial(cropped, 0.25)),
    Transform("1:1 to 16:9", "16:9", 0.8, widescreen),
    Transform("pad 10 %", "pad, letterbox", 0.98, padded),
    Transform("letterbox", "pad, letterbox", 0.98, letterboxed),
    *(
        Transform(name, "flips, quarter turns", 0.98, partial(transposed, step))
        for name, step in (
            ("mirrored", _TURNS.FLIP_LEFT_RIGHT),
            ("upside down", _TURNS.FLIP_TOP_BOTTOM),
            ("turned left", _TURNS.ROTATE_90),
            ("turned by 180°", _TURNS.ROTATE_180),
            ("turned right", _TURNS.ROTATE_270),
        )
    ),
    Transform("screenshot in a page", "screenshot in a page", 0.8, screenshot),
    Transform("photographed off a page", "photographed off a page", None, photographed),
)
"""Every change, with the bars of recall in a bank of 10,000."""

GROUPS: Mapping[str, float | None] = {change.group: change.bar for change in TRANSFORMS}
