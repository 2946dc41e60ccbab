"""The verbs that move a registry: what they print, what they ask, and how they end."""

from __future__ import annotations

import io
import json
import os
import pty
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.factory import create_registry
from registry.store.migrate import HEAD_REVISION

Genops = Callable[..., Any]  # see conftest
ROOT = Path(__file__).parents[2]


def fits(verb: str, ran: Any) -> Any:
    """Return what a verb printed as JSON, after holding it against the committed schema."""
    assert ran.code == 0, ran.err
    text = (ROOT / "schemas" / "cli" / schemas.file_name(verb)).read_text("utf-8")
    Draft202012Validator(json.loads(text)).validate(ran.json)
    return ran.json


@pytest.fixture
def home(tmp_path: Path, generation: Callable[..., Any]) -> Path:
    with create_registry(tmp_path / "home", name="test") as registry:
        registry.record(generation(1))
    return tmp_path / "home"


def test_a_registry_is_exported_backed_up_and_imported(
    genops: Genops, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tar, keys = tmp_path / "all.tar", tmp_path / "keys"
    done = fits("export", genops("export", tar, "--home", home, "--json"))
    assert (done["size"], done["parts"], done["encrypted"]) == (2, ["blobs", "log", "texts"], False)
    monkeypatch.setenv("GENOPS_PASSPHRASE", "correct horse")
    done = fits("backup", genops("backup", keys, "--keys-only", "--home", home, "--json"))
    assert (done["parts"], done["encrypted"]) == (["home"], True)
    moved = genops("import", tar, tmp_path / "moved", "--keys", keys, "--json")
    assert fits("import", moved)["texts"] == 2
    text = genops("import", tar, tmp_path / "reader", "--key", home / "keys" / "log.vkey").out
    assert "2, all checked" in text
    assert "it has no keys" in text
    assert fits("upgrade", genops("upgrade", "--home", home, "--json"))["backup"] is None
    assert f"(schema {HEAD_REVISION})" in genops("upgrade", "--home", home).out


def test_a_backup_without_a_passphrase_is_refused_where_nobody_can_be_asked(
    genops: Genops, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO())
    target = tmp_path / "backup"
    refused = genops("backup", target, "--home", home)
    assert (refused.code, refused.err.split(":")[0]) == (2, "error[backup.passphrase]")
    assert "--unencrypted" in refused.err
    assert not target.exists()
    clear = genops("backup", target, "--unencrypted", "--home", home)
    assert "lock it away" in clear.out


def on_a_terminal(answer: str, *words: object) -> tuple[int, str]:
    """Run a verb on a terminal, answer every question alike; return exit code and screen."""
    pid, screen = pty.fork()
    if pid == 0:
        os.environ.pop("GENOPS_PASSPHRASE", None)
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "registry.cli", *map(str, words)])
    shown, answered = b"", 0
    while True:
        try:
            part = os.read(screen, 1024)
        except OSError:  # how Linux says that the other end is closed
            break
        if not part:
            break
        shown += part
        if shown.endswith(b": ") and len(shown) > answered:
            os.write(screen, answer.encode() + b"\n")
            answered = len(shown)
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_a_passphrase_is_asked_for_and_never_shown(home: Path, tmp_path: Path) -> None:
    target = tmp_path / "backup"
    code, shown = on_a_terminal("hush", "backup", target, "--home", home)
    assert code == 0, shown
    assert "Passphrase of the backup" in shown
    assert "hush" not in shown
    code, shown = on_a_terminal("hush", "import", target, tmp_path / "moved")
    assert code == 0, shown
    assert "2 readable, 0 locked" in shown
    code, shown = on_a_terminal("guess", "import", target, tmp_path / "again")
    assert (code, "error[backup.passphrase]" in shown) == (2, True)


@pytest.mark.parametrize("verb", [("init", "new"), ("import", "x", "new")])
def test_a_password_on_the_command_line_is_refused(
    genops: Genops, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: tuple[str, ...]
) -> None:
    monkeypatch.chdir(tmp_path)
    url = "postgresql+psycopg://genops:hunter2@db.example/genops"
    refused = genops(*verb, "--database-url", url)
    assert (refused.code, refused.err.split(":")[0]) == (2, "error[database.password]")
    assert "hunter2" not in refused.out + refused.err
    assert list(tmp_path.iterdir()) == []


def test_a_catalog_is_derived_from_an_export(genops: Genops, home: Path, tmp_path: Path) -> None:
    tar, catalog = tmp_path / "all.tar", tmp_path / "catalog.db"
    assert genops("export", tar, "--no-blobs", "--home", home).code == 0
    done = genops("catalog", "rebuild", "--from", tar, "--into", catalog, "--json")
    assert fits("catalog rebuild", done) == {"records": 2}
    with closing(sqlite3.connect(catalog)) as conn:
        assert conn.execute("SELECT count(*) FROM records").fetchone() == (2,)
    assert genops("catalog", "rebuild", "--from", tar).code == 2
    assert fits("catalog rebuild", genops("catalog", "rebuild", "--home", home, "--json"))
