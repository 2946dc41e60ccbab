"""Verbs: loaded when used, listed, helped by examples, brought by generators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.cli.frame import PLUGIN_GROUP
from registry.cli.main import SECTIONS, command

Genops = Callable[..., Any]  # see conftest


def leaves() -> list[str]:
    """Return every built-in verb as it is typed: `show`, `log head`, `log witness add`."""
    root = command()
    context = root.context_class(root, info_name="genops")
    names = [name for section in SECTIONS for name in section.verbs]
    return [leaf for name in names for leaf in below(root.get_command(context, name), name)]


def below(found: Any, path: str) -> list[str]:
    """Return the verb itself, or those below it at any depth."""
    inner = getattr(found, "commands", None)
    if not inner:
        return [path]
    alone = [path] if getattr(found, "default", None) else []
    return alone + [leaf for name, sub in inner.items() for leaf in below(sub, f"{path} {name}")]


MAKES_A_HOME = {"import", "restore"}
"""Verbs whose home is the PATH that they make."""


@pytest.mark.parametrize("verb", leaves())
def test_help_teaches_by_an_example_of_its_own(genops: Genops, verb: str) -> None:
    ran = genops(*verb.split(), "--help")
    assert ran.code == 0
    explained, _, examples = ran.out.partition("\nExamples:\n")
    assert f"  genops {verb}" in examples
    assert "For example:" not in ran.out
    assert "--json" in explained
    assert "--home" in explained or verb in MAKES_A_HOME
    assert max(map(len, ran.out.splitlines())) <= 80


def test_help_lists_every_verb_on_a_line_of_its_own(genops: Genops) -> None:
    lines = genops("--help").out.splitlines()
    for section in SECTIONS:
        assert f"{section.title}:" in lines
        for name in section.verbs:
            (line,) = [line for line in lines if line.startswith(f"  {name} ")]
            assert line.endswith(".")


def test_no_words_at_all_show_the_help(genops: Genops) -> None:
    assert genops().out == genops("--help").out


def test_the_help_of_a_group_lists_its_verbs(genops: Genops) -> None:
    text = genops("log", "--help").out
    for name in ("head", "check", "entry", "prove"):
        assert f"  {name}" in text


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Install a distribution whose verb `paint` comes from the given source."""

    def install(source: str) -> None:
        (tmp_path / "painting.py").write_text(source)
        info = tmp_path / "painting-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: painting\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[{PLUGIN_GROUP}]\npaint = painting:paint\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.delitem(__import__("sys").modules, "painting", raising=False)

    return install


PAINT = '''
import typer
from typing import Annotated

def paint(colour: Annotated[str, typer.Argument(help="Which.")] = "red") -> None:
    """Paint it.

    For example:
      genops paint blue
    """
    if colour == "none":
        import torch_is_not_here
    typer.echo(f"painted {colour}")
'''


def test_a_generator_brings_a_verb(genops: Genops, plugin: Callable[[str], None]) -> None:
    plugin(PAINT)
    assert genops("paint", "blue").out == "painted blue\n"
    text = genops("--help").out
    assert "Generate:\n" in text
    assert "  paint            Paint it.\n" in text
    assert "  genops paint blue" in genops("paint", "--help").out
    assert "did you mean `genops paint`?" in genops("pain").err


def test_a_verb_that_cannot_be_imported_says_what_is_missing(
    genops: Genops, plugin: Callable[[str], None]
) -> None:
    plugin("import a_library_that_is_not_here")
    ran = genops("paint", "--json")
    assert ran.code == 2
    assert ran.json["error"]["code"] == "install.missing-extra"
    assert "genops-registry[generate]" in ran.json["error"]["hint"]
    listed = genops("--help")
    assert listed.code == 0
    assert "paint" in listed.out


def test_a_verb_that_is_broken_leaves_the_others_usable(
    genops: Genops, plugin: Callable[[str], None]
) -> None:
    plugin("def paint(x: Nowhere = 1): ...")
    assert genops("paint", "--json").json["error"]["code"] == "install.broken-plugin"
    listed = genops("--help")
    assert listed.code == 0
    assert "does not load" in " ".join(listed.out.split())
    assert "no verb 'pain'" in genops("pain").err


def test_a_built_in_verb_cannot_be_replaced(
    genops: Genops, plugin: Callable[[str], None], tmp_path: Path
) -> None:
    plugin(PAINT)
    entry_points = tmp_path / "painting-1.0.dist-info" / "entry_points.txt"
    entry_points.write_text(f"[{PLUGIN_GROUP}]\nshow = painting:paint\n")
    assert "passport" in genops("show", "--help").out


def test_the_shell_can_complete_verbs_and_options(spawn: Genops) -> None:
    def complete(words: str, position: int) -> str:
        env = {
            "_GENOPS_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(position),
        }
        return str(spawn(env=env).out)

    assert complete("genops sh", 1).split() == ["show"]
    assert complete("genops verify", 1).split() == ["verify", "verify-evidence"]
    assert "--campaign" in complete("genops list --cam", 2)
