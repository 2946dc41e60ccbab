"""Pictures and arrays to bytes, in encodings whose names hold every parameter.

The same pixels give the same bytes wherever the name is the same; that is what lets a picture
that one generation made be recognised when another consumes it.
"""

from __future__ import annotations

import functools
import io
from typing import TYPE_CHECKING, Any

from registry.core.generation import Output
from registry.core.pixels import pixels_v1
from registry.errors import InputError
from registry.settings import Limits
from registry.similarity.prints import prints_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image


PNG = "image/png"
NPY = "application/x-npy"
PNG_LEVEL = 6
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})
"""Modes that PNG keeps as they are."""
PLAIN_MODES = frozenset({"L", "RGB"})
"""Modes that come back from PNG as they went in, so that a fingerprint needs no decoding."""
DEEP_MODES = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N", "F"})
"""Modes of more than 8 bits a channel: `pixels-v1` is not defined for them."""


@functools.cache
def png_encoding() -> str:
    """Return the name of the PNG encoding: library, compressor and level decide the bytes."""
    import PIL
    from PIL import features

    compressor = f"zlib-{features.version('zlib')}"
    if features.check_feature("zlib_ng"):
        compressor = f"zlib-ng-{features.version_feature('zlib_ng')}"
    return f"png-pillow-{PIL.__version__}-{compressor}-level{PNG_LEVEL}"


def encode_png(image: Image) -> bytes:
    """Encode pixels (and palette transparency) alone: no EXIF, no text, no profile.

    Raises InputError (`input.image`) for a mode that PNG would change.
    """
    if image.mode not in PNG_MODES:
        raise InputError(
            f"a picture of mode {image.mode} does not fit into PNG unchanged",
            code="input.image",
            hint="Convert it to RGB, RGBA or L first.",
        )
    bare = image.copy()
    bare.info = {k: v for k, v in image.info.items() if k == "transparency"}
    stream = io.BytesIO()
    bare.save(stream, "PNG", compress_level=PNG_LEVEL)
    return stream.getvalue()


def decode_image(data: bytes) -> Image:
    """Decode a stored picture completely; InputError (`input.image`) when it is damaged."""
    from PIL import Image

    try:
        image = Image.open(io.BytesIO(data))
        image.load()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"a stored picture does not decode: {error}", code="input.image") from None
    return image


def pixel_digest(image: Image) -> str | None:
    """Return `pixels-v1` of a picture, EXIF orientation applied; None above 8 bits a channel."""
    from PIL import ImageOps

    if image.mode in DEEP_MODES:
        return None
    upright = ImageOps.exif_transpose(image).convert("RGBA")
    return pixels_v1(upright.width, upright.height, upright.tobytes())


def encode_array(array: Any) -> bytes:
    """Encode a numpy array as `.npy` (format 1.0, no pickles)."""
    import numpy as np

    stream = io.BytesIO()
    np.save(stream, np.ascontiguousarray(array), allow_pickle=False)
    return stream.getvalue()


def decode_array(data: bytes) -> Any:
    """Decode `.npy` bytes; InputError (`input.array`) when they are damaged or hold objects."""
    import numpy as np

    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"a stored array does not load: {error}", code="input.array") from None


def image_output(image: Image, **fields: Any) -> Output:
    """Encode one picture as an `Output`; `fields` are those of `Output` beyond its content.

    Its fingerprints are made from the picture at hand, which saves decoding what was just encoded.
    """
    data = encode_png(image)
    plain = image.mode in PLAIN_MODES and not image.getexif()
    made = prints_of(data, Limits(), image=image) if plain else None
    return Output(
        data=data,
        media_type=PNG,
        width=image.width,
        height=image.height,
        pixels=pixel_digest(image) if made is None else made.pixels,
        fingerprints=None if made is None else made.values,
        thumbnail=None if made is None else next(iter(made.thumbnails), None),
        **fields,
    )


def as_pictures(batch: Any) -> Sequence[Any]:
    """Turn what a pipeline returned into pictures where it is some, else into numpy arrays.

    Takes lists of PIL pictures (nested ones are flattened: frames), float arrays (n, h, w, c) in
    [0, 1], tensors (n, c, h, w), and latents or anything else, which stay arrays, one per item.
    """
    if isinstance(batch, (list, tuple)):
        return [item for part in batch for item in _flattened(part)]
    return list(_rows(batch))


def _flattened(part: Any) -> Sequence[Any]:
    if isinstance(part, (list, tuple)):
        return as_pictures(part)
    return [part] if is_picture(part) else list(_rows(part[None]))


def _rows(batch: Any) -> Sequence[Any]:
    """Split an array or tensor by its first axis; rows with 1, 3 or 4 channels become pictures."""
    import numpy as np

    if hasattr(batch, "detach"):
        batch = batch.detach().cpu().float()
        if batch.ndim == 4 and batch.shape[1] in (1, 3):
            batch = batch.permute(0, 2, 3, 1)
    grid = np.asarray(batch)
    if grid.ndim == 4 and grid.shape[3] in (1, 3, 4) and grid.dtype.kind == "f":
        return [_to_picture(row) for row in grid]
    return list(grid)


def _to_picture(row: Any) -> Image:
    """Round floats in [0, 1] to a picture, as diffusers does."""
    from PIL import Image

    levels = (row * 255).round().clip(0, 255).astype("uint8")
    return Image.fromarray(levels[..., 0] if levels.shape[-1] == 1 else levels)


def is_picture(value: Any) -> bool:
    """Tell whether a value is a PIL picture."""
    from PIL import Image

    return isinstance(value, Image.Image)


def output_of(item: Any, **fields: Any) -> Output:
    """Encode one item of `as_pictures`."""
    if is_picture(item):
        return image_output(item, **fields)
    return Output(data=encode_array(item), media_type=NPY, **fields)
