"""GenOps registry: lineage and governance for generated assets.

`open_registry` and `create_registry` are all that most programs need. Importing this package
imports nothing else; the parts load when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from registry.factory import create_registry, open_registry

__all__ = ["__version__", "create_registry", "open_registry"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name in {"create_registry", "open_registry"}:
        from registry import factory

        return getattr(factory, name)
    raise AttributeError(f"module 'registry' has no attribute {name!r}")
