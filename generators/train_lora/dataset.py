"""A folder of pictures with captions, as the one material that a training names.

A picture may have a caption beside it, in a text file of the same name. Names and captions can
name a person: the dataset's digest is over the pictures' bytes alone, and the rest is sealed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.arguments import check_text
from generators.files import DIGESTS, files_below
from registry.core.digests import sha256_hex
from registry.core.generation import Material, ModelFile
from registry.core.modelsets import modelset_digest
from registry.errors import InputError, MaterialError
from registry.similarity.decode import open_image

if TYPE_CHECKING:
    from PIL.Image import Image

    from registry.settings import Limits

DATASET = "dataset/pictures"
MAX_PICTURES = 10_000
MAX_CAPTION_BYTES = 64 * 1024
MEDIA_TYPES = {
    ".avif": "image/avif",
    ".bmp": "image/bmp",
    ".gif": "image/gif",
    ".jpeg": "image/jpeg",
    ".jpg": "image/jpeg",
    ".png": "image/png",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".webp": "image/webp",
}
"""Suffixes of the files that are taken for pictures; others are left out, and counted."""
SUFFIXES = {media_type: suffix for suffix, media_type in MEDIA_TYPES.items()}
"""One suffix for each kind of picture."""
CAPTION = ".txt"


@dataclass(frozen=True, slots=True)
class Member:
    """One picture: where it lies, its name in the folder, its content, and its caption."""

    path: Path
    name: str
    size: int
    sha256: str
    caption: str

    @property
    def media_type(self) -> str:
        """The media type that the suffix claims; decoding holds the content against it."""
        return MEDIA_TYPES[Path(self.name).suffix.lower()]

    def open(self, limits: Limits) -> Image:
        """Decode the picture; MaterialError (`material.altered`) if it is another by now."""
        data = self.path.read_bytes()
        if sha256_hex(data) != self.sha256:
            raise MaterialError(f"{self.path} changed meanwhile", code="material.altered")
        return open_image(self.path, limits)


@dataclass(frozen=True, slots=True)
class Dataset:
    """The pictures of a folder in the order of their digests, so that their names decide nothing.

    `ignored` counts files that are neither pictures nor captions.
    """

    members: tuple[Member, ...]
    ignored: int = 0

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """The pictures under neutral names: their place in the order."""
        return tuple(
            ModelFile(f"{number:05d}{SUFFIXES[member.media_type]}", member.size, member.sha256)
            for number, member in enumerate(self.members)
        )

    @property
    def captions(self) -> list[str]:
        """The captions, in the pictures' order."""
        return [member.caption for member in self.members]

    def material(self, *, keep: bool, output_of: str | None) -> Material:
        """Return the dataset as one material; the vault holds its pictures if they are kept."""
        return Material(
            name=DATASET,
            kind="dataset",
            sha256=modelset_digest(self.files),
            storage="vaulted" if keep else "referenced",
            files=self.files,
            output_of=output_of,
        )


def read_dataset(folder: Path, *, caption: str = "") -> Dataset:
    """Read a folder, the ones below it too; `caption` is for pictures without one of their own.

    Raises InputError (`dataset.empty`, `dataset.too-large`, `dataset.caption`) and MaterialError
    for a file that cannot be read. Decodes nothing.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", code="dataset.empty")
    files = sorted(files_below(folder))
    pictures = [path for path in files if path.suffix.lower() in MEDIA_TYPES]
    if not pictures:
        raise InputError(
            f"{folder} holds no pictures",
            code="dataset.empty",
            hint=f"files named {', '.join(f'*{suffix}' for suffix in MEDIA_TYPES)}",
        )
    if len(pictures) > MAX_PICTURES:
        raise InputError(
            f"{folder} holds {len(pictures)} pictures, over {MAX_PICTURES}",
            code="dataset.too-large",
        )
    members = [_member(path, folder, caption) for path in pictures]
    captions = {path.with_suffix(CAPTION) for path in pictures} & set(files)
    members.sort(key=lambda member: (member.sha256, member.caption))
    return Dataset(tuple(members), len(files) - len(pictures) - len(captions))


def stored_dataset(folder: Path, captions: Sequence[str]) -> Dataset:
    """Read a dataset that was laid out from its material; `captions` are in its order.

    Raises InputError (`replay.record`) when there are more or fewer captions than pictures.
    """
    paths = sorted(path for path in folder.iterdir() if path.suffix in MEDIA_TYPES)
    if len(paths) != len(captions):
        raise InputError(
            f"the record has {len(captions)} captions for {len(paths)} pictures",
            code="replay.record",
        )
    return Dataset(
        tuple(
            Member(path, path.name, described.size, described.sha256, caption)
            for path, caption in zip(paths, captions, strict=True)
            for described in [DIGESTS.describe(path, path.name)]
        )
    )


def members_from(materials: Iterable[tuple[Mapping[str, Any], Path]]) -> Dataset:
    """Return a dataset of pictures that were laid out one by one, in their recorded order."""
    members = []
    for dependency, path in materials:
        described = DIGESTS.describe(path, path.name)
        name = f"picture{SUFFIXES[dependency['mediaType']]}"
        members.append(Member(path, name, described.size, described.sha256, ""))
    return Dataset(tuple(members))


def _member(path: Path, folder: Path, caption: str) -> Member:
    described = DIGESTS.describe(path, path.name)
    beside = path.with_suffix(CAPTION)
    text = _caption(beside) if beside.is_file() else caption
    return Member(
        path=path,
        name=path.relative_to(folder).as_posix(),
        size=described.size,
        sha256=described.sha256,
        caption=check_text("caption", text),
    )


def _caption(file: Path) -> str:
    try:
        data = file.read_bytes()
        if len(data) > MAX_CAPTION_BYTES:
            raise InputError(
                f"caption {file} is larger than {MAX_CAPTION_BYTES} bytes", code="dataset.caption"
            )
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        raise InputError(
            f"caption {file} is not UTF-8: {error.reason} at byte {error.start}",
            code="dataset.caption",
        ) from None
    except OSError as error:
        raise InputError(
            f"cannot read caption {file}: {error.strerror}", code="dataset.caption"
        ) from error
