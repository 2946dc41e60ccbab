"""Campaigns with the demo model: reviews, resumption, failures, deliveries and their checks."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from generators.campaign import declare_demo_models, load_brief, running, state
from generators.campaign.approving import review_masters
from generators.campaign.checking import check_delivery
from generators.campaign.delivery import EVIDENCE, MANIFEST, SHEET, deliver
from generators.campaign.reporting import plan_of, status_of
from generators.campaign.running import Outcome, run, survey
from generators.campaign.sheet import contact_sheet
from generators.demo_model import lora_file
from registry.core.campaigns import Delivery
from registry.core.dsse import Envelope
from registry.errors import ConflictError, InputError
from registry.factory import create_registry, open_home
from registry.sdk import Registry

ROOT = Path(__file__).parents[2]
REVIEWED = {
    "version": 1,
    "name": "mugs",
    "takes": 2,
    "steps": 2,
    "axes": {"colour": ["red", "green"]},
    "master": {"prompt": "a {colour} mug on a blue table, studio light"},
    "variants": [
        {"name": "branded", "prompt": "a {colour} mug", "loras": {"brand": 1.0}},
        {"name": "empty", "how": "clean", "prompt": "an empty blue table, studio light"},
        {"name": "wide", "how": "outpaint", "size": "16:9", "prompt": "an empty blue table"},
        {"name": "large", "how": "upscale", "factor": 2},
        {"name": "broken", "prompt": "a mug", "loras": {"nowhere.safetensors": 1.0}},
        {"name": "after", "prompt": "a mug", "from": "broken"},
    ],
    "formats": [{"size": "48x32", "of": ["branded", "wide"]}],
    "files": [{"format": "png", "dpi": 300}, {"format": "jpeg", "profile": "display-p3"}],
    "delivery": {"name": "{colour}/{picture}-{format}-{file}.{ext}", "channel": "web"},
}
PLAIN = {
    "version": 1,
    "name": "plain",
    "approve": "automatic",
    "steps": 2,
    "axes": {"colour": ["red"]},
    "master": {"prompt": "a {colour} mug on a blue table, studio light"},
    "formats": ["32x32", "40x20"],
}


def brief_file(folder: Path, document: dict[str, Any]) -> Path:
    file = folder / f"{document['name']}.yaml"
    file.write_text(json.dumps(document))
    return file


@dataclass(frozen=True, slots=True)
class Scene:
    """A campaign at each stage: begun, reviewed, and run again; and its delivery."""

    registry: Registry
    begun: Outcome
    before: Outcome
    reviewed: Outcome
    again: Outcome
    grown: int
    delivery: Delivery
    folder: Path

    @property
    def vkey(self) -> str:
        return (self.registry.settings.home.keys / "log.vkey").read_text("ascii").strip()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("campaign")
    brief = load_brief(brief_file(folder, REVIEWED))
    with create_registry(folder / "home", name="test", project="brand") as registry:
        declare_demo_models(registry)
        before = survey(registry, brief)
        begun = run(registry, brief)
        review_masters(registry, brief, ["colour=red/master/2"], reason="the better light")
        review_masters(registry, brief, [], reject=True, reason="the wrong green")
        reviewed = run(registry, brief)
        size = registry.log.head().size
        again = run(registry, brief)
        grown = registry.log.head().size - size
        delivery = deliver(registry, again, folder / "delivery", policy="default")
        yield Scene(registry, begun, before, reviewed, again, grown, delivery, folder / "delivery")


def states_of(outcome: Outcome) -> dict[str, str]:
    return {key: one.state for key, one in outcome.standings.items()}


def test_nothing_is_made_of_a_master_before_it_is_approved(scene: Scene) -> None:
    assert set(states_of(scene.before).values()) == {"open", "waiting"}
    made = {key for key, one in scene.begun.standings.items() if one.state == "done"}
    assert made == {f"colour={c}/master/{n}" for c in ("red", "green") for n in (1, 2)}
    assert scene.begun.state == "waiting"


def test_variants_derive_from_the_approved_take_alone(scene: Scene) -> None:
    standings = scene.reviewed.standings
    chosen = standings["colour=red/master/2"].asset
    assert standings["colour=red/master"].asset == chosen
    for name in ("branded", "empty", "wide/canvas", "large"):
        record = standings[f"colour=red/{name}"].receipt
        assert record is not None
        inputs = [m for m in scene.registry.get(record.record).materials if m.kind == "image"]
        assert chosen in {one.id for one in inputs}
    other = standings["colour=red/master/1"].asset or ""
    assert scene.registry.impact(other).count == 0


def test_a_rejected_master_has_no_variants(scene: Scene) -> None:
    green = {k: one for k, one in scene.reviewed.standings.items() if k.startswith("colour=green")}
    assert {one.state for k, one in green.items() if "/master/" not in k} == {"waiting"}
    assert "rejected" in green["colour=green/master"].why


def test_a_step_that_fails_keeps_only_its_own_children_back(scene: Scene) -> None:
    red = states_of(scene.reviewed)
    assert red["colour=red/broken"] == "failed"
    assert red["colour=red/after"] == "waiting"
    assert red["colour=red/branded@48x32#png-300"] == "done"
    assert scene.reviewed.state == "failed"
    assert "input.lora" in scene.reviewed.standings["colour=red/broken"].why


def test_a_second_run_makes_nothing_twice_and_tries_again_what_failed(scene: Scene) -> None:
    assert states_of(scene.again) == states_of(scene.reviewed)
    assert not [one for one in scene.again.standings.values() if one.made]
    assert scene.grown == 0
    told = survey(scene.registry, scene.again.brief)
    assert states_of(told) == states_of(scene.again)
    assert told.standings["colour=red/broken"].why == scene.again.standings["colour=red/broken"].why


def test_records_say_which_step_they_are_and_seal_it(scene: Scene) -> None:
    receipt = scene.again.standings["colour=red/branded"].receipt
    assert receipt is not None
    passport = scene.registry.get(receipt.record)
    assert passport.campaign == "mugs"
    told = passport.setup["campaign"]
    assert told["step"] == "colour=red/branded"
    assert told["prompt_template"] == "a {colour} mug"
    payload = Envelope.parse(scene.registry.log.envelope_bytes(receipt.index)).payload
    assert b'"campaign":{"sealed"' in payload
    assert b"colour" not in payload


def test_inputs_name_the_record_that_made_them(scene: Scene) -> None:
    canvas = scene.again.standings["colour=red/wide/canvas"].receipt
    wide = scene.again.standings["colour=red/wide"].receipt
    assert canvas is not None
    assert wide is not None
    materials = {m.id: m for m in scene.registry.get(wide.record).materials}
    assert materials[canvas.assets[0]].output_of == canvas.record


def test_pictures_have_the_sizes_that_were_planned(scene: Scene) -> None:
    for name, size in (("wide", (112, 64)), ("large", (128, 128)), ("branded@48x32", (48, 32))):
        standing = scene.again.standings[f"colour=red/{name}"]
        assert standing.receipt is not None
        passport = scene.registry.get(standing.receipt.record)
        assert (passport.width, passport.height) == size
        assert (standing.step.width, standing.step.height) == size
        assert passport.reproducible


def test_plan_and_status_tell_what_there_is(scene: Scene) -> None:
    plan = plan_of(scene.registry, scene.again)
    assert plan.combinations == 2
    assert plan.counts["master"] == 4
    assert plan.open == sum(one.state != "done" for one in scene.again.standings.values())
    assert plan.guessed == ()  # each kind was measured on the way here
    status = status_of(scene.again)
    assert status.counts["failed"] == 1
    assert status.state == "failed"


def test_a_delivery_holds_what_is_finished_and_says_what_is_not(scene: Scene) -> None:
    names = {file.path for file in scene.delivery.files}
    assert names == {
        f"red/{name}-{shape}-{file}"
        for name, shape in (
            ("branded", "48x32"),
            ("wide", "48x32"),
            ("master", "original"),
            ("empty", "original"),
            ("large", "original"),
        )
        for file in ("png-300.png", "jpeg.jpg")
    }
    left = {one["step"] for one in scene.delivery.left_out}
    assert "colour=red/broken#jpeg" in left
    assert "colour=green/master#jpeg" in left
    manifest = json.loads((scene.folder / MANIFEST).read_text("utf-8"))
    review = scene.again.standings["colour=red/master"].review
    for file in manifest["files"]:
        assert file["review"] == review
        assert file["decision"]["verdict"] == "pass"
        events = {event.record for event in scene.registry.get(file["asset"]).events}
        assert {file["decision"]["record"], file["release"]} <= events
    with Image.open(scene.folder / "red" / "wide-48x32-png-300.png") as picture:
        assert picture.size == (48, 32)
        assert round(picture.info["dpi"][0]) == 300


def test_a_taint_reaches_the_manifest_of_every_delivery(scene: Scene) -> None:
    master = scene.again.standings["colour=red/master"].asset or ""
    reached = {one.record for one in scene.registry.impact(master).assets}
    assert scene.delivery.record in reached


@pytest.fixture
def delivered(scene: Scene, tmp_path: Path) -> Path:
    return shutil.copytree(scene.folder, tmp_path / "copy")


def test_an_untouched_delivery_is_what_was_signed(scene: Scene, delivered: Path) -> None:
    found = check_delivery(delivered, scene.vkey)
    assert found.ok
    assert (found.name, found.record) == ("mugs", scene.delivery.record)
    assert found.files == len(scene.delivery.files) + 1


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("red/master-original-jpeg.jpg", flip, "altered"),
        ("red/master-original-jpeg.jpg", Path.unlink, "missing"),
        (SHEET, flip, "altered"),
        ("red/extra.png", lambda file: file.write_bytes(b"x"), "unlisted"),
        (MANIFEST, Path.unlink, "missing"),
        (EVIDENCE, Path.unlink, "missing"),
        (EVIDENCE, flip, "evidence"),
        (MANIFEST, lambda f: f.write_text(f.read_text().replace('"web"', '"tv"')), "manifest"),
        (MANIFEST, lambda f: f.write_text("{"), "manifest"),
        (MANIFEST, lambda f: f.write_text(f.read_text().replace("red/", "../")), "manifest"),
    ],
)
def test_a_changed_delivery_is_named(
    scene: Scene, delivered: Path, name: str, change: Any, what: str
) -> None:
    change(delivered / name)
    found = check_delivery(delivered, scene.vkey)
    assert not found.ok
    assert (name, what) in {(one.path, one.what) for one in found.findings}


def test_a_delivery_under_another_logs_key_is_not_believed(
    scene: Scene, delivered: Path, tmp_path: Path
) -> None:
    with create_registry(tmp_path / "other", name="test", project="brand") as other:
        vkey = (other.settings.home.keys / "log.vkey").read_text("ascii").strip()
    found = check_delivery(delivered, vkey)
    assert {one.what for one in found.findings} == {"evidence"}
    assert found.signer is None


def test_a_folder_that_is_there_is_not_delivered_into(scene: Scene, delivered: Path) -> None:
    size = scene.registry.log.head().size
    with pytest.raises(InputError) as caught:
        deliver(scene.registry, scene.again, delivered)
    assert caught.value.code == "campaign.folder"
    assert scene.registry.log.head().size == size


def test_names_that_stand_for_two_files_are_refused(scene: Scene, tmp_path: Path) -> None:
    document = REVIEWED | {"delivery": {"name": "{colour}.{ext}"}}
    outcome = survey(scene.registry, load_brief(brief_file(tmp_path, document)))
    with pytest.raises(InputError) as caught:
        deliver(scene.registry, outcome, tmp_path / "out")
    assert caught.value.code == "campaign.names"
    assert not (tmp_path / "out").exists()


def test_what_the_gate_refuses_is_left_out(scene: Scene, tmp_path: Path) -> None:
    target = scene.again.standings["colour=red/branded"].asset or ""
    scene.registry.taint(target, reason="a rights holder objects")
    try:
        done = deliver(scene.registry, scene.again, tmp_path / "out", policy="default")
    finally:
        scene.registry.clear_taint(target, reason="the test is over")
    assert not [file for file in done.files if "branded" in file.path]
    assert [one["why"] for one in done.left_out if "branded" in one["step"]].count(
        "the gate says fail: no-taint"
    ) == 2


def test_a_sheet_shows_every_picture(scene: Scene) -> None:
    data = scene.registry.read(scene.again.standings["colour=red/master"].asset or "")
    sheet = Image.open(io.BytesIO(contact_sheet("mugs", [(f"{n}", data) for n in range(7)])))
    rows = [sheet.crop((0, top, sheet.width, top + 176)) for top in (39, 257)]
    assert all(len(row.getcolors(1 << 16) or ()) > 100 for row in rows)


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    with create_registry(tmp_path / "home", name="test", project="brand"):
        return tmp_path / "home"


def records_of(home: Path, campaign: str) -> int:
    with open_home(home) as registry:
        return len(registry.releasing.recorded(campaign))


def test_another_colour_leaves_the_first_alone(plain: Path, tmp_path: Path) -> None:
    with open_home(plain) as registry:
        first = run(registry, load_brief(brief_file(tmp_path, PLAIN)))
        grown = PLAIN | {"axes": {"colour": ["green", "red"]}}
        second = run(registry, load_brief(brief_file(tmp_path, grown)))
    assert first.state == second.state == "complete"
    for key, one in first.standings.items():
        assert (
            second.standings[key].receipt == one.receipt
            or one.receipt is None
            or (second.standings[key].asset == one.asset and not second.standings[key].made)
        )
    made = {key for key, one in second.standings.items() if one.made}
    assert made == {key for key in second.standings if key.startswith("colour=green")}


def test_an_automatic_approval_is_a_review_that_says_so(plain: Path, tmp_path: Path) -> None:
    with open_home(plain) as registry:
        outcome = run(registry, load_brief(brief_file(tmp_path, PLAIN | {"formats": []})))
        (review,) = registry.releasing.reviews(outcome.standings["colour=red/master"].asset or "")
    assert review.record == outcome.standings["colour=red/master"].review
    assert "automatically" in (review.reason or "")


def test_a_failure_is_told_until_the_brief_or_the_cause_changes(
    plain: Path, tmp_path: Path
) -> None:
    lora = tmp_path / "late.safetensors"
    document = PLAIN | {
        "formats": [],
        "variants": [{"name": "late", "prompt": "a mug", "loras": {str(lora): 1.0}}],
    }
    brief = load_brief(brief_file(tmp_path, document))
    with open_home(plain) as registry:
        assert run(registry, brief).standings["colour=red/late"].state == "failed"
        assert survey(registry, brief).standings["colour=red/late"].state == "failed"
        shutil.copyfile(lora_file("brand"), lora)
        assert survey(registry, brief).standings["colour=red/late"].state == "open"
        outcome = run(registry, brief)
        assert outcome.state == "complete"
        assert [key for key, one in outcome.standings.items() if one.made] == ["colour=red/late"]
        kept = state.find(plain, "plain")
    assert kept is not None
    assert kept.errors == {}


@pytest.mark.parametrize("what", ["corpus", "model"])
def test_a_step_is_another_when_a_file_below_its_folder_is(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    (folder / "past").mkdir(parents=True)
    (folder / "past" / "spring.md").write_text("Fresh colours.")
    (folder / "tone.md").write_text("Be short.")
    before = running.decided_by({what: str(folder)})
    assert running.decided_by({what: str(folder)}) == before
    (folder / "past" / "spring.md").write_text("Muted colours.")
    assert running.decided_by({what: str(folder)}) != before
    assert running.decided_by({what: str(tmp_path / "nowhere")})["files"] == [None]


def test_a_state_that_is_damaged_is_refused(plain: Path, tmp_path: Path) -> None:
    brief = load_brief(brief_file(tmp_path, PLAIN))
    state.begin(plain, "plain").path.write_text("{")
    with open_home(plain) as registry, pytest.raises(InputError) as caught:
        run(registry, brief)
    assert caught.value.code == "campaign.state"


def test_two_runs_of_a_campaign_do_not_mix(plain: Path, tmp_path: Path) -> None:
    brief = load_brief(brief_file(tmp_path, PLAIN))
    with (
        open_home(plain) as registry,
        state.alone(plain, "plain"),
        pytest.raises(ConflictError) as caught,
    ):
        run(registry, brief)
    assert caught.value.code == "campaign.running"
    assert records_of(plain, "plain") == 0


KILLED = """
import os, signal, sys
from pathlib import Path
from generators.environment import prepare
prepare()
from generators.campaign import load_brief
from generators.campaign.running import run
from registry.factory import open_home
from registry.sdk import Registry

home, brief, last = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
record, done = Registry.record, []

def killed(self, *args, **options):
    receipt = record(self, *args, **options)
    done.append(receipt)
    if len(done) == last:
        os.kill(os.getpid(), signal.SIGKILL)  # it is on the log, and nobody was told
    return receipt

Registry.record = killed
with open_home(home) as registry:
    run(registry, load_brief(brief))
"""


def killed_run(home: Path, brief: Path, *, last: int) -> int:
    """Run a campaign in a process that is killed after its record `last`; return how it ended."""
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(home), str(brief), str(last)],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        timeout=300,
        check=False,
    )
    assert child.returncode in {0, -signal.SIGKILL}, child.stderr.decode()
    return child.returncode


def test_a_killed_run_goes_on_and_makes_nothing_twice(plain: Path, tmp_path: Path) -> None:
    brief = brief_file(tmp_path, PLAIN)
    assert killed_run(plain, brief, last=2) == -signal.SIGKILL
    assert records_of(plain, "plain") == 2
    with open_home(plain) as registry:
        outcome = run(registry, load_brief(brief))
        assert registry.check_log().ok
        assert outcome.state == "complete"
        assert sorted(k for k, one in outcome.standings.items() if one.made) == [
            "colour=red/master@40x20"
        ]
        made = registry.releasing.recorded("plain")
    assert len(made) == 3
    assert len({receipt.assets for receipt in made.values()}) == 3
