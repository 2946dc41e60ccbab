"""Seeds, encodings, file digests, arguments and the environment: small things that must hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from generators import environment, seeds
from generators.arguments import ArgumentReader, ArgumentWriter
from generators.encode import (
    as_pictures,
    decode_array,
    decode_image,
    encode_array,
    encode_png,
    image_output,
    pixel_digest,
    png_encoding,
)
from generators.files import FileDigests, files_below
from registry.core.digests import sha256_hex
from registry.core.generation import Sealed
from registry.errors import InputError, MaterialError

ROOT = Path(__file__).parents[2]


# Seeds.


@given(st.integers(0, seeds.MAX_SEED))
def test_every_seed_survives_record_and_restore(seed: int) -> None:
    described = seeds.describe(seeds.generator_for(seed))
    assert described["generators"][0] == {"seed": str(seed), "device": "cpu"}
    again = seeds.restore(described)
    assert torch.equal(again.get_state(), seeds.generator_for(seed).get_state())


def test_a_used_generator_is_restored_where_it_was() -> None:
    generator = seeds.generator_for(3)
    torch.rand(5, generator=generator)
    again = seeds.restore(seeds.describe(generator))
    assert torch.equal(torch.rand(4, generator=again), torch.rand(4, generator=generator))


def test_a_generator_given_twice_stays_one_generator() -> None:
    one, other = seeds.generator_for(1), seeds.generator_for(2)
    first, second, third = seeds.restore(seeds.describe([one, other, one]))
    assert first is third
    assert first is not second


@pytest.mark.parametrize("seed", ["-1", "1.0", "", "0x10", "1" * 21, "\u0661", str(2**64)])
def test_texts_that_are_no_seeds_are_refused(seed: str) -> None:
    with pytest.raises(InputError) as caught:
        seeds.parse_seed(seed)
    assert caught.value.code == "input.seed"


# Encodings.


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_png_keeps_mode_and_pixels(mode: str) -> None:
    image = Image.effect_noise((9, 7), 90).convert("RGB")
    image = image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)
    again = decode_image(encode_png(image))
    assert (again.mode, again.tobytes()) == (image.mode, image.tobytes())


def test_png_holds_pixels_alone() -> None:
    image = Image.new("RGB", (8, 8), "red")
    image.info |= {"icc_profile": b"secret", "exif": b"Exif\0\0secret", "dpi": (300, 300)}
    assert encode_png(image) == encode_png(Image.new("RGB", (8, 8), "red"))


def test_palette_transparency_survives() -> None:
    image = Image.new("RGBA", (8, 8), (255, 0, 0, 0)).convert("P")
    image.info["transparency"] = 0
    again = decode_image(encode_png(image))
    assert again.convert("RGBA").tobytes() == image.convert("RGBA").tobytes()


def test_the_encodings_name_changes_with_what_changes_the_bytes() -> None:
    import PIL

    assert PIL.__version__ in png_encoding()
    assert png_encoding().endswith("-level6")


def test_the_pixel_digest_follows_the_exif_orientation_and_ignores_hidden_colour() -> None:
    upright = Image.new("RGB", (4, 2))
    upright.putpixel((0, 0), (255, 0, 0))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    turned.getexif()[0x0112] = 6
    assert pixel_digest(turned) == pixel_digest(upright)
    hidden = [Image.new("RGBA", (2, 2), (shade, 0, 0, 0)) for shade in (0, 200)]
    assert pixel_digest(hidden[0]) == pixel_digest(hidden[1])
    assert pixel_digest(Image.new("I;16", (2, 2))) is None


def test_the_pixel_digest_is_the_registrys() -> None:
    from registry.similarity.fingerprints import pixels_digest

    image = Image.effect_noise((16, 16), 80).convert("RGBA")
    assert pixel_digest(image) == pixels_digest(image)


@pytest.mark.parametrize("data", [b"", b"\x93NUMPY", b"PK\x03\x04"])
def test_damaged_arrays_are_refused(data: bytes) -> None:
    with pytest.raises(InputError):
        decode_array(data)


def test_arrays_with_objects_are_refused() -> None:
    import io

    stream = io.BytesIO()
    np.save(stream, np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError):
        decode_array(stream.getvalue())


@pytest.mark.parametrize("damage", [b"", b"\x89PNG\r\n\x1a\n", b"not a picture"])
def test_damaged_pictures_are_refused(damage: bytes) -> None:
    with pytest.raises(InputError):
        decode_image(damage)


def test_a_truncated_picture_is_refused() -> None:
    data = encode_png(Image.effect_noise((64, 64), 90))
    with pytest.raises(InputError):
        decode_image(data[: len(data) // 2])


def test_frames_and_tensors_become_pictures() -> None:
    frames = [[Image.new("RGB", (4, 4))] * 2, [Image.new("RGB", (4, 4))]]
    assert len(as_pictures(frames)) == 3
    tensor = torch.rand(2, 3, 4, 5)
    (first, second) = as_pictures(tensor)
    assert (first.size, second.size) == ((5, 4), (5, 4))
    assert len(as_pictures(torch.rand(2, 4, 8, 8))) == 2


# File digests.


def test_a_file_is_hashed_again_when_it_changed(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    digests = FileDigests(now_ns=lambda: file.stat().st_mtime_ns + 10**10)
    for content in (b"one", b"two", b"four"):
        file.write_bytes(content)
        assert digests.describe(file, "weights").sha256 == sha256_hex(content)


def test_a_file_is_not_read_twice_while_it_stays(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    stat = file.stat()
    digests = FileDigests(now_ns=lambda: stat.st_mtime_ns + 10**10)
    digests.describe(file, "weights")
    file.write_bytes(b"two")  # the same size, and the time set back: by identity the same file
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.describe(file, "weights").sha256 == sha256_hex(b"one")


def test_a_file_written_just_now_is_never_taken_from_the_cache(tmp_path: Path) -> None:
    file = tmp_path / "weights"
    file.write_bytes(b"one")
    stat = file.stat()
    digests = FileDigests(now_ns=lambda: stat.st_mtime_ns + 1000)
    digests.describe(file, "weights")
    file.write_bytes(b"two")
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert digests.describe(file, "weights").sha256 == sha256_hex(b"two")


def test_a_large_file_says_how_far_it_is_and_has_the_same_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("generators.files.LARGE_BYTES", 10)
    monkeypatch.setattr("generators.files._CHUNK_BYTES", 4)
    (tmp_path / "large").write_bytes(b"ten bytes!")
    (tmp_path / "small").write_bytes(b"nine here")
    said: list[tuple[str, int, int]] = []
    digests = FileDigests(progress=lambda *step: said.append(step))
    assert digests.describe(tmp_path / "large", "x").sha256 == sha256_hex(b"ten bytes!")
    digests.describe(tmp_path / "small", "x")
    assert said == [("large", 4, 10), ("large", 8, 10), ("large", 10, 10)]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MaterialError) as caught:
        FileDigests().describe(tmp_path / "weights", "weights")
    assert "weights" in caught.value.message


def test_hidden_files_are_no_part_of_a_folder(tmp_path: Path) -> None:
    for name in ("a.json", ".hidden", ".cache/b.json", "sub/c.json"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    found = {path.relative_to(tmp_path).as_posix() for path in files_below(tmp_path)}
    assert found == {"a.json", "sub/c.json"}


# Arguments.

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


def opened(described: Any) -> Any:
    if isinstance(described, Sealed):
        return described.value
    if isinstance(described, dict):
        return {key: opened(value) for key, value in described.items()}
    return [opened(item) for item in described] if isinstance(described, list) else described


@given(VALUES)
def test_any_plain_argument_comes_back_as_it_was(value: Any) -> None:
    reader = ArgumentReader()
    described = reader.read("argument", value, None)
    writer = ArgumentWriter(path=Path, media_types={})
    assert reader.reasons == []
    assert writer.write("argument", opened(described)) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), [1.0, -float("inf")]])
def test_numbers_that_json_cannot_hold_are_refused(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        ArgumentReader().read("guidance", value, None)
    assert caught.value.code == "input.number"


def test_a_seed_is_a_decimal_string_at_any_size() -> None:
    assert ArgumentReader().read("seed", 7, None) == {"integer": "7"}
    assert ArgumentReader().read("steps", 7, None) == 7
    assert ArgumentReader().read("steps", 2**53, None) == {"integer": str(2**53)}


@pytest.mark.parametrize(
    "value",
    [np.arange(6, dtype=np.uint8).reshape(1, 2, 3), torch.rand(2, 3), torch.ones(2).half()],
    ids=["ndarray", "float32", "float16"],
)
def test_arrays_come_back_with_their_type(value: Any, tmp_path: Path) -> None:
    reader = ArgumentReader()
    described = reader.read("image", value, None)
    file = tmp_path / "content"
    file.write_bytes(reader.blobs[0])
    media_types = {m.name: m.media_type for m in reader.materials}
    again = ArgumentWriter(lambda name: file, media_types).write("image", described)
    assert type(again) is type(value)
    assert again.dtype == value.dtype
    assert bool((again == value).all())


def test_the_same_picture_twice_is_one_material() -> None:
    reader = ArgumentReader()
    picture = Image.new("RGB", (4, 4), "red")
    reader.read("image", [picture, picture.copy(), Image.new("RGB", (4, 4), "blue")], None)
    assert [material.name for material in reader.materials] == ["input/image", "input/image-2"]
    assert reader.inputs == {"image": ["input/image", "input/image", "input/image-2"]}


def test_arrays_are_encoded_alike_whatever_their_strides() -> None:
    array = np.arange(12).reshape(3, 4)
    assert encode_array(array.T.copy()) == encode_array(array.T)


# The environment.


def run(code: str, **variables: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in {"MKL_CBWR", "OMP_NUM_THREADS"}}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        check=True,
        cwd=ROOT,
        env=env | {"PYTHONPATH": str(ROOT)} | variables,
    ).stdout.decode()


def test_preparing_sets_what_was_not_set_and_says_when_it_is_too_late() -> None:
    code = (
        "import os, sys; from generators import environment as e; first = e.prepare();"
        "print(first, os.environ['MKL_CBWR'], os.environ['OMP_NUM_THREADS'],"
        " 'torch' in sys.modules)"
    )
    assert run(code).split() == ["True", "AUTO,STRICT", "1", "False"]
    assert run(code, OMP_NUM_THREADS="2", MKL_CBWR="COMPATIBLE").split()[1:3] == ["COMPATIBLE", "2"]
    late = "import torch; from generators import environment as e; print(e.prepare())"
    assert run(late).split() == ["False"]


def test_the_environment_names_neither_host_nor_user() -> None:
    import getpass
    import platform

    captured = repr(environment.capture())
    assert platform.node() not in captured
    assert f"'{getpass.getuser()}'" not in captured


def test_the_environment_changes_with_what_changes_bits() -> None:
    before = environment.capture()
    assert environment.capture() == before
    torch.set_float32_matmul_precision("medium")
    try:
        assert environment.capture() != before
    finally:
        torch.set_float32_matmul_precision("highest")
    assert environment.capture() == before


def test_matching_puts_everything_back_even_after_an_error() -> None:
    before = environment.capture()
    recorded = {"torch": before["torch"] | {"deterministic": True, "matmul_precision": "high"}}
    with pytest.raises(ZeroDivisionError), environment.matching(recorded):
        _ = 1 // (not torch.are_deterministic_algorithms_enabled())
    assert environment.capture() == before


def test_importing_the_adapters_imports_nothing_heavy() -> None:
    code = (
        "import sys; from generators.diffusers import adapter; from generators.callables import"
        " adapter as other; import generators; generators.recorded, generators.recorded_callable;"
        "heavy = ('torch', 'diffusers', 'transformers', 'numpy', 'PIL');"
        "print([name for name in heavy if name in sys.modules])"
    )
    assert run(code).strip() == "[]"


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "1"])
def test_a_fingerprint_from_the_picture_at_hand_is_that_of_its_bytes(mode: str) -> None:
    from registry.settings import Limits
    from registry.similarity.prints import prints_of

    rng = np.random.default_rng(5)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8))
    picture = coarse.resize((90, 70), Image.Resampling.BICUBIC).convert(mode)
    output = image_output(picture)
    of_bytes = prints_of(output.data, Limits())
    assert of_bytes.thumbnail is not None
    if mode in {"RGB", "L"}:
        assert output.fingerprints == of_bytes.values
        assert output.thumbnail == of_bytes.thumbnails[0]
        assert output.pixels == of_bytes.pixels
    else:
        assert (output.fingerprints, output.thumbnail) == (None, None)
