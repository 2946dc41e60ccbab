"""The kill of `tests/generators/test_campaign.py`, after every single record."""

from __future__ import annotations

import signal
from pathlib import Path

from generators.campaign import load_brief
from generators.campaign.plan import expand
from registry.factory import create_registry, open_home
from tests.generators.test_campaign import PLAIN, brief_file, killed_run, records_of

BRIEF = PLAIN | {
    "axes": {"colour": ["red", "green"]},
    "variants": [{"name": "wide", "how": "outpaint", "size": "16:9", "prompt": "an empty table"}],
    "formats": [{"size": "32x32", "of": ["wide"]}],
    "files": [{"format": "png", "dpi": 300}],
}


def test_a_run_that_is_killed_after_every_record_makes_each_thing_once(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with create_registry(home, name="test", project="brand"):
        pass
    brief = brief_file(tmp_path, BRIEF)
    recorded = [s for s in expand(load_brief(brief)) if s.kind != "approval"]
    for made in range(1, len(recorded) + 1):
        assert killed_run(home, brief, last=1) == -signal.SIGKILL
        assert records_of(home, "plain") == made
    assert killed_run(home, brief, last=1) == 0
    with open_home(home) as registry:
        receipts = registry.releasing.recorded("plain")
        assert registry.check_log().ok
    assert len(receipts) == len(recorded)
