"""Files that leave the service: always with a digest as their name, never active content."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import FileResponse, Response

from registry.core.digests import ASSET_HEAD

if TYPE_CHECKING:
    from registry.sdk import Registry

SHOWN_INLINE = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
}
"""Media types that a browser may show by itself; anything else is a download."""

_NAME_DIGITS = 16


def blob_response(registry: Registry, ref: str) -> Response:
    """Return an asset's bytes after their digest was checked; personal ones are decrypted.

    What is no plain picture goes out as opaque bytes: an SVG or HTML file from a generator must
    not run in the registry's name.
    """
    passport = registry.get(ref)
    digest = passport.id.removeprefix(ASSET_HEAD)
    suffix = SHOWN_INLINE.get(passport.media_type or "")
    name = digest[:_NAME_DIGITS] + (suffix or ".bin")
    shown = "inline" if suffix else "attachment"
    media_type = passport.media_type if suffix else "application/octet-stream"
    headers = {"Content-Security-Policy": "sandbox; default-src 'none'; frame-ancestors 'none'"}
    if passport.encrypted:
        headers |= {
            "Cache-Control": "no-store",
            "Content-Disposition": f'{shown}; filename="{name}"',
        }
        return Response(registry.read(passport.record), media_type=media_type, headers=headers)
    return FileResponse(
        registry.blob(passport.id),
        media_type=media_type,
        filename=name,
        content_disposition_type=shown,
        headers={**headers, "Cache-Control": "private, no-cache", "ETag": f'"{digest}"'},
    )


def evidence_response(data: bytes, digest: str) -> Response:
    """Return an evidence file as a download."""
    name = f"genops-evidence-{digest[:_NAME_DIGITS]}.json"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(data, media_type="application/json", headers=headers)
