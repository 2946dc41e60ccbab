"""Looking a file up without letting many large pictures be decoded at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio import to_thread

from registry.core.look_up import REGISTERED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from registry.core.look_up import FindResult
    from registry.web.services import Services

AT_ONCE = 2
"""Most files that are looked up at the same time; each may take a gigabyte while decoded."""
RADIUS = 62
"""Largest perceptual distance that is reported unless asked otherwise, bits of 256."""
MOST_BANKS = 64
"""Most banks of one request."""


async def look_up(
    services: Services, data: bytes, *, radius: int = RADIUS, banks: Sequence[str] = (REGISTERED,)
) -> FindResult:
    """Return what is known of a file; waits until fewer than `AT_ONCE` others are looked up."""
    find = partial(services.registry.find, data, radius=radius, banks=banks)
    return await to_thread.run_sync(find, limiter=services.lookups)
