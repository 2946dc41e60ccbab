"""What a program elsewhere made, as outputs: bytes untouched, measured where they are a picture.

Nothing is re-encoded: pictures of services carry signed credentials that any change breaks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from registry.core.generation import Output, Sealed
from registry.errors import FormatError, InputError
from registry.settings import Limits

TEXT = "text/plain; charset=utf-8"


def text_output(data: bytes, number: int) -> Output:
    """Return a text (UTF-8) as an output."""
    return Output(data, TEXT, batch_index=number)


def picture_output(
    data: bytes, number: int, *, seed: str | None = None, extra: Mapping[str, Any] | None = None
) -> Output:
    """Return a picture as an output, its media type by its own first bytes.

    Raises FormatError (`hosted.answer`) for bytes that are no picture, or do not decode.
    """
    from registry.similarity.decode import MEDIA_TYPES
    from registry.similarity.prints import prints_of

    try:
        made = prints_of(data, Limits())
    except InputError as error:
        raise FormatError(
            f"what came as picture {number + 1} is none: {error.message}",
            code="hosted.answer",
            hint="nothing was recorded",
        ) from None
    return Output(
        data,
        MEDIA_TYPES[made.format or ""],
        seed=seed,
        batch_index=number,
        width=made.width,
        height=made.height,
        pixels=made.pixels,
        fingerprints=made.values,
        thumbnail=next(iter(made.thumbnails), None),
        extra=extra or {},
    )


def sealed_texts(said: Mapping[str, str]) -> dict[str, Sealed]:
    """Return texts that belong to one output, sealed."""
    return {name: Sealed(text) for name, text in said.items()}
