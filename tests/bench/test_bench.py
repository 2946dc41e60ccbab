"""The benchmarks run, and say all that they claim to say; how fast is not asked here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.__main__ import RESULTS, SUBJECTS
from bench.harness import Bar, Row, Subject, machine, median_ms, sync_ms, timed, versions
from bench.report import figure, page

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_a_quick_run_measures_every_subject_and_leaves_the_results_alone(tmp_path: Path) -> None:
    before = RESULTS.read_bytes() if RESULTS.exists() else None
    out, work = tmp_path / "quick.md", tmp_path / "work"
    command = [sys.executable, "-m", "bench", "--quick", "--out", str(out), "--work", str(work)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    text = out.read_text("utf-8")
    assert text.count("\n## ") == len(SUBJECTS)
    assert "not measured" not in text
    assert "- machine: " in text
    assert "write + fsync" in text
    assert list(work.iterdir()) == []
    assert (RESULTS.read_bytes() if RESULTS.exists() else None) == before


def test_the_page_holds_every_figure_and_every_bar() -> None:
    subject = Subject(
        "Title",
        "Setting.",
        (Row("ours", 12.34, "ms", "a|b"), Row("theirs", 4321.0, "/s", "c")),
        (Bar("fast", "≤ 1 ms", "2 ms", holds=False), Bar("sure", "1", "1", holds=True)),
    )
    text = page([subject], {"machine": "this one"}, "python -m bench")
    assert "| ours | 12.3 ms | a\\|b |" in text
    assert "| theirs | 4,321/s | c |" in text
    assert "| fast | ≤ 1 ms | 2 ms | **missed** |" in text
    assert "| sure | 1 | 1 | holds |" in text
    assert "- machine: this one" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123, "0.12 ms"), (1.5, "1.50 ms"), (99.96, "100.0 ms"), (1e4, "10,000 ms")],
)
def test_figures_have_about_three_digits(value: float, text: str) -> None:
    assert figure(Row("", value, "ms", "")) == text


def test_the_median_is_in_milliseconds() -> None:
    assert median_ms([0.001, 0.002, 1.0]) == 2.0


def test_a_failed_block_is_not_timed() -> None:
    taken: list[float] = []
    with timed(taken):
        pass
    with pytest.raises(ZeroDivisionError), timed(taken):
        _ = 1 / 0
    assert len(taken) == 1


def test_the_run_describes_disk_machine_and_versions(tmp_path: Path) -> None:
    assert sync_ms(tmp_path) > 0
    assert "cores" in machine()
    assert versions()["sqlalchemy"][0].isdigit()
