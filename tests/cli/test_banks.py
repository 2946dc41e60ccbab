"""The guide to banks is true: its commands run one after another, and say what they did."""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from registry.core.bank_lines import FORMS, MAX_LINE_BYTES
from registry.core.bank_lists import MIN_QUALITY
from registry.core.banks import BANK_KINDS
from registry.similarity.banks import NEGATIVE_BITS
from registry.similarity.thumbs import SIDE
from tests.cli.conftest import Genops
from tests.conftest import encode

GUIDE = (Path(__file__).parents[2] / "docs" / "banks.md").read_text("utf-8")
COMMANDS = re.findall(r"^\$ genops (.+)$", GUIDE, re.MULTILINE)


def test_the_guide_names_the_limits_and_the_kinds_of_the_code() -> None:
    listed = re.findall(r"^\| `(\w+)` \|", GUIDE, re.MULTILINE)
    assert listed == [*BANK_KINDS, *FORMS]
    assert f"within {NEGATIVE_BITS} bits" in GUIDE
    assert f"quality under {MIN_QUALITY}" in GUIDE
    assert f"at most {SIDE} pixels" in GUIDE
    assert f"at most {MAX_LINE_BYTES // 1024} KiB" in GUIDE


def test_the_commands_of_the_guide_run_one_after_another(
    genops: Genops,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    picture: Callable[..., Image.Image],
) -> None:
    monkeypatch.chdir(tmp_path)
    poster, mug = picture(1), picture(2)
    Path("poster.png").write_bytes(encode(poster))
    Path("copy.jpg").write_bytes(encode(poster.resize((96, 96)), "JPEG"))
    Path("mug.jpg").write_bytes(encode(mug.resize((96, 96)), "JPEG"))
    hashes = [secrets.token_hex(32) for _ in range(3)]
    Path("pdq.txt").write_text("\n".join([*hashes, "bad", "00" * 32]))
    Path("mug.png").write_bytes(encode(mug))
    home = ["--home", tmp_path / "home"]
    assert genops("init", tmp_path / "home", "--name", "studio").code == 0
    asset = genops("record", "mug.png", "--json", *home).json["assets"][0]
    said: dict[str, str] = {}
    for command in COMMANDS:
        words = shlex.split(command)
        if words[0] == "match" and words[1] != "list":
            added = "competitors" in words
            if added:  # the guide took it out again above
                again = ["--reason", "r", "--source", "s", *home]
                done = genops("bank", "add", "competitors", "poster.png", "--json", *again)
                (entry,) = done.json["added"]
            words = [(entry if added else asset) if word == "3f2a9c81" else word for word in words]
        done = genops(*words, *home)
        assert done.code == 0, (command, done.err)
        said[command] = said.get(command, "") + done.out
    told = "\n".join(said.values())
    assert "1 entry removed from competitors" in told
    assert "0 entries removed from competitors" in told
    assert "line 4: a PDQ has 64 hex digits, and this 3" in told
    assert "3 would be added to shared" in told
    assert "3 added to shared" in told
    assert said["match list"].index("refuted") < said["match list"].index("confirmed")


def test_a_user_who_forgot_something_is_told_what(genops: Genops, tmp_path: Path) -> None:
    home = ["--home", tmp_path / "home"]
    genops("init", tmp_path / "home", "--name", "studio")
    genops("bank", "create", "no", "--kind", "blocked", "--owner", "legal", *home)
    calls = {
        "name a picture, an asset or --hash": ["bank", "add", "no", "--reason", "r"],
        "an entry needs a reason": ["bank", "add", "no", "--hash", "pdq=" + "0f" * 32],
        "name entries, or say --expired": ["bank", "remove", "no", "--reason", "r"],
        "is not NAME=HEX": ["bank", "add", "no", "--hash", "pdq=0f 0f", "--reason", "r"],
        "a PDQ has 64 hex digits": ["bank", "add", "no", "--hash", "pdq=0f", "--reason", "r"],
        "a verdict needs a reason": ["match", "confirm", "x.png", "3f2a9c81"],
    }
    for message, words in calls.items():
        done = genops(*words, *home)
        assert done.code == 2
        assert message in done.err
