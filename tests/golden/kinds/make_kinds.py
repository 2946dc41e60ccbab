"""Made the golden files of this folder, once; kept to show what is in them.

    python -m tests.golden.kinds.make_kinds FOLDER

They hold a record of every kind and version of statement that can be written, in a registry that
was exported, and every file that is handed out. They are never made again: a later release must
read the ones that are here, and find the same in them.
"""

from __future__ import annotations

import json
import lzma
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import delete, insert

from generators.campaign.brief import load_brief
from generators.campaign.plan import expand
from registry.core import predicates
from registry.core.bank_predicates import PREDICATE_BANK_ENTRY, PREDICATE_MATCH_VERDICT
from registry.core.digests import asset_id, sha256_hex
from registry.core.generation import Generation, Material, Output, Sealed
from registry.core.jsonio import canonical
from registry.core.predicates import Predicate
from registry.core.replay_predicates import AuditRecord, audit
from registry.core.statements import Subject, predicate_uri
from registry.factory import create_registry
from registry.policy.cases import load_cases, run_cases
from registry.policy.loader import load_bundle
from registry.resources import schema_set
from registry.sdk import Registry
from registry.similarity.fingerprints import PHASH256
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read, write
from registry.store.types import table_of
from registry.workflows.look_up import calibration
from registry.workflows.look_up_calibration import LEAST_SOURCES
from registry.workflows.maintain import PROJECTION
from registry.workflows.submit import declare
from tests.conftest import BUILD_TYPE, START_MS, encode, make_picture

ACTOR = "Ada Lovelace"
PERSON = "Jan\u00e9 Doe"
PROMPT = "a red mug \U0001f6b2 on \u202eblue\u202c, \u4e2d\u6587 \u2014 \u00e9"
LORA = b"lora weights, or near enough"
MODEL = b"a model, or near enough"
PASSPHRASE = "test-only"
HASH = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
OTHER_HASH = "d216b2a5a1dd5bb4c22d2b5e3c6f9e6f0d8b1a7c5e4f3a2b1c0d9e8f7a6b5c4d"
SCHEMAS = Path(__file__).parents[3] / "schemas"
FACTS_V1 = SCHEMAS / "policy-facts/examples/valid-generated.json"
BRIEF = SCHEMAS / "brief/examples/valid-whole.json"
RETENTION = SCHEMAS / "retention/examples/valid-drafts.json"
POLICY = """\
name: golden
version: "7"
rules:
  - id: not-blocked
    title: Nothing that must not be shipped looks like it
    severity: block
    require: >-
      !similar.exists(s, s.kind == "blocked" && s.verdict in ["match", "probable"])
    message: It looks like what must not be shipped
    show: similar.filter(s, s.kind == "blocked").map(s, s.bank + " " + s.match)
  - id: licensed
    title: Every model has a licence that is allowed
    severity: warn
    when: asset.kind == "generated"
    require: materials.all(m, m.kind != "lora" || m.licence in lists.licences)
    message: A licence is not on the list
"""
LISTS = "- Apache-2.0\n- MIT\n"
BLOCKED = [
    {
        "id": asset_id("ab" * 32),
        "bank": "rivals",
        "kind": "blocked",
        "match": "perceptual",
        "state": "",
        "fingerprint": PHASH256,
        "distance": 30,
        "extrapolated": False,
        "verdict": "match",
        "expectedBound": 0.0001,
    }
]
CASES = [
    {"name": "clean", "expect": {"verdict": "pass", "rules": {"licensed": "pass"}}},
    {"name": "blocked", "change": {"similar": BLOCKED}, "expect": {"verdict": "fail"}},
    {
        "name": "another licence",
        "lists": {"licences": ["CC0-1.0"]},
        "expect": {"verdict": "pass", "rules": {"licensed": "fail"}},
    },
]


def file(number: int) -> bytes:
    """Return a small picture."""
    return encode(make_picture(number, 48), "JPEG", quality=50)


def generation(number: int, prompt: str = PROMPT) -> Generation:
    """Return a generation of one picture by a model with a LoRA."""
    return Generation(
        build_type=BUILD_TYPE,
        external={"prompt": Sealed(prompt), "seed": str(number)},
        internal={"components": {"unet": {"dtype": "torch.float32"}}},
        materials=(
            Material("model/base", "model", sha256_hex(MODEL), storage="vaulted"),
            Material("lora/brand", "lora", sha256_hex(LORA), storage="vaulted"),
        ),
        outputs=(Output(file(number), "image/jpeg", seed=str(number), width=48, height=48),),
        started_ms=START_MS,
        finished_ms=START_MS + 1000,
        builder_id="https://example.org/genops/worker",
        campaign="spring",
    )


class Maker:
    """A registry that is being filled, and where its files go."""

    def __init__(self, registry: Registry, work: Path, out: Path) -> None:
        self.registry, self.work, self.out = registry, work, out
        self.services = registry._services

    def head(self) -> predicates.Head:
        return self.services.head(actor=ACTOR)

    def say(self, name: str, asset: str, said: Predicate, role: str, version: int = 1) -> str:
        """Declare what no verb says, or says no longer, of an asset or a digest."""
        subject = Subject("out/0", asset.removeprefix("sha256:"))
        return declare(
            self.services, [subject], predicate_uri(name, version), said, role=role
        ).record

    def save(self, name: str, data: bytes) -> Path:
        path = self.work / name
        path.write_bytes(data)
        return path


def assets(maker: Maker) -> dict[str, str]:
    """Record generations, files by hand, drafts, a model and a taint; return assets by name."""
    registry = maker.registry
    shot, mug, gone = (
        registry.record(generation(n, prompt), blobs=[MODEL, LORA], actor=actor)
        for n, prompt, actor in ((1, PROMPT, ACTOR), (2, "a mug", ACTOR), (3, "a portrait", PERSON))
    )
    kept, expired = (
        registry.record(generation(n), blobs=[MODEL, LORA], draft=True, actor=ACTOR) for n in (4, 5)
    )
    lora = asset_id(sha256_hex(LORA))
    registry.register_model(
        lora, name="brand", kind="lora", licence="MIT", approved=True, actor=ACTOR
    )
    edited = registry.ingest(
        maker.save("family photo.jpg", file(6)),
        parents=[shot.assets[0]],
        note="the logo, by hand",
        contributions=["typography", "logo"],
        campaign="spring",
        actor=PERSON,
    )
    registry.drafts.keep(kept.assets, reason="the client's choice", actor=ACTOR)
    registry.drafts.expire(older_than_hours=0, actor=ACTOR)
    registry.taint(lora, reason="a complaint", severity="critical", actor=ACTOR)
    registry.clear_taint(lora, reason="it was withdrawn", actor=ACTOR)
    return {
        "shot": shot.assets[0],
        "mug": mug.assets[0],
        "gone": gone.assets[0],
        "kept": kept.assets[0],
        "expired": expired.assets[0],
        "edited": edited.assets[0],
    }


def banks(maker: Maker) -> None:
    """Fill banks in every version, judge matches, calibrate, and hand lists out."""
    registry, found = maker.registry, maker.registry.banks
    found.create("rivals", kind="blocked", owner="legal", description="theirs", actor=ACTOR)
    found.create("frames", kind="licensed", owner="studio", actor=ACTOR)
    terms = {"reason": "their ad", "source": "letter 7", "actor": ACTOR}
    rival = maker.save("rival.jpg", encode(make_picture(2, 48), "JPEG", quality=40))
    added = found.add("rivals", [rival], **terms, owner="agency 3", expires="2099-01-01")
    lines = f"{HASH}\n{OTHER_HASH}\n".encode()
    found.import_("rivals", lines, reason="shared", source="list 1", actor=ACTOR)
    extra = found.add("frames", [maker.save("frame.jpg", file(7))], **terms)
    found.remove("frames", extra.added, reason="settled", actor=ACTOR)
    found.export("rivals", maker.out / "bank.jsonl", reasons=True)
    found.export("rivals", maker.out / "bank.pdq.txt", form="text")
    match = registry.find(rival, banks=["rivals", "registered"]).matches
    near = next(one for one in match if one.bank == "registered" and one.kind == "perceptual")
    found.confirm(rival, near.id, reason="our mug", actor=ACTOR)
    other = encode(make_picture(2, 48), "JPEG", quality=30)
    found.refute(other, added.added[0], reason="another mug", bank="rivals", actor=ACTOR)
    first = sha256_hex(b"a picture of then")
    for action in ("add", "remove"):
        said = predicates.bank_entry(
            maker.head(),
            bank="undeclared" if action == "add" else "rivals",
            action=action,  # type: ignore[arg-type]
            fingerprints={PHASH256: HASH},
            reason="as in the first version",
        )
        subject = [Subject("out/0", first)]
        declare(maker.services, subject, PREDICATE_BANK_ENTRY, said, role="reviewer")
    verdict = predicates.match_verdict(
        maker.head(),
        candidate=near.id,
        fingerprint=PHASH256,
        distance=34,
        verdict="rejected",
        reason="as in the first version",
    )
    subject = [Subject("out/0", first)]
    declare(maker.services, subject, PREDICATE_MATCH_VERDICT, verdict, role="reviewer")


def calibrations(maker: Maker) -> None:
    """Calibrate a model as in the first version, and look-ups from values that are thrown away."""
    bounds = {
        "max-level": 4,
        "fraction": 0.01,
        "measured-max-level": 2,
        "measured-fraction": 0.004,
    }
    said = predicates.calibration(
        maker.head(),
        name=sha256_hex(MODEL),
        fingerprint="pixel-distance-v1;float32",
        samples=6,
        bounds=bounds,
    )
    table = maker.services.vault.put(b"asset,max-level,fraction\n")
    subject = [Subject("out/0", table.sha256, "text/csv")]
    uri = predicate_uri("calibration")
    declare(maker.services, subject, uri, said, role="reviewer", blobs=[table])
    values = np.random.default_rng(5).integers(0, 256, (LEAST_SOURCES + 40, 32), dtype=np.uint8)
    values[1:30] = values[0]
    values[1:30, :12] ^= np.random.default_rng(6).integers(0, 256, (29, 12), dtype=np.uint8)
    rows = [
        {"sha256": bytes([n] * 32), "name": PHASH256, "value": value.tobytes(), "quality": 100}
        for n, value in enumerate(values)
    ]
    prints = table_of(FingerprintRow)
    with write(maker.services.engine) as conn:
        conn.execute(insert(prints), rows)
    maker.registry.calibrate_look_ups(actor=ACTOR)
    with write(maker.services.engine) as conn:
        conn.execute(delete(prints).where(prints.c.sha256.in_([row["sha256"] for row in rows])))


def govern(maker: Maker, named: dict[str, str]) -> dict[str, Any]:
    """Decide, review, release, publish, waive, claim, hold and erase; certify the erasure."""
    registry, shot = maker.registry, named["shot"]
    policy = maker.out / "policy"
    (policy / "lists").mkdir(parents=True)
    (policy / "policy.yaml").write_text(POLICY)
    (policy / "lists" / "licences.yaml").write_text(LISTS)
    facts = {k: v for k, v in json.loads(FACTS_V1.read_text()).items() if k != "lists"}
    cases = {"facts": facts | {"similar": []}, "cases": CASES}
    (policy / "tests").mkdir()
    (policy / "tests" / "cases.yaml").write_text(json.dumps(cases, indent=1) + "\n")
    report = registry.gate([shot, named["mug"]], policy=str(policy))
    first = report.decisions[0]
    assert first.record is not None
    review = registry.releasing.review(shot, verdict="approved", reason="good", actor=ACTOR)
    registry.releasing.release(shot, channel="web", decision=first.record, reviews=[review.record])
    head, until = maker.head, 4_102_444_800_000
    say = maker.say
    say(
        "publication",
        shot,
        predicates.publication(
            head(), channel="web", published_ms=START_MS, location="https://example.org/shot"
        ),
        "generator",
    )
    say(
        "waiver",
        shot,
        predicates.waiver(
            head(), rule="licensed", requested_by="u-0f1e2d3c", expires_ms=until, reason="once"
        ),
        "reviewer",
    )
    form = [{"name": "form", "sha256": sha256_hex(b"form")}]
    claim = predicates.claim(head(), kind="consent", text="by the model", evidence=form)
    say("claim", shot, claim, "generator")
    for state, more in (
        ("reported", {}),
        ("scoped", {"scope": {"sha256": sha256_hex(b"list"), "count": 63}}),
    ):
        told = predicates.incident(
            head(), incident_id="inc-87bd6ad8b1f005da", state=state, reason="a complaint", **more
        )
        say("incident", shot, told, "reviewer")
    registry.privacy.hold([named["edited"]], reason="case 11", actor=ACTOR)
    registry.privacy.hold([shot], reason="case 12", actor=ACTOR)
    registry.privacy.lift(shot, reason="settled", actor=ACTOR)
    registry.privacy.erase(person=PERSON, reason="request 114", actor=ACTOR)
    registry.privacy.certify(PERSON, maker.out / "certificate.json")
    bundle = load_bundle(policy, schema_set())
    assert run_cases(bundle, load_cases(policy, schema_set())).ok
    return {
        "bundle": bundle.digest,
        "decisions": {
            one.record: {
                "verdict": one.verdict,
                "rules": [[r.rule, r.outcome, r.message] for r in one.rules],
            }
            for one in report.decisions
        },
    }


def replays(maker: Maker, named: dict[str, str]) -> None:
    """Say how outputs came out again, and what an audit of them found."""
    shot = maker.registry.get(named["shot"])
    digest = shot.id.removeprefix("sha256:")
    said = predicates.reproduction(
        maker.head(),
        record=shot.record,
        verdict="equivalent",
        original_sha256=digest,
        differences=[{"name": "torch", "recorded": "2.6.0", "found": "2.7.0"}],
        measures=[{"name": "max-level", "value": 1.5, "bound": 4}],
    )
    reproduction = maker.say("reproduction", digest, said, "generator")
    table = maker.services.vault.put(b"asset,record,output,verdict,reproduction,code\n")
    counts = {"equivalent": 1, "failed": 1}
    record = AuditRecord(
        {
            "treeSize": 5,
            "matching": 2,
            "chosen": 2,
            "campaign": "spring",
            "sample": {"seed": "7", "size": 2},
        },
        START_MS,
        START_MS + 2000,
        "processes",
        2,
        counts,
        table.sha256,
        failures=[{"record": shot.record, "output": "out/0", "code": "material.missing"}],
        reproductions=[reproduction],
    )
    subject = [Subject("out/0", table.sha256, "text/csv")]
    uri, told = predicate_uri("audit"), audit(maker.head(), record)
    declare(maker.services, subject, uri, told, role="generator", blobs=[table])


def keys(maker: Maker, named: dict[str, str]) -> None:
    """Change trust, disown a key, and vouch for what it signed."""
    registry = maker.registry
    signer = maker.services.signer("generator").keyid
    since = maker.services.reader.trust().keys[signer].not_before_ms
    registry.trust.rotate("policy", reason="a new year", actor=ACTOR)
    registry.trust.compromise(
        signer, since_ms=since, reason="a lost laptop", replace=True, actor=ACTOR
    )
    registry.trust.reattest([named["shot"]], reason="seen on the day", actor="Grace Hopper")


def delivery(maker: Maker, named: dict[str, str]) -> None:
    """Write a folder as it is handed to a client, with its manifest and the proof of that."""
    registry, folder = maker.registry, maker.out / "delivery"
    (folder / "red").mkdir(parents=True)
    shot = registry.get(named["shot"])
    data = registry.read(shot.id)
    (folder / "red" / "shot.jpg").write_bytes(data)
    sheet = file(9)
    (folder / "contact-sheet.jpg").write_bytes(sheet)
    listed = {
        "asset": shot.id,
        "height": 48,
        "index": shot.index,
        "media_type": "image/jpeg",
        "path": "red/shot.jpg",
        "pixels": None,
        "review": None,
        "release": None,
        "decision": None,
        "record": shot.record,
        "sha256": sha256_hex(data),
        "size": len(data),
        "step": "colour=red/shot",
        "width": 48,
    }
    reader = registry.log
    document = {
        "schema": "https://w3id.org/genops/schema/delivery/v1",
        "campaign": "spring",
        "channel": "web",
        "project": "brand",
        "policy": None,
        "log": {
            "origin": reader.trust().origin,
            "size": reader.head().size,
            "checkpoint": reader.checkpoint().decode("utf-8"),
        },
        "files": [listed],
        "left_out": [],
        "sheet": {
            "path": "contact-sheet.jpg",
            "sha256": sha256_hex(sheet),
            "size": len(sheet),
        },
    }
    schema_set().check("delivery/v1", document)
    manifest = folder / "manifest.json"
    manifest.write_bytes(canonical(document))
    made = registry.ingest(manifest, parents=[shot.id])
    (folder / "manifest.evidence.json").write_bytes(registry.evidence(made.record, texts=False))


def read_back(maker: Maker) -> dict[str, Any]:
    """Return what is read of calibrations, and of files that people write."""
    registry, services = maker.registry, maker.services
    shutil.copy(BRIEF, maker.out / "brief.yaml")
    shutil.copy(RETENTION, maker.out / "retention.yaml")
    shutil.copy(FACTS_V1, maker.out / "facts-v1.json")
    shutil.copy(RETENTION, services.settings.home.retention)
    counted = calibration(services)[0].fingerprints[PHASH256]
    return {
        "counted": [counted.pairs, counted.sources, list(counted.hits), list(counted.effective)],
        "steps": [[step.key, step.seed] for step in expand(load_brief(maker.out / "brief.yaml"))],
        "retention": registry.privacy.retention().to_dict()["rules"],
    }


def projection(registry: Registry) -> dict[str, list[dict[str, Any]]]:
    """Return every row that the log gives, by table and column; bytes as hex."""
    with read(registry._services.engine) as conn:
        return {
            table.name: [
                {name: plain(value) for name, value in row.items()}
                for row in conn.execute(table.select().order_by(*table.primary_key)).mappings()
            ]
            for table in PROJECTION
        }


def plain(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value


def main(out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as place:
        work = Path(place)
        with create_registry(work / "home", name="golden", project="brand") as registry:
            maker = Maker(registry, work, out)
            named = assets(maker)
            banks(maker)
            calibrations(maker)
            decided = govern(maker, named)
            replays(maker, named)
            several = registry.evidence_bundle([named["shot"], named["edited"]])
            (out / "evidence.zip").write_bytes(several)
            keys(maker, named)
            (out / "disowned.evidence.json").write_bytes(registry.evidence(named["mug"]))
            delivery(maker, named)
            registry.upkeep.export(work / "all.tar")
            registry.upkeep.backup(out / "keys.backup", passphrase=PASSPHRASE, keys_only=True)
            expected = {
                "vkey": registry.log.trust().log_vkey,
                "checkpoint": registry.log.checkpoint().decode("utf-8"),
                "person": PERSON,
                "prompt": PROMPT,
                "assets": named,
                **decided,
                **read_back(maker),
                "rows": projection(registry),
            }
        packed = lzma.compress((work / "all.tar").read_bytes(), preset=9 | lzma.PRESET_EXTREME)
    (out / "export.tar.xz").write_bytes(packed)
    text = json.dumps(expected, indent=1, ensure_ascii=True, sort_keys=True) + "\n"
    (out / "expected.json").write_text(text, "ascii")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
