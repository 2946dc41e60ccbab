"""A picture is found again under the strongest kind of match, and never called what it is not."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageFilter, ImageOps
from PIL.PngImagePlugin import PngInfo
from pydantic import TypeAdapter
from sqlalchemy import Engine, delete

from registry.core.digests import asset_id
from registry.core.look_up import FindResult
from registry.errors import InputError
from registry.settings import Limits
from registry.similarity import finder
from registry.similarity.finder import find
from registry.similarity.fingerprints import NOT_FINGERPRINTABLE, PHASH256
from registry.similarity.frames import FRAMES
from registry.similarity.hits import NEAR_BITS
from registry.similarity.segments import segments_of
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.transaction import write
from registry.store.types import table_of

Draw = Callable[..., Image.Image]
Encode = Callable[..., bytes]

LIMITS = Limits()


def id_of(data: bytes) -> str:
    return asset_id(hashlib.sha256(data).hexdigest())


def kinds(result: FindResult) -> list[tuple[str, str]]:
    return [(match.id, match.kind) for match in result.matches]


@pytest.fixture
def original(shelf: Any, photographs: tuple[Image.Image, ...], encode: Encode) -> bytes:
    """The stored temple, beside the flower."""
    data = encode(photographs[0])
    shelf.add(data)
    shelf.add(encode(photographs[1]))
    return data


def test_the_same_bytes_are_exact_and_nothing_else(engine: Engine, original: bytes) -> None:
    result = find(engine, original, LIMITS)
    assert kinds(result) == [(id_of(original), "exact")]
    assert (result.matches[0].distance, result.matches[0].verdict) == (None, "match")


def test_stripped_metadata_leaves_the_same_pixels(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode
) -> None:
    info = PngInfo()
    info.add_text("parameters", "a red mug")
    stored = encode(drawn(1), pnginfo=info)
    shelf.add(stored)
    result = find(engine, encode(drawn(1)), LIMITS)
    assert kinds(result) == [(id_of(stored), "pixels")]
    assert result.matches[0].distance is None


@pytest.mark.parametrize(
    "rework",
    [
        lambda image, encode: encode(image, "JPEG", quality=50),
        lambda image, encode: encode(image.resize((320, 213))),
        lambda image, encode: encode(image.resize((200, 133)), "WEBP", quality=50),
        lambda image, encode: encode(image.convert("L"), "JPEG", quality=50),
    ],
    ids=["jpeg q50", "half size", "small webp", "grey jpeg"],
)
def test_a_reworked_picture_is_found_as_perceptual(
    rework: Callable[..., bytes],
    engine: Engine,
    original: bytes,
    photographs: tuple[Image.Image, ...],
    encode: Encode,
) -> None:
    result = find(engine, rework(photographs[0], encode), LIMITS)
    assert kinds(result) == [(id_of(original), "perceptual")]
    match = result.matches[0]
    assert match.verdict == "match"
    assert match.distance is not None
    assert match.distance <= 30


@pytest.mark.parametrize(
    ("transform", "rework"),
    [
        ("mirrored", ImageOps.mirror),
        ("upside down", ImageOps.flip),
        ("turned by 180°", lambda image: image.rotate(180)),
        ("turned left", lambda image: image.rotate(90, expand=True)),
        ("turned right", lambda image: image.rotate(270, expand=True)),
        (
            "flipped along the main diagonal",
            lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        ),
        (
            "flipped along the other diagonal",
            lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        ),
        ("inverted", ImageOps.invert),
        ("framed", lambda image: ImageOps.expand(image, border=60, fill="white")),
        ("framed", lambda image: ImageOps.pad(image, (700, 1200), color="black")),
    ],
)
def test_what_was_turned_mirrored_inverted_or_framed_is_found_and_told(
    transform: str,
    rework: Callable[[Image.Image], Image.Image],
    engine: Engine,
    original: bytes,
    photographs: tuple[Image.Image, ...],
    encode: Encode,
) -> None:
    result = find(engine, encode(rework(photographs[0]), "JPEG", quality=60), LIMITS)
    assert kinds(result) == [(id_of(original), "perceptual")]
    assert (result.matches[0].verdict, result.matches[0].transform) == ("match", transform)
    assert transform in result.query["variants"]


def test_a_transform_is_told_of_a_match_alone(
    engine: Engine, original: bytes, photographs: tuple[Image.Image, ...], encode: Encode
) -> None:
    far = photographs[0].resize((40, 27)).filter(ImageFilter.GaussianBlur(2))
    (match,) = find(engine, encode(far), LIMITS).matches
    assert match.distance is not None
    assert match.distance > NEAR_BITS
    assert find(engine, encode(ImageOps.mirror(far)), LIMITS).matches == ()


def test_a_part_is_found_where_it_is_and_verified(
    engine: Engine, original: bytes, photographs: tuple[Image.Image, ...], encode: Encode
) -> None:
    width, height = photographs[0].size
    box = (width // 4, height // 8, width // 4 + width * 6 // 10, height // 8 + height * 7 // 10)
    for rework, mirrored in ((lambda image: image, False), (ImageOps.mirror, True)):
        query = encode(rework(photographs[0].crop(box)), "JPEG", quality=80)
        (match,) = find(engine, query, LIMITS).matches
        assert (match.id, match.kind, match.verdict) == (id_of(original), "part", "match")
        assert match.geometry is not None
        assert match.geometry.mirrored == mirrored
        shown = (box[0] / width, box[1] / height, box[2] / width, box[3] / height)
        assert match.geometry.box == pytest.approx(shown, abs=0.02)
        assert match.expected_bound is not None


def test_the_same_pixels_in_another_container_are_a_rendition(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode
) -> None:
    stored = encode(drawn(1))
    shelf.add(stored)
    for kind, options in (("PNG", {"compress_level": 1}), ("WEBP", {"lossless": True})):
        (match,) = find(engine, encode(drawn(1), kind, **options), LIMITS).matches
        expected = "pixels" if kind == "PNG" else "rendition"
        assert (match.kind, match.verdict, match.expected) == (expected, "match", 0.0)


def test_an_animation_is_found_by_a_later_frame(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode
) -> None:
    frames = [drawn(seed) for seed in (1, 2, 3)]
    animation = encode(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    shelf.add(animation)
    (match,) = find(engine, encode(frames[2], "JPEG", quality=80), LIMITS).matches
    assert (match.id, match.kind, match.frame) == (id_of(animation), "perceptual", 2)
    assert match.fingerprint == FRAMES
    (first,) = find(engine, encode(frames[0], "JPEG", quality=80), LIMITS).matches
    assert (first.frame, first.fingerprint) == (None, PHASH256)


def test_what_could_be_compared_by_its_corners_and_disagrees_is_lowered(
    shelf: Any, engine: Engine, photographs: tuple[Image.Image, ...], encode: Encode
) -> None:
    """A hash alone cannot tell two garments of one cut apart; their corners can."""
    shelf.add(encode(photographs[0]))
    far = encode(photographs[0].resize((40, 27)).filter(ImageFilter.GaussianBlur(2)))
    (match,) = find(engine, far, LIMITS).matches
    assert match.distance is not None
    assert match.distance > NEAR_BITS
    assert (match.verdict, match.geometry) == ("probable", None)
    with write(engine) as conn:
        conn.execute(delete(table_of(ThumbnailRow)))
    (unseen,) = find(engine, far, LIMITS).matches
    assert (unseen.verdict, unseen.expected) == ("match", match.expected)


def test_a_frame_around_nothing_is_no_variant(
    engine: Engine, original: bytes, drawn: Draw, encode: Encode
) -> None:
    drawing = Image.new("RGB", (300, 300), "white")
    drawing.paste((200, 30, 30), (100, 100, 200, 200))
    dotted = drawing.copy()
    dotted.paste(drawn(4, size=30), (130, 130))
    for picture in (drawing, dotted):
        assert find(engine, encode(picture), LIMITS).matches == ()
    result = find(engine, encode(drawn(4)), LIMITS)
    assert "framed" not in result.query["variants"]


def test_another_picture_matches_nothing(
    engine: Engine, original: bytes, drawn: Draw, encode: Encode
) -> None:
    result = find(engine, encode(drawn(9)), LIMITS)
    assert result.matches == ()
    assert result.verdict == "none"


def test_an_asset_stands_under_its_strongest_kind_only(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode
) -> None:
    exact = encode(drawn(1))
    pixels = encode(drawn(1), compress_level=1)
    alike = encode(drawn(1), "JPEG", quality=60)
    for data in (alike, pixels, exact):
        shelf.add(data)
    found = kinds(find(engine, exact, LIMITS))
    assert found == [
        (id_of(exact), "exact"),
        (id_of(pixels), "pixels"),
        (id_of(alike), "perceptual"),
    ]


def test_bytes_made_twice_are_one_match_with_both_records_newest_first(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode
) -> None:
    data = encode(drawn(1))
    first, second = shelf.add(data), shelf.add(data)
    for query in (data, encode(drawn(1), "JPEG", quality=50)):
        (match,) = find(engine, query, LIMITS).matches
        assert match.records == (second, first)


def test_a_flat_picture_is_found_by_its_bytes_and_pixels_alone(
    shelf: Any, engine: Engine, encode: Encode
) -> None:
    red = encode(Image.new("RGB", (64, 64), (200, 0, 0)))
    shelf.add(red)
    shelf.add(encode(Image.new("RGB", (64, 64), (0, 0, 200))))
    same = find(engine, encode(Image.new("RGBA", (64, 64), (200, 0, 0, 255))), LIMITS)
    assert kinds(same) == [(id_of(red), "pixels")]
    other = find(engine, encode(Image.new("RGB", (64, 64), (0, 200, 0))), LIMITS)
    assert other.matches == ()
    assert NOT_FINGERPRINTABLE in other.notes
    assert other.query["fingerprint"] is None


def test_the_query_says_what_was_looked_for(
    engine: Engine, original: bytes, photographs: tuple[Image.Image, ...]
) -> None:
    query = find(engine, original, LIMITS, radius=40).query
    parts = sum(len(segments_of(photograph)) for photograph in photographs)
    assert query["sha256"] == hashlib.sha256(original).hexdigest()
    assert query["algorithm"] == PHASH256
    assert len(query["fingerprint"]) == 64
    assert (query["radius"], query["compared"]) == (40, 2 + parts)
    assert (query["banks"], query["calibration"]) == (["registered"], "default")


def test_the_radius_is_inclusive_and_bounded(
    engine: Engine, original: bytes, photographs: tuple[Image.Image, ...], encode: Encode
) -> None:
    far = encode(photographs[0].resize((40, 27)), "JPEG", quality=20)
    (match,) = find(engine, far, LIMITS).matches
    assert match.distance
    assert find(engine, far, LIMITS, radius=match.distance).matches == (match,)
    assert find(engine, far, LIMITS, radius=match.distance - 1).matches == ()
    for radius in (-1, 257):
        with pytest.raises(InputError) as error:
            find(engine, far, LIMITS, radius=radius)
        assert error.value.code == "find.radius"


def test_a_picture_stored_after_the_first_search_is_found(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode
) -> None:
    query = encode(drawn(1), "JPEG", quality=50)
    assert find(engine, query, LIMITS).matches == ()
    stored = encode(drawn(1))
    shelf.add(stored)
    assert kinds(find(engine, query, LIMITS)) == [(id_of(stored), "perceptual")]


def test_many_look_alikes_are_cut_and_counted(
    shelf: Any, engine: Engine, drawn: Draw, encode: Encode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finder, "MOST_MATCHES", 3)
    for quality in range(40, 90, 10):
        shelf.add(encode(drawn(1), "JPEG", quality=quality))
    result = find(engine, encode(drawn(1)), LIMITS)
    assert len(result.matches) == 3
    assert "2 more look-alikes are left out" in result.notes
    distances = [match.distance for match in result.matches]
    assert distances == sorted(distances)


@pytest.mark.parametrize("other", [b"words", b"%PDF-1.7\0", b"\0\1\2"])
def test_what_is_no_picture_is_looked_up_by_its_bytes(
    other: bytes, engine: Engine, tmp_path: Path
) -> None:
    result = find(engine, other, LIMITS)
    assert result.matches == ()
    assert "only the bytes were compared" in result.notes[0]
    named = tmp_path / "picture.jpg"
    named.write_bytes(other.replace(b"%PDF", b"pdf"))
    with pytest.raises(InputError, match="no picture of a kind"):
        find(engine, named, LIMITS)


@pytest.mark.parametrize("broken", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a"])
def test_unknown_broken_pictures_are_refused(broken: bytes, engine: Engine) -> None:
    with pytest.raises(InputError) as error:
        find(engine, broken, LIMITS)
    assert error.value.code == "image.unreadable"


def test_a_text_on_the_log_is_found_by_its_bytes(shelf: Any, engine: Engine) -> None:
    record = shelf.add(b"a poem", picture=False)
    result = find(engine, b"a poem", LIMITS)
    assert kinds(result) == [(id_of(b"a poem"), "exact")]
    assert result.matches[0].records == (record,)
    assert "only the bytes were compared" in result.notes[0]


def test_a_wrong_suffix_is_noted_and_does_not_hide_a_match(
    tmp_path: Path, engine: Engine, original: bytes
) -> None:
    file = tmp_path / "downloaded.jpg"
    file.write_bytes(original)
    result = find(engine, file, LIMITS)
    assert kinds(result) == [(id_of(original), "exact")]
    assert "image/jpeg" in result.notes[0]


def test_a_missing_file_is_refused(tmp_path: Path, engine: Engine) -> None:
    with pytest.raises(InputError) as error:
        find(engine, tmp_path / "none.png", LIMITS)
    assert error.value.code == "file.unreadable"


def test_an_answer_survives_the_wire(engine: Engine, original: bytes) -> None:
    result = find(engine, original, LIMITS)
    sent = json.loads(json.dumps(result.to_dict()))
    assert TypeAdapter(FindResult).validate_python(sent) == result


def test_real_product_shots_are_told_apart_and_found_again(
    shared_data: Path, shelf: Any, engine: Engine, encode: Encode
) -> None:
    files = sorted((shared_data / "product-photos").glob("*.jpg"))[::20]
    stored = {file: id_of(file.read_bytes()) for file in files}
    for file in files:
        shelf.add(file.read_bytes())
    for file, asset in stored.items():
        with Image.open(file) as image:
            query = encode(image.convert("RGB").resize((240, 320)), "JPEG", quality=50)
        best = [
            match.id for match in find(engine, query, LIMITS).matches if match.verdict == "match"
        ]
        assert best == [asset]
