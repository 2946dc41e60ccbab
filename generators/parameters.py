"""Sections of `params.yaml` as frozen values: what the stages of `dvc.yaml` depend on.

Knows the file's shape and nothing of what the numbers do.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, TypeVar

from registry.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

P = TypeVar("P")


def read_section(kind: type[P], path: Path, where: str) -> P:
    """Read the section of a dotted name into a dataclass; lists become tuples.

    Raises InputError (`input.params`) when a key is missing or unknown.
    """
    import yaml

    section: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    for key in where.split("."):
        section = section.get(key) if isinstance(section, dict) else None
    shape: Any = kind
    known = {field.name for field in fields(shape)}
    if not isinstance(section, dict) or set(section) != known:
        odd = sorted(known ^ set(section if isinstance(section, dict) else ()))
        raise InputError(
            f"{path}: section {where} does not fit: {', '.join(odd)}",
            code="input.params",
            hint="Each parameter has to be there, and no other.",
        )
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in section.items()}
    return kind(**values)
