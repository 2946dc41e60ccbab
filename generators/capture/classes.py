"""Methods that were put into library classes from outside ("monkeypatches").

Looks at code objects; never calls them.
"""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CodeType, FunctionType
from typing import Any

from generators.capture.trusted import (
    codes,
    innermost,
    is_library_class,
    is_library_code,
    qualified,
)


class ClassWatch:
    """Finds methods that were put into library classes from outside ("monkeypatches").

    Walks a class again only when one of its attributes, or its code, is another object than before.
    """

    def __init__(self) -> None:
        self._seen: dict[type, _Seen] = {}

    def faults(self, classes: Iterable[type]) -> set[str]:
        """Return what is foreign in these classes and their bases, one line each."""
        lineage = {base for cls in classes for base in cls.__mro__}
        return {fault for cls in lineage for fault in self._of(cls)}

    def _of(self, cls: type) -> tuple[str, ...]:
        before = self._seen.get(cls)
        if before is None or not before.holds(cls):
            before = self._seen[cls] = _Seen(cls)
        return before.faults


class _Seen:
    """A class as it was when it was walked."""

    def __init__(self, cls: type) -> None:
        self._attributes = list(vars(cls).values())
        found = [innermost(value) for value in self._attributes]
        self._functions = [one for one in found if isinstance(one, FunctionType)]
        self._codes = self._present_codes()
        self.faults = tuple(_class_faults(cls))

    def holds(self, cls: type) -> bool:
        """Tell whether attributes and code are still the same."""
        return _same_objects(self._attributes, list(vars(cls).values())) and _same_objects(
            self._codes, self._present_codes()
        )

    def _present_codes(self) -> list[CodeType]:
        return [function.__code__ for function in self._functions]


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
        elif not _at_home(cls, name, value):
            yield f"{cls.__qualname__}.{name} was replaced by other code of the libraries"


def _is_stdlib(cls: type) -> bool:
    return cls.__module__.partition(".")[0] in sys.stdlib_module_names


def _at_home(cls: type, name: str, value: Any) -> bool:
    """Tell whether an attribute's code belongs to the class, or to none.

    A function says in which class it was written: one of the class's own bases, for a method.
    """
    if isinstance(value, BuiltinFunctionType):
        return name.startswith("__") or value.__name__.strip("_") == name.strip("_")
    lineage = {base.__qualname__ for base in cls.__mro__}
    writers = (code.co_qualname.rpartition(".")[0] for code in codes(value))
    return all(not writer or "<locals>" in writer or writer in lineage for writer in writers)
