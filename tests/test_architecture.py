"""House rules that no linter knows, checked on the source itself."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from registry.settings import Limits

ROOT = Path(__file__).resolve().parent.parent
REGISTRY = ROOT / "registry"
MODULES = sorted(REGISTRY.rglob("*.py"))
SOURCES = sorted(
    path for top in ("registry", "generators", "bench") for path in (ROOT / top).rglob("*.py")
)
MOST_LINES = 400
"""Most lines of a module, blank ones aside."""

# What would let a pure module see the machine, the clock, chance or a network.
IMPURE = {
    "asyncio", "glob", "http", "httpx", "io", "os", "pathlib", "random", "secrets", "shutil",
    "socket", "sqlalchemy", "sqlite3", "sqlmodel", "subprocess", "tempfile", "threading", "time",
    "urllib",
}  # fmt: skip
HEAVY = {
    "alembic", "cel_expr_python", "diffusers", "dvc", "fastapi", "imagehash", "mlflow", "psycopg",
    "scipy", "torch", "transformers", "uvicorn",
}  # fmt: skip


def test_the_evidence_verifier_loads_nothing_of_the_registry_but_core_and_errors() -> None:
    loaded = _loaded_by("import registry.core.evidence")
    ours = {name for name in loaded if name.partition(".")[0] in {"registry", "generators"}}
    strangers = {
        name
        for name in ours - {"registry", "registry.errors", "registry.core"}
        if not name.startswith("registry.core.")
    }
    assert "registry.core.evidence" in ours
    assert not strangers


@pytest.mark.parametrize("statement", ["import registry.factory", "import registry.cli.main"])
def test_the_light_parts_load_nothing_heavy(statement: str) -> None:
    loaded = {name.partition(".")[0] for name in _loaded_by(statement)}
    assert not loaded & HEAVY


def test_importing_the_package_loads_no_part_of_it() -> None:
    assert [name for name in _loaded_by("import registry") if name.startswith("registry.")] == []


@pytest.mark.parametrize("path", sorted((REGISTRY / "core").glob("*.py")), ids=lambda p: p.stem)
def test_the_core_imports_neither_machine_nor_clock_nor_chance_nor_network(path: Path) -> None:
    tree = _tree(path)
    imported = set(_imports(tree))
    assert not {name.partition(".")[0] for name in imported} & IMPURE
    assert not {name for name in imported if name.startswith("registry.")} - _core_names(imported)
    assert not [
        call
        for call in _calls(tree)
        if call in {"open", "now", "utcnow", "today", "input", "uuid1", "uuid4"}
    ]


@pytest.mark.parametrize("path", sorted((REGISTRY / "policy").glob("*.py")), ids=lambda p: p.stem)
def test_the_policy_engine_knows_only_the_core(path: Path) -> None:
    imported = set(_imports(_tree(path)))
    mine = {name for name in imported if name.startswith("registry.policy")}
    assert not {n for n in imported if n.startswith("registry.")} - _core_names(imported) - mine
    assert not {n.partition(".")[0] for n in imported} & (IMPURE - {"io", "pathlib"})


def test_only_the_settings_read_the_environment() -> None:
    readers = {
        path.relative_to(REGISTRY).as_posix()
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute | ast.Name | ast.alias)
        and _name(node) in {"environ", "environb", "getenv"}
    }
    assert readers == {
        "settings.py",
        "mirrors/tracking.py",  # reads nothing: switches MLflow's telemetry off before its import
    }


def test_every_limit_that_can_be_set_is_obeyed_somewhere() -> None:
    read = {
        node.attr
        for path in MODULES
        if path.name != "settings.py"
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Attribute)
    }
    assert [item.name for item in fields(Limits) if item.name not in read] == []


def test_only_the_command_line_prints() -> None:
    printers = {
        path.relative_to(REGISTRY).parts[0] for path in MODULES if "print" in _calls(_tree(path))
    }
    assert printers <= {"cli"}


def test_only_the_command_line_ends_a_process() -> None:
    enders = {
        path.relative_to(REGISTRY).as_posix()
        for path in MODULES
        if {"exit", "_exit", "abort", "quit"} & set(_calls(_tree(path)))
    }
    assert {path for path in enders if not path.startswith("cli/")} <= {
        "log/check_pool.py",  # a process of the check, whose parent is gone
        "workflows/replaying.py",  # the entry point of a replay's own process
    }


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_a_module_says_its_duty_and_stays_readable(path: Path) -> None:
    source = path.read_text("utf-8")
    tree = _tree(path)
    assert not tree.body or ast.get_docstring(tree), "no docstring"
    assert sum(1 for line in source.splitlines() if line.strip()) <= MOST_LINES
    assert not re.search(r"\b(?:TODO|FIXME|XXX)\b", source)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: p.relative_to(REGISTRY).as_posix())
def test_error_codes_are_words_that_programs_can_rely_on(path: Path) -> None:
    codes = [
        keyword.value.value
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "code"
        and isinstance(keyword.value, ast.Constant)
        and isinstance(keyword.value.value, str)
    ]
    assert [
        code for code in codes if not re.fullmatch(r"[a-z][a-z-]*(\.[a-z][a-z0-9-]*)?", code)
    ] == []


def test_functions_stay_short() -> None:
    lengths = sorted(
        node.end_lineno - node.body[0].lineno + 1
        for path in MODULES
        for node in ast.walk(_tree(path))
        if isinstance(node, ast.FunctionDef) and node.end_lineno is not None
    )
    assert lengths[len(lengths) // 2] <= 12
    assert lengths[len(lengths) * 9 // 10] <= 30


def _loaded_by(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nsys.stdout.write('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    return set(done.stdout.split("\n"))


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            if node.module in {"registry", "registry.core"}:
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _core_names(imported: set[str]) -> set[str]:
    return {
        n
        for n in imported
        if n in {"registry.core", "registry.errors"} or n.startswith("registry.core.")
    }


def _calls(tree: ast.Module) -> list[str]:
    return [_name(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.name if isinstance(node, ast.alias) else ""
