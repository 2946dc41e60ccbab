"""Mistakes, mishaps and interruptions: one clear line, the right code, never a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from registry.cli import failures
from registry.cli.failures import explain, report, wants_json
from registry.errors import (
    GenopsError,
    InputError,
    IntegrityError,
    MissingExtraError,
    PolicyError,
    TrustError,
    UnavailableError,
)

Genops = Callable[..., Any]  # see conftest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["shwo"], "genops has no verb 'shwo'", "did you mean `genops show`?"),
        (["keys", "lst"], "genops keys has no verb 'lst'", "did you mean `genops keys list`?"),
        (["zzz"], "genops has no verb 'zzz'", "`genops --help` lists them"),
        (["keys"], "genops keys needs a verb of its own", "`genops keys --help`"),
        (["show"], "Missing argument 'ID'", "`genops show --help`"),
        (["show", "x", "--jsn"], "No such option: --jsn", "did you mean --json?"),
        (["--home", "x", "list"], "No such option: --home", "options come after the verb"),
        (["list", "--limit", "many"], "Invalid value for '--limit'", "`genops list --help`"),
        (["list", "--kind", "painted"], "Invalid value for '--kind'", "`genops list --help`"),
        (["gate"], "name the assets to judge", "genops gate --all"),
        (["gate", "x", "--all"], "name the assets to judge", "genops gate --all"),
        (["taint", "x", "--clear", "--reason", "r", "--severity", "low"], "severity", "leave"),
        (["reproduce", "x", "--seed", "1.5"], "not a whole number", ""),
        (["init", "a", "--home", "b"], "two places", "give one"),
        (["init", "http://localhost"], "a URL", ""),
        (["log", "head", "--home", "http://localhost:1"], "own folder", "holds the folder"),
        (["log", "recover", "--home", "http://localhost:1"], "own folder", "holds the folder"),
        (["upgrade", "--home", "http://localhost:1"], "own folder", "holds the folder"),
    ],
)
def test_a_mistake_gives_one_line_and_a_hint(
    genops: Genops, words: list[str], message: str, hint: str
) -> None:
    ran = genops(*words)
    lines = ran.err.splitlines()
    assert ran.code == 2
    assert ran.out == ""
    assert lines[0].startswith("error[usage")
    assert message in lines[0]
    assert hint in "".join(lines[1:])
    assert len(lines) <= 2


def test_in_json_a_mistake_is_an_object_on_stdout(genops: Genops) -> None:
    ran = genops("show", "--json")
    assert ran.code == 2
    assert ran.err == ""
    assert ran.json["error"]["code"] == "usage"
    assert set(ran.json["error"]) == {"code", "message", "hint"}


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["list", "--json"], True),
        (["gate", "--format", "json"], True),
        (["gate", "--format=json"], True),
        (["gate", "--format", "junit", "json"], False),
        (["show", "--", "--json"], False),
        ([], False),
    ],
)
def test_json_is_wanted_even_on_a_line_that_does_not_parse(words: list[str], wanted: bool) -> None:
    assert wants_json(words) is wanted


def test_no_home_says_how_to_make_one(genops: Genops, tmp_path: Path) -> None:
    ran = genops("list", "--home", tmp_path / "none")
    assert (ran.code, ran.err.splitlines()[0]) == (
        2,
        f"error[home.missing]: no registry at {tmp_path / 'none'}",
    )
    assert "genops init" in ran.err


def test_an_unreachable_registry_ends_with_3(genops: Genops) -> None:
    ran = genops("list", "--home", "http://127.0.0.1:9", "--json")
    assert ran.code == 3
    assert ran.json["error"]["code"] == "registry.unreachable"


@pytest.mark.parametrize(
    ("error", "code", "exit_code"),
    [
        (InputError("x"), "input.invalid", 2),
        (TrustError("x"), "trust.refused", 1),
        (IntegrityError("x"), "integrity.mismatch", 1),
        (UnavailableError("x"), "registry.unreachable", 3),
        (MissingExtraError("x"), "install.missing-extra", 2),
        (FileNotFoundError(2, "No such file or directory", "a.png"), "input.file", 2),
        (ModuleNotFoundError("x", name="torch.nn"), "install.missing-extra", 2),
        (ModuleNotFoundError("x", name="registry.nothing"), "internal", 2),
        (ZeroDivisionError("division by zero"), "internal", 2),
        (ValueError(), "internal", 2),
    ],
)
def test_every_exception_has_a_code_and_an_exit(
    error: Exception, code: str, exit_code: int
) -> None:
    told = explain(error)
    assert (told.code, told.exit_code) == (code, exit_code)


def test_a_database_that_does_not_answer_is_unavailable() -> None:
    from sqlalchemy.exc import OperationalError

    told = explain(OperationalError("select 1", {}, Exception("database is locked")))
    assert (told.code, told.exit_code) == ("store.unavailable", 3)


def test_an_unexpected_error_is_one_line_and_a_traceback_only_on_request(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("division\nby zero")
    assert report(caught.value, [], debug=False) == 2
    quiet = capsys.readouterr().err
    assert report(caught.value, [], debug=True) == 2
    loud = capsys.readouterr().err
    assert quiet.splitlines()[0] == "error[internal]: ZeroDivisionError: division"
    assert "Traceback" not in quiet
    assert "GENOPS_DEBUG=1" in quiet
    assert "Traceback (most recent call last)" in loud


def test_an_error_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    report(GenopsError("no \x1b]0;owned\x07 file \u202egnp", hint="\x1b[2J"), [], debug=False)
    told = capsys.readouterr().err
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert r"\x1b]0;owned\x07" in told


def test_a_policy_error_keeps_its_caret(capsys: pytest.CaptureFixture[str]) -> None:
    report(PolicyError("policy.yaml:3:9: no such field\n  rekord.id\n  ^\x1b"), [], debug=False)
    assert capsys.readouterr().err.splitlines()[1:] == ["  rekord.id", r"  ^\x1b"]


def test_debugging_is_asked_for_by_the_environment(spawn: Genops, tmp_path: Path) -> None:
    words = ("list", "--home", tmp_path / "none")
    assert "Traceback" not in spawn(*words).err
    assert "Traceback" in spawn(*words, env={"GENOPS_DEBUG": "1"}).err


def test_an_interruption_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt(), [], debug=False) == 130
    assert capsys.readouterr() == ("", "")


def test_ctrl_c_ends_a_running_verb_with_130(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    key = tmp_path / "key"
    key.write_text("x+00000000+AAAA")
    command = [
        sys.executable,
        "-m",
        "registry.cli",
        "verify-evidence",
        str(fifo),
        "--key",
        str(key),
    ]
    child = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    with fifo.open("wb"):  # returns once the verb reads
        time.sleep(0.1)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=20)
    assert (child.returncode, out, err) == (130, b"", b"")


def test_a_closed_pipe_is_quiet() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "registry.cli", "list", "--json", "--home", "/nowhere"]
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert done.stderr == b""


def test_the_version_is_told(genops: Genops) -> None:
    ran = genops("--version")
    assert ran.code == 0
    assert ran.out == f"genops {failures.version()}\n"
