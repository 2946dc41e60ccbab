"""Digests, ids, times, pixel digests: each text form has one spelling."""

from __future__ import annotations

import hashlib
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.core import digests, ids, modelsets, pixels, times
from registry.core.digests import Ref
from registry.core.generation import ModelFile
from registry.errors import FormatError, InputError

HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("text", "ref"),
    [
        (f"sha256:{HEX}", Ref("asset", HEX, "asset")),
        (f"rec:{HEX}", Ref("record", HEX, "record")),
        (HEX, Ref("prefix", HEX)),
        ("01234567", Ref("prefix", "01234567")),
        (" 01234567AB\n", Ref("prefix", "01234567ab")),
        ("sha256:01234567", Ref("prefix", "01234567", "asset")),
        ("rec:01234567", Ref("prefix", "01234567", "record")),
        ("inc-0123456789abcdef", Ref("incident", "0123456789abcdef")),
    ],
)
def test_ids_and_prefixes_are_read(text: str, ref: Ref) -> None:
    assert digests.parse_ref(text) == ref


@pytest.mark.parametrize(
    "text", ["", "0123456", "rec:", "sha256:zzzzzzzz", HEX + "0", "md5:" + HEX]
)
def test_what_is_not_an_id_is_refused(text: str) -> None:
    with pytest.raises(InputError) as refused:
        digests.parse_ref(text)
    assert refused.value.code == "ref.invalid"


def test_an_id_is_made_of_a_whole_digest_only() -> None:
    assert digests.parse_ref(digests.asset_id(HEX)).hex == HEX
    for bad in (HEX[:-1], HEX.upper(), HEX + "\n"):
        with pytest.raises(InputError):
            digests.record_id(bad)


def test_modelset_does_not_depend_on_order_but_on_names_sizes_and_contents() -> None:
    a, b = ModelFile("a/x.bin", 1, HEX), ModelFile("b", 2, "0" * 64)
    digest = modelsets.modelset_digest([a, b])
    assert digest == modelsets.modelset_digest([b, a])
    assert digest == hashlib.sha256(modelsets.modelset_manifest([a, b])).hexdigest()
    changed = [
        ModelFile("a/y.bin", 1, HEX),
        ModelFile("a/x.bin", 3, HEX),
        ModelFile("a/x.bin", 1, "1" * 64),
    ]
    assert len({digest, *(modelsets.modelset_digest([c, b]) for c in changed)}) == 4
    assert modelsets.parse_modelset(modelsets.modelset_manifest([b, a])) == (a, b)


@pytest.mark.parametrize(
    "path", ["", "/a", "a/", "a//b", "../a", "a/../b", "./a", ".", "a\\b", "a\0b"]
)
def test_modelset_refuses_paths_that_are_not_plain(path: str) -> None:
    with pytest.raises(InputError):
        modelsets.modelset_manifest([ModelFile(path, 1, HEX)])


@pytest.mark.parametrize(
    "files",
    [
        [],
        [ModelFile("a", 1, HEX), ModelFile("a", 2, HEX)],
        [ModelFile("a", -1, HEX)],
        [ModelFile("a", 2**53, HEX)],
        [ModelFile("a", 0.5, HEX)],  # type: ignore[arg-type]  # as a hostile manifest says
        [ModelFile("a", True, HEX)],
        [ModelFile("a", 1, HEX.upper())],
    ],
)
def test_modelset_refuses_impossible_sets(files: list[ModelFile]) -> None:
    with pytest.raises(InputError) as refused:
        modelsets.modelset_digest(files)
    assert refused.value.code == "modelset.invalid"


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.replace(b",", b", "),
        lambda m: m.replace(b'"size":1', b'"size":1.0'),
        lambda m: m.replace(b'"path"', b'"name"'),
        lambda m: b"{}",
        lambda m: b"[1]",
        lambda m: b"[]",
        lambda m: b'[{"path":1,"sha256":"x","size":1}]',
    ],
)
def test_a_manifest_has_one_form(change: object) -> None:
    manifest = modelsets.modelset_manifest([ModelFile("a", 1, HEX)])
    with pytest.raises(FormatError):
        modelsets.parse_modelset(change(manifest))  # type: ignore[operator]


@given(st.integers(0, times.MAX_TIME_MS))
def test_times_round_trip(epoch_ms: int) -> None:
    text = times.format_time(epoch_ms)
    assert len(text) == 24
    assert times.parse_time(text) == epoch_ms


def test_time_is_rfc_3339_with_milliseconds() -> None:
    assert times.format_time(1_795_172_820_007) == "2026-11-20T11:07:00.007Z"


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-20T11:07:00Z",
        "2026-11-20T11:07:00.000000Z",
        "2026-11-20T11:07:00.000+00:00",
        "2026-11-20t11:07:00.000Z",
        "2026-11-20T11:07:00.000z",
        "2026-11-20 11:07:00.000Z",
        "2026-02-29T00:00:00.000Z",
        "2026-11-20T24:00:00.000Z",
        "2026-11-20T23:59:60.000Z",
        "1969-12-31T23:59:59.999Z",
        "2026-11-20T11:07:00.000Z\n",
        "\u0662026-11-20T11:07:00.000Z",
    ],
)
def test_other_spellings_of_a_time_are_refused(text: str) -> None:
    with pytest.raises(FormatError):
        times.parse_time(text)


@pytest.mark.parametrize("epoch_ms", [-1, times.MAX_TIME_MS + 1])
def test_times_outside_four_digit_years_are_refused(epoch_ms: int) -> None:
    with pytest.raises(InputError):
        times.format_time(epoch_ms)


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_uuid7_holds_its_time_and_its_randomness(epoch_ms: int, random: bytes) -> None:
    text = ids.uuid7(epoch_ms, random)
    parsed = uuid.UUID(text)
    assert ids.is_uuid7(text)
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == epoch_ms
    kept = ((parsed.int >> 64) & 0xFFF) << 62 | (parsed.int & (2**62 - 1))
    assert kept == int.from_bytes(random, "big") & (2**74 - 1)


def test_uuid7_of_rfc_9562() -> None:
    random = ((0xCC3 << 62) | 0x18C4DC0C0C07398F).to_bytes(10, "big")
    assert ids.uuid7(0x017F22E279B0, random) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@pytest.mark.parametrize(("epoch_ms", "size"), [(-1, 10), (2**48, 10), (0, 9)])
def test_uuid7_refuses_what_does_not_fit(epoch_ms: int, size: int) -> None:
    with pytest.raises(InputError):
        ids.uuid7(epoch_ms, bytes(size))


@given(st.integers(1, 6), st.integers(1, 6), st.data())
def test_pixel_digest_hides_only_colour_under_alpha_zero(
    w: int, h: int, data: st.DataObject
) -> None:
    rgba = data.draw(st.binary(min_size=4 * w * h, max_size=4 * w * h))
    slow = bytearray(rgba)
    for at in range(0, len(slow), 4):
        if slow[at + 3] == 0:
            slow[at : at + 3] = b"\0\0\0"
    header = f"genops-pixels-v1\n{w} {h}\n".encode()
    assert pixels.pixels_v1(w, h, rgba) == hashlib.sha256(header + slow).hexdigest()


def test_pixel_digest_knows_the_shape() -> None:
    assert pixels.pixels_v1(1, 2, bytes(8)) != pixels.pixels_v1(2, 1, bytes(8))
    for w, h, size in ((0, 1, 0), (1, 1, 3), (1, 1, 8)):
        with pytest.raises(InputError):
            pixels.pixels_v1(w, h, bytes(size))
