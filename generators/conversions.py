"""Plain conversions of pictures, each recorded: sizes, crops, containers, resolutions, profiles.

    receipt = convert(registry, asset, "fit", {"width": 300, "height": 250})

Each is a build of its own type, whose record names the picture it is from; a replay is exact where
the codecs are the same. A `wrap` into a lossless format changes no pixel: the new file is a
rendition. Needs Pillow alone, and imports it late.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators import environment, icc
from generators.encode import encode_png
from generators.recent import outputs_of
from registry.core.digests import sha256_hex
from registry.core.generation import Generation, Material, Output
from registry.core.statements import build_uri
from registry.errors import InputError, MaterialError
from registry.settings import Limits
from registry.similarity.decode import MEDIA_TYPES, open_image
from registry.similarity.fingerprints import pixels_digest

if TYPE_CHECKING:
    from PIL.Image import Image

    from generators.ports import Job, Recorder
    from registry.core.answers import Receipt

BUILD_TYPE = build_uri("conversion")
BUILDER_ID = "https://w3id.org/genops/builder/conversion"
PICTURE = "input/picture"
PROFILE = "profile/target"
FORMATS = ("png", "jpeg", "webp", "tiff")
"""What `wrap` writes: PNG, TIFF and (unless a quality is given) WebP without loss."""
MAX_SIDE = 16_384
"""Longest side of a picture that is made here, pixels."""
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")
_WHITE = (255, 255, 255)


def convert(
    recorder: Recorder,
    data: bytes,
    operation: str,
    arguments: Mapping[str, Any],
    *,
    profile: Path | None = None,
    project: str | None = None,
    campaign: str | None = None,
) -> Receipt:
    """Convert a picture (its bytes, as stored) and record that.

    `operation` is a name of `OPERATIONS`, with its arguments; `profile` is the ICC file of a
    `profile` operation to a space that is not built in. Raises InputError for what cannot be done.
    """
    started = time.time_ns() // 1_000_000
    target = None if profile is None else _read_profile(profile)
    result = apply(operation, data, dict(arguments), target)
    recent = outputs_of(recorder)
    materials = [_material(PICTURE, "image", data)]
    blobs: list[bytes | Path] = [data]
    if target is not None:
        materials.append(_material(PROFILE, "asset", target))
        blobs.append(target)
    generation = Generation(
        build_type=BUILD_TYPE,
        external={"operation": f"{operation}/v1", "arguments": dict(arguments)},
        internal={"environment": environment_here()},
        materials=recent.name(materials),
        outputs=[_output(result)],
        started_ms=started,
        finished_ms=time.time_ns() // 1_000_000,
        builder_id=BUILDER_ID,
        builder_version={"pillow": environment_here()["libraries"]["pillow"]},
        campaign=campaign,
    )
    receipt: Receipt = recorder.record(generation, blobs=blobs, project=project)
    recent.remember(receipt)
    return receipt


def apply(
    operation: str, data: bytes, arguments: Mapping[str, Any], profile: bytes | None = None
) -> bytes:
    """Return the converted picture; the same input gives the same bytes with the same codecs.

    Raises InputError: `conversion.unknown`, `conversion.argument`, and what `open_image` raises.
    """
    known = OPERATIONS.get(operation)
    if known is None:
        raise InputError(
            f"there is no conversion {operation!r}",
            code="conversion.unknown",
            hint=f"there are {', '.join(OPERATIONS)}",
        )
    if profile is not None:
        arguments = {**arguments, "file": profile}
    try:
        return known(open_image(data, Limits()), **arguments)
    except TypeError as error:
        raise _unfit(f"{operation}: {error}") from None


def resize(image: Image, *, width: int, height: int, filter: str = "lanczos") -> bytes:  # noqa: A002
    """Scale to exactly this size, without keeping the proportions."""
    return _png(_scaled(image, width, height, filter))


def crop(image: Image, *, left: int, top: int, width: int, height: int) -> bytes:
    """Cut out a rectangle, in pixels from the top left."""
    _check_size(width, height)
    if left < 0 or top < 0 or left + width > image.width or top + height > image.height:
        raise _unfit(
            f"crop {width}x{height}+{left}+{top} is not inside {image.width}x{image.height}"
        )
    return _png(image.crop((left, top, left + width, top + height)))


def fit(image: Image, *, width: int, height: int, anchor: Sequence[float] = (0.5, 0.5)) -> bytes:
    """Fill this size: scale until it is covered, and cut off what is over.

    `anchor` (0 to 1 across and down) says which part stays.
    """
    _check_size(width, height)
    across, down = anchor
    if not (0 <= across <= 1 and 0 <= down <= 1):
        raise _unfit(f"anchor {list(anchor)} is not within 0 to 1")
    if image.width * height > image.height * width:  # too wide
        kept = max(1, round(image.height * width / height))
        left = round((image.width - kept) * across)
        box = (left, 0, left + kept, image.height)
    else:
        kept = max(1, round(image.width * height / width))
        top = round((image.height - kept) * down)
        box = (0, top, image.width, top + kept)
    return _png(_scaled(image.crop(box), width, height, "lanczos"))


def pad(image: Image, *, width: int, height: int, colour: str = "#ffffff") -> bytes:
    """Show the whole picture within this size, on a ground of one colour (`#rrggbb`)."""
    from PIL import Image, ImageColor

    _check_size(width, height)
    scale = min(width / image.width, height / image.height)
    inner = _scaled(
        image, max(1, round(image.width * scale)), max(1, round(image.height * scale)), "lanczos"
    )
    try:
        ground = Image.new("RGB", (width, height), ImageColor.getrgb(colour))
    except ValueError:
        raise _unfit(f"colour {colour!r} is not #rrggbb") from None
    place = ((width - inner.width) // 2, (height - inner.height) // 2)
    ground.paste(inner, place, inner if inner.mode == "RGBA" else None)
    ground.info = _kept(image)
    return _png(ground)


def extend(image: Image, *, left: int, top: int, right: int, bottom: int) -> bytes:
    """Add room around a picture by repeating its edge, for an outpainting to fill."""
    import numpy as np
    from PIL import Image

    if min(left, top, right, bottom) < 0:
        raise _unfit("room to add is negative")
    _check_size(image.width + left + right, image.height + top + bottom)
    plain = _plain(image)
    levels = np.asarray(plain)
    room = ((top, bottom), (left, right), (0, 0))[: levels.ndim]
    wide = Image.fromarray(np.pad(levels, room, mode="edge"), mode=None)
    wide.info = _kept(image)
    return _png(wide)


def change_profile(image: Image, *, to: str, file: bytes | None = None) -> bytes:
    """Convert the colours into another space, and embed its profile.

    `to` is `srgb` or `display-p3`, or the name of a space whose ICC profile is given. A picture
    without a profile counts as sRGB. A space that is not RGB or grey (CMYK) comes as TIFF.
    """
    from PIL import ImageCms

    target = file if file is not None else _built_in(to)
    source = image.info.get("icc_profile") or icc.profile("srgb")
    try:
        wanted = ImageCms.ImageCmsProfile(io.BytesIO(target))
        space = wanted.profile.xcolor_space.strip()
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}.get(space)
        if mode is None:
            raise _unfit(f"profile {to} is of {space}; written are RGB, GRAY and CMYK")
        made = ImageCms.profileToProfile(
            _opaque(image),
            ImageCms.ImageCmsProfile(io.BytesIO(source)),
            wanted,
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode=mode,
            flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError) as error:
        raise _unfit(f"profile {to} cannot be used: {error}") from None
    assert made is not None  # noqa: S101  # only None with inPlace
    made.info = _kept(image) | {"icc_profile": target}
    return _png(made) if mode != "CMYK" else _saved(made, "TIFF", compression="tiff_adobe_deflate")


def wrap(
    image: Image,
    *,
    format: str,  # noqa: A002
    dpi: float | None = None,
    quality: int | None = None,
    profile: str = "keep",
) -> bytes:
    """Write the same pixels into a container, with a resolution and a profile.

    `quality` (1 to 100) is for JPEG, and makes a WebP lossy. `profile` is `keep`, `none`, or
    `srgb` to say of a picture without one what it is taken for; it changes no pixel.
    """
    if dpi is not None and not (1 <= dpi <= 10_000 and format != "webp"):
        raise _unfit(f"{dpi} dpi is not within 1 to 10000, or {format} has no place for it")
    if quality is not None and not (1 <= quality <= 100 and format in {"jpeg", "webp"}):
        raise _unfit(f"quality {quality} is not 1 to 100, or {format} has none")
    shown = image.copy()
    embedded = _kept(image).get("icc_profile")
    if profile == "srgb" and embedded is None:
        embedded = icc.profile("srgb")
    elif profile not in {"keep", "srgb"}:
        if profile != "none":
            raise _unfit(f"profile {profile!r} is not keep, none or srgb")
        embedded = None
    options: dict[str, Any] = {} if embedded is None else {"icc_profile": embedded}
    options |= {} if dpi is None else {"dpi": (dpi, dpi)}
    if format == "png":
        return _saved(shown, "PNG", compress_level=6, **_png_only(shown), **options)
    if format == "tiff":
        return _saved(shown, "TIFF", compression="tiff_adobe_deflate", **options)
    if format == "webp":
        how = {"lossless": True, "exact": True} if quality is None else {"quality": quality}
        return _saved(_plain(shown), "WEBP", method=4, **how, **options)
    if format == "jpeg":
        return _saved(_opaque(shown), "JPEG", quality=quality or 90, subsampling=0, **options)
    raise _unfit(f"format {format!r} is not one of {', '.join(FORMATS)}")


OPERATIONS: Mapping[str, Callable[..., bytes]] = {
    "resize": resize,
    "crop": crop,
    "fit": fit,
    "pad": pad,
    "extend": extend,
    "profile": change_profile,
    "wrap": wrap,
}
"""Every conversion by name. A change of what one does is a new name."""


class ConversionAdapter:
    """Replays records of `convert` (`generators.ports.Adapter`)."""

    build_type = BUILD_TYPE

    def environment(self) -> dict[str, Any]:
        """Return the present environment as a record would hold it."""
        return environment_here()

    def replay(self, job: Job) -> Sequence[Output]:
        """Convert the recorded picture again; `job.overrides` may hold any argument by name."""
        external = job.statement["predicate"]["buildDefinition"]["externalParameters"]
        operation, _, version = external["operation"].partition("/")
        if version != "v1":
            raise InputError(
                f"this version does not know the conversion {external['operation']}",
                code="replay.record",
            )
        if unknown := job.overrides.keys() - external["arguments"].keys():
            raise InputError(
                f"the recorded conversion has no argument {', '.join(sorted(unknown))}",
                code="replay.override",
            )
        arguments = {**external["arguments"], **job.overrides}
        profile = _content(job, PROFILE) if PROFILE in job.materials else None
        return [_output(apply(operation, _content(job, PICTURE), arguments, profile))]


adapter = ConversionAdapter()


def environment_here() -> dict[str, Any]:
    """Return what decides the bytes of a conversion: Pillow, its codecs, the processor."""
    from PIL import features

    found = environment.capture()
    codecs = {
        name: str(features.version(name))
        for name in ("zlib", "libjpeg_turbo", "libtiff", "webp", "littlecms2")
        if features.version(name)
    }
    return {
        "python": found["python"],
        "libraries": {"pillow": found["libraries"]["pillow"]},
        "processor": found["processor"],
        "codecs": codecs,
    }


def _output(data: bytes) -> Output:
    image = open_image(data, Limits())
    return Output(
        data,
        MEDIA_TYPES[image.format or ""],
        width=image.width,
        height=image.height,
        pixels=pixels_digest(image),
    )


def _material(name: str, kind: str, data: bytes) -> Material:
    return Material(name=name, kind=kind, sha256=sha256_hex(data), storage="vaulted")


def _content(job: Job, name: str) -> bytes:
    found = job.materials.get(name)
    if found is None or not found.exists():
        raise MaterialError(f"material {name} is not at hand", code="material.missing")
    return found.read_bytes()


def _read_profile(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read the profile {path}: {error.strerror}", code="conversion.profile"
        ) from None


def _built_in(name: str) -> bytes:
    if name not in icc.PRIMARIES:
        raise InputError(
            f"there is no built-in profile {name!r}",
            code="conversion.profile",
            hint=f"built in are {', '.join(icc.PRIMARIES)}; for others give an ICC file",
        )
    return icc.profile(name)


def _scaled(image: Image, width: int, height: int, how: str) -> Image:
    from PIL.Image import Resampling

    _check_size(width, height)
    if how not in FILTERS:
        raise _unfit(f"filter {how!r} is not one of {', '.join(FILTERS)}")
    plain = _plain(image)
    # Colours under transparent pixels must not bleed into the others.
    premultiplied = plain.convert("RGBa") if plain.mode == "RGBA" else plain
    made = premultiplied.resize((width, height), Resampling[how.upper()], reducing_gap=None)
    made = made.convert("RGBA") if plain.mode == "RGBA" else made
    made.info = _kept(image)
    return made


def _plain(image: Image) -> Image:
    """Return a picture in L, RGB, RGBA or CMYK: palettes and bits cannot be interpolated."""
    if image.mode in {"L", "RGB", "RGBA", "CMYK"}:
        return image
    if image.mode == "1":
        return image.convert("L")
    transparent = image.mode in {"LA", "PA", "La", "RGBa"} or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def _opaque(image: Image) -> Image:
    """Return a picture without alpha, on white."""
    from PIL import Image

    plain = _plain(image)
    if plain.mode != "RGBA":
        return plain
    ground = Image.new("RGB", plain.size, _WHITE)
    ground.paste(plain, (0, 0), plain)
    return ground


def _kept(image: Image) -> dict[Any, Any]:
    """Return of a picture's notes what says how its numbers are meant."""
    return {key: value for key, value in image.info.items() if key == "icc_profile" and value}


def _png(image: Image) -> bytes:
    """Encode as adapters do, so that a picture which is consumed again has the same digest."""
    if image.mode == "CMYK":
        return _saved(image, "TIFF", compression="tiff_adobe_deflate", **_kept(image))
    if not _kept(image):
        return encode_png(image)
    return _saved(image, "PNG", compress_level=6, **_png_only(image), **_kept(image))


def _png_only(image: Image) -> dict[str, Any]:
    return {k: v for k, v in image.info.items() if k == "transparency"}


def _saved(image: Image, kind: str, **options: Any) -> bytes:
    bare = image.copy()
    bare.info = {}
    stream = io.BytesIO()
    try:
        bare.save(stream, kind, **options)
    except (OSError, ValueError) as error:
        raise _unfit(
            f"a picture of mode {image.mode} cannot be written as {kind}: {error}"
        ) from None
    return stream.getvalue()


def _check_size(width: int, height: int) -> None:
    if not (1 <= width <= MAX_SIDE and 1 <= height <= MAX_SIDE):
        raise _unfit(f"size {width}x{height} is not within 1 to {MAX_SIDE} pixels a side")


def _unfit(why: str) -> InputError:
    return InputError(why, code="conversion.argument", hint="see docs/campaign.md")
