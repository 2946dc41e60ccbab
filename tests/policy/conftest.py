"""Schemas, the shipped bundle and facts that pass it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from registry.core.schemas import SchemaSet
from registry.policy.cases import Case, load_cases
from registry.policy.loader import load_bundle
from registry.policy.model import Bundle

ROOT = Path(__file__).resolve().parents[2]
DEFAULT = ROOT / "policies" / "default"


@pytest.fixture(scope="session")
def schemas() -> SchemaSet:
    files = sorted((ROOT / "schemas").glob("policy*/v*.json"))
    return SchemaSet({f"{f.parent.name}/{f.stem}": json.loads(f.read_text()) for f in files})


@pytest.fixture(scope="session")
def default_bundle(schemas: SchemaSet) -> Bundle:
    return load_bundle(DEFAULT, schemas)


@pytest.fixture(scope="session")
def default_cases(schemas: SchemaSet) -> tuple[Case, ...]:
    return load_cases(DEFAULT, schemas)


@pytest.fixture(scope="session")
def clean_facts(default_cases: tuple[Case, ...]) -> Mapping[str, Any]:
    """Facts on an asset that the shipped bundle clears."""
    return default_cases[0].facts
