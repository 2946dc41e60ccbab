"""The gate decides on one snapshot of the newest log, and on what the log says of taints."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from registry.cli.main import run
from registry.core.generation import Material
from registry.errors import GenopsError, StaleError
from registry.factory import create_registry, open_home
from registry.sdk import Registry
from registry.store.transaction import read, snapshot
from registry.workflows import gate as gate_module
from tests.conftest import make_generation

LORA = b"weights of a LoRA"


def made_from(seed: int, data: bytes, name: str = "lora/x", kind: str = "lora") -> Material:
    return Material(name, kind, hashlib.sha256(data).hexdigest(), storage="vaulted")


def studio(registry: Registry) -> tuple[str, str]:
    """A parent made with a LoRA, and a child made from the parent."""
    parent = registry.record(
        make_generation(1, materials=(made_from(1, LORA),)), blobs=[LORA]
    ).assets[0]
    source = Material("input/init", "image", parent.removeprefix("sha256:"), storage="vaulted")
    child = registry.record(make_generation(2, materials=(source,))).assets[0]
    return parent, child


def taint_rules(registry: Registry, asset: str) -> set[str]:
    (decision,) = registry.gate([asset], record=False).decisions
    return {r.rule for r in decision.rules if r.outcome == "fail"}


def edit(home: Path, *statements: str) -> None:
    with closing(sqlite3.connect(home / "registry.db")) as conn, conn:
        for statement in statements:
            assert conn.execute(statement).rowcount, statement


def refusal(registry: Registry, asset: str) -> str:
    with pytest.raises(GenopsError) as caught:
        registry.gate([asset])
    return caught.value.code


# ---------------------------------------------------------------- an edited catalog


@pytest.mark.parametrize("remembered", [False, True], ids=["first gate", "later gate"])
@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM taints",
        "UPDATE taints SET cleared_by = record_idx",
        "UPDATE taints SET sha256 = zeroblob(32)",
        "UPDATE taints SET severity = 'low'",
        "DELETE FROM closure",
        "UPDATE nodes SET sha256 = zeroblob(32) WHERE kind = 'lora'",
    ],
)
def test_a_catalog_that_hides_a_taint_is_refused(
    registry: Registry, home: Path, statement: str, remembered: bool
) -> None:
    _, child = studio(registry)
    registry.taint("sha256:" + hashlib.sha256(LORA).hexdigest(), reason="a claim")
    if remembered:
        assert taint_rules(registry, child)
    edit(home, statement)
    size = registry.log.head().size
    assert refusal(registry, child) == "catalog.altered"
    assert registry.log.head().size == size
    registry.rebuild_catalog()
    assert registry.gate([child]).verdict == "fail"


def test_a_catalog_that_makes_a_taint_up_is_refused(registry: Registry, home: Path) -> None:
    parent, child = studio(registry)
    registry.taint(parent, reason="a claim")
    registry.clear_taint(parent, reason="settled")
    before = taint_rules(registry, child)
    edit(home, "UPDATE taints SET cleared_by = NULL")
    assert refusal(registry, child) == "catalog.altered"
    registry.rebuild_catalog()
    assert taint_rules(registry, child) == before


@pytest.mark.parametrize("damage", ["forged", "emptied", "of another home", "of a longer log"])
def test_a_ledger_that_is_not_this_homes_own_is_derived_anew(
    registry: Registry, home: Path, tmp_path: Path, damage: str
) -> None:
    parent, child = studio(registry)
    clean = taint_rules(registry, child)
    path = home / "work" / "taints.json"
    with create_registry(tmp_path / "other", name="test") as other:
        mine = other.record(make_generation(1)).assets[0]
        other.gate([mine], record=False)
    registry.taint(parent, reason="a claim")
    tainted = taint_rules(registry, child)
    assert tainted != clean
    if damage == "forged":
        document = json.loads(path.read_text())
        assert document["body"]["standing"]
        document["body"]["standing"] = {}
        path.write_text(json.dumps(document))
    elif damage == "emptied":
        path.write_text("")
    elif damage == "of another home":
        shutil.copy(tmp_path / "other" / "work" / "taints.json", path)
    else:
        with open_home(home) as later:
            later.record(make_generation(3))
            later.gate([child], record=False)
    assert taint_rules(registry, child) == tainted


# ---------------------------------------------------------------- a stale log


def put_back(home: Path, backup: Path) -> None:
    for path in home.glob("registry.db*"):
        path.unlink()
    shutil.copy(backup / "registry.db", home / "registry.db")


@pytest.mark.parametrize("known", ["by the checkpoint file", "by the vault"])
def test_the_gate_decides_nothing_on_a_log_that_went_back(
    home: Path, tmp_path: Path, known: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with create_registry(home, name="test") as registry:
        parent, _ = studio(registry)
    shutil.copytree(home, tmp_path / "yesterday")
    with open_home(home) as registry:
        registry.taint(parent, reason="a claim")
        registry.sync_mirrors(["vault"])
    stale = open_home(tmp_path / "yesterday")
    assert stale.gate([parent], record=False).tree_size == 3
    if known == "by the vault":
        shutil.copytree(home / "vault", tmp_path / "yesterday" / "vault", dirs_exist_ok=True)
        place = tmp_path / "yesterday"
    else:
        stale.close()
        stale = open_home(home)
        stale._services.engine.dispose()  # as a pool does: its next connection opens the file
        put_back(home, tmp_path / "yesterday")
        place = home
    with stale, pytest.raises(StaleError) as caught:
        stale.gate([parent])
    assert caught.value.code == "gate.stale"
    assert [head["size"] for head in caught.value.heads] == [3, 4]
    with closing(sqlite3.connect(place / "registry.db")) as conn:
        assert conn.execute("SELECT size FROM log_head").fetchone() == (3,)
    if known == "by the vault":
        assert run(["gate", parent, "--home", str(place), "--json"]) == 2
        told = json.loads(capsys.readouterr().out)["error"]
        assert (told["code"], len(told["checkpoints"])) == ("gate.stale", 2)
        assert "log recover" in told["hint"]


def test_a_segment_that_cannot_be_read_and_says_more_stops_the_gate(
    registry: Registry, home: Path
) -> None:
    parent, _ = studio(registry)
    registry.sync_mirrors(["vault"])
    (pointer,) = (home / "vault" / "segments").glob("*.dvc")
    pointer.with_name("3-9.dvc").write_text("outs: []\n")
    with pytest.raises(StaleError):
        registry.gate([parent])
    pointer.with_name("3-9.dvc").unlink()
    assert registry.gate([parent]).tree_size == 3


# ---------------------------------------------------------------- one snapshot


def test_reads_inside_a_snapshot_see_no_later_commit(registry: Registry) -> None:
    engine = registry._services.engine
    with snapshot(engine):
        before = registry.log.head().size
        with open_home(registry.settings.home.root) as other:
            other.record(make_generation(3))
        assert registry.log.head().size == before
    assert registry.log.head().size == before + 1
    with read(engine) as conn, read(engine) as again:
        assert conn is not again


def test_facts_and_head_are_of_one_tree_while_others_write(
    registry: Registry, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A taint that is logged while the gate gathers belongs to the next decision."""
    parent, child = studio(registry)
    clean = taint_rules(registry, child)
    decide = gate_module.decide
    seen: list[int] = []

    def interrupted(*arguments: object) -> object:
        if not seen:
            with open_home(home) as other:
                seen.append(other.taint(parent, reason="a claim").index)
        return decide(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(gate_module, "decide", interrupted)
    report = registry.gate([parent, child], record=False)
    assert report.tree_size == seen[0]
    rules = [{r.rule for r in d.rules if r.outcome == "fail"} for d in report.decisions]
    assert rules[1] == clean
    assert taint_rules(registry, child) != clean
