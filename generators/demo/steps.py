"""The demo's steps, each through the same façade that a user calls."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from generators.campaign import DEMO_BRIEF, declare_demo_models, load_brief, run_campaign
from generators.demo.stage import Stage
from generators.demo.tamper import flipped_cell, flipped_file
from generators.demo_model import lora_file
from registry.errors import GenopsError
from registry.factory import create_registry, open_home

if TYPE_CHECKING:
    from registry.core.answers import Receipt
    from registry.sdk import Registry


@dataclass(frozen=True, slots=True)
class Scene:
    """What the steps share: the registry, its folder, and the campaign's receipts by name."""

    registry: Registry
    folder: Path
    receipts: Mapping[str, Receipt]

    @property
    def master(self) -> str:
        """The master picture's asset id."""
        return self.receipts["master"].assets[0]

    @property
    def branded(self) -> str:
        """The asset id of a picture made with the brand LoRA."""
        return self.receipts["branded"].assets[0]

    @property
    def everything(self) -> list[str]:
        """Every asset id of the campaign."""
        return [receipt.assets[0] for receipt in self.receipts.values()]


def run(home: Path, stage: Stage) -> None:
    """Make a fresh registry at `home` and walk through every step.

    The folder above `home` is the demo's own: copies, the DVC remote and its clone lie there.
    """
    home = home.resolve()
    folder = home.parent
    for name in (home.name, "copy", "copies", "reproduced", "remote", "clone"):
        shutil.rmtree(folder / name, ignore_errors=True)
    with create_registry(home, name="demo", project="spring") as registry:
        scene = Scene(registry, folder, _generate(registry, stage))
        for step in (_passport, _verify, _find, _gate, _reproduce, _mirrors, _page):
            step(scene, stage)


def _generate(registry: Registry, stage: Stage) -> Mapping[str, Receipt]:
    stage.step(1, "Generate a campaign through the wrapper")
    declare_demo_models(registry)
    brief = load_brief(DEMO_BRIEF)

    def say(name: str, receipt: Receipt) -> None:
        stage.say(f"{name:<13} {receipt.assets[0][:19]}…  log index {receipt.index}")

    with stage.working("loading the pipeline and generating"):
        campaign = run_campaign(registry, brief, say)
    listed = {asset.id for asset in registry.list(campaign=brief.name)}
    made = {receipt.assets[0] for receipt in campaign.receipts.values()}
    stage.claim(
        f"{len(made)} pictures are recorded, signed and in the log",
        holds=made == listed and len(made) == 1 + len(brief.variants),
    )
    return campaign.receipts


def _passport(scene: Scene, stage: Stage) -> None:
    stage.step(2, "Read one asset's passport")
    from registry.cli.render.passport import passport as render

    passport = scene.registry.get(scene.branded)
    stage.show(render(passport))
    kinds = {material.kind for material in passport.materials}
    stage.claim(
        "it names model, LoRA, input picture, seed, prompt, signer and log index",
        holds={"model", "lora", "image"} <= kinds
        and passport.seed is not None
        and isinstance(passport.parameters.get("prompt"), str)
        and bool(passport.signer["trusted"])
        and passport.index < passport.log["tree_size"],
    )


def _verify(scene: Scene, stage: Stage) -> None:
    stage.step(3, "Verify it, then tamper with a copy")
    verified = scene.registry.verify(scene.branded)
    for check in verified.checks:
        stage.say(f"{check.name:<11} {check.detail}", style="" if check.ok else "red")
    stage.claim("signature, inclusion, checkpoint and blob all verify", holds=verified.ok)

    copy = scene.folder / "copy"
    shutil.copytree(scene.registry.settings.home.root, copy)
    with open_home(copy) as registry:
        passport = registry.get(scene.branded)
    database = copy / scene.registry.settings.home.database.name
    index = f"idx = {passport.index}"
    digest = f"(SELECT envelope_sha256 FROM log_entries WHERE {index})"  # noqa: S608  # a number
    tampered = {
        "blob": flipped_file(Path(passport.path or "")),
        "envelope": flipped_cell(database, "envelopes", "data", f"sha256 = {digest}"),
        "entry": flipped_cell(database, "log_entries", "entry", index),
    }
    for name, flip in tampered.items():
        with flip:
            found = _failures(copy, scene.branded)
        stage.claim(
            f"one flipped byte in the {name} is caught: {', '.join(found) or 'nothing'} failed",
            holds=name in found,
        )
    stage.claim(
        "the copy verifies again without the flips", holds=not _failures(copy, scene.branded)
    )


def _failures(home: Path, asset: str) -> list[str]:
    """Return the names of the checks that fail; the error's area where it cannot even open."""
    try:
        with open_home(home) as registry:
            return [check.name for check in registry.verify(asset).checks if not check.ok]
    except GenopsError as error:
        return [error.code]


def _find(scene: Scene, stage: Stage) -> None:
    stage.step(4, "Find a stripped, re-encoded, resized copy")
    from PIL import Image

    stored = scene.registry.blob(scene.master)
    folder = scene.folder / "copies"
    folder.mkdir()
    copy = folder / "found-on-the-web.jpg"
    with Image.open(stored) as picture:
        picture.convert("RGB").resize((96, 96)).save(copy, quality=70)
    found = scene.registry.find(copy)
    for match in found.matches:
        stage.say(f"{match.kind:<10} {match.id[:19]}…  distance {match.distance}  {match.verdict}")
    stage.claim(
        "the copy is no exact match, and its nearest perceptual match is the master",
        holds=bool(found.matches)
        and found.matches[0].id == scene.master
        and all(match.kind == "perceptual" for match in found.matches),
    )
    exact = scene.registry.find(stored)
    stage.claim(
        "the stored file itself is an exact match",
        holds=(exact.matches[0].id, exact.matches[0].kind) == (scene.master, "exact"),
    )


def _gate(scene: Scene, stage: Stage) -> None:
    stage.step(5, "Gate the release, taint a LoRA, gate again")
    before = scene.registry.gate(scene.everything)
    stage.claim(f"the gate passes all {len(before.decisions)}", holds=before.verdict == "pass")

    lora = lora_file("brand")
    scene.registry.taint(lora, reason="trained on pictures of a rights holder who objects")
    impact = scene.registry.impact(lora)
    stage.say(f"{impact.name} is tainted; {impact.count} pictures derive from it:")
    for asset in impact.assets:
        stage.say(f"  {asset.id[:19]}…  {asset.campaign}")
    after = scene.registry.gate(scene.everything)
    blocked = {decision.id for decision in after.decisions if decision.verdict == "fail"}
    for decision in after.decisions:
        why = [rule.rule for rule in decision.rules if rule.outcome == "fail"]
        stage.say(f"{decision.verdict:<5} {decision.id[:19]}…  {', '.join(why)}")
    derived = {scene.receipts[name].assets[0] for name in ("branded", "branded-soft")}
    stage.claim(
        "the gate now blocks exactly the pictures made with it",
        holds=blocked == derived == {asset.id for asset in impact.assets},
    )


def _reproduce(scene: Scene, stage: Stage) -> None:
    stage.step(6, "Reproduce an asset from its id")
    path = Path(scene.registry.get(scene.branded).path or "")
    path.unlink()
    stage.claim("its stored file is deleted, and verify says so", holds=_blob_fails(scene))
    with stage.working("replaying in a fresh process"):
        same = scene.registry.reproduce(scene.branded, out=scene.folder / "reproduced")
    stage.claim(
        f"reproduced bit for bit from the id alone: {same.verdict}",
        holds=same.verdict == "identical" and same.reproduced == scene.branded,
    )
    stage.claim("and the stored file is back", holds=path.is_file() and not _blob_fails(scene))
    with stage.working("replaying with another seed"):
        other = scene.registry.reproduce(scene.branded, overrides={"seed": "4242"})
    stage.claim(
        f"with another seed the verdict is {other.verdict}", holds=other.verdict == "different"
    )


def _blob_fails(scene: Scene) -> bool:
    checks = scene.registry.verify(scene.branded).checks
    return [check.name for check in checks if not check.ok] == ["blob"]


def _mirrors(scene: Scene, stage: Stage) -> None:
    stage.step(7, "See the same generations in MLflow and DVC")
    with stage.working("sending the outbox to MLflow and into vault segments"):
        reports = scene.registry.sync_mirrors()
        differences = scene.registry.check_mirror("mlflow")
    for report in reports:
        stage.say(f"{report.target}: {report.sent} sent, {report.pending} waiting {report.error}")
    stage.claim(
        "MLflow holds every record, and its copies are what the log says",
        holds=not differences and all(r.pending == 0 and r.failed == 0 for r in reports),
    )
    database = os.path.relpath(scene.registry.settings.home.mlflow / "mlflow.db")
    stage.say(f"open it: .venv/bin/mlflow ui --backend-store-uri sqlite:///{database}")
    _dvc(scene, stage)


def _dvc(scene: Scene, stage: Stage) -> None:
    vault = scene.registry.settings.home.vault
    remote, clone = scene.folder / "remote", scene.folder / "clone"
    with stage.working("dvc push to a local remote, dvc pull in a fresh clone"):
        _run_dvc(vault, "remote", "add", "--force", "--default", "demo", str(remote))
        _run_dvc(vault, "push", "--quiet")
        shutil.copytree(vault, clone, ignore=shutil.ignore_patterns("cache", "tmp"))
        _run_dvc(clone, "pull", "--quiet")
    pulled = {_sha256(file) for file in clone.rglob("*") if file.is_file()}
    wanted = [asset.removeprefix("sha256:") for asset in scene.everything]
    stage.claim(
        f"a fresh DVC clone holds all {len(wanted)} pictures, hashes equal",
        holds=all(digest in pulled for digest in wanted),
    )


def _run_dvc(folder: Path, *arguments: str) -> None:
    command: Sequence[str] = [sys.executable, "-m", "dvc", *arguments]
    environ = os.environ | {"DVC_NO_ANALYTICS": "1"}
    done = subprocess.run(  # noqa: S603  # dvc, with arguments of our own
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise GenopsError(f"dvc {arguments[0]} failed: {''.join(last)}", code="demo.dvc")


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _page(scene: Scene, stage: Stage) -> None:
    from registry.web.app import DEFAULT_PORT

    stage.step(8, "Read it in a browser")
    home = os.path.relpath(scene.registry.settings.home.root)
    report = scene.registry.check_log()
    stage.claim(
        f"the whole log re-verifies: {report.size} records, root {report.root[:16]}…",
        holds=report.ok,
    )
    stage.claim(
        "the catalog is exactly what the log gives", holds=not scene.registry.check_catalog()
    )
    stage.say(f"genops serve --home {home}      (or: make serve)")
    stage.say(
        f"then open http://127.0.0.1:{DEFAULT_PORT}/assets/{scene.branded.removeprefix('sha256:')[:12]}"
    )
