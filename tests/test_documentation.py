"""What the documents say is true: commands run, links lead somewhere, settings are all there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from registry.settings import CONFIG_NAME, Limits, write_config
from registry.settings import Settings as RegistrySettings

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
DOCS = ROOT / "docs"
DOCUMENTS = [README, ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
SETTINGS = (DOCS / "settings.md").read_text("utf-8")
ADRS = sorted((DOCS / "adr").glob("[0-9]*.md"))
LIMIT_HEAD = "GENOPS_LIMIT_"

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_VARIABLE = re.compile(r"\bGENOPS_[A-Z][A-Z_]*[A-Z]\b")


def blocks(document: Path, language: str) -> list[str]:
    """Return the fenced blocks of a document in a language."""
    found = _FENCE.findall(document.read_text("utf-8"))
    return [body for name, body in found if name == language]


def commands(block: str) -> list[str]:
    """Return the commands of a console block, without prompts and trailing remarks."""
    lines = (line[2:] for line in block.splitlines() if line.startswith("$ "))
    return [re.sub(r"\s+# .*$", "", line) for line in lines]


README_COMMANDS = [command for block in blocks(README, "console") for command in commands(block)]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """An empty folder in which `.venv` is the environment that runs the tests."""
    (tmp_path / ".venv").symlink_to(sys.prefix, target_is_directory=True)
    return tmp_path


def run(place: Path, command: list[str]) -> str:
    """Run a command as a reader of the README would, and return what it printed."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        cwd=place,
        env={**os.environ, "PATH": path, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_commands_of_the_readme_run_one_after_another(place: Path) -> None:
    script = [command for command in README_COMMANDS if not command.startswith("make ")]
    assert sum(command.startswith("genops ") for command in script) >= 8
    printed = run(place, ["bash", "-euo", "pipefail", "-c", "\n".join(script)])
    assert (place / "studio" / CONFIG_NAME).is_file()
    assert "a red mug on a blue table, studio light" in printed
    assert "IDENTICAL" in printed


def test_the_python_of_the_readme_records_and_reproduces(place: Path) -> None:
    (code,) = blocks(README, "python")
    (place / "ten_lines.py").write_text(code, "utf-8")
    printed = run(place, [sys.executable, "ten_lines.py"]).splitlines()
    assert printed == ["a green lamp on a white table True", "identical"]


def test_the_make_targets_of_the_readme_are_in_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    named = {command.split()[1] for command in README_COMMANDS if command.startswith("make ")}
    assert {"demo", "test"} <= named <= targets


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(document: Path) -> None:
    text = _FENCE.sub("", document.read_text("utf-8"))
    dead = [link for link in _LINK.findall(text) if not _leads_somewhere(document, link)]
    assert dead == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_python_in_documents_is_python(document: Path) -> None:
    for code in blocks(document, "python"):
        compile(code, str(document), "exec")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_variables_in_documents_are_settings(document: Path) -> None:
    assert set(_VARIABLE.findall(document.read_text("utf-8"))) <= set(_VARIABLE.findall(SETTINGS))


def test_every_limit_is_documented_with_its_default_and_nothing_else_is() -> None:
    rows = re.findall(rf"^\| `{LIMIT_HEAD}(\w+)` \| (\S+) \|", SETTINGS, re.MULTILINE)
    assert {name.lower(): value for name, value in rows} == {
        limit.name: str(limit.default) for limit in fields(Limits)
    }


def test_every_variable_is_documented_and_nothing_else_is() -> None:
    read = set(_VARIABLE.findall((ROOT / "registry" / "settings.py").read_text("utf-8")))
    for module in (ROOT / "registry" / "cli").rglob("*.py"):
        read |= set(re.findall(r'envvar="(GENOPS_\w+)"', module.read_text("utf-8")))
    documented = set(re.findall(r"^\| `(GENOPS_\w+)` \|", SETTINGS, re.MULTILINE))
    assert {name for name in documented if not name.startswith(LIMIT_HEAD)} == {
        name for name in read if not name.startswith(LIMIT_HEAD.rstrip("_"))
    }


def test_every_key_of_the_configuration_is_documented_and_nothing_else_is(tmp_path: Path) -> None:
    every = {"database_url": "postgresql://host/database", "mlflow_uri": "http://host:5000"}
    settings = RegistrySettings(home=None, name="acme", uuid="0", **every)  # type: ignore[arg-type]
    written = re.findall(r"^(\w+) = ", write_config(settings), re.MULTILINE)
    assert re.findall(r"^\| `([a-z_]+)` \|", SETTINGS, re.MULTILINE) == written


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    listed = _LINK.findall((DOCS / "adr" / "README.md").read_text("utf-8"))
    assert [path.name for path in ADRS] == listed
    assert [int(path.name[:4]) for path in ADRS] == list(range(1, len(ADRS) + 1))


@pytest.mark.parametrize("path", ADRS, ids=lambda p: p.stem)
def test_a_decision_says_what_was_chosen_refused_and_paid(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith(f"# {path.name[:4]} ")
    for part in ("**Decision.**", "**Refused**", "**Costs.**"):
        assert text.count(part) == 1, part


def test_every_document_is_reached_from_the_readme() -> None:
    seen, waiting = set(), [README]
    while waiting:
        document = waiting.pop()
        seen.add(document)
        for link in _LINK.findall(document.read_text("utf-8")):
            target = (document.parent / link.partition("#")[0]).resolve()
            target = target / "README.md" if target.is_dir() else target
            if target.suffix == ".md" and target.is_file() and target not in seen:
                waiting.append(target)
    assert set(DOCUMENTS) - {ROOT / "CHANGELOG.md"} <= seen


def _leads_somewhere(document: Path, link: str) -> bool:
    if link.startswith(("https://", "http://", "mailto:")):
        return True
    name, _, anchor = link.partition("#")
    target = (document.parent / name).resolve() if name else document
    if not target.exists():
        return False
    return not anchor or anchor in _anchors(target)


def _anchors(document: Path) -> set[str]:
    """Return the anchors that a page of Markdown gets from its headings."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", document.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}
