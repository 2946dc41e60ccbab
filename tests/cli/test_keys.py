"""The verbs on keys, as a person types them; and that no passphrase is seen on the way."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import sys
import termios
import threading
from pathlib import Path
from typing import Any

import pytest

from registry.factory import create_registry
from tests.cli.conftest import Genops

SECRET = "an-unmistakable-passphrase"
NEXT = "another-unmistakable-one"


@pytest.fixture
def acme(tmp_path: Path) -> Path:
    """A registry with two ingested files."""
    home = tmp_path / "acme"
    with create_registry(home, name="acme", project="brand") as registry:
        for name in ("one", "two"):
            (tmp_path / name).write_text(name)
            registry.ingest(tmp_path / name, actor="Ada")
    return home


def key_of(genops: Genops, home: Path, role: str) -> str:
    """Return the key of a role whose window is open."""
    rows = genops("keys", "list", "--json", "--home", home).json
    (found,) = [row for row in rows if role in row["roles"] and row["not_after"] is None]
    keyid: str = found["keyid"]
    return keyid


def test_the_drill_after_a_theft(genops: Genops, acme: Path, tmp_path: Path) -> None:
    key, two = key_of(genops, acme, "generator"), str(tmp_path / "two")
    time = genops("show", two, "--json", "--home", acme).json["time"]
    asked = genops("keys", "affected", key[:8], "--since", time, "--home", acme)
    assert "1 record by key" in asked.out
    words = ("keys", "compromise", key[:8], "--since", time, "--replace", "--home", acme)
    assert "a compromise needs a reason" in genops(*words, "--yes").err
    assert "add --yes" in genops(*words, "--reason", "stolen").err
    done = genops(*words, "--reason", "stolen", "--yes")
    assert f"declares key {key} compromised since" in " ".join(done.out.split())
    assert "New key" in done.out
    assert "DISOWNED" in genops("keys", "list", "--home", acme).out
    assert "compromised" in genops("keys", "show", key[:8], "--home", acme).out
    verified = genops("verify", two, "--home", acme)
    assert verified.code == 1
    assert "FAILED  signer" in verified.out
    shown = genops("show", two, "--home", acme).out
    assert "NOT TRUSTED  key compromised since" in shown
    assert genops("gate", two, "--home", acme).code == 1
    listed = genops("keys", "affected", key[:8], "--home", acme).out
    assert "1 of them not re-attested" in listed
    mine = genops("keys", "reattest", two, "--reason", "mine", "--actor", "Ada", "--home", acme)
    assert (mine.code, "error[reattest.four-eyes]" in mine.err) == (2, True)
    words = ("keys", "reattest", "--all-affected", key[:8], "--reason", "seen", "--home", acme)
    assert "1 record re-attested" in genops(*words, "--actor", "Eve").out
    assert "nothing is left to re-attest" in genops(*words, "--actor", "Eve").out
    assert genops("verify", two, "--home", acme).code == 0
    assert "re-attested by rec:" in genops("show", two, "--home", acme).out
    assert genops("log", "check", "--home", acme).code == 0
    assert genops("catalog", "check", "--home", acme).code == 0


def test_a_worker_gets_a_key_and_loses_it(genops: Genops, acme: Path, tmp_path: Path) -> None:
    made = genops("keys", "generate", tmp_path / "worker.pem")
    public = tmp_path / "worker.pub.pem"
    unwrapped = "".join(made.out.split())
    assert f"`genops keys add {public} --role ROLE`".replace(" ", "") in unwrapped
    private = genops("keys", "add", tmp_path / "worker.pem", "--role", "generator", "--home", acme)
    assert "error[key.private]" in private.err
    words = ("keys", "add", public, "--role", "generator", "--role", "policy", "--home", acme)
    added = genops(*words, "--until", "2999-01-01", "--json").json
    assert "as generator, policy" in added["changes"][0]
    assert "until 2999-01-01T00:00:00.000Z" in added["changes"][0]
    assert "error[trust.key-exists]" in genops(*words).err
    assert "error[time.invalid]" in genops(*words, "--until", "tomorrow").err
    key = added["changes"][0].split()[2]
    assert "trust changed" in genops("keys", "revoke", key[:8], "--home", acme).out
    (row,) = [
        row for row in genops("keys", "list", "--json", "--home", acme).json if row["keyid"] == key
    ]
    assert not row["not_after"].startswith("2999")


def test_roles_are_rotated(genops: Genops, acme: Path, tmp_path: Path) -> None:
    old = key_of(genops, acme, "generator")
    done = genops("keys", "rotate", "generator", "policy", "--home", acme, "--json").json
    assert [Path(made["path"]).parent for made in done["keys"]] == [acme / "keys"] * 2
    assert key_of(genops, acme, "generator") != old
    (tmp_path / "three").write_text("three")
    assert genops("record", tmp_path / "three", "--home", acme).code == 0
    assert "error[trust.role]" in genops("keys", "rotate", "root", "--home", acme).err


def test_a_key_made_for_a_role_counts_once_it_is_added(genops: Genops, acme: Path) -> None:
    made = genops("keys", "generate", "--role", "generator", "--home", acme, "--json").json
    assert Path(made["path"]).parent == acme / "keys"
    rows = genops("keys", "list", "--json", "--home", acme).json
    assert made["keyid"] not in {row["keyid"] for row in rows}
    add = ("keys", "add", made["public_path"], "--role", "generator", "--home", acme)
    assert genops(*add).code == 0
    (row,) = [
        row
        for row in genops("keys", "list", "--json", "--home", acme).json
        if row["keyid"] == made["keyid"]
    ]
    assert row["path"] == made["path"]
    assert genops("keys", "generate", "--home", acme).code == 2


def test_two_admins_change_trust(genops: Genops, acme: Path, tmp_path: Path) -> None:
    genops("keys", "generate", tmp_path / "eve.pem")
    first, second = tmp_path / "first.json", tmp_path / "second.json"
    here = ("--home", acme)
    add = f"admin={tmp_path / 'eve.pub.pem'}"
    proposed = genops("keys", "propose", "--add", add, "--threshold", "2", "--out", first, *here)
    assert "asks for 2 admins" in proposed.out
    assert "complete:" in proposed.out
    assert genops("keys", "propose", "--threshold", "1", "--out", first, *here).code == 2
    assert "trust changed" in genops("keys", "submit", first, *here).out
    alone = genops("keys", "rotate", "policy", *here)
    assert (alone.code, "1 more must sign" in alone.err) == (1, True)
    policy = key_of(genops, acme, "policy")
    words = ("--rotate", "generator", "--revoke", policy[:8], "--reason", "tidy up")
    proposed = genops("keys", "propose", *words, "--out", second, *here)
    assert "1 signature of 2 missing" in proposed.out
    assert "reason: tidy up" in proposed.out
    assert genops("keys", "submit", second, *here).code == 1
    assert "error[usage.confirm]" in genops("keys", "sign", second, *here).err
    eve = ("--key", tmp_path / "eve.pem", "--yes")
    away = genops("keys", "sign", second, *eve, "--json", "--home", tmp_path / "nowhere")
    assert "error[home.missing]" in away.err or '"home.missing"' in away.out
    signed = genops("keys", "sign", second, *eve, *here)
    assert "complete:" in signed.out
    assert "adds key" in signed.err  # shown before it is signed
    assert "trust changed" in genops("keys", "submit", second, *here).out
    stale = genops("keys", "submit", second, *here)
    assert (stale.code, "error[trust.gap]" in stale.err) == (1, True)
    for bad in ("keys", "sign"), ("keys", "submit"):
        assert genops(*bad, tmp_path / "one", *here).code == 2
        assert genops(*bad, tmp_path / "none", *here).code == 2


def test_a_proposal_can_be_signed_where_there_is_no_registry(
    genops: Genops, acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genops("keys", "generate", tmp_path / "eve.pem")
    file = tmp_path / "change.json"
    genops(
        "keys", "propose", "--threshold", "1", "--rotate", "policy", "--out", file, "--home", acme
    )
    monkeypatch.setenv("GENOPS_HOME", str(tmp_path / "nowhere"))
    signed = genops("keys", "sign", file, "--key", tmp_path / "eve.pem", "--yes", "--json").json
    assert len(signed["signed_by"]) == 2
    assert (signed["needed"], signed["current"]) == (None, None)
    assert genops("keys", "sign", file, "--yes").code == 2


def test_the_passphrase_is_set_changed_and_removed(
    genops: Genops, acme: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, one = ("--home", acme), tmp_path / "one"
    assert "error[key.passphrase]" in genops("keys", "passphrase", *here).err
    monkeypatch.setenv("GENOPS_NEW_PASSPHRASE", SECRET)
    assert "7 secrets" in genops("keys", "passphrase", *here).out
    assert "locked" in genops("show", one, *here).out
    monkeypatch.setenv("GENOPS_PASSPHRASE", SECRET)
    assert "locked" not in genops("show", one, *here).out
    monkeypatch.setenv("GENOPS_NEW_PASSPHRASE", NEXT)
    assert genops("keys", "passphrase", *here).code == 0
    assert genops("keys", "passphrase", "--remove", *here).code == 2
    monkeypatch.setenv("GENOPS_PASSPHRASE", NEXT)
    removed = genops("keys", "passphrase", "--remove", *here, "--json").json
    assert removed == {"home": str(acme), "secrets": 7, "protected": False}
    monkeypatch.delenv("GENOPS_PASSPHRASE")
    assert "locked" not in genops("show", one, *here).out


def test_no_passphrase_is_seen_anywhere(acme: Path, tmp_path: Path) -> None:
    """Not in what verbs print, with and without tracebacks, nor in any file or command line."""
    env = {**os.environ, "GENOPS_DEBUG": "1", "GENOPS_HOME": str(acme), "GENOPS_PASSPHRASE": ""}
    lines: list[str] = []

    def call(*words: str, given: str = "", new: str = "") -> None:
        secrets = {"GENOPS_PASSPHRASE": given, "GENOPS_NEW_PASSPHRASE": new}
        process = subprocess.Popen(
            [sys.executable, "-m", "registry.cli", *words],
            env={**env, **secrets},
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        watched = threading.Thread(target=watch, args=(process, lines))
        watched.start()
        lines.append(process.communicate()[0])
        watched.join()

    call("keys", "passphrase", new=SECRET)
    call("keys", "rotate", "generator", given=NEXT)  # refused, with a traceback
    assert "Traceback" in lines[-1]
    call("show", str(tmp_path / "one"), "--json", given=SECRET)
    seen = "\n".join(lines).encode()
    for path in acme.rglob("*"):
        if path.is_file():
            seen += path.read_bytes()
    assert b"registry.cli" in seen  # command lines were seen
    for secret in (SECRET, NEXT):
        assert secret.encode() not in seen


def watch(process: subprocess.Popen[str], lines: list[str]) -> None:
    """Keep every command line of a process and its children while it runs."""
    while process.poll() is None:
        for folder in (Path(f"/proc/{process.pid}"), *children(process.pid)):
            with contextlib.suppress(OSError):
                lines.append((folder / "cmdline").read_text())
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.02)


def children(pid: int) -> list[Path]:
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return []
    return [Path(f"/proc/{child}") for child in found]


def test_a_passphrase_typed_on_a_terminal_is_not_echoed(acme: Path) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "registry.cli", "keys", "passphrase", "--home", str(acme)],
        cwd=Path(__file__).parents[2],
        env={k: v for k, v in os.environ.items() if not k.startswith("GENOPS_")},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = answer(master, [b"new one", b"confirmation"], SECRET)
    assert process.wait(30) == 0
    assert b"7 secrets" in shown
    assert SECRET.encode() not in shown


def answer(master: int, prompts: list[bytes], text: str) -> bytes:
    """Type a text at each prompt, once the terminal does not echo; return all that was shown."""
    shown = b""
    waiting = list(prompts)
    while select.select([master], [], [], 30)[0]:
        try:
            data = os.read(master, 4096)
        except OSError:  # the other end was closed
            break
        shown += data
        if waiting and waiting[0] in shown:
            waiting.pop(0)
            for _ in range(500):
                if not termios.tcgetattr(master)[3] & termios.ECHO:
                    break
                select.select([], [], [], 0.01)
            os.write(master, f"{text}\n".encode())
    return shown


def test_settings_and_services_do_not_show_secrets(acme: Path) -> None:
    from registry.factory import open_home

    with open_home(acme, passphrase=SECRET) as registry:
        registry._services.pseudonym("Ada")
        pseudonym_key: Any = registry._services._secrets["pseudonym.key"]
        shown = repr(registry.settings) + repr(registry._services)
    assert SECRET not in shown
    assert repr(pseudonym_key) not in shown
