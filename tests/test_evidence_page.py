"""docs/evidence.md verifies its example with openssl and coreutils alone, and refuses forgeries."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from registry.core.evidence import verify_evidence

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
SCRIPT = "\n".join(re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
EXAMPLE = (ROOT / "docs" / "examples" / "asset.evidence.json").read_bytes()
VKEY = (ROOT / "docs" / "examples" / "log.vkey").read_text("ascii")
TOOLS = {
    "tr",
    "basenc",
    "base64",
    "od",
    "sha256sum",
    "cut",
    "mkdir",
    "cat",
    "tail",
    "wc",
    "openssl",
}
RECORD, TRUST = EXAMPLE.index(b'"record":{'), EXAMPLE.index(b'"trust":[{')

pytestmark = pytest.mark.skipif(
    any(shutil.which(tool) is None for tool in ("bash", *TOOLS)), reason="a tool is missing"
)


def follow(place: Path, evidence: bytes, vkey: str = VKEY) -> subprocess.CompletedProcess[str]:
    """Do what the page says, with a path that holds nothing but its tools."""
    bin_ = place / "bin"
    bin_.mkdir()
    for tool in TOOLS:
        (bin_ / tool).symlink_to(str(shutil.which(tool)))
    work = place / "work"
    work.mkdir()
    (work / "asset.evidence.json").write_bytes(evidence)
    (work / "log.vkey").write_text(vkey, "ascii")
    return subprocess.run(
        [str(shutil.which("bash")), "-c", SCRIPT],
        cwd=work,
        env={"PATH": str(bin_), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_example_verifies_step_by_step(tmp_path: Path) -> None:
    done = follow(tmp_path, EXAMPLE)
    assert done.returncode == 0, done.stdout + done.stderr
    report = verify_evidence(EXAMPLE, log_vkey=VKEY.strip())
    assert report.ok
    assert report.record_id in done.stdout.splitlines()
    assert "the same mug, seen from above" in done.stdout
    assert done.stdout.endswith("the evidence holds\n")


def test_the_example_is_a_golden_one() -> None:
    assert (ROOT / "tests/golden/homes/plain.evidence.json").read_bytes() == EXAMPLE


@pytest.mark.parametrize(
    ("what", "after", "offset", "said"),
    [
        ("payload", RECORD, b'"payload":"', "envelope and payload"),
        ("key id", RECORD, b'"keyid":"', "envelope and payload"),
        ("signature", RECORD, b'"sig":"', "envelope and payload"),
        ("time", RECORD, b'time\\":\\"', "holds the record"),
        ("proof", RECORD, b"\\nindex 1\\n", "holds the record"),
        ("size", RECORD, b"35-41a6895f99da\\n", "checkpoint"),
        ("checkpoint", RECORD, b"\\n260\\n", "checkpoint"),
        ("keys", TRUST, b'"payload":"', "envelope and payload"),
        ("trust record's proof", TRUST, b"\\nindex 0\\n", "holds the trust"),
        ("text", 0, b'{"disclosures":["', "a text"),
    ],
)
def test_a_forged_copy_is_refused_where_it_was_forged(
    tmp_path: Path, what: str, after: int, offset: bytes, said: str
) -> None:
    at = EXAMPLE.index(offset, after) + len(offset)
    while not EXAMPLE[at : at + 1].isalnum():
        at += 1
    other = b"B" if EXAMPLE[at : at + 1] != b"B" else b"C"
    forged = EXAMPLE[:at] + (b"7" if EXAMPLE[at : at + 1].isdigit() else other) + EXAMPLE[at + 1 :]
    assert forged != EXAMPLE
    done = follow(tmp_path, forged)
    assert done.returncode != 0
    assert said in done.stderr, what
    assert "the evidence holds" not in done.stdout
    assert not verify_evidence(forged, log_vkey=VKEY.strip()).ok


def test_another_logs_key_is_refused(tmp_path: Path) -> None:
    other = VKEY[:-5] + ("A" if VKEY[-5] != "A" else "B") + VKEY[-4:]
    done = follow(tmp_path, EXAMPLE, other)
    assert done.returncode != 0
    assert "signature" in done.stderr


def test_a_record_that_was_signed_by_another_key_is_refused(tmp_path: Path) -> None:
    """The page checks the signature itself, not the digests around it alone."""
    weak = SCRIPT.replace('same "${entry%%', 'true || same "${entry%%')
    at = EXAMPLE.index(b'"sig":"', RECORD) + 30
    forged = EXAMPLE[:at] + (b"B" if EXAMPLE[at : at + 1] != b"B" else b"C") + EXAMPLE[at + 1 :]
    (tmp_path / "asset.evidence.json").write_bytes(forged)
    (tmp_path / "log.vkey").write_text(VKEY)
    done = subprocess.run(
        ["bash", "-c", weak], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert weak != SCRIPT
    assert done.returncode != 0
    assert "the signature of the record" in done.stderr
