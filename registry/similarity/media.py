"""What a file is by its first bytes; its name counts only where they say nothing. And back."""

from __future__ import annotations

import mimetypes

TIFF = "image/tiff"
UNKNOWN = "application/octet-stream"
_HEADS = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"II*\x00", TIFF),
    (b"MM\x00*", TIFF),
    (b"8BPS", "image/vnd.adobe.photoshop"),
    (b"%PDF-", "application/pdf"),
    (b"\x06\x06\xed\xf5\xd8\x1d\x46\xe5\xbd\x31\xef\xe7\xfe\x74\xb7\x1d", "application/x-indesign"),
)
_SUFFIXES = {
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/x-npy": ".npy",
    "image/avif": ".avif",
    "image/gif": ".gif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    TIFF: ".tif",
    "image/webp": ".webp",
    "text/markdown": ".md",
    "text/plain": ".txt",
}
"""A table of our own: the system's has suffixes of programs, and differs between machines."""
_BRANDS = {b"avif": "image/avif", b"avis": "image/avif"}


def media_type_of(data: bytes, name: str) -> str:
    """Return the media type of a file's bytes, by its `name` where they do not tell it."""
    for head, found in _HEADS:
        if data.startswith(head):
            return found
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    if data[4:8] == b"ftyp" and data[8:12] in _BRANDS:
        return _BRANDS[data[8:12]]
    return mimetypes.guess_type(name)[0] or UNKNOWN


def suffix_of(media_type: str | None) -> str:
    """Return the suffix for a file of a media type, with its dot; "" for one that is not known."""
    kind = (media_type or "").partition(";")[0].strip().lower()
    return ".json" if kind.endswith("+json") else _SUFFIXES.get(kind, "")
