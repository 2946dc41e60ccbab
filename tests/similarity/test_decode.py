"""Pictures are decoded one way, and what is broken or dangerous is refused by name."""

from __future__ import annotations

import contextlib
import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from registry.errors import InputError
from registry.settings import Limits
from registry.similarity.decode import MEDIA_TYPES, open_image

Draw = Callable[..., Image.Image]
Encode = Callable[..., bytes]

LIMITS = Limits()
ORIENTATION = 0x0112
ALL_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")


def code_of(data: bytes | Path, limits: Limits = LIMITS) -> str:
    with pytest.raises(InputError) as error:
        open_image(data, limits)
    return error.value.code


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header promises a huge picture, with a few bytes of pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(100_000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("kind", ALL_FORMATS)
def test_every_format_is_decoded_and_known_by_its_media_type(
    kind: str, drawn: Draw, encode: Encode
) -> None:
    image = open_image(encode(drawn(1), kind), LIMITS)
    assert image.size == (256, 256)
    assert MEDIA_TYPES[image.format or ""] == f"image/{kind.lower()}"


@pytest.mark.parametrize("size", [(30_000, 30_000), (200_000, 200_000), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int], monkeypatch: Any) -> None:
    def decoded(_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decoded)
    assert code_of(png_bomb(*size)) == "image.too-large"


def test_the_limit_of_pixels_is_the_one_given_and_is_inclusive(drawn: Draw, encode: Encode) -> None:
    data = encode(drawn(1, size=64))
    assert open_image(data, Limits(image_pixels=64 * 64)).size == (64, 64)
    assert code_of(data, Limits(image_pixels=64 * 64 - 1)) == "image.too-large"


def test_a_file_over_the_limit_of_bytes_is_not_read(
    tmp_path: Path, drawn: Draw, encode: Encode
) -> None:
    data = encode(drawn(1))
    file = tmp_path / "a.png"
    file.write_bytes(data)
    limits = Limits(image_bytes=len(data) - 1)
    assert code_of(file, limits) == code_of(data, limits) == "image.too-large"


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "WEBP"])
def test_a_truncated_picture_is_refused(kind: str, drawn: Draw, encode: Encode) -> None:
    data = encode(drawn(1), kind)
    assert code_of(data[: len(data) // 2]) in {"image.truncated", "image.unreadable"}


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP"])
def test_a_missing_end_is_called_that(kind: str, drawn: Draw, encode: Encode) -> None:
    data = encode(drawn(1), kind)
    assert code_of(data[: len(data) * 3 // 4]) == "image.truncated"


@pytest.mark.parametrize("data", [b"", b"not a picture", b"<svg xmlns='x'/>", b"%!PS-Adobe-3.0\n"])
def test_what_is_no_picture_is_refused(data: bytes) -> None:
    assert code_of(data) == "image.unreadable"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert code_of(tmp_path / "none.png") == "image.unreadable"


@pytest.mark.parametrize(
    ("name", "kind"), [("a.jpg", "PNG"), ("a.png", "JPEG"), ("a.PNG", "WEBP"), ("a.webp", "GIF")]
)
def test_a_suffix_that_contradicts_the_content_is_refused(
    name: str, kind: str, tmp_path: Path, drawn: Draw, encode: Encode
) -> None:
    file = tmp_path / name
    file.write_bytes(encode(drawn(1), kind))
    assert code_of(file) == "image.suffix"


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a", "a.bin", "a.tmp"])
def test_a_suffix_that_claims_nothing_else_is_fine(
    name: str, tmp_path: Path, drawn: Draw, encode: Encode
) -> None:
    file = tmp_path / name
    file.write_bytes(encode(drawn(1), "JPEG"))
    assert open_image(file, LIMITS).format == "JPEG"


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_as_a_viewer_shows_it(orientation: int, encode: Encode) -> None:
    upright = Image.fromarray(np.arange(24, dtype=np.uint8).reshape(4, 6) * 10)
    turns = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes the turn
    stored = upright
    if orientation > 1:
        stored = upright.transpose(Image.Transpose(turns[orientation]))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    shown = open_image(encode(stored, exif=exif), LIMITS)
    assert np.array_equal(np.asarray(shown), np.asarray(upright))
    assert shown.format == "PNG"
    assert shown.getexif().get(ORIENTATION, 1) == 1  # nobody turns it a second time


def test_sixteen_bits_are_shifted_and_not_clipped(encode: Encode) -> None:
    ramp = (np.arange(256, dtype=np.uint16) * 257).reshape(16, 16)
    shown = open_image(encode(Image.fromarray(ramp)), LIMITS)
    assert np.array_equal(np.asarray(shown).ravel(), np.arange(256))


def test_a_picture_of_floats_is_refused(encode: Encode) -> None:
    assert code_of(encode(Image.new("F", (8, 8), 0.5), "TIFF")) == "image.unreadable"


def test_of_an_animation_the_first_frame_is_taken(drawn: Draw, encode: Encode) -> None:
    frames = [drawn(seed, size=32) for seed in range(3)]
    data = encode(frames[0], "PNG", save_all=True, append_images=frames[1:])
    assert np.array_equal(np.asarray(open_image(data, LIMITS)), np.asarray(frames[0]))


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_damaged_bytes_are_decoded_or_refused_in_our_words(
    data: st.DataObject, drawn: Draw, encode: Encode
) -> None:
    kind = data.draw(st.sampled_from(ALL_FORMATS))
    broken = bytearray(encode(drawn(1, size=16), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(InputError):
        open_image(bytes(broken), Limits(image_pixels=1_000_000))


def test_importing_the_room_loads_no_image_library() -> None:
    import subprocess

    program = (
        "import sys, registry.similarity.finder;"
        "print({'PIL', 'numpy', 'imagehash', 'scipy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    assert done.stdout.strip() == "set()"


def test_nothing_but_the_named_formats_is_tried(drawn: Draw) -> None:
    stream = io.BytesIO()
    drawn(1).save(stream, "PPM")
    assert code_of(stream.getvalue()) == "image.unreadable"
