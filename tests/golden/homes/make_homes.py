"""Made the golden homes of this folder, once, with release 0.1.0; kept to show what is in them.

    PYTHONPATH=<checkout of the release> python make_homes.py FOLDER

The homes hold what that release could write. They are never made again: a later release must open,
migrate, verify and extend the ones that are here.
"""

from __future__ import annotations

import io
import json
import lzma
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from registry.core import predicates
from registry.core.digests import asset_id, sha256_hex
from registry.core.dsse import spki_to_pem
from registry.core.entries import LogEntry
from registry.core.generation import Generation, Material, ModelFile, Output, Sealed
from registry.core.merkle import subtree_root
from registry.core.modelsets import modelset_digest
from registry.core.statements import Subject, build_uri, predicate_uri
from registry.core.trust import TrustKey
from registry.factory import create_registry
from registry.sdk import Registry
from registry.similarity.fingerprints import pixels_digest
from registry.workflows.services import ROLES, Services
from registry.workflows.submit import declare

ACTOR = "Ada Lovelace"
PASSPHRASE = "test-only"
PROMPT = "a red mug \U0001f6b2 on \u202eblue\u202c, n\u00famero 3\u0000, \u4e2d\u6587 \u2014 \u00e9"
SECOND = "the same mug, seen from above"
ERASED = "a portrait of somebody who changed their mind"
SEED = "9223372036854788153"
LORA = b"lora weights, or near enough"
FILES = (
    ModelFile("config.json", 2, sha256_hex(b"{}")),
    ModelFile("unet/weights.safetensors", 7, sha256_hex(b"weights")),
)
START_MS = 1_795_172_820_000
ENOUGH_FOR_A_TILE = 260
ROOTS = (1, 2, 3, 7, 14, 255, 256, 257, 260)


def picture(number: int) -> Image.Image:
    rng = np.random.default_rng(number)
    cells = Image.fromarray(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8))
    return cells.resize((48, 48), Image.Resampling.BICUBIC).quantize(16).convert("RGB")


def encoded(number: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    picture(number).save(stream, kind)
    return stream.getvalue()


def output(number: int, **fields: Any) -> Output:
    return Output(
        encoded(number),
        "image/png",
        width=48,
        height=48,
        pixels=pixels_digest(picture(number)),
        **fields,
    )


def generation(number: int, prompt: str) -> Generation:
    return Generation(
        build_type=build_uri("callable"),
        external={"prompt": Sealed(prompt), "seed": SEED, "steps": 4},
        internal={"dtype": "float32"},
        materials=(
            Material(
                "model/base",
                "model",
                modelset_digest(FILES),
                uri="https://example.org/models/base",
                storage="vaulted",
                files=FILES,
            ),
            Material("lora/brand", "lora", sha256_hex(LORA), storage="vaulted"),
        ),
        outputs=(
            output(number, seed=SEED),
            output(
                number + 1,
                seed="0",
                batch_index=1,
                materials=("model/base",),
                extra={"prompt": Sealed(SECOND)},
            ),
        ),
        started_ms=START_MS,
        finished_ms=START_MS + 1000,
        builder_id="https://example.org/genops/worker",
        builder_version={"genops-registry": "0.1.0"},
        campaign="spring",
    )


def reproduction(services: Services, record: str, asset: str) -> None:
    digest = asset.removeprefix("sha256:")
    predicate = predicates.reproduction(
        services.head(),
        record=record,
        verdict="equivalent",
        original_sha256=digest,
        differences=[{"name": "torch", "recorded": "2.6.0", "found": "2.7.0"}],
        measures=[{"name": "max-abs", "value": 1.5}],
    )
    subjects = [Subject("out/0", digest)]
    declare(services, subjects, predicate_uri("reproduction"), predicate, role="generator")


def narrowed_trust(services: Services) -> None:
    """Announce the same keys anew; the policy key ends in 2100."""
    first = services.reader.trust()
    genesis = LogEntry.parse(services.reader.entry(0)).record_id
    keys = [
        TrustKey(
            services.signer(role).keyid,
            spki_to_pem(services.signer(role).spki_der),
            (role,),
            min(key.not_before_ms for key in first.keys.values()),
            4_102_444_800_000 if role == "policy" else None,
        )
        for role in ROLES
    ]
    predicate = predicates.trust(
        services.head(),
        origin=first.origin,
        log_vkey=first.log_vkey,
        keys=keys,
        supersedes=genesis,
    )
    subject = Subject("out/0", sha256_hex(first.origin.encode("utf-8")))
    declare(services, [subject], predicate_uri("trust"), predicate, role="admin")


def fill(registry: Registry, folder: Path) -> dict[str, Any]:
    """Add a record of every kind; return what a later release must say of them."""
    services = registry._services
    blobs = [LORA, b"{}", b"weights"]
    made = registry.record(generation(1, PROMPT), blobs=blobs, actor=ACTOR)
    gone = registry.record(generation(3, ERASED), actor=ACTOR)
    lora = asset_id(sha256_hex(LORA))
    registry.register_model(
        lora, name="brand", kind="lora", licence="Apache-2.0", approved=True, actor=ACTOR
    )
    registry.register_model(
        asset_id(modelset_digest(FILES)),
        name="base",
        kind="model",
        licence="MIT",
        approved=True,
        uri="https://example.org/models/base",
        actor=ACTOR,
    )
    source = folder / "family photo.jpg"
    source.write_bytes(encoded(5, "JPEG"))
    photo = registry.ingest(source, parents=[made.assets[0]], note="cropped by hand", actor=ACTOR)
    registry.taint(lora, reason="trained on unlicensed pictures", severity="critical", actor=ACTOR)
    denied = registry.gate([made.assets[0]])
    registry.clear_taint(lora, reason="the licence was found", actor=ACTOR)
    registry.taint(photo.assets[0], reason="a complaint", severity="low", actor=ACTOR)
    passed = registry.gate([made.assets[1]])
    reproduction(services, made.record, made.assets[0])
    narrowed_trust(services)
    registry.sync_mirrors(["vault"])
    registry.erase(gone.record, reason="asked for by the person", actor=ACTOR)
    return {
        "generated": {"record": made.record, "assets": list(made.assets), "seed": SEED},
        "erased": {"record": gone.record, "assets": list(gone.assets)},
        "ingested": {"record": photo.record, "asset": photo.assets[0], "source": source.name},
        "lora": lora,
        "prompt": PROMPT,
        "second_prompt": SECOND,
        "erased_prompt": ERASED,
        "verdicts": [
            {"asset": d.id, "record": d.record, "verdict": d.verdict}
            for d in (*denied.decisions, *passed.decisions)
        ],
        "impact_of_lora": sorted({a.id for a in registry.impact(lora).assets}),
    }


def told(registry: Registry) -> dict[str, Any]:
    """Return the log's own facts: identity, every record's id, every root."""
    reader = registry.log
    entries = [LogEntry.parse(reader.entry(i)) for i in range(reader.head().size)]
    leaves = [entry.leaf_hash() for entry in entries]
    trust = reader.trust()
    return {
        "origin": trust.origin,
        "vkey": trust.log_vkey,
        "checkpoint": reader.checkpoint().decode("utf-8"),
        "records": [entry.record_id for entry in entries],
        "roots": {n: subtree_root(leaves[:n]).hex() for n in ROOTS if n <= len(leaves)},
        "assets": {kind: len(registry.list(kind=kind)) for kind in ("generated", "ingested")},
    }


def make(folder: Path, name: str, passphrase: str | None, size: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "home"
        with create_registry(root, name="golden", project="brand", passphrase=passphrase) as made:
            expected = fill(made, Path(place))
            while made.log.head().size < size:
                taint = sha256_hex(b"%d" % made.log.head().size)
                made.taint(asset_id(taint), reason="-", severity="low", actor=ACTOR)
            expected |= told(made)
            record = expected["generated"]["record"]
            evidence = {
                f"{name}.evidence.json": made.evidence(record),
                f"{name}.evidence-sealed.json": made.evidence(record, texts=False),
            }
        (folder / f"{name}.tar.xz").write_bytes(packed(root))
    for file, data in evidence.items():
        (folder / file).write_bytes(data)
    text = json.dumps(expected, indent=1, ensure_ascii=True, sort_keys=True) + "\n"
    (folder / f"{name}.expected.json").write_text(text, "ascii")


def packed(root: Path) -> bytes:
    """Return a home as an archive: entries sorted, owners and dates fixed, modes as they are."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            info = archive.gettarinfo(path, path.relative_to(root).as_posix())
            info.uid = info.gid = info.mtime = 0
            info.uname = info.gname = ""
            with path.open("rb") if info.isreg() else io.BytesIO() as content:
                archive.addfile(info, content if info.isreg() else None)
    return lzma.compress(stream.getvalue(), preset=9 | lzma.PRESET_EXTREME)


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    make(target, "plain", None, ENOUGH_FOR_A_TILE)
    make(target, "passphrase", PASSPHRASE, 0)
