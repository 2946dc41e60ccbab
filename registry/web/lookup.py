"""Looking a picture up without letting many large ones be decoded at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from anyio import to_thread

if TYPE_CHECKING:
    from registry.core.look_up import FindResult
    from registry.web.services import Services

AT_ONCE = 2
"""Most pictures that are looked up at the same time; each may take a gigabyte while decoded."""
RADIUS = 62
"""Largest perceptual distance that is reported unless asked otherwise, bits of 256."""


async def look_up(services: Services, data: bytes, *, radius: int = RADIUS) -> FindResult:
    """Return what is known of a picture; waits until fewer than `AT_ONCE` others are decoded."""
    find = partial(services.registry.find, data, radius=radius)
    return await to_thread.run_sync(find, limiter=services.lookups)
