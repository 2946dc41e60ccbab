"""Every verb against a real registry: exit codes, and JSON that fits its schema."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from registry.cli import schemas
from registry.cli.release import REPRODUCTION_EXIT
from registry.core.answers import Verdict
from registry.factory import create_registry, open_home

Genops = Callable[..., Any]  # see conftest
ROOT = Path(__file__).parents[2]


def fits(verb: str, ran: Any) -> Any:
    """Return what a verb printed as JSON, after holding it against the committed schema."""
    text = (ROOT / "schemas" / "cli" / schemas.file_name(verb)).read_text("utf-8")
    Draft202012Validator(json.loads(text)).validate(ran.json)
    return ran.json


@dataclass(frozen=True, slots=True)
class Scene:
    """A registry with a generated picture, an edit of it, and a picture apart."""

    home: Path
    generated: str
    edit: str
    apart: Path
    edited: Path


@pytest.fixture
def scene(tmp_path: Path, generation: Callable[..., Any], picture: Callable[..., Any]) -> Scene:
    home, edited, apart = tmp_path / "home", tmp_path / "edited.png", tmp_path / "apart.png"
    picture(2).save(edited)
    picture(3).save(apart)
    with create_registry(home, name="test", project="brand") as registry:
        made = registry.record(generation(1, campaign="launch"))
        edit = registry.ingest(edited, parents=made.assets, note="größer 裁切")
    return Scene(home, made.assets[0], edit.assets[0], apart, edited)


@pytest.fixture
def ask(genops: Genops, scene: Scene) -> Genops:
    """Run a verb on the scene's registry."""

    def call(*words: object) -> Any:
        return genops(*words, "--home", scene.home)

    return call


def test_init_makes_a_registry_once(genops: Genops, tmp_path: Path) -> None:
    home = tmp_path / "new"
    view = fits("init", genops("init", home, "--name", "acme", "--project", "spring", "--json"))
    assert view["origin"] == f"acme/{view['uuid']}"
    assert view["project"] == "spring"
    assert view["log_key"].startswith(view["origin"])
    again = genops("init", home, "--json")
    assert again.code == 2
    assert fits("error", again)["error"]["code"] == "home.exists"


def test_init_protects_keys_by_the_environments_passphrase(
    genops: Genops, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "locked"
    monkeypatch.setenv("GENOPS_PASSPHRASE", "open sesame")
    assert genops("init", home).code == 0
    assert genops("record", scene.apart, "--home", home).code == 0
    monkeypatch.delenv("GENOPS_PASSPHRASE")
    assert genops("list", "--home", home).code == 0
    refused = genops("record", scene.edited, "--home", home)
    assert refused.code == 2
    assert refused.err.startswith("error[key.passphrase]")


def test_record_takes_a_file_in(ask: Genops, scene: Scene) -> None:
    receipt = fits("record", ask("record", scene.apart, "--parent", scene.edit, "--json"))
    assert receipt["new"] is True
    parents = ask("show", scene.apart, "--json").json["materials"]
    assert [parent["id"] for parent in parents] == [scene.edit]


def test_record_refuses_a_file_that_is_not_there(ask: Genops, tmp_path: Path) -> None:
    ran = ask("record", tmp_path / "none.png", "--json")
    assert ran.code == 2
    assert "none.png" in fits("error", ran)["error"]["message"]


def test_list_is_an_array_newest_first(ask: Genops, scene: Scene) -> None:
    rows = fits("list", ask("list", "--json"))
    assert [row["id"] for row in rows] == [scene.edit, scene.generated]
    assert [row["kind"] for row in rows] == ["ingested", "generated"]


def test_list_filters(ask: Genops, scene: Scene) -> None:
    for words, wanted in (
        (("--kind", "generated"), [scene.generated]),
        (("--campaign", "launch"), [scene.generated]),
        (("--project", "other"), []),
        (("--tainted",), []),
        (("--limit", "1", "--offset", "1"), [scene.generated]),
    ):
        assert [row["id"] for row in ask("list", *words, "--json").json] == wanted
    assert "no assets" in ask("list", "--tainted").out


def test_show_gives_the_passport_by_prefix_record_and_file(ask: Genops, scene: Scene) -> None:
    whole = fits("show", ask("show", scene.generated, "--json"))
    assert whole["parameters"]["prompt"] == "a red mug on a blue table"
    prefix = scene.generated.removeprefix("sha256:")[:12]
    assert ask("show", prefix, "--json").json["id"] == scene.generated
    assert ask("show", whole["record"], "--json").json["id"] == scene.generated
    assert ask("show", scene.edited, "--json").json["id"] == scene.edit
    assert "a red mug on a blue table" in ask("show", prefix).out


def test_show_of_something_unknown_ends_with_2(ask: Genops, scene: Scene) -> None:
    assert fits("error", ask("show", "0" * 12, "--json"))["error"]["code"] == "ref.unknown"
    ran = ask("show", scene.apart)
    assert ran.code == 2
    assert "genops find" in ran.err


def test_verify_holds_and_then_does_not(ask: Genops, scene: Scene) -> None:
    good = ask("verify", scene.generated, scene.edited, "--json")
    assert good.code == 0
    assert fits("verify", good)["ok"] is True
    assert len(good.json["verifications"]) == 2
    stored = Path(ask("show", scene.edit, "--json").json["path"])
    stored.chmod(0o644)
    stored.write_bytes(b"x" + stored.read_bytes()[1:])
    bad = ask("verify", scene.generated, scene.edit, "--json")
    assert bad.code == 1
    assert [one["ok"] for one in bad.json["verifications"]] == [True, False]
    assert "FAILED" in ask("verify", scene.edit).out


def test_find_tells_exact_from_alike(ask: Genops, scene: Scene, tmp_path: Path) -> None:
    from PIL import Image

    exact = fits("find", ask("find", scene.edited, "--json"))["matches"]
    assert (exact[0]["id"], exact[0]["kind"]) == (scene.edit, "exact")
    copy = tmp_path / "copy.jpg"
    Image.open(scene.edited).save(copy, quality=60)
    alike = fits("find", ask("find", copy, "--json"))["matches"]
    assert (alike[0]["id"], alike[0]["kind"]) == (scene.edit, "perceptual")
    none = ask("find", scene.apart)
    assert none.code == 0
    assert "no match" in none.out


def test_find_of_what_is_no_picture_ends_with_2(ask: Genops, tmp_path: Path) -> None:
    text = tmp_path / "text.png"
    text.write_text("no picture")
    assert ask("find", text).code == 2


def test_lineage_walks_up_and_down(ask: Genops, scene: Scene) -> None:
    up = fits("lineage", ask("lineage", scene.edit, "--json"))
    assert scene.generated in {node["id"] for node in up["nodes"]}
    down = fits("lineage", ask("lineage", scene.generated, "--direction", "down", "--json"))
    assert scene.edit in {node["id"] for node in down["nodes"]}
    text = ask("lineage", scene.generated, "--direction", "both").out
    assert "Made from" in text
    assert scene.edit.removeprefix("sha256:")[:12] in text


def test_taint_reaches_what_was_made_from_it_until_it_is_lifted(ask: Genops, scene: Scene) -> None:
    fits("taint", ask("taint", scene.generated, "--reason", "wrong logo", "--json"))
    reach = fits("impact", ask("impact", scene.generated, "--json"))
    assert [row["id"] for row in reach["assets"]] == [scene.edit]
    assert "TAINTED" in ask("show", scene.edit).out
    assert "wrong logo" in ask("show", scene.edit).out
    assert len(ask("list", "--tainted", "--json").json) == 2
    assert ask("gate", scene.edit, "--dry-run").code == 1
    ask("taint", scene.generated, "--clear", "--reason", "right after all")
    assert ask("list", "--tainted", "--json").json == []


def test_a_gate_ends_with_its_verdict(ask: Genops, scene: Scene) -> None:
    ran = ask("gate", scene.generated, scene.edit, "--json")
    report = fits("gate", ran)
    assert ran.code == {"pass": 0, "fail": 1, "error": 2}[report["verdict"]]
    assert all(decision["record"] for decision in report["decisions"])
    every = ask("gate", "--all", "--dry-run", "--format", "json").json
    assert {d["id"] for d in every["decisions"]} == {scene.generated, scene.edit}
    assert not any(decision["record"] for decision in every["decisions"])


def test_a_gate_speaks_to_pipelines(ask: Genops, scene: Scene) -> None:
    ask("taint", scene.generated, "--reason", "wrong logo")
    junit = ask("gate", scene.generated, "--format", "junit", "--dry-run")
    suite = ET.fromstring(junit.out)
    assert junit.code == 1
    assert int(suite.get("failures", 0)) >= 1
    github = ask("gate", scene.generated, "--format", "github", "--dry-run")
    assert github.out.startswith("::error title=")


def test_a_gate_with_no_assets_does_not_pass(genops: Genops, tmp_path: Path) -> None:
    with create_registry(tmp_path / "empty"):
        pass
    ran = genops("gate", "--all", "--home", tmp_path / "empty", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "gate.empty")


def test_a_gate_with_an_unknown_policy_ends_with_2(ask: Genops, scene: Scene) -> None:
    assert ask("gate", scene.edit, "--policy", "nowhere").code == 2


def test_reproduce_of_what_was_not_generated_ends_with_2(ask: Genops, scene: Scene) -> None:
    ran = ask("reproduce", scene.edit, "--json")
    assert ran.code == 2


def test_a_replay_that_cannot_be_ends_with_2(
    ask: Genops, scene: Scene, generation: Callable[..., Any]
) -> None:
    with open_home(scene.home) as registry:
        (asset,) = registry.record(generation(8, reasons=("the sampler is not known",))).assets
    ran = ask("reproduce", asset, "--json")
    assert ran.code == 2
    assert fits("reproduce", ran)["verdict"] == "not-reproducible"
    assert "the sampler is not known" in ask("reproduce", asset).out


def test_every_verdict_of_a_replay_has_an_exit_code() -> None:
    assert set(REPRODUCTION_EXIT) == set(get_args(Verdict))
    alike = {verdict for verdict, code in REPRODUCTION_EXIT.items() if code == 0}
    assert alike == {"identical", "identical-pixels", "equivalent"}
    assert REPRODUCTION_EXIT["different"] == 1


def test_erase_needs_a_yes_and_leaves_proofs_standing(ask: Genops, scene: Scene) -> None:
    unsure = ask("erase", scene.generated, "--reason", "request 114")
    assert unsure.code == 2
    assert "--yes" in unsure.err
    fits("erase", ask("erase", scene.generated, "--reason", "request 114", "--yes", "--json"))
    shown = ask("show", scene.generated)
    assert "erased" in shown.out
    assert "a red mug" not in shown.out
    assert ask("verify", scene.generated).code == 0
    assert ask("log", "check").code == 0


def test_log_head_is_a_note_that_the_log_key_verifies(ask: Genops, scene: Scene) -> None:
    from registry.core.checkpoints import verify

    head = fits("log head", ask("log", "head", "--json"))
    with open_home(scene.home) as registry:
        vkey = registry.log.trust().log_vkey
    assert verify(head["checkpoint"].encode(), vkey).size == head["size"] == 3
    assert ask("log", "head").out == head["checkpoint"]


def test_log_entry_shows_any_record(ask: Genops, scene: Scene) -> None:
    genesis = fits("log entry", ask("log", "entry", "0", "--json"))
    assert genesis["statement"]["predicateType"].endswith("/predicate/trust/v1")
    by_id = ask("log", "entry", genesis["record"], "--json").json
    by_asset = ask("log", "entry", scene.edit, "--json").json
    assert by_id == genesis
    assert by_asset["index"] == 2
    assert ask("log", "entry", "99").code == 2
    assert "predicateType" in ask("log", "entry", "0").out


def test_log_prove_gives_a_proof_that_verifies(ask: Genops, scene: Scene) -> None:
    from registry.core.proofs import TlogProof

    proof = fits("log prove", ask("log", "prove", scene.edit, "--json"))
    leaf = bytes.fromhex(proof["record"].removeprefix("rec:"))
    with open_home(scene.home) as registry:
        vkey = registry.log.trust().log_vkey
    TlogProof.parse(proof["proof"].encode()).verify(leaf, vkey)
    assert ask("log", "prove", scene.edit).out == proof["proof"]


def alter_envelope(home: Path, index: int) -> None:
    """Change a record behind the registry's back, and put the guards back in place."""
    with open_home(home) as registry:
        data = registry.log.envelope_bytes(index)
    digest, forged = hashlib.sha256(data).digest(), data.replace(b"A", b"B")
    database = sqlite3.connect(home / "registry.db")
    guards = database.execute("select name, sql from sqlite_master where type = 'trigger'")
    guards = guards.fetchall()
    for name, _ in guards:
        database.execute(f"drop trigger {name}")
    database.execute("update envelopes set data = ? where sha256 = ?", (forged, digest))
    for _, sql in guards:
        database.execute(sql)
    database.commit()
    database.close()


def test_log_check_finds_an_altered_envelope(ask: Genops, scene: Scene) -> None:
    good = ask("log", "check", "--json")
    assert good.code == 0
    assert fits("log check", good) == good.json | {"ok": True, "size": 3, "problems": []}
    alter_envelope(scene.home, 2)
    bad = ask("log", "check", "--json")
    assert bad.code == 1
    assert fits("log check", bad)["ok"] is False
    assert "2" in bad.json["problems"][0]
    assert "THE LOG DOES NOT HOLD" in ask("log", "check").out


def test_evidence_is_verified_with_the_key_alone(
    ask: Genops, genops: Genops, scene: Scene, tmp_path: Path
) -> None:
    file, key = tmp_path / "evidence.json", tmp_path / "log.vkey"
    with open_home(scene.home) as registry:
        key.write_text(registry.log.trust().log_vkey + "\n")
    assert ask("evidence", scene.generated, "--out", file).out == ""
    good = genops("verify-evidence", file, "--key", key, "--json")
    assert good.code == 0
    view = fits("verify-evidence", good)
    assert view["ok"] is True
    assert "a red mug" in json.dumps(view["statement"])
    assert "the evidence holds" in ask("verify-evidence", file).out
    document = json.loads(file.read_text())
    document["record"]["entry"] = document["record"]["entry"].replace("1", "2")
    file.write_text(json.dumps(document))
    bad = genops("verify-evidence", file, "--key", key, "--json")
    assert bad.code == 1
    assert fits("verify-evidence", bad)["ok"] is False


def test_evidence_can_withhold_texts(ask: Genops, scene: Scene) -> None:
    assert "a red mug" not in ask("evidence", scene.generated, "--no-texts").out
    assert json.loads(ask("evidence", scene.generated).out)["disclosures"]


def test_another_logs_key_does_not_verify_evidence(
    ask: Genops, genops: Genops, scene: Scene, tmp_path: Path
) -> None:
    file = tmp_path / "evidence.json"
    ask("evidence", scene.generated, "--out", file)
    with create_registry(tmp_path / "other") as other:
        key = other.log.trust().log_vkey
    assert genops("verify-evidence", file, "--key", key).code == 1
    assert genops("verify-evidence", file, "--key", "nonsense").code == 2
    assert genops("verify-evidence", file, "--key", "a+b+c").code == 2


def test_keys_name_their_roles_and_private_halves(ask: Genops) -> None:
    rows = fits("keys list", ask("keys", "list", "--json"))
    assert {role for row in rows for role in row["roles"]} >= {"generator", "policy", "admin"}
    assert all(Path(row["path"]).is_file() for row in rows)
    one = fits("keys show", ask("keys", "show", rows[0]["keyid"][:12], "--json"))
    assert one == rows[0]
    assert "BEGIN PUBLIC KEY" in ask("keys", "show", rows[0]["keyid"]).out
    assert ask("keys", "show", "00000000").code == 2
    assert ask("keys", "show", "00").code == 2


def test_models_are_declared_and_listed(ask: Genops, tmp_path: Path) -> None:
    lora = tmp_path / "brand.pt"
    lora.write_bytes(b"weights")
    words = ("--name", "brand", "--kind", "lora", "--licence", "MIT", "--approved")
    fits("catalog add-model", ask("catalog", "add-model", lora, *words, "--json"))
    (row,) = fits("catalog models", ask("catalog", "models", "--json"))
    assert (row["name"], row["licence"], row["approved"]) == ("brand", "MIT", True)
    assert "brand" in ask("catalog", "models").out


def test_the_catalog_is_rebuilt_to_the_same_answers(ask: Genops, scene: Scene) -> None:
    before = ask("list", "--json").json
    assert fits("catalog rebuild", ask("catalog", "rebuild", "--json")) == {"records": 3}
    assert ask("list", "--json").json == before


def test_a_catalog_that_forgot_a_taint_ends_with_1(ask: Genops, scene: Scene) -> None:
    assert ask("taint", scene.generated, "--reason", "x").code == 0
    assert fits("catalog check", ask("catalog", "check", "--json")) == {
        "ok": True,
        "differences": [],
    }
    with closing(sqlite3.connect(scene.home / "registry.db")) as conn, conn:
        conn.execute("DELETE FROM taints")
    ran = ask("catalog", "check", "--json")
    assert ran.code == 1
    (line,) = fits("catalog check", ran)["differences"]
    assert line.startswith("taints: ")


def test_mirrors_tell_what_is_waiting(ask: Genops) -> None:
    rows = fits("mirror status", ask("mirror", "status", "--json"))
    assert rows
    assert all(row["pending"] > 0 for row in rows)


def test_the_vault_mirror_is_fed(ask: Genops) -> None:
    ran = ask("mirror", "sync", "--target", "vault", "--json")
    (row,) = fits("mirror sync", ran)
    assert (ran.code, row["failed"], row["pending"]) == (0, 0, 0)


@pytest.mark.slow
def test_an_altered_copy_in_mlflow_is_named_and_ends_with_1(ask: Genops, scene: Scene) -> None:
    assert ask("mirror", "sync", "--target", "mlflow").code == 0
    assert fits("mirror check", ask("mirror", "check", "--json"))["ok"]
    with closing(sqlite3.connect(scene.home / "mlflow" / "mlflow.db")) as conn, conn:
        conn.execute("UPDATE trace_tags SET value = 'another' WHERE key = 'genops.project'")
    ran = ask("mirror", "check", "--json")
    found = fits("mirror check", ran)
    assert (ran.code, found["ok"]) == (1, False)
    assert any("genops.project" in line for line in found["differences"])


def test_a_mirror_that_is_down_is_reported(ask: Genops, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENOPS_MLFLOW_URI", "http://127.0.0.1:9")
    ran = ask("mirror", "sync", "--target", "mlflow", "--json")
    assert ran.code == 1
    (row,) = fits("mirror sync", ran)
    assert row["error"]
    assert row["pending"] > 0


def test_policy_test_fails_with_a_case(ask: Genops, tmp_path: Path) -> None:
    bundle = shutil.copytree(ROOT / "policies" / "default", tmp_path / "bundle")
    for file in (bundle / "tests").iterdir():
        file.write_text(file.read_text().replace("verdict: pass", "verdict: fail"))
    ran = ask("policy", "test", bundle, "--json")
    assert ran.code == 1
    assert not fits("policy test", ran)["ok"]
    assert "expected fail" in " ".join(ask("policy", "test", bundle).out.split())


def test_policy_lint_and_test_take_the_shipped_bundle(ask: Genops) -> None:
    assert fits("policy lint", ask("policy", "lint", "--json"))["rules"] > 0
    ran = ask("policy", "test", "--json")
    assert (ran.code, fits("policy test", ran)["ok"]) == (0, True)


def test_policy_lint_refuses_a_bundle_that_is_wrong(ask: Genops, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text("name: x\nversion: 1\nrules: []\n")
    ran = ask("policy", "lint", tmp_path, "--json")
    assert ran.code == 2
    assert fits("error", ran)["error"]["code"].startswith("policy.")


def test_doctor_is_well_with_a_new_registry(ask: Genops) -> None:
    ran = ask("doctor", "--json")
    assert ran.code == 0, ran.out
    names = {check["name"] for check in fits("doctor", ran)["checks"]}
    assert {"python", "home", "keys", "disk", "database", "checkpoint", "clock"} <= names


def test_doctor_sees_keys_that_others_can_read(ask: Genops, scene: Scene) -> None:
    (scene.home / "keys" / "admin.pem").chmod(0o644)
    ran = ask("doctor", "--json")
    assert ran.code == 1
    (broken,) = [check for check in ran.json["checks"] if not check["ok"]]
    assert broken["name"] == "keys"
    assert "chmod 600" in broken["detail"]


def test_doctor_sees_a_restored_backup(ask: Genops, scene: Scene) -> None:
    for suffix in ("", "-wal", "-shm"):
        file = scene.home / f"registry.db{suffix}"
        if file.exists():
            shutil.copy(file, file.with_name(file.name + ".old"))
    ask("record", scene.apart)
    for suffix in ("", "-wal", "-shm"):
        (scene.home / f"registry.db{suffix}").unlink(missing_ok=True)
        old = scene.home / f"registry.db{suffix}.old"
        if old.exists():
            old.rename(scene.home / f"registry.db{suffix}")
    ran = ask("doctor", "--json")
    assert ran.code == 1
    assert not all(check["ok"] for check in ran.json["checks"])
    assert ask("record", scene.apart).code == 1


def test_doctor_of_no_registry_fails(genops: Genops, tmp_path: Path) -> None:
    ran = genops("doctor", "--home", tmp_path / "none")
    assert ran.code == 1
    assert "genops init" in " ".join(ran.out.split())


def test_a_reader_that_goes_away_is_no_error(scene: Scene) -> None:
    read, write = os.pipe()
    os.close(read)
    words = ["list", "--json", "--home", str(scene.home)]
    command = [sys.executable, "-m", "registry.cli", *words]
    with os.fdopen(write, "wb") as pipe:
        done = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (141, b"")


def test_text_survives_a_terminal_without_unicode(spawn: Genops, scene: Scene) -> None:
    ran = spawn("show", scene.edit, "--home", scene.home, env={"PYTHONIOENCODING": "ascii"})
    assert ran.code == 0
    assert r"gr\xf6\xdfer \u88c1\u5207" in ran.out


def on_terminal(words: list[str], answer: str) -> tuple[int, str]:
    """Run a command line on a terminal of its own and type one answer; return code and screen."""
    pid, screen = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execv(sys.executable, [sys.executable, "-m", "registry.cli", *words])
    shown = b""
    asked = False
    while True:
        try:
            part = os.read(screen, 1024)
        except OSError:  # how Linux says that the other end is closed
            break
        shown += part
        if not asked and shown.endswith(b": "):
            os.write(screen, answer.encode() + b"\n")
            asked = True
        if not part:
            break
    os.close(screen)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode()


def test_a_passphrase_is_asked_for_and_not_shown(
    genops: Genops, scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENOPS_PASSPHRASE", "open sesame")
    assert genops("init", tmp_path / "locked").code == 0
    monkeypatch.delenv("GENOPS_PASSPHRASE")
    words = ["record", str(scene.apart), "--home", str(tmp_path / "locked")]
    code, shown = on_terminal(words, "open sesame")
    assert (code, "sesame" in shown) == (0, False), shown
    code, shown = on_terminal(words, "wrong")
    assert (code, "error[key.passphrase]" in shown) == (2, True), shown


def test_an_erasure_is_done_only_when_confirmed(ask: Genops, scene: Scene) -> None:
    words = ["erase", scene.generated, "--reason", "r", "--home", str(scene.home)]
    code, shown = on_terminal(words, "n")
    assert (code, "nothing was done" in shown) == (2, True), shown
    assert "a red mug" in ask("show", scene.generated).out
    code, shown = on_terminal(words, "y")
    assert code == 0, shown
    assert "a red mug" not in ask("show", scene.generated).out
