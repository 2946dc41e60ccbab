"""Search: every term against a plain reading of the same assets, pages, colours, saved searches."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from sqlalchemy import delete, insert

from registry import create_registry
from registry.catalog import search as catalog
from registry.core.digests import sha256_hex
from registry.core.fingerprint import FingerprintValue
from registry.core.generation import Generation, Material, Output
from registry.core.search_terms import Term
from registry.core.search_values import Span
from registry.core.times import format_time, parse_time
from registry.errors import InputError, NotFoundError
from registry.factory import import_registry, open_home
from registry.sdk import Registry
from registry.similarity.colours import lab_of
from registry.similarity.palette import PALETTE, palette_of
from registry.store.sidecar_tables import FingerprintRow
from registry.store.transaction import read, write
from registry.store.types import table_of
from tests.conftest import drop_tables, make_generation

Make = Callable[..., Generation]
SIZES = [(64, 64), (48, 96), (96, 48), (160, 90), (120, 68)]
COLOURS = ["#ff6600", "#0044cc", "#ffffff", "#203020"]
FORMATS = {"image/png": "PNG", "image/webp": "WEBP", "image/jpeg": "JPEG"}


@dataclass(frozen=True)
class Known:
    """What the test itself knows of an output that it recorded."""

    id: str
    index: int
    time: str
    project: str
    campaign: str | None
    kind: str
    media_type: str
    width: int | None
    height: int | None
    size: int
    seed: str | None
    lora: str | None
    colours: dict[str, float]
    tainted: bool = False
    decision: str = "none"
    draft: str = "no"


def striped(number: int, size: tuple[int, int]) -> tuple[Image.Image, dict[str, float]]:
    """Return a picture of two colours side by side, and the share of each."""
    first, second = COLOURS[number % 4], COLOURS[(number + 1 + number % 3) % 4]
    share = (20, 50, 75)[number % 3]
    picture = Image.new("RGB", size, second)
    picture.paste(first, (0, 0, size[0] * share // 100, size[1]))
    return picture, {first: share / 100, second: 1 - share / 100}


def material(name: str, kind: str) -> Material:
    """Return a referenced material named by its kind and name."""
    return Material(f"{kind}/{name}", kind, sha256_hex(name.encode()), uri=f"https://x.org/{name}")


def fill(registry: Registry, make: Make, count: int = 24) -> list[Known]:
    """Record pictures that differ in everything that can be searched for, and say what they are."""
    found = []
    for number in range(count):
        size = SIZES[number % 5]
        picture, colours = striped(number, size)
        media_type = list(FORMATS)[number % 3]
        stream = io.BytesIO()
        picture.save(stream, FORMATS[media_type], comment=str(number) if number % 3 == 2 else None)
        data = stream.getvalue() + bytes([number])
        palette = FingerprintValue(sha256_hex(data), PALETTE, palette_of(picture), 100)
        lora = (None, "brandx", "studio")[number % 3]
        campaign = (None, "spring", "spring-sale", "Autumn 50%")[number % 4]
        materials = [material("base", "model"), *([material(lora, "lora")] if lora else [])]
        output = Output(
            data,
            media_type,
            str(number % 7),
            width=size[0],
            height=size[1],
            fingerprints=(palette,),
        )
        generation = make(number, outputs=(output,), materials=tuple(materials), campaign=campaign)
        project = ("brand", "other")[number % 2]
        done = registry.record(generation, project=project, draft=number % 5 == 0)
        found.append(
            Known(
                id=done.assets[0],
                index=done.index,
                time=done.time,
                project=project,
                campaign=campaign,
                kind="generated",
                media_type=media_type,
                width=size[0],
                height=size[1],
                size=len(data),
                seed=str(number % 7),
                lora=lora,
                colours=colours,
                draft="draft" if number % 5 == 0 else "no",
            )
        )
    return found


def small(folder: Path) -> Path:
    """Write a policy that only looks at a picture's width, and return its folder."""
    bundle = folder / "policy"
    bundle.mkdir()
    (bundle / "policy.yaml").write_text(
        "name: small\nversion: '1'\ndescription: d\nrules:\n  - id: narrow\n    title: narrow\n"
        "    severity: block\n    require: asset.kind == 'generated'\n    message: no\n"
    )
    return bundle


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgres", marks=pytest.mark.slow)])
def filled(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Registry, list[Known]]]:
    """A registry with generated and ingested assets, taints, decisions and kept drafts."""
    url = None
    if request.param == "postgres":
        url = request.getfixturevalue("postgres")
        drop_tables(url)
    folder = tmp_path_factory.mktemp("search")
    (folder / "note.txt").write_text("A remark of ten words or more that nobody made by machine.\n")
    with create_registry(
        folder / "home", name="test", project="brand", database_url=url
    ) as registry:
        known = fill(registry, make_generation)
        taken = registry.ingest(folder / "note.txt", campaign="spring", parents=[known[2].id])
        note = known[2]
        known.append(
            replace(
                note, id=taken.assets[0], index=taken.index, time=taken.time, project="brand",
                campaign="spring", kind="ingested", media_type="text/plain", width=None,
                height=None, size=59, seed=None, colours={}, draft="no",
            )
        )  # fmt: skip
        registry.register_model(
            f"sha256:{sha256_hex(b'studio')}", name="Studio Look", kind="lora", licence="MIT"
        )
        registry.taint(f"sha256:{sha256_hex(b'brandx')}", reason="unlicensed picture in it")
        verdicts = {"pass": "passed", "fail": "failed"}
        told: dict[str, str] = {}
        for policy, numbers in (("default", (1, 2, 3)), (str(small(folder)), (3, 4, 7))):
            report = registry.gate([known[number].id for number in numbers], policy=policy)
            told |= {one.id: verdicts[one.verdict] for one in report.decisions}
        registry.drafts.keep([known[5].id])
        known = [
            replace(
                one,
                tainted=one.lora == "brandx",
                decision=told.get(one.id, "none"),
                draft="kept" if number == 5 else one.draft,
            )
            for number, one in enumerate(known)
        ]
        assert {one.decision for one in known} == {"passed", "failed", "none"}
        yield registry, known


def ids(registry: Registry, *terms: str, **how: Any) -> list[str]:
    return [asset.id for asset in registry.search(terms, **how).assets]


def shape(one: Known) -> str | None:
    if one.width is None or one.height is None:
        return None
    return (
        "square"
        if one.width == one.height
        else "portrait"
        if one.width < one.height
        else "landscape"
    )


STUDIO = sha256_hex(b"studio")
TERMS: dict[str, Callable[[Known], object]] = {
    "kind:ingested": lambda a: a.kind == "ingested",
    "project:other": lambda a: a.project == "other",
    "project:OTH*": lambda a: a.project == "other",
    "campaign:spring": lambda a: a.campaign == "spring",
    "campaign:spring*": lambda a: (a.campaign or "").startswith("spring"),
    "campaign:none,spring": lambda a: a.campaign in {None, "spring"},
    "campaign:*50%": lambda a: a.campaign == "Autumn 50%",
    "campaign:*_*": lambda a: False,
    "campaign:*t%n*": lambda a: False,
    "campaign:Spring": lambda a: False,
    "format:png,webp": lambda a: a.media_type in {"image/png", "image/webp"},
    "format:image": lambda a: a.media_type.startswith("image/"),
    "format:text/plain": lambda a: a.media_type == "text/plain",
    "orientation:portrait": lambda a: shape(a) == "portrait",
    "orientation:square,landscape": lambda a: shape(a) in {"square", "landscape"},
    "width:90..130": lambda a: a.width is not None and 90 <= a.width <= 130,
    "height<90": lambda a: a.height is not None and a.height < 90,
    "ratio:16:9": lambda a: a.width in {160, 120},
    "bytes:..400": lambda a: a.size <= 400,
    "seed:3": lambda a: a.seed == "3",
    "model:base": lambda a: True,
    "lora:brandx": lambda a: a.lora == "brandx",
    "lora:Studio Look": lambda a: a.lora == "studio",
    "lora:studio,brandx": lambda a: a.lora in {"studio", "brandx"},
    f"lora:{STUDIO[:10]}": lambda a: a.lora == "studio",
    f"from:sha256:{STUDIO}": lambda a: a.lora == "studio",
    "from:lora/stu*": lambda a: a.lora == "studio",
    "licence:MIT": lambda a: a.lora == "studio",
    "lora:base": lambda a: False,
    "lora:' OR 1=1 --": lambda a: False,
    "campaign:\" OR \"\"=\"": lambda a: False,
    "project:%": lambda a: False,
    "tainted:yes": lambda a: a.tainted,
    "decision:passed": lambda a: a.decision == "passed",
    "decision:failed": lambda a: a.decision == "failed",
    "decision:none": lambda a: a.decision == "none",
    "draft:no": lambda a: a.draft == "no",
    "draft:kept,no": lambda a: a.draft in {"kept", "no"},
    "draft:draft": lambda a: a.draft == "draft",
    "reproducible:yes": lambda a: a.kind == "generated",
    "recorded:24h": lambda a: True,
    "recorded:..2020": lambda a: False,
    "colour:#ff6600": lambda a: a.colours.get("#ff6600", 0) >= 0.1,
    "colour:#ff6600,share=60": lambda a: a.colours.get("#ff6600", 0) >= 0.6,
    "colour:white,share=40": lambda a: a.colours.get("#ffffff", 0) >= 0.4,
    "colour:#f06010,within=30": lambda a: a.colours.get("#ff6600", 0) >= 0.1,
    "colour:#f06010,within=3": lambda a: False,
}  # fmt: skip


@pytest.mark.parametrize("text", TERMS)
def test_a_term_finds_what_a_plain_reading_of_the_assets_does(
    filled: tuple[Registry, list[Known]], text: str
) -> None:
    registry, known = filled
    wanted = [one.id for one in reversed(known) if TERMS[text](one)]
    found = registry.search([text], count=True)
    assert [asset.id for asset in found.assets] == wanted
    assert (found.total, found.more) == (len(wanted), False)
    others = [one.id for one in reversed(known) if not TERMS[text](one)]
    if text.startswith("colour"):  # what has no colours is neither near one nor far from it
        others = [one for one in others if one != known[-1].id]
    assert ids(registry, f"not-{text}") == others


def test_many_terms_mean_all_of_them_in_any_order(filled: tuple[Registry, list[Known]]) -> None:
    registry, known = filled
    rng = random.Random(5)
    hits = 0
    for _ in range(25):
        chosen = rng.sample(list(TERMS), 3)
        wanted = [one.id for one in reversed(known) if all(TERMS[text](one) for text in chosen)]
        assert ids(registry, *chosen) == wanted
        hits += bool(wanted)
    assert hits > 5


@pytest.mark.parametrize("colour", [(), ("colour:#ff6600",)])
def test_orders_and_pages_fit_together(
    filled: tuple[Registry, list[Known]], colour: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, known = filled
    some = [one for one in known if all(TERMS[text](one) for text in colour)]
    area = lambda a: (a.width or 0) * (a.height or 0)  # noqa: E731
    orders: dict[str, Callable[[Known], Any]] = {
        "newest": lambda a: -a.index,
        "oldest": lambda a: a.index,
        "largest": lambda a: (a.width is None, -area(a), -a.index),
        "smallest": lambda a: (a.width is None, area(a), -a.index),
        "heaviest": lambda a: (-a.size, -a.index),
        "lightest": lambda a: (a.size, -a.index),
    }
    for (sort, key), few in itertools.product(orders.items(), (20_000, 3)):
        monkeypatch.setattr("registry.catalog.search.FEW", few)
        wanted = [one.id for one in sorted(some, key=key)]
        places = range(0, len(wanted), 5)
        pages = [registry.search(colour, sort=sort, limit=5, offset=place) for place in places]
        assert [asset.id for page in pages for asset in page.assets] == wanted
        assert [page.more for page in pages] == [*[True] * (len(pages) - 1), False]
        assert len(pages) > 2
    with pytest.raises(InputError, match="no order") as caught:
        registry.search(sort="biggest")
    assert "heaviest" in caught.value.hint


@pytest.mark.parametrize("few", [0, 3])
def test_many_rows_of_another_table_decide_as_few_do(
    filled: tuple[Registry, list[Known]], few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, known = filled
    monkeypatch.setattr("registry.catalog.search.FEW", few)
    for text, is_so in TERMS.items():
        assert ids(registry, text) == [one.id for one in reversed(known) if is_so(one)], text


def test_times_are_bounds_to_the_millisecond(filled: tuple[Registry, list[Known]]) -> None:
    registry, known = filled
    for one in known:
        time = parse_time(one.time)
        for span, is_so in (
            (Span(time, time), lambda a: a.time == one.time),  # noqa: B023
            (Span(time, None), lambda a: a.time >= one.time),  # noqa: B023
            (Span(None, time), lambda a: a.time <= one.time),  # noqa: B023
            (Span(None, None, 5), lambda a: a.time >= format_time(time)),  # noqa: B023
        ):
            with read(registry.log.engine) as conn:
                term = Term("recorded", (span,), negated=False, text="")
                wanted = catalog.conditions(conn, [term], now_ms=time + 5)
                assert catalog.count(conn, wanted) == sum(map(is_so, known))


def test_an_answer_tells_what_is_known_for_certain(filled: tuple[Registry, list[Known]]) -> None:
    registry, known = filled
    note, *_, first = registry.search().assets
    assert (note.orientation, note.palette, note.size) == (None, (), 59)
    assert (first.id, first.orientation, first.size) == (known[0].id, "square", known[0].size)
    assert [colour.colour for colour in first.palette] == ["#0044cc", "#ff6600"]
    assert sum(colour.share for colour in first.palette) == 100


def test_a_name_that_nothing_goes_by_is_told_with_those_that_there_are(
    filled: tuple[Registry, list[Known]],
) -> None:
    registry, _ = filled
    (told,) = registry.search("lora:brandy").notes
    assert "brandy" in told
    assert "Studio Look, brandx, studio" in told
    assert registry.search("lora:brandx").notes == ()


def test_a_palette_that_was_erased_is_not_searched_any_more(
    registry: Registry, generation: Make
) -> None:
    fill(registry, generation, 3)
    before = ids(registry, "colour:#ff6600")
    assert before
    prints = table_of(FingerprintRow)
    with write(registry.log.engine) as conn:
        conn.execute(delete(prints).where(prints.c.sha256 == bytes.fromhex(before[0][7:])))
    assert ids(registry, "colour:#ff6600") == before[1:]
    fill_again = {"sha256": bytes.fromhex(before[0][7:]), "name": PALETTE, "quality": 100}
    with write(registry.log.engine) as conn:
        conn.execute(insert(prints), [fill_again | {"value": bytes([255, 102, 0, 100])}])
    assert ids(registry, "colour:#ff6600") == before


def test_distances_are_those_of_cie_lab() -> None:
    import numpy as np

    # As published for the corners of sRGB under D65 (Lindbloom).
    corners = [[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    wanted = [
        [100, 0, 0],
        [0, 0, 0],
        [53.24, 80.09, 67.20],
        [87.73, -86.18, 83.18],
        [32.30, 79.19, -107.86],
    ]
    assert np.abs(lab_of(np.array(corners, np.uint8)) - np.array(wanted)).max() < 0.05


def test_saved_searches_are_terms_of_others_and_travel_with_a_backup(
    registry: Registry, generation: Make, tmp_path: Path
) -> None:
    known = fill(registry, generation, 6)
    made = registry.searches.save("tall", ["orientation:portrait"], sort="oldest")
    assert registry.searches.save("tall", "orientation:portrait", sort="oldest") == made
    spring = registry.searches.save("tall-spring", ["@tall", "campaign:Autumn 50%"])
    assert spring.query == "orientation:portrait 'campaign:Autumn 50%'"
    assert registry.search("@tall").sort == "oldest"
    assert registry.search("@tall width:48", sort="newest").sort == "newest"
    assert ids(registry, "@tall") == [one.id for one in known if shape(one) == "portrait"]
    for name, terms, code in [
        ("tall", "width:3", "search.exists"),
        ("Tall!", "width:3", "search.name"),
        ("bad", "wide", "search.syntax"),
    ]:
        with pytest.raises(InputError) as caught:
            registry.searches.save(name, terms)
        assert caught.value.code == code
    for call in (lambda: registry.search("@short"), lambda: registry.searches.forget("short")):
        with pytest.raises(NotFoundError, match="short") as missing:
            call()
        assert (missing.value.code, "tall" in missing.value.hint) == ("search.unknown", True)
    saved = registry.searches.list()
    registry.upkeep.backup(tmp_path / "kept", passphrase="secret of the backup")
    import_registry(
        tmp_path / "kept", tmp_path / "again", passphrase=lambda: "secret of the backup"
    )
    with open_home(tmp_path / "again") as again:
        assert again.searches.list() == saved
        assert again.searches.forget("@tall") == made
        assert [one.name for one in again.searches.list()] == ["tall-spring"]
        again.searches.save("tall", "width:3")
