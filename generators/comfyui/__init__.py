"""ComfyUI: workflows in API format, run on a server and recorded node by node.

    comfy = recorded_comfyui("http://127.0.0.1:8188", registry, models=["ComfyUI/models"])
    receipt = comfy.run("mug.api.json").receipt

Light to import; the extra `comfyui` brings the WebSocket client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generators.comfyui.recorded import recorded_comfyui

__all__ = ["recorded_comfyui"]


def __getattr__(name: str) -> Any:
    """Import the client when it is first asked for."""
    if name != "recorded_comfyui":
        raise AttributeError(f"module 'generators.comfyui' has no attribute {name!r}")
    from generators.comfyui.recorded import recorded_comfyui

    return recorded_comfyui
