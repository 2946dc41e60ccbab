"""The fact `similar`: what an asset looks like in each bank, without its relatives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from PIL import Image

from registry.core.digests import sha256_hex
from registry.core.generation import Material, Output
from registry.factory import create_registry
from registry.policy.decide import decide
from registry.policy.loader import parse_bundle
from registry.resources import schema_set
from registry.sdk import Registry
from registry.store.sidecar_tables import ThumbnailRow
from registry.store.transaction import write
from registry.store.types import table_of
from registry.workflows.gate import load_policy
from registry.workflows.view import RecordView
from tests.conftest import encode, make_generation, make_picture

SCHEMA = Path(__file__).parents[2] / "schemas" / "policy-facts" / "v2.json"
RULES = """
name: nearness
version: "1"
rules:
  - id: not-blocked
    title: Nothing that must not be shipped looks like it
    severity: block
    require: >-
      !similar.exists(s, s.kind == "blocked" && s.verdict in ["match", "probable"])
    message: It looks like what must not be shipped
    show: similar.filter(s, s.kind == "blocked").map(s, s.bank + " " + s.match)
  - id: nothing-like-it
    title: No other asset looks like it
    severity: warn
    require: >-
      similar.all(s, s.kind != "registered" || (has(s.expectedBound) && s.expectedBound > 0.001))
    message: Another asset looks like it
"""


class Shop:
    """A registry with a blocked bank, and pictures recorded in it by name."""

    def __init__(self, folder: Path, registry: Registry) -> None:
        self.registry = registry
        self.policy = folder / "policy"
        self.policy.mkdir()
        (self.policy / "policy.yaml").write_text(RULES)
        make_picture(2, 512).save(folder / "rival.png")
        registry.banks.create("rivals", kind="blocked", owner="legal")
        registry.banks.create("known-false", kind="negative", owner="legal")
        registry.banks.add("rivals", [folder / "rival.png"], reason="theirs", source="shop")

    def record(self, image: Image.Image, seed: int, *made_from: bytes, **options: Any) -> bytes:
        """Record a picture, made from others; return its bytes."""
        kind = options.pop("kind", "PNG")
        data = encode(image, kind, **options)
        media_type = f"image/{kind.lower()}"
        output = Output(data, media_type, seed=str(seed), width=image.width, height=image.height)
        model = Material("model/base", "model", sha256_hex(b"the base"), storage="referenced")
        inputs = tuple(
            Material(f"input/image-{n}", "image", sha256_hex(one), storage="referenced")
            for n, one in enumerate(made_from)
        )
        self.registry.record(make_generation(seed, outputs=(output,), materials=(model, *inputs)))
        return data

    def gate(self, data: bytes) -> dict[str, str]:
        """Return the outcome of each rule."""
        asset = f"sha256:{sha256_hex(data)}"
        report = self.registry.gate([asset], policy=str(self.policy))
        return {rule.rule: rule.outcome for rule in report.decisions[0].rules}

    def facts(self, data: bytes) -> dict[str, Any]:
        """Return the facts on which the newest decision on an asset stands, from the vault."""
        asset = f"sha256:{sha256_hex(data)}"
        self.registry.gate([asset], policy=str(self.policy))
        return stored_facts(self.registry)


def stored_facts(registry: Registry) -> dict[str, Any]:
    """Return the facts that the newest record, a decision, names: from the vault."""
    services = registry._services
    decision = RecordView(services, services.reader.head().size - 1).statement
    blob = services.blobs.get(decision.predicate["genops_facts"]["sha256"])
    assert blob is not None
    facts: dict[str, Any] = json.loads(services.vault.read(blob))
    return facts


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with create_registry(tmp_path / "home", name="test", project="brand") as registry:
        yield Shop(tmp_path, registry)


def test_a_copy_of_what_is_blocked_is_denied_and_the_rest_passes(shop: Shop) -> None:
    same = shop.record(make_picture(2, 512), 1, kind="JPEG", quality=60)
    mirrored = make_picture(2, 512).transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    turned = shop.record(mirrored, 2, kind="JPEG", quality=70)
    other = shop.record(make_picture(5, 512), 3)
    assert shop.gate(same)["not-blocked"] == "fail"
    assert shop.gate(turned)["not-blocked"] == "fail"
    assert shop.gate(other) == {"not-blocked": "pass", "nothing-like-it": "pass"}


def test_facts_name_bank_verdict_and_e_as_the_schema_says(shop: Shop) -> None:
    facts = shop.facts(shop.record(make_picture(2, 512), 1, kind="JPEG", quality=60))
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(facts)
    (one,) = facts["similar"]
    assert (one["bank"], one["kind"], one["match"]) == ("rivals", "blocked", "perceptual")
    assert (one["verdict"], one["state"]) == ("match", "")
    assert 0 < one["expected"] <= one["expectedBound"] < 1e-3
    assert one["distance"] <= 30


def test_relatives_do_not_count_and_strangers_do(shop: Shop) -> None:
    master = make_picture(7, 512)
    source = shop.record(master, 1)
    edit = shop.record(master.resize((480, 480)), 2, source)
    sibling = shop.record(master.resize((400, 400)), 3, source)
    for relative in (source, edit, sibling):
        assert shop.gate(relative)["nothing-like-it"] == "pass"
    stranger = shop.record(master.resize((300, 300)), 4)
    assert shop.gate(stranger)["nothing-like-it"] == "fail"
    assert shop.gate(edit)["nothing-like-it"] == "fail", "the stranger looks like it, too"


def test_a_refuted_match_is_left_out_and_a_confirmed_one_says_so(shop: Shop) -> None:
    data = shop.record(make_picture(2, 512), 1, kind="JPEG", quality=60)
    (before,) = shop.facts(data)["similar"]
    shop.registry.banks.confirm(data, before["id"], reason="ours is a copy", bank="rivals")
    (confirmed,) = shop.facts(data)["similar"]
    assert (confirmed["id"], confirmed["state"]) == (before["id"], "confirmed")
    shop.registry.banks.refute(data, before["id"], reason="both are stock", bank="rivals")
    assert shop.facts(data)["similar"] == []


def test_a_picture_that_cannot_be_compared_is_an_error_and_denied(shop: Shop) -> None:
    data = shop.record(make_picture(5, 512), 1)
    thumbnails = table_of(ThumbnailRow)
    with write(shop.registry._services.engine) as conn:
        conn.execute(thumbnails.delete())
    assert shop.gate(data) == {"not-blocked": "error", "nothing-like-it": "error"}


def test_nothing_is_looked_for_that_no_rule_asks_for(shop: Shop) -> None:
    data = shop.record(make_picture(2, 512), 1)
    shop.registry.gate([f"sha256:{sha256_hex(data)}"])
    facts = stored_facts(shop.registry)
    assert "similar" not in facts
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(facts)


def test_facts_of_before_give_the_decision_of_before(shop: Shop) -> None:
    data = shop.record(make_picture(2, 512), 1)
    report = shop.registry.gate([f"sha256:{sha256_hex(data)}"])
    again = decide(load_policy("default"), stored_facts(shop.registry))
    assert again.verdict == report.decisions[0].verdict
    asks = decide(parse_bundle(RULES, schema_set()), stored_facts(shop.registry))
    assert {result.outcome for result in asks.results} == {"error"}
