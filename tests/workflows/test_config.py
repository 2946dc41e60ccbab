"""A home's `genops.toml` that cannot be read is refused with its path, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.errors import HomeError
from registry.settings import load_settings


@pytest.mark.parametrize(
    "text",
    [
        "version = 1\nname = " + "[" * 5000,
        "version = " + "9" * 5000,
        "version = 2026-99-99",
        "version = 1\nname = 'a'\nuuid = 'b'\nsigners = [1]",
        "\udcff",
    ],
    ids=lambda text: ascii(text[:16]),
)
def test_a_config_that_makes_no_sense_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "genops.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(HomeError) as refused:
        load_settings(tmp_path, {})
    assert str(tmp_path) in refused.value.message
