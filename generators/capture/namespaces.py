"""Functions of the libraries that were replaced from outside, in the modules that hold them.

Code finds a function by its name in a module; so a pipeline runs whatever stands there now. Looks
at names and code objects; never calls them.
"""

from __future__ import annotations

import functools
import operator
import sys
import sysconfig
import threading
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from generators.capture.trusted import codes, innermost, is_library_class, is_library_file

ALWAYS = ("torch", "torch.nn.functional", "torch.functional", "torch.nn.init", "torch._tensor")
WATCHED = ("diffusers.", "transformers.", "peft.", "torch.nn.")
UNWATCHED = ("diffusers.utils.logging", "transformers.utils.logging")
ORIGINS = (
    "packaging",
    "numpy",
    "PIL",
    "tqdm",
    "regex",
    "requests",
    "httpx",
    "yaml",
    "jinja2",
    "sympy",
    "scipy",
    "typing_extensions",
    "importlib_metadata",
)
"""Packages that the libraries take functions from under the names of their modules."""

_Functions = (FunctionType, BuiltinFunctionType)


class NamespaceWatch:
    """Watches the modules of classes, and those that they take functions from.

    A module is looked through when it is first seen; after that a comparison of identities tells
    whether anything was replaced.
    """

    def __init__(self) -> None:
        self._known: dict[str, _Seen] = {}
        self._reached: dict[type, frozenset[str]] = {}
        self._lock = threading.Lock()

    def faults(self, classes: Iterable[type]) -> set[str]:
        """Return what was replaced in the modules that these classes reach, one line each."""
        with self._lock:
            names = set(ALWAYS).union(*(self._reach(cls) for cls in classes))
            return {fault for name in names if name in sys.modules for fault in self._of(name)}

    def _reach(self, cls: type) -> frozenset[str]:
        found = self._reached.get(cls)
        if found is None:
            start = {base.__module__ for base in cls.__mro__ if is_library_class(base)}
            found = self._reached[cls] = frozenset(_reachable(start))
        return found

    def _of(self, name: str) -> Iterator[str]:
        module = sys.modules[name]
        seen = self._known.get(name)
        if seen is None:
            seen = self._known[name] = _Seen(module)
        for attribute in seen.replaced(module):
            yield f"{name}.{attribute} was replaced"


class _Seen:
    """A module as it was when it was first seen."""

    def __init__(self, module: ModuleType) -> None:
        self._values = list(vars(module).values())
        self._functions = [v for v in self._values if isinstance(v, FunctionType)]
        self._codes = [function.__code__ for function in self._functions]
        self._names = {k: v for k, v in vars(module).items() if isinstance(v, _Functions)}
        self._wrong = [k for k, v in self._names.items() if not _belongs(module, k, v)]
        self._wrong += [k for k, v in vars(module).items() if _is_disguised(v)]

    def replaced(self, module: ModuleType) -> list[str]:
        """Return the names that hold other functions than they should."""
        now = list(vars(module).values())
        same = len(now) == len(self._values) and all(map(operator.is_, now, self._values))
        codes = [function.__code__ for function in self._functions]
        if same and all(map(operator.is_, codes, self._codes)):
            return self._wrong
        present = vars(module)
        changed = [k for k, v in self._names.items() if present.get(k) is not v]
        recoded = [
            function.__name__
            for function, code in zip(self._functions, self._codes, strict=True)
            if function.__code__ is not code
        ]
        wrong = [name for name in self._wrong if name not in changed and name in present]
        return [*wrong, *changed, *recoded]


def _reachable(start: set[str]) -> set[str]:
    """Return the watched modules among these, and those whose functions they use."""
    found: set[str] = set()
    pending = [name for name in start if name in sys.modules]
    while pending:
        name = pending.pop()
        if name in found or not _is_watched(name):
            continue
        found.add(name)
        values = list(vars(sys.modules[name]).values())
        homes = {v.__module__ for v in values if isinstance(v, FunctionType)}
        pending += [home for home in homes if isinstance(home, str) and home in sys.modules]
    return found


def _is_watched(name: str) -> bool:
    return name.startswith(WATCHED) and not name.startswith(UNWATCHED)


def _belongs(module: ModuleType, name: str, function: Any) -> bool:
    """Tell whether a function stands under a name that is its own, and comes from a library."""
    inner = innermost(function)
    if not isinstance(inner, FunctionType):
        return name.startswith("_") or _alike(getattr(inner, "__name__", name), name)
    if not all(_is_known(code.co_filename) for code in codes(function)):
        return False
    at_home = inner.__code__.co_filename == getattr(module, "__file__", None)
    local = "<locals>" in inner.__code__.co_qualname
    return name.startswith("_") or not at_home or local or _alike(inner.__name__, name)


def _is_disguised(value: Any) -> bool:
    """Tell whether an object only acts as a function, and does so by foreign code."""
    return (
        not isinstance(value, (*_Functions, type))
        and isinstance(vars(type(value)).get("__call__"), FunctionType)
        and not all(_is_known(code.co_filename) for code in codes(value))
    )


@functools.cache
def _is_known(file: str) -> bool:
    """Tell whether a file belongs to Python, to the libraries, or to what they build upon."""
    standard = file.startswith(f"{sysconfig.get_path('stdlib')}/") and "-packages/" not in file
    if standard or file.startswith(("<frozen", "<string>")) or is_library_file(file):
        return True
    package = file.rpartition("-packages/")[2].partition("/")[0].removesuffix(".py")
    return "-packages/" in file and package in ORIGINS


def _alike(one: str, other: str) -> bool:
    """Tell whether two names differ by underscores or a prefix alone, as aliases do."""
    one, other = one.replace("_", "").lower(), other.replace("_", "").lower()
    return one.endswith(other) or other.endswith(one)


NAMESPACES = NamespaceWatch()
"""The process's watch: modules are the same for every pipeline."""
