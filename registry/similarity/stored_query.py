"""A stored asset as it is looked for: from its fingerprints and thumbnail, its file unread.

Knows what is stored; what it is compared with is not its business.
"""

from __future__ import annotations

import io

from sqlalchemy import Connection, select

from registry.similarity.borders import TRIMMED
from registry.similarity.fingerprints import PHASH256, PHASH256_V1
from registry.similarity.frames import FRAMES
from registry.similarity.pdq import PDQ
from registry.similarity.prints import BLACK
from registry.similarity.query import Query
from registry.similarity.segments import SEGMENTS
from registry.similarity.values import parts_of
from registry.similarity.variants import variants
from registry.store.sidecar_tables import FingerprintRow, ThumbnailRow
from registry.store.types import table_of

_PRINTS = table_of(FingerprintRow)
_THUMBNAILS = table_of(ThumbnailRow)
_STORED = {PHASH256: "", PHASH256_V1: "", TRIMMED: "framed", BLACK: "on black"}


def stored_query(conn: Connection, sha256: str, pixels: str | None) -> Query | None:
    """Return an asset (hex digests) as a query; None without a thumbnail, such as a personal one.

    What is looked for of the picture itself are its stored values; turned, mirrored and inverted
    it is taken from its thumbnail, where a hash may be some bits off.
    """
    from PIL import Image  # noqa: PLC0415  # heavy: only for a look-up

    mine = bytes.fromhex(sha256)
    small = conn.scalar(select(_THUMBNAILS.c.data).where(_THUMBNAILS.c.sha256 == mine))
    if small is None:
        return None
    found = conn.execute(select(_PRINTS.c.name, _PRINTS.c.value).where(_PRINTS.c.sha256 == mine))
    values = {row.name: row.value for row in found}
    image = Image.open(io.BytesIO(small))
    image.load()
    stored = {_STORED[name]: values[name] for name in reversed(_STORED) if name in values}
    stored |= {f"frame {n + 1}": part for n, part in enumerate(parts_of(values.get(FRAMES, b"")))}
    turned = dict(variants(image, image)) if stored else {}
    return Query(
        sha256,
        pixels,
        image,
        turned | stored,
        {"": parts_of(values.get(SEGMENTS, b""))},
        values.get(PDQ),
    )
