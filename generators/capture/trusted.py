"""Whose code runs: the libraries that a record names by version, or code that it cannot name.

Looks at code objects; never calls them.
"""

from __future__ import annotations

import functools
import operator
import sys
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACKAGES = (
    "torch",
    "diffusers",
    "transformers",
    "peft",
    "accelerate",
    "huggingface_hub",
    "safetensors",
    "tokenizers",
)


def qualified(cls: type) -> str:
    """Return `module.QualName` of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def is_library_class(cls: type) -> bool:
    """Tell whether a class comes from one of `PACKAGES`."""
    return cls.__module__.partition(".")[0] in PACKAGES


def is_library_code(function: Any) -> bool:
    """Tell whether a callable, and everything it wraps, is code of the libraries or of Python."""
    return all(_is_library_file(code.co_filename, code.co_name) for code in _codes(function))


class ClassWatch:
    """Finds methods that were put into library classes from outside ("monkeypatches").

    Walks a class again only when one of its attributes is another object than before.
    """

    def __init__(self) -> None:
        self._seen: dict[type, tuple[list[Any], tuple[str, ...]]] = {}

    def faults(self, classes: Iterable[type]) -> set[str]:
        """Return what is foreign in these classes and their bases, one line each."""
        lineage = {base for cls in classes for base in cls.__mro__}
        return {fault for cls in lineage for fault in self._of(cls)}

    def _of(self, cls: type) -> tuple[str, ...]:
        attributes = list(vars(cls).values())
        before = self._seen.get(cls)
        if before is None or not _same_objects(before[0], attributes):
            before = (attributes, tuple(_class_faults(cls)))
            self._seen[cls] = before
        return before[1]


def _same_objects(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(operator.is_, one, other))


def _class_faults(cls: type) -> Iterator[str]:
    if cls.__module__ in {"builtins", "typing", "abc", "collections"} or _is_stdlib(cls):
        return
    if not is_library_class(cls):
        yield f"code of {qualified(cls)} is outside the recorded libraries"
        return
    for name, value in vars(cls).items():
        if not is_library_code(value):
            yield f"{cls.__qualname__}.{name} was replaced by code outside the recorded libraries"


def _is_stdlib(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in sys.stdlib_module_names


def _codes(function: Any) -> Iterator[Any]:
    """Yield the code objects of a callable: through methods, partials and wrappers."""
    pending, seen = [function], set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, property):
            pending += [one.fget, one.fset, one.fdel]
        elif isinstance(one, (functools.partial, functools.cached_property)):
            pending.append(one.func)
        elif not isinstance(one, type):
            pending += [_attribute(one, "__func__"), _attribute(one, "__wrapped__")]
            if hasattr(code := _attribute(one, "__code__"), "co_filename"):
                yield code


def _attribute(value: Any, name: str) -> Any:
    """Read an attribute without waking a library's `__getattr__`."""
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def _is_library_file(filename: str, name: str) -> bool:
    # Dataclasses and named tuples compile their dunder methods from text.
    if filename == "<string>" or filename.startswith("<frozen"):
        return name.startswith("__") and name not in {"__call__", "__getattr__"}
    return filename.startswith(_roots())


@functools.cache
def _roots() -> tuple[str, ...]:
    standard = sysconfig.get_path("stdlib")
    roots = [f"{standard}/{name}" for name in ("functools", "contextlib", "abc", "typing", "enum")]
    roots += [f"{standard}/{name}" for name in ("collections/", "dataclasses", "types", "_collect")]
    for package in PACKAGES:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            roots.append(f"{Path(spec.origin).parent}/")
    return tuple(roots)
