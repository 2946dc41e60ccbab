"""Text from local transformers models: recorded, kept to a schema, fed with a brand's corpus.

Light to import; `recorded_text` brings torch with it when it is first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from generators.text.recorded import recorded_text

__all__ = ["recorded_text"]


def __getattr__(name: str) -> Any:
    """Import the adapter when it is first asked for."""
    if name != "recorded_text":
        raise AttributeError(f"module 'generators.text' has no attribute {name!r}")
    from generators.text.recorded import recorded_text

    return recorded_text
