"""A contact sheet: every picture of a campaign on one page, each with its name below."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import TYPE_CHECKING

from generators import icc
from registry.settings import Limits
from registry.similarity.decode import open_image

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFont import FreeTypeFont, ImageFont

CELL = 176
"""Side of the square that a picture is fitted into, pixels."""
MARGIN = 12
LINE = 15
COLUMNS = 6
MAX_CELLS = 600
"""Most pictures of one sheet; it says how many are not on it."""
_GROUND, _INK, _FAINT = (255, 255, 255), (32, 32, 36), (228, 228, 232)


def contact_sheet(title: str, pictures: Iterable[tuple[str, bytes]]) -> bytes:
    """Return a PNG with labelled pictures (label, bytes as stored), in their order."""
    from PIL import Image, ImageDraw, ImageFont

    cells = list(pictures)
    left_over = len(cells) - MAX_CELLS
    cells = cells[:MAX_CELLS]
    columns = max(1, min(COLUMNS, len(cells)))
    rows = -(-len(cells) // columns)
    high = CELL + 2 * LINE + MARGIN
    width = max(420, MARGIN + columns * (CELL + MARGIN))
    sheet = Image.new("RGB", (width, 3 * MARGIN + LINE + rows * high), _GROUND)
    pen = ImageDraw.Draw(sheet)
    small, large = ImageFont.load_default(11), ImageFont.load_default(15)
    more = f", and {left_over} more" if left_over > 0 else ""
    pen.text((MARGIN, MARGIN), f"{title}: {len(cells)} pictures{more}", _INK, large)
    for number, (label, data) in enumerate(cells):
        left = MARGIN + number % columns * (CELL + MARGIN)
        top = 2 * MARGIN + LINE + number // columns * high
        _paste(sheet, _thumbnail(data), left, top)
        for line, text in enumerate(_lines(label, small)):
            pen.text((left, top + CELL + 2 + line * LINE), text, _INK, small)
    stream = io.BytesIO()
    sheet.save(stream, "PNG")
    return stream.getvalue()


def _thumbnail(data: bytes) -> Image:
    """Return a picture fitted into a cell; small ones are enlarged, so that they can be seen."""
    from PIL import Image, ImageOps

    picture = in_srgb(open_image(data, Limits()))
    transparent = picture.mode in {"RGBA", "LA", "PA"} or "transparency" in picture.info
    shown = picture.convert("RGBA" if transparent else "RGB")
    return ImageOps.contain(shown, (CELL, CELL), Image.Resampling.LANCZOS)


def in_srgb(picture: Image) -> Image:
    """Return a picture with the colours that its embedded profile says, where it has one."""
    from PIL import ImageCms

    embedded = picture.info.get("icc_profile")
    if not embedded:
        return picture
    mode = "RGBA" if picture.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(embedded))
        target = ImageCms.ImageCmsProfile(io.BytesIO(icc.profile("srgb")))
        shown = ImageCms.profileToProfile(picture, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError):
        return picture  # a profile that does not fit it: shown as it is
    return picture if shown is None else shown


def _paste(sheet: Image, shown: Image, left: int, top: int) -> None:
    from PIL import Image

    ground = Image.new("RGB", (CELL, CELL), _FAINT)
    place = ((CELL - shown.width) // 2, (CELL - shown.height) // 2)
    ground.paste(shown, place, shown if shown.mode == "RGBA" else None)
    sheet.paste(ground, (left, top))


def _lines(label: str, font: FreeTypeFont | ImageFont) -> list[str]:
    """Break a label into two lines that fit a cell, between words; too long a rest is cut."""
    if font.getlength(label) <= CELL:
        return [label]
    most = max((n for n in range(len(label)) if font.getlength(label[:n]) <= CELL), default=0)
    cut = max((label.rfind(mark, 0, most) + 1 for mark in "/@#,"), default=0) or most
    rest = label[cut:]
    while font.getlength(rest) > CELL:
        rest = "…" + rest[2:]
    return [label[:cut], rest]
