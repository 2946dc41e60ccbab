"""Whose code runs: the libraries that a record names by version, or code that it cannot name.

Looks at code objects; never calls them.
"""

from __future__ import annotations

import functools
import sysconfig
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

_HOLDERS = (functools.partial, functools.partialmethod, functools.cached_property)
_DEEPEST = 32
"""Wrappers around a function that are looked through."""
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
    return all(_is_library_file(code.co_filename, code.co_name) for code in codes(function))


def is_library_callable(function: Any) -> bool:
    """Tell the same of something to be called: built-ins and the like do not count."""
    return is_library_code(function) and any(True for _ in codes(function))


def innermost(function: Any) -> Any:
    """Return the function inside methods, partials and wrappers."""
    for _ in range(_DEEPEST):
        wrapped = _attribute(function, "__wrapped__") or _attribute(function, "__func__")
        if wrapped is not None:
            function = wrapped
        elif isinstance(function, _HOLDERS):
            function = function.func
        else:
            break
    return function


def codes(function: Any) -> Iterator[Any]:
    """Yield the code objects of a callable: through methods, partials, wrappers and objects."""
    pending, seen = [function], set()
    while pending:
        one = pending.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, property):
            pending += [one.fget, one.fset, one.fdel]
        elif isinstance(one, _HOLDERS):
            pending += [one.func, _attribute(one, "__wrapped__")]
        elif not isinstance(one, type):
            pending += [_attribute(one, "__func__"), _attribute(one, "__wrapped__")]
            if hasattr(code := _attribute(one, "__code__"), "co_filename"):
                yield code
            else:  # an object that is called
                pending += [vars(cls).get("__call__") for cls in type(one).__mro__]


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
    return is_library_file(filename)


def is_library_file(filename: str) -> bool:
    """Tell whether a source file lies in `PACKAGES`, or serves them in Python's own library."""
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
