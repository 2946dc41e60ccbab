"""`genops review`: a verdict with a reason, signed; and nothing without either."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.factory import create_registry, open_home


def test_review_approves_rejects_and_refuses_half_a_verdict(
    genops: Callable[..., Any], tmp_path: Path, generation: Callable[..., Any]
) -> None:
    home = tmp_path / "home"
    with create_registry(home, name="test", project="brand") as registry:
        (asset,) = registry.record(generation(1)).assets
    done = genops("review", asset, "--approve", "--reason", "as briefed", "--home", home, "--json")
    assert (done.code, done.json["assets"]) == (0, [asset])
    assert genops("review", asset, "--reject", "--reason", "too dark", "--home", home).code == 0
    assert "approved" in genops("show", asset, "--home", home).out
    for words in (("--reason", "x"), ("--approve",)):
        refused = genops("review", asset, *words, "--home", home)
        assert refused.code == 2
        assert refused.err.startswith("error[")
    with open_home(home) as registry:
        assert [one.verdict for one in registry.releasing.reviews(asset)] == [
            "rejected",
            "approved",
        ]
