"""A corpus: which passages a query finds, where they stand, and what its digest depends on."""

from __future__ import annotations

from pathlib import Path

import pytest

from generators.text.copy import BRAND
from generators.text.corpus import MAX_FILES, corpus_digest, found_changed, retrieve
from registry.core.generation import Sealed
from registry.errors import InputError

TEXTS = {
    "guidelines/voice.md": "# Voice\n\nSlogan: Made to last.\n\nWe write of mugs\nas of friends.\n",
    "guidelines/calls.md": "Call to action: Visit our shop.\r\n\r\nÜber mugs: never shout.\r\n",
    "past/spring.txt": "Meet your new mug.\n\nThe vase of last spring.\n",
    "notes.md": "Mugs are fired twice.\n",
}


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    for name, text in TEXTS.items():
        path = tmp_path / "corpus" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    return tmp_path / "corpus"


def test_passages_stand_where_they_are_said_to(corpus: Path) -> None:
    found = retrieve(corpus, "mugs friends shout slogan visit vase meet fired", limit=99).passages
    assert len(found) == 7
    for passage in found:
        data = (corpus / passage.file).read_bytes()
        end = passage.offset + passage.length
        assert data[passage.offset : end].decode() == passage.text


def test_the_best_passages_come_first_with_their_roles(corpus: Path) -> None:
    found = retrieve(corpus, "friends of mugs", limit=2).passages
    assert (found[0].file, found[0].role) == ("guidelines/voice.md", "guideline")
    assert found[0].score > found[1].score > 0
    roles = {one.file: one.role for one in retrieve(corpus, "mug mugs spring", limit=9).passages}
    assert (roles["past/spring.txt"], roles["notes.md"]) == ("example", "reference")


def test_a_query_that_shares_no_word_finds_nothing(corpus: Path) -> None:
    assert retrieve(corpus, "zebra").passages == ()
    assert retrieve(corpus, "").passages == ()


def test_the_digest_follows_the_texts_and_not_their_names(corpus: Path) -> None:
    before = corpus_digest(corpus)
    (corpus / "notes.md").rename(corpus / "other.md")
    (corpus / "picture.png").write_bytes(b"no text")
    assert corpus_digest(corpus) == before
    (corpus / "other.md").write_text("Mugs are fired once.\n", "utf-8")
    assert corpus_digest(corpus) != before


def test_a_material_tells_no_name_and_has_every_member(corpus: Path) -> None:
    material = retrieve(corpus, "mug").content.material
    assert len(material.files) == len(TEXTS)
    assert all(file.path.startswith(file.sha256) for file in material.files)
    assert material.annotations == {"path": Sealed(str(corpus)), "quoted": True}


def test_a_corpus_that_is_gone_is_not_called_changed(corpus: Path) -> None:
    noted = {"annotations": {"path": str(corpus)}}
    now = corpus_digest(corpus)
    assert found_changed(noted, "0" * 64) == now
    assert found_changed({"annotations": {"path": str(corpus / "gone")}}, "0" * 64) == "0" * 64
    assert found_changed({"annotations": {}}, "0" * 64) == "0" * 64


@pytest.mark.parametrize("what", ["missing", "empty", "latin", "many"])
def test_a_folder_that_cannot_be_searched_is_refused(what: str, tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    if what != "missing":
        folder.mkdir()
    if what == "latin":
        (folder / "a.md").write_bytes("Für Elise".encode("latin-1"))
    if what == "many":
        for number in range(MAX_FILES + 1):
            (folder / f"{number}.md").touch()
    with pytest.raises(InputError) as refused:
        retrieve(folder, "mug")
    assert refused.value.code == "input.corpus"


def test_the_demo_brand_gives_its_slogan_and_its_call() -> None:
    found = {one.text for one in retrieve(BRAND, "blue lamp Slogan Call to action").passages}
    assert {"Slogan: Made to last.", "Call to action: Visit our shop."} <= found
