"""Folders that keys and keyrings live in."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.signing.sealing import Keyring


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    folder = tmp_path / "keys"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def keyring(tmp_path: Path, keys: Path) -> Keyring:
    return Keyring.open(tmp_path / "keyring.db", keys, create=True)
