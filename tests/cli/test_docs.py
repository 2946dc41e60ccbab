"""docs/cli.md says what the commands are."""

from __future__ import annotations

import re
from pathlib import Path

from registry.cli.frame import KNOWN_PLUGINS
from registry.cli.reference import BEGIN, END, renewed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text("utf-8")


def test_the_reference_is_what_the_commands_are() -> None:
    assert renewed(PAGE) == PAGE, "run `python -m registry.cli.reference docs/cli.md`"


def test_the_reference_would_change_with_a_command() -> None:
    forged = PAGE.replace("- `--dry-run`", "- `--rehearse`")
    assert forged != PAGE
    assert renewed(forged) == PAGE


def test_only_the_part_between_the_markers_is_written_anew() -> None:
    assert renewed(f"before{BEGIN}old{END}after").startswith(f"before{BEGIN}\n")
    assert renewed(f"before{BEGIN}old{END}after").endswith(f"{END}after")


def test_examples_use_verbs_that_there_are() -> None:
    known = set(re.findall(r"^#### `genops ([a-z-]+)", PAGE, re.MULTILINE)) | set(KNOWN_PLUGINS)
    used = set(re.findall(r"^genops ([a-z-]+)", PAGE, re.MULTILINE))
    assert used <= known
    assert len(used) > 15
