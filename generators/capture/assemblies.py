"""A pipeline as its class puts it together, to hold the live one against.

A replay calls the class with the recorded components and options; so whatever else lies on the
live object, an image processor say, has to be what that call makes of it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from typing import Any

from torch.nn import Module

from generators.capture.faults import instance_faults
from generators.capture.modules import config_of, plain
from generators.capture.references import quiet_loading
from generators.capture.trusted import qualified


class AssemblyWatch:
    """Compares one pipeline with a twin, made again only when its parts or attributes changed."""

    def __init__(self) -> None:
        self._parts: list[Any] = []
        self._own: dict[str, Any] = {}
        self._reasons: list[str] = []

    def faults(self, pipe: Any) -> list[str]:
        """Return how the pipeline differs from what a replay would put together."""
        parts = list(pipe.components.values())
        own = _looked_at(pipe)
        same = len(parts) == len(self._parts) and all(map(_is, parts, self._parts))
        if not (same and own == self._own):
            self._reasons = list(_compared(pipe, own))
            self._parts, self._own = parts, own
        replaced = [
            fault
            for name, value in _helpers(pipe).items()
            for fault in instance_faults(f"pipeline.{name}", value)
        ]
        return [*self._reasons, *replaced]


def options_of(pipe: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the pipeline's own switches, such as `requires_safety_checker`, and what is no switch.

    Texts are none: nobody knows what is in them.
    """
    components = pipe.components
    given = {
        name: value
        for name, value in pipe.config.items()
        if not name.startswith("_") and name not in components
    }
    kept = {n: v for n, v in given.items() if v is None or isinstance(v, (bool, int, float))}
    lost = [f"pipeline option {name} cannot be recorded" for name in given.keys() - kept.keys()]
    known = accepted(type(pipe), kept)
    lost += [f"pipeline option {n} is none of its class" for n in kept.keys() - known.keys()]
    return kept, sorted(lost)


def accepted(cls: Any, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a pipeline's class takes."""
    known = inspect.signature(cls.__init__).parameters
    return {name: value for name, value in options.items() if name in known}


def _compared(pipe: Any, own: Mapping[str, Any]) -> list[str]:
    try:
        twin = _twin(pipe)
    except Exception as error:  # noqa: BLE001 (a constructor refuses parts by whatever it raises)
        return [f"pipeline cannot be put together again: {type(error).__name__}"]
    reasons = [
        f"pipeline.{name} differs from what its class makes of the components"
        for name, value in _looked_at(twin).items()
        if own.get(name) != value
    ]
    for name, part in pipe.components.items():
        # A replay puts the recorded scheduler in its place afterwards.
        if (
            part is not None
            and name != "scheduler"
            and config_of(getattr(twin, name)) != config_of(part)
        ):
            reasons.append(f"{name} would be given another configuration by the pipeline's class")
    return reasons


def _twin(pipe: Any) -> Any:
    """Put the pipeline together anew, of shallow copies: constructors adapt what they are given."""
    parts = {name: copy.copy(part) for name, part in pipe.components.items()}
    options = accepted(type(pipe), options_of(pipe)[0])
    with quiet_loading():
        return type(pipe)(**parts, **options)


def _looked_at(pipe: Any) -> dict[str, Any]:
    """Return the public attributes that are no components, as comparable values."""
    components = pipe.components
    return {
        name: _comparable(value)
        for name, value in vars(pipe).items()
        if not name.startswith("_") and name not in components and not isinstance(value, Module)
    }


def _comparable(value: Any) -> Any:
    if not hasattr(value, "config"):
        return plain(value)
    own = {n: plain(v) for n, v in vars(value).items() if not n.startswith("_")}
    return {"class": qualified(type(value)), "config": plain(config_of(value)), "own": own}


def _helpers(pipe: Any) -> dict[str, Any]:
    """Return the objects that a pipeline keeps beside its components: processors of pictures."""
    components = pipe.components
    return {
        name: value
        for name, value in vars(pipe).items()
        if not name.startswith("_") and name not in components and hasattr(value, "config")
    }


def _is(one: Any, other: Any) -> bool:
    return one is other
