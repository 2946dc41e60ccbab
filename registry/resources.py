"""The data that travels with the package: JSON Schemas and policy bundles.

An installed wheel carries them under `registry/_data`; an editable checkout reads them in place.
"""

from __future__ import annotations

import functools
import json
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from registry.core.schemas import SchemaSet
from registry.errors import NotFoundError

ANSWERS = "cli"
"""The folder of schemas that describe `--json` answers: documents for readers, never checked."""


def data_dir(kind: str) -> Traversable:
    """Return the folder of packaged data: `schemas` or `policies`."""
    packaged = resources.files("registry") / "_data" / kind
    if packaged.is_dir():
        return packaged
    return Path(__file__).resolve().parent.parent / kind


@functools.cache
def schema_set() -> SchemaSet:
    """Return every schema of records, evidence and policies, by name and version.

    Keys are `<name>/<version>`, for example `generation/v1`.
    """
    documents = {}
    for folder in data_dir("schemas").iterdir():
        if not folder.is_dir() or folder.name == ANSWERS:
            continue
        for file in folder.iterdir():
            if file.name.endswith(".json"):
                key = f"{folder.name}/{file.name.removesuffix('.json')}"
                documents[key] = json.loads(file.read_text("utf-8"))
    return SchemaSet(documents)


def policy_dir(name: str) -> Traversable:
    """Return the folder of a shipped policy bundle.

    Raises NotFoundError, naming the bundles there are.
    """
    root = data_dir("policies")
    folder = root / name
    if "/" in name or not (folder / "policy.yaml").is_file():
        known = ", ".join(sorted(f.name for f in root.iterdir() if f.is_dir()))
        raise NotFoundError(
            f"no policy bundle is called {name!r}",
            code="policy.unknown",
            hint=f"shipped bundles: {known}; or give a path to a folder with a policy.yaml",
        )
    return folder
