"""Hosted models behind an OpenAI-compatible API: images, edits and chat, recorded as they answer.

    client = recorded_client("https://api.openai.com/v1", registry, key_env="OPENAI_API_KEY")
    data = client.image("a red mug on a blue table", model="gpt-image-1").data

Light to import; the network is only touched by a call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generators.hosted.client import recorded_client

__all__ = ["recorded_client"]


def __getattr__(name: str) -> Any:
    """Import the client when it is first asked for."""
    if name != "recorded_client":
        raise AttributeError(f"module 'generators.hosted' has no attribute {name!r}")
    from generators.hosted.client import recorded_client

    return recorded_client
