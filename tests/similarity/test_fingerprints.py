"""Fingerprints are fixed for ever by their name, survive re-encoding, and tell pictures apart."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image, ImageEnhance, ImageFilter
from PIL.PngImagePlugin import PngInfo

from registry.core.pixels import pixels_v1
from registry.settings import Limits
from registry.similarity.decode import open_image
from registry.similarity.finder import RADIUS
from registry.similarity.fingerprints import (
    _STRIP_PIXELS,
    BITS,
    PHASH256,
    PHASH256_V1,
    fingerprint,
    luma_of,
    phash_of,
    pixels_digest,
    value_of,
    values_of,
)
from registry.similarity.hits import NEAR_BITS

Draw = Callable[..., Image.Image]
Encode = Callable[..., bytes]

LIMITS = Limits()
GOLDEN = {
    "phash256-white-lanczos64-gap2-v1": {
        "colour": "839266dc8dec8af04cf289cbb9e1d7a2cbdbcd9e1a730981b72c4a4e4e93c2c4",
        "alpha": "83b2f542bffd37c04c528a4f940d5623eacb41d935bf0913bacefa6e8ea2c0c0",
        "palette": "cd6dd3f1987bfd3501b9a4e06e0dc25d00f96c7f38b1d7d263cb32423b4480d4",
        "sixteen": "e4f137234a4dd44d6cc9c2c9c9273348271c0eee579f6fba3140b82e79766d18",
    }
}
GOLDEN[PHASH256] = GOLDEN[PHASH256_V1]  # no JPEG among them, which alone may differ


def levels(salt: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return 192x192 levels in 16x16 cells, from a hash: the same on every machine."""
    digits = b"".join(hashlib.sha256(f"{salt}{row}".encode()).digest()[:16] for row in range(16))
    cells = np.frombuffer(digits, dtype=np.uint8).reshape(16, 16)
    return cells.repeat(12, axis=0).repeat(12, axis=1)


def golden_pictures() -> dict[str, Image.Image]:
    grey = Image.fromarray(levels("grey"))
    colour = Image.merge("RGB", [Image.fromarray(levels(channel)) for channel in "rgb"])
    alpha = colour.copy()
    alpha.putalpha(Image.fromarray(levels("alpha")))
    return {
        "colour": colour,
        "alpha": alpha,
        "palette": grey.convert("P"),
        "sixteen": Image.fromarray(levels("sixteen").astype(np.uint16) * 257),
    }


def hash_of(data: bytes) -> bytes:
    found = fingerprint(data, LIMITS)
    assert found is not None
    return found.value


def bits_apart(a: bytes, b: bytes) -> int:
    return (int.from_bytes(a, "big") ^ int.from_bytes(b, "big")).bit_count()


@pytest.mark.parametrize("name", sorted(GOLDEN[PHASH256]))
def test_the_values_of_this_name_are_fixed(name: str, encode: Encode) -> None:
    assert hash_of(encode(golden_pictures()[name])).hex() == GOLDEN[PHASH256][name]


def many_lumas(drawn: Draw, photographs: tuple[Image.Image, ...]) -> list[Image.Image]:
    """Return luma of photographs, of parts of them, of drawn and of nearly flat pictures."""
    parts = [
        photograph.crop((40 * n, 30 * n, 40 * n + 200, 30 * n + 160))
        for photograph in photographs
        for n in range(8)
    ]
    flat = [Image.effect_noise((64, 64), sigma) for sigma in (0, 1, 6, 20)]
    pictures = [*photographs, *parts, *(drawn(seed) for seed in range(20)), *flat]
    return [luma_of(picture) for picture in pictures]


def test_the_hash_is_that_of_imagehash(photographs: tuple[Image.Image, ...], drawn: Draw) -> None:
    for luma in many_lumas(drawn, photographs):
        theirs = imagehash.phash(luma, hash_size=16, highfreq_factor=4).hash
        assert phash_of(luma) == np.packbits(theirs).tobytes()


def test_pictures_are_hashed_together_as_they_are_one_by_one(
    photographs: tuple[Image.Image, ...], drawn: Draw
) -> None:
    lumas = many_lumas(drawn, photographs)
    one_by_one = [value_of(luma) for luma in lumas]
    assert None in one_by_one
    for count in (2, 3, 7, len(lumas)):
        parts = [lumas[start : start + count] for start in range(0, len(lumas), count)]
        assert [value for part in parts for value in values_of(part)] == one_by_one
    assert values_of([]) == []


def test_a_fingerprint_names_its_asset_and_its_algorithm(drawn: Draw, encode: Encode) -> None:
    data = encode(drawn(1))
    found = fingerprint(data, LIMITS)
    assert found is not None
    assert found.sha256 == hashlib.sha256(data).hexdigest()
    assert (found.name, len(found.value) * 8, found.quality) == (PHASH256, BITS, 100)


def reworked(image: Image.Image, encode: Encode) -> dict[str, bytes]:
    """Return what happens to pictures on their way through the world."""
    width, height = image.size
    return {
        "jpeg q50": encode(image, "JPEG", quality=50),
        "jpeg q10": encode(image, "JPEG", quality=10),
        "webp q40": encode(image, "WEBP", quality=40),
        "half size": encode(image.resize((width // 2, height // 2))),
        "double size": encode(image.resize((width * 2, height * 2))),
        "grey": encode(image.convert("L")),
        "brighter": encode(ImageEnhance.Brightness(image).enhance(1.15)),
        "blurred": encode(image.filter(ImageFilter.GaussianBlur(2))),
        "palette": encode(image.quantize(64), "GIF"),
        "half size, jpeg q50": encode(image.resize((width // 2, height // 2)), "JPEG", quality=50),
    }


def test_a_reworked_photograph_stays_within_the_band_of_matches(
    photographs: tuple[Image.Image, ...], encode: Encode
) -> None:
    for image in photographs:
        original = hash_of(encode(image))
        far = {
            what: bits_apart(original, hash_of(data))
            for what, data in reworked(image, encode).items()
        }
        assert max(far.values()) <= NEAR_BITS, far


def test_different_pictures_are_not_matched(
    photographs: tuple[Image.Image, ...], drawn: Draw, encode: Encode
) -> None:
    values = [hash_of(encode(image)) for image in photographs]
    values += [hash_of(encode(drawn(seed))) for seed in range(30)]
    nearest = min(bits_apart(a, b) for a, b in itertools.combinations(values, 2))
    assert nearest > RADIUS


@pytest.mark.parametrize(
    "flat",
    [
        Image.new("RGB", (256, 256), (200, 30, 30)),
        Image.new("L", (1, 1), 7),
        Image.linear_gradient("L").resize((512, 512)),
        Image.new("RGBA", (64, 64), (0, 0, 0, 0)),
        Image.fromarray(np.tile(np.repeat([0, 255], 32).astype(np.uint8), (256, 4))),
    ],
    ids=["solid", "one pixel", "gradient", "clear", "stripes"],
)
def test_what_has_too_little_to_recognise_gets_no_fingerprint(
    flat: Image.Image, encode: Encode
) -> None:
    assert fingerprint(encode(flat), LIMITS) is None


def test_alpha_is_seen_on_white(drawn: Draw, encode: Encode) -> None:
    shape = drawn(2).convert("L").point(lambda level: 255 if level > 128 else 0)
    clear = drawn(1).copy()
    clear.putalpha(shape)
    on_white = Image.composite(drawn(1), Image.new("RGB", shape.size, "white"), shape)
    assert hash_of(encode(clear)) == hash_of(encode(on_white))


def test_hidden_colour_under_full_transparency_changes_nothing(drawn: Draw, encode: Encode) -> None:
    shape = Image.new("L", (256, 256), 255)
    shape.paste(0, (64, 64, 192, 192))
    first, second = drawn(1).copy(), drawn(1).copy()
    second.paste((255, 0, 255), (64, 64, 192, 192))
    first.putalpha(shape)
    second.putalpha(shape)
    assert hash_of(encode(first)) == hash_of(encode(second))
    digests = {pixels_digest(open_image(encode(image), LIMITS)) for image in (first, second)}
    assert len(digests) == 1


def test_orientation_is_applied_before_hashing(drawn: Draw, encode: Encode) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored a quarter turn to the left of how it is shown
    stored = drawn(1).transpose(Image.Transpose.ROTATE_90)
    assert hash_of(encode(stored, exif=exif)) == hash_of(encode(drawn(1)))
    assert bits_apart(hash_of(encode(stored)), hash_of(encode(drawn(1)))) > RADIUS


def test_cmyk_is_converted(photographs: tuple[Image.Image, ...], encode: Encode) -> None:
    printed = encode(photographs[0].convert("CMYK"), "JPEG", quality=95)
    assert bits_apart(hash_of(printed), hash_of(encode(photographs[0]))) <= NEAR_BITS


def test_a_bright_sixteen_bit_picture_is_not_clipped(drawn: Draw, encode: Encode) -> None:
    grey = drawn(1).convert("L")
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    assert hash_of(encode(deep)) == hash_of(encode(grey))


def test_every_lossless_container_gives_the_same_pixel_digest(drawn: Draw, encode: Encode) -> None:
    info = PngInfo()
    info.add_text("parameters", "a red mug")
    image = drawn(1)
    containers = [
        encode(image),
        encode(image, compress_level=0, pnginfo=info),
        encode(image.convert("RGBA")),
        encode(image, "BMP"),
        encode(image, "TIFF", compression="tiff_lzw"),
        encode(image, "WEBP", lossless=True),
    ]
    digests = {pixels_digest(open_image(data, LIMITS)) for data in containers}
    assert len(set(containers)) == len(containers)
    assert digests == {pixels_v1(256, 256, image.convert("RGBA").tobytes())}
    assert pixels_digest(image) in digests


def test_the_digest_of_a_large_picture_is_that_of_its_pixels_at_once(drawn: Draw) -> None:
    large = drawn(1).resize((700, 500)).convert("RGBA")
    large.paste((9, 99, 200, 0), (100, 150, 300, 260))  # colour under no alpha, across parts
    assert large.width * large.height > 4 * _STRIP_PIXELS
    assert pixels_digest(large) == pixels_v1(700, 500, large.tobytes())
    narrow = drawn(2).resize((1, 3 * _STRIP_PIXELS // 2))
    assert pixels_digest(narrow) == pixels_v1(*narrow.size, narrow.convert("RGBA").tobytes())


def test_one_changed_pixel_changes_the_digest(drawn: Draw) -> None:
    image = drawn(1).copy()
    red, green, blue = image.getpixel((3, 5))
    image.putpixel((3, 5), (red ^ 1, green, blue))
    assert pixels_digest(image) != pixels_digest(drawn(1))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("JPEG", {}), ("WEBP", {"quality": 100}), ("AVIF", {}), ("TIFF", {"compression": "jpeg"})],
)
def test_lossy_pixels_have_no_digest(
    kind: str, options: dict[str, Any], drawn: Draw, encode: Encode
) -> None:
    assert pixels_digest(open_image(encode(drawn(1), kind, **options), LIMITS)) is None


def test_pixels_that_eight_bits_cannot_hold_have_no_digest(drawn: Draw, encode: Encode) -> None:
    deep = Image.fromarray(levels("deep").astype(np.uint16) * 257)
    frames = encode(drawn(1), save_all=True, append_images=[drawn(2)])
    for data in (encode(deep), frames):
        assert pixels_digest(open_image(data, LIMITS)) is None


def test_real_product_shots_are_all_fingerprintable_and_found_after_jpeg(
    shared_data: Path, encode: Encode
) -> None:
    files = sorted((shared_data / "product-photos").glob("*.jpg"))[::12]
    for file in files:
        original = hash_of(file.read_bytes())
        image = open_image(file, LIMITS).convert("RGB")
        again = encode(
            image.resize((image.width * 2 // 3, image.height * 2 // 3)), "JPEG", quality=50
        )
        assert bits_apart(original, hash_of(again)) <= NEAR_BITS, file.name


def test_real_generated_pictures_are_decoded(shared_data: Path) -> None:
    for file in (shared_data / "ai-images").glob("*.[jp][pn]g"):
        assert open_image(file, LIMITS).size > (0, 0)
