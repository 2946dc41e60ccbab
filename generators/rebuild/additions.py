"""Puts on a component what the record says was loaded into it on top of its folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from torch.nn import Module

from generators.capture import inversions, ip_adapters
from generators.rebuild.plan import Plan
from registry.errors import MaterialError


def put(name: str, parts: Mapping[str, Any], plan: Plan, module: Module) -> None:
    """Load what was added to component `name`; `parts` are the components so far.

    Raises MaterialError (`material.missing`, `material.unloadable`).
    """
    for entry in _inversions(name, plan):
        file, (token, *_) = plan.path(_ref(entry)), entry["tokens"]
        tokenizer = parts[entry["tokenizer"]]
        try:
            inversions.put(tokenizer, module, file, token)
        except Exception as error:  # loaders raise whatever a damaged file makes them stumble over
            raise _unloadable(entry["ref"], error) from error
        missing = set(entry["tokens"]) - set(tokenizer.get_added_vocab())
        if missing and entry["ref"] not in plan.replaced:
            raise MaterialError(
                f"{entry['ref']} teaches other tokens than were recorded", code="material.differs"
            )

    adapters = [entry["ref"] for entry in _ip_adapters(name, plan)]
    if adapters:
        try:
            ip_adapters.put(module, [plan.path(ref) for ref in adapters])
        except MaterialError:
            raise
        except Exception as error:
            raise _unloadable(" with ".join(adapters), error) from error


def made(plan: Plan) -> dict[str, Any]:
    """Make the components that a loader made, of no file."""
    entries = plan.external.get("made", ())
    return {entry["component"]: ip_adapters.make_extractor(entry["side"]) for entry in entries}


def refs(name: str, plan: Plan) -> list[str]:
    """Return the materials of what was added to component `name`."""
    entries = [*_inversions(name, plan), *_ip_adapters(name, plan)]
    return [entry["ref"] for entry in entries if "ref" in entry]


def _ip_adapters(name: str, plan: Plan) -> Iterator[Mapping[str, Any]]:
    for entry in plan.external.get("ip_adapters", ()):
        if entry["component"] == name:
            yield entry


def _inversions(name: str, plan: Plan) -> Iterator[Mapping[str, Any]]:
    for entry in plan.external.get("embeddings", ()):
        if entry["text_encoder"] == name:
            yield entry


def _ref(entry: Mapping[str, Any]) -> str:
    if "ref" not in entry:
        raise MaterialError(
            f"no file is recorded for {', '.join(entry['tokens'])}", code="material.missing"
        )
    ref: str = entry["ref"]
    return ref


def _unloadable(ref: str, error: Exception) -> MaterialError:
    return MaterialError(
        f"{ref} does not load: {type(error).__name__}: {error}",
        code="material.unloadable",
        hint="The material is damaged, or needs the library versions of the record.",
    )
