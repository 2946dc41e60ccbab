"""Edits by hand come back into lineage, with what people contributed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import ImageDraw

from registry.core.generation import Generation, Material
from registry.errors import InputError, NotFoundError
from registry.sdk import Registry
from tests.conftest import encode, make_picture

Make = Callable[..., Generation]

EDITS = {
    "poster.psd": (b"8BPS\x00\x01" + bytes(40), "image/vnd.adobe.photoshop"),
    "poster.pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", "application/pdf"),
    "poster.ai": (b"%PDF-1.6\n", "application/pdf"),
    "poster.tif": (b"II*\x00\x08\x00\x00\x00" + bytes(32), "image/tiff"),
    "poster": (b"8BPS\x00\x01" + bytes(41), "image/vnd.adobe.photoshop"),
}


def edited(folder: Path, seed: int) -> Path:
    """Return a file: the picture of a seed with a line of type, as a designer would."""
    picture = make_picture(seed).copy()
    ImageDraw.Draw(picture).text((10, 100), "SPRING", fill="white")
    path = folder / "edited.png"
    path.write_bytes(encode(picture))
    return path


def test_what_people_did_is_in_passport_lineage_and_facts(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    parents = [registry.record(generation(seed)).assets[0] for seed in (1, 2)]
    done = registry.ingest(
        edited(tmp_path, 1),
        parents=[*parents, parents[0]],
        note="logo by hand",
        contributions=["typography", "logo", "typography"],
    )
    assert done.warnings == ()
    passport = registry.get(done.assets[0])
    assert passport.kind == "ingested"
    assert passport.parameters == {
        "source": "edited.png",
        "note": "logo by hand",
        "contributions": ["typography", "logo"],
    }
    assert [material.id for material in passport.materials] == parents
    nodes = {node.id: node.hands for node in registry.lineage(done.assets[0]).nodes}
    assert nodes == {done.assets[0]: ("typography", "logo"), parents[0]: (), parents[1]: ()}
    assert registry.verify(done.record).ok
    assert registry.check_log(blobs=True).ok
    assert registry.check_catalog() == ()


def test_policies_know_of_human_hands_here_and_above(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    policy = tmp_path / "human"
    policy.mkdir()
    (policy / "policy.yaml").write_text(
        "name: human\nversion: '1'\ndescription: d\nrules:\n  - id: hands\n    title: hands\n"
        "    severity: block\n    require: asset.human\n    message: nobody contributed\n",
        "utf-8",
    )
    plain = registry.record(generation(1))
    hand = registry.ingest(edited(tmp_path, 1), parents=plain.assets, contributions=["drawn"])
    edge = Material(
        name="input/image",
        kind="image",
        sha256=hand.assets[0].removeprefix("sha256:"),
        output_of=hand.record,
    )
    after = registry.record(generation(3, materials=(edge,)))
    found = registry.gate([plain.assets[0], hand.assets[0], after.assets[0]], policy=str(policy))
    assert [one.verdict for one in found.decisions] == ["fail", "pass", "pass"]


def test_without_contributions_the_record_is_what_it_always_was(
    registry: Registry, tmp_path: Path
) -> None:
    done = registry.ingest(edited(tmp_path, 1))
    (record,) = (r for r in registry.log.records() if r[0] == done.index)
    assert b"predicate/ingest/v1" in record[2].payload
    assert registry.get(done.record).parameters == {"source": "edited.png"}


@pytest.mark.parametrize("name", EDITS)
def test_files_of_studios_are_taken_as_they_are(
    registry: Registry, tmp_path: Path, name: str
) -> None:
    data, media_type = EDITS[name]
    path = tmp_path / name
    path.write_bytes(data)
    done = registry.ingest(path, contributions=["layout"])
    assert registry.get(done.assets[0]).media_type == media_type
    assert registry.blob(done.assets[0]).read_bytes() == data


def test_an_edit_that_looks_like_none_of_its_parents_is_recorded_with_a_warning(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    parent = registry.record(generation(9)).assets[0]
    done = registry.ingest(edited(tmp_path, 1), parents=[parent])
    (warning,) = done.warnings
    assert parent[:15] in warning
    assert registry.get(done.assets[0]).materials[0].id == parent


def test_unknown_parents_are_all_named_and_nothing_is_written(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    known = registry.record(generation(1)).assets[0]
    before = registry.log.head().size
    with pytest.raises(NotFoundError, match="12345678, abcdef01") as caught:
        registry.ingest(edited(tmp_path, 1), parents=["12345678", known, "abcdef01"])
    assert caught.value.code == "parent.unknown"
    with pytest.raises(InputError) as other:
        registry.ingest(edited(tmp_path, 1), parents=[known], contributions=["made nicer"])
    assert other.value.code == "ingest.contribution"
    assert registry.log.head().size == before
