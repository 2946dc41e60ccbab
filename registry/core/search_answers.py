"""What a search answers: assets with what is known of them for certain, and saved searches."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from registry.core.answers import Answer, AssetSummary

Orientation = Literal["portrait", "landscape", "square"]


@dataclass(frozen=True, slots=True)
class PaletteColour(Answer):
    """One of the few colours that dominate a picture: `#rrggbb`, and its share in percent."""

    colour: str
    share: int


@dataclass(frozen=True, slots=True)
class FoundAsset(AssetSummary):
    """A line of a listing, and what else is known of the asset; `size` is in bytes.

    `palette` has up to 5 colours, the largest share first; none for what is no picture.
    """

    size: int | None
    orientation: Orientation | None
    palette: tuple[PaletteColour, ...]


@dataclass(frozen=True, slots=True)
class SearchReport(Answer):
    """A page of the outputs that a search found. `query` is the search in its one spelling.

    `more` tells whether there are others behind this page; `total` is how many there are in all,
    None where that was not asked.
    """

    query: str
    sort: str
    offset: int
    assets: tuple[FoundAsset, ...]
    more: bool
    total: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SavedSearch(Answer):
    """A search that was given a name; `time` is when it was saved."""

    name: str
    query: str
    sort: str
    time: str


@dataclass(frozen=True, slots=True)
class SearchField(Answer):
    """A field that a search can ask for: what it takes, and an example."""

    field: str
    takes: str
    example: str


def orientation_of(width: int | None, height: int | None) -> Orientation | None:
    """Return how a picture stands, None where its size is not known."""
    if width is None or height is None:
        return None
    if width == height:
        return "square"
    return "landscape" if width > height else "portrait"
