"""Two pictures and what lies between them, side by side in one PNG."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

PANEL = 256
"""Smallest width of a panel, pixels: smaller pictures are shown larger, by a whole factor."""
GAP = 8
HEAD = 20
PAPER, INK = (255, 255, 255), (40, 40, 40)


def triptych(
    first: bytes, second: bytes, titles: tuple[str, str] = ("recorded", "reproduced")
) -> bytes | None:
    """Return a PNG of two encoded pictures and their difference, amplified to be seen.

    The difference is stretched so that its largest change is white; its title says by how much,
    and how large the change was, in levels of 255. None when one does not decode as a picture.
    Pictures of two sizes are shown without a difference.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415  # only replays need it

    try:
        with Image.open(io.BytesIO(first)) as a, Image.open(io.BytesIO(second)) as b:
            left, right = _on_paper(a), _on_paper(b)
            between, title = _difference(a.convert("RGBA"), b.convert("RGBA"))
    except (UnidentifiedImageError, OSError):
        return None
    return _laid_out([(titles[0], left), (titles[1], right), (title, between)])


def _on_paper(picture: Image) -> Image:
    """Return a picture without transparency, as a viewer on white paper has it."""
    from PIL import Image as pil  # noqa: N813, PLC0415

    solid = pil.new("RGBA", picture.size, (*PAPER, 255))
    solid.alpha_composite(picture.convert("RGBA"))
    return solid.convert("RGB")


def _difference(first: Image, second: Image) -> tuple[Image, str]:
    import numpy as np  # noqa: PLC0415
    from PIL import Image as pil  # noqa: N813, PLC0415
    from PIL import ImageChops  # noqa: PLC0415

    if first.size != second.size:
        return pil.new("RGB", first.size, PAPER), "sizes differ"
    change = ImageChops.difference(first, second)
    # Transparency that differs shows as grey on top of the colours that do.
    merged = ImageChops.add(change.convert("RGB"), pil.merge("RGB", [change.getchannel("A")] * 3))
    largest = int(np.asarray(change).max())
    if largest == 0:
        return merged, "no difference"
    factor = 255 / largest
    return merged.point(lambda level: round(level * factor)), f"x{factor:.3g}, largest {largest}"


def _laid_out(panels: list[tuple[str, Image]]) -> bytes:
    from PIL import Image as pil  # noqa: N813, PLC0415
    from PIL import ImageDraw  # noqa: PLC0415

    scale = max(1, -(-PANEL // max(1, panels[0][1].width)))
    shown = [
        (title, one.resize((one.width * scale, one.height * scale), pil.Resampling.NEAREST))
        for title, one in panels
    ]
    width = sum(one.width for _, one in shown) + GAP * (len(shown) + 1)
    height = max(one.height for _, one in shown) + HEAD + GAP
    sheet = pil.new("RGB", (width, height), PAPER)
    draw, x = ImageDraw.Draw(sheet), GAP
    for title, one in shown:
        draw.text((x, 4), title, fill=INK)
        sheet.paste(one, (x, HEAD))
        x += one.width + GAP
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()
