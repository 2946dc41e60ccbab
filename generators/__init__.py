"""Plug-ins that generate: each captures a live call completely, and replays it from its record.

The registry never imports this package; it finds the adapters by entry point. Light to import.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generators.blocks import recording
    from generators.callables import recorded_callable
    from generators.comfyui.recorded import recorded_comfyui
    from generators.diffusers import recorded
    from generators.hosted.client import recorded_client
    from generators.text.recorded import recorded_text

__all__ = [
    "recorded",
    "recorded_callable",
    "recorded_client",
    "recorded_comfyui",
    "recorded_text",
    "recording",
]

_HOMES = {
    "recorded": "generators.diffusers",
    "recorded_callable": "generators.callables",
    "recorded_client": "generators.hosted.client",
    "recorded_comfyui": "generators.comfyui.recorded",
    "recorded_text": "generators.text.recorded",
    "recording": "generators.blocks",
}


def __getattr__(name: str) -> Any:
    """Import an adapter when it is first asked for."""
    from importlib import import_module

    if name not in _HOMES:
        raise AttributeError(f"module 'generators' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
