"""The registry as a library: one typed object, and the rooms of it that have verbs of their own.

Every class here is a thin face over the workflows; it opens nothing of its own.
"""

from registry.sdk.registry import Registry

__all__ = ["Registry"]
