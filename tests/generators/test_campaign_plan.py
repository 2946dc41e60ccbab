"""Briefs and plans: refusals that name the line, and seeds that stay what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from generators.campaign import DEMO_BRIEF, load_brief
from generators.campaign.plan import Step, derived_seed, expand
from registry.errors import InputError
from registry.resources import schema_set

ROOT = Path(__file__).parents[2]
OLD_FORM = """
name: spring-mugs
master: {prompt: a red mug, seed: 7}
variants: [{name: sunset, prompt: a red mug, seed: 11, strength: 0.7, loras: {brand: 1.0}}]
steps: 20
guidance_scale: 3.0
"""


def written(tmp_path: Path, document: Any) -> Path:
    file = tmp_path / "brief.yaml"
    file.write_text(document if isinstance(document, str) else json.dumps(document, indent=1))
    return file


def small(**more: Any) -> dict[str, Any]:
    return {"version": 1, "name": "mugs", "master": {"prompt": "a mug"}, **more}


def steps_of(tmp_path: Path, document: dict[str, Any]) -> dict[str, Step]:
    return {step.key: step for step in expand(load_brief(written(tmp_path, document)))}


@pytest.mark.parametrize("kind", ["brief", "delivery"])
def test_examples_are_judged_as_they_are_named(kind: str) -> None:
    found = sorted((ROOT / "schemas" / kind / "examples").glob("*.json"))
    assert {path.name.partition("-")[0] for path in found} == {"valid", "invalid"}
    for path in found:
        why = schema_set().explain(f"{kind}/v1", json.loads(path.read_text("utf-8")))
        assert (why == "") is path.name.startswith("valid-"), (path.name, why)


def test_the_shipped_briefs_load() -> None:
    for file in sorted(DEMO_BRIEF.parent.glob("*.yaml")):
        assert expand(load_brief(file))


def test_the_form_of_the_first_release_still_loads(tmp_path: Path) -> None:
    brief = load_brief(written(tmp_path, OLD_FORM))
    assert (brief.approve, brief.master.seed, brief.variants[0].loras) == (
        "automatic",
        7,
        {"brand": 1.0},
    )


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ("name: [", "brief.yaml"),
        ("a: 1\na: 2", "brief.yaml"),
        (small(name="two words"), "name"),
        (small(variants=[{"name": "a", "prompt": "x", "from": "b"}]), "'b'"),
        (small(variants=[{"name": "a", "prompt": "{colour}"}]), "{colour}"),
        (small(variants=[{"name": "a", "prompt": "x"}] * 2), "'a'"),
        (small(formats=[{"size": "1:1", "of": ["none"]}]), "'none'"),
        (small(formats=["0x5"]), "0x5"),
        (small(formats=["16:0"]), "not a size"),
        (small(files=[{"format": "webp", "dpi": 72}]), "webp"),
        (small(files=[{"format": "png", "quality": 9}]), "quality"),
        (small(axes={"format": ["a"]}), "'format'"),
        (small(delivery={"name": "../{picture}"}), "inside its folder"),
        (small(delivery={"name": "{wall}"}), "{wall}"),
        (
            small(
                variants=[
                    {
                        "name": "a",
                        "how": "clean",
                        "prompt": "x",
                        "mask": {"left": 0.5, "right": 0.5, "top": 0, "bottom": 1},
                    }
                ]
            ),
            "mask",
        ),
    ],
)
def test_a_wrong_brief_is_refused_where_it_is_wrong(tmp_path: Path, wrong: Any, named: str) -> None:
    with pytest.raises(InputError) as caught:
        load_brief(written(tmp_path, wrong))
    assert caught.value.code == "brief.invalid"
    assert named in caught.value.message
    assert caught.value.hint


def test_a_refusal_names_the_line(tmp_path: Path) -> None:
    text = "version: 1\nname: mugs\nmaster:\n  prompt: a mug\n  seed: -4\n"
    with pytest.raises(InputError) as caught:
        load_brief(written(tmp_path, text))
    assert "brief.yaml:5:" in caught.value.message


def test_a_brief_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        load_brief(tmp_path / "none.yaml")
    assert caught.value.code == "brief.invalid"


def test_every_combination_gets_everything(tmp_path: Path) -> None:
    document = small(
        axes={"product": ["mug", "lamp", "box"], "colour": ["red", "green", "blue", "teal"]},
        master={"prompt": "a {colour} {product}"},
        formats=["1:1", "9:16", "16:9", "21:9", "300x250"],
    )
    steps = steps_of(tmp_path, document)
    delivered = [step for step in steps.values() if step.delivered]
    assert len(delivered) == 3 * 4 * 5
    assert len({(s.width, s.height) for s in delivered}) == 5
    assert (1920, 1080) in {(s.width, s.height) for s in delivered}
    prompts = {s.parameters["prompt"] for s in steps.values() if s.kind == "master"}
    assert len(prompts) == 12
    seeds = [s.seed for s in steps.values() if s.kind == "master"]
    assert len(set(seeds)) == 12


def test_seeds_and_keys_stay_when_the_brief_grows(tmp_path: Path) -> None:
    before = steps_of(tmp_path, small(axes={"colour": ["red", "green"], "product": ["mug"]}))
    grown = small(
        axes={"product": ["lamp", "mug"], "colour": ["blue", "green", "red"]},
        variants=[{"name": "sunset", "prompt": "sunset light"}],
        takes=2,
    )
    after = steps_of(tmp_path, grown)
    takes = {key: step.seed for key, step in before.items() if step.kind == "master"}
    assert len(takes) == 2
    assert {key: after[key].seed for key in takes} == takes
    other = steps_of(tmp_path, small(seed=1, axes={"colour": ["red"], "product": ["mug"]}))
    assert other["colour=red,product=mug/master/1"].seed not in takes.values()


def test_the_formula_of_seeds_is_the_documented_one() -> None:
    # printf 'genops-campaign-seed-v1\0007\000mugs\000colour=red\000master\0001\000' | sha256sum
    assert derived_seed(7, "mugs", "colour=red", "master", "1") == 0x6C564941F602
    assert derived_seed(7, "mugs", "a", "b") != derived_seed(7, "mugs", "ab", "")


def test_variants_take_the_approved_master_and_nothing_else(tmp_path: Path) -> None:
    document = small(
        takes=3,
        variants=[
            {"name": "sunset", "prompt": "x"},
            {"name": "wide", "how": "outpaint", "size": "16:9", "prompt": "x", "from": "sunset"},
            {"name": "large", "how": "upscale", "factor": 2, "from": "wide"},
        ],
    )
    steps = steps_of(tmp_path, document)
    assert steps["master"].parents == ("master/1", "master/2", "master/3")
    assert steps["sunset"].parents == ("master",)
    assert steps["wide/canvas"].parents == ("sunset",)
    assert (steps["wide"].width, steps["large"].width) == (112, 224)
    assert not [s for s in steps.values() if s.kind != "approval" and "master/1" in s.parents]


def test_too_large_a_brief_is_refused(tmp_path: Path) -> None:
    many = [f"v{n}" for n in range(200)]
    document = small(axes={"a": many, "b": many})
    with pytest.raises(InputError) as caught:
        steps_of(tmp_path, document)
    assert caught.value.code == "brief.too-large"
