"""What a compliance officer reads: true, complete, harmless, and readable without scripts."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
from PIL import Image

from registry.core.generation import Material, Output, Sealed
from registry.core.look_up import FindResult, Match, MatchGeometry
from registry.web.pages import matches
from registry.web.thumbnails import EDGE, Thumbnails

LORA = Material("lora/brand", "lora", "ab" * 32, uri="file:brand.safetensors")
HOSTILE = (
    "<script>alert(1)</script> \"'><img src=x onerror=alert(2)> \u202egnp.exe\u2066 \0 \x1b[31m "
    "{{ 7*7 }} {% raw %} </bdi></blockquote>"
)
VOID = {"meta", "link", "img", "input", "br", "hr"}


class Page(HTMLParser):
    """Checks that tags nest, and gathers what the tests ask about."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(html)
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def page(client):
    def get(path: str, status: int = 200) -> Page:
        answer = client.get(path, headers={"Accept": "text/html"})
        assert answer.status_code == status, answer.text
        return Page(answer.text)

    return get


@pytest.fixture
def crowd(registry, generation):
    """Records of every kind that a page can show."""
    first = registry.record(generation(1, campaign="spring", materials=(LORA,)))
    registry.record(generation(2, reasons=("the scheduler is not seeded",)))
    registry.taint("sha256:" + LORA.sha256, reason="its licence was withdrawn")
    registry.gate([first.assets[0]])
    return first


def pages_of(registry):
    shown = registry.list(limit=5)
    return ["/", "/verify", "/log", "/?tainted=yes", "/?project=none", "/?page=9"] + [
        f"/assets/{asset.id}" for asset in shown
    ]


def test_pages_are_well_formed_and_have_landmarks(registry, page, crowd):
    for path in pages_of(registry):
        found = page(path)
        names = [tag for tag, _ in found.tags]
        for landmark in ("header", "nav", "main", "footer"):
            assert names.count(landmark) >= 1, (path, landmark)
        assert names.count("h1") == 1, path
        assert found.all("html")[0]["lang"] == "en"
        assert found.all("title")
        assert any(a.get("href") == "#main" for a in found.all("a"))


def test_tables_name_their_columns_and_fields_their_labels(registry, page, crowd):
    for path in pages_of(registry):
        found = page(path)
        assert all(th.get("scope") in {"col", "row"} for th in found.all("th")), path
        labelled = {label.get("for") for label in found.all("label")}
        wrapped = found.text.count("")  # labels may also wrap their field
        assert wrapped
        for field in found.all("input"):
            if field.get("type") != "hidden" and "id" in field:
                assert field["id"] in labelled, (path, field)
        assert all("alt" in img for img in found.all("img"))


def test_pages_load_nothing_from_elsewhere_and_run_nothing(registry, page, crowd):
    for path in pages_of(registry):
        found = page(path)
        for _, attrs in found.tags:
            for name in ("src", "href", "action"):
                target = attrs.get(name) or "/"
                assert target.startswith(("/", "#")), (path, target)
                assert not target.startswith("//")
            assert not [name for name in attrs if name.startswith("on") or name == "style"]
        assert not found.all("script")


def test_the_style_sheet_loads_nothing_from_elsewhere(client):
    sheet = client.get("/static/genops.css")
    assert sheet.headers["content-type"].startswith("text/css")
    assert not re.search(r"https?:|//[a-z]|@import", sheet.text)


def test_a_hostile_prompt_is_shown_and_does_nothing(registry, client, page, generation):
    receipt = registry.record(generation(1, prompt=HOSTILE))
    raw = client.get(f"/assets/{receipt.assets[0]}").text
    found = page(f"/assets/{receipt.assets[0]}")
    assert not found.all("script")
    assert not any("onerror" in attrs for attrs in found.all("img"))
    assert not any(c in raw for c in "\0\x1b\u202e\u2066")
    assert "<script>alert(1)</script>" in found.text
    for code in ("U+202E", "U+2066", "U+0000", "U+001B"):
        assert code in found.text
    assert "{{ 7*7 }}" in found.text


def test_every_text_of_a_record_is_harmless(registry, client, page, generation):
    material = Material("input/<b>x", "image", "cd" * 32, uri=HOSTILE.replace("\0", ""))
    receipt = registry.record(
        generation(
            1,
            external={"prompt": Sealed("x"), "<i>k</i>": Sealed(HOSTILE)},
            internal={"note": "<script>alert(3)</script>"},
            materials=(material,),
            reasons=("<script>alert(4)</script>",),
        ),
        actor=HOSTILE,
    )
    registry.taint(receipt.assets[0], reason=HOSTILE)
    found = page(f"/assets/{receipt.assets[0]}")
    names = {tag for tag, _ in found.tags}
    assert not names & {"script", "i"}
    assert "alert(3)" in found.text
    assert "alert(4)" in found.text


def test_a_hostile_filter_comes_back_harmless(page):
    found = page("/?project=%22%3E%3Cscript%3Ealert(1)%3C/script%3E&campaign=%00%E2%80%AE")
    assert not found.all("script")
    assert any('"><script>' in (field.get("value") or "") for field in found.all("input"))


def test_without_a_decision_nothing_is_cleared(page, recorded):
    found = page(f"/assets/{recorded.assets[0]}")
    assert "No decision yet." in found.text
    assert "Yes." not in found.text


def test_the_banner_follows_the_gates_own_decision(registry, page, recorded):
    report = registry.gate([recorded.assets[0]])
    found = page(f"/assets/{recorded.assets[0]}")
    expected = "Yes. Cleared" if report.verdict == "pass" else "No. The gate refused it."
    assert expected in found.text
    assert "policy default" in found.text


def test_a_taint_is_named_on_top_and_in_red(registry, page, crowd):
    found = page(f"/assets/{crowd.assets[0]}")
    assert "No. It is tainted." in found.text
    assert "lora/brand" in found.text
    assert "its licence was withdrawn" in found.text
    assert any("verdict no" in (s.get("class") or "") for s in found.all("section"))


def test_altered_bytes_turn_the_banner(registry, page, recorded):
    path = registry.blob(recorded.assets[0])
    path.chmod(0o644)
    path.write_bytes(b"other")
    found = page(f"/assets/{recorded.assets[0]}")
    assert "does not verify" in found.text
    assert "a check failed" in found.text


def test_a_passport_says_how_it_was_made_from_what_by_whom_and_where(registry, page, generation):
    receipt = registry.record(
        generation(
            9,
            external={"prompt": Sealed("a red mug"), "steps": 28,
                      "loras": [{"ref": "lora/brand", "scale": 0.8}]},
            materials=(LORA,),
        ),
        actor="Mira Okafor",
    )  # fmt: skip
    passport = registry.get(receipt.assets[0])
    text = page(f"/assets/{receipt.assets[0]}").text
    for word in (
        receipt.assets[0], receipt.record, "a red mug", "28", "scale 0.8", "lora/brand",
        "not declared", "Mira Okafor", passport.signer["keyid"], "every check passed",
        registry.log.head().root.hex(), registry.settings.origin, "generator",
    ):  # fmt: skip
        assert word in text, word


def test_an_erased_text_is_gone_from_the_page(registry, page, generation):
    receipt = registry.record(generation(1, prompt="a very private prompt"))
    registry.erase(receipt.assets[0], reason="asked for by the person")
    found = page(f"/assets/{receipt.assets[0]}")
    assert "very private" not in found.text
    assert "were erased" in found.text
    assert "every check passed" in found.text


def test_the_list_filters_and_pages(registry, page, generation):
    for seed in range(50):
        registry.record(generation(seed, campaign="late" if seed > 47 else "early"))
    first, second = page("/"), page("/?page=2")
    cards = [
        len([x for x in p.all("li") if "card" in (x.get("class") or "")]) for p in (first, second)
    ]
    assert cards == [48, 2]
    assert any(a.get("rel") == "next" for a in first.all("a"))
    assert any(a.get("rel") == "prev" for a in second.all("a"))
    late = page("/?campaign=late")
    assert len([x for x in late.all("li") if "card" in (x.get("class") or "")]) == 2
    assert "No asset fits this filter." in page("/?kind=ingested").text


def test_thumbnails_are_small_and_revalidated(registry, client, generation, picture):
    data = io.BytesIO()
    picture(3, side=900).save(data, "PNG")
    output = Output(data.getvalue(), "image/png", width=900, height=900)
    receipt = registry.record(generation(1, outputs=(output,)))
    path = f"/assets/{receipt.assets[0]}/thumbnail"
    answer = client.get(path)
    assert answer.headers["content-type"] == "image/png"
    assert Image.open(io.BytesIO(answer.content)).size == (EDGE, EDGE)
    again = client.get(path, headers={"If-None-Match": answer.headers["etag"]})
    assert again.status_code == 304
    assert not again.content


def test_a_small_picture_keeps_its_pixels(client, registry, generation, picture):
    data = io.BytesIO()
    small = picture(3, side=64)
    small.save(data, "PNG")
    output = Output(data.getvalue(), "image/png", width=64, height=64)
    receipt = registry.record(generation(1, outputs=(output,)))
    answer = client.get(f"/assets/{receipt.assets[0]}/thumbnail")
    assert Image.open(io.BytesIO(answer.content)).tobytes() == small.tobytes()
    assert 'class="hard"' in client.get("/").text


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "CMYK", "I;16", "1"])
def test_a_thumbnail_is_made_of_every_kind_of_picture(tmp_path, mode, picture, still):
    source = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    base = picture(3)
    made = base.convert("L").convert("I").convert("I;16") if mode == "I;16" else base.convert(mode)
    made.save(source)
    data = Thumbnails(still.settings.limits).get("aa" * 32, source)
    assert Image.open(io.BytesIO(data)).size == base.size


def test_what_is_no_picture_has_no_thumbnail_and_still_a_page(registry, client, page, generation):
    receipt = registry.record(generation(1, outputs=(Output(b"a text", "text/plain"),)))
    assert client.get(f"/assets/{receipt.assets[0]}/thumbnail").status_code == 404
    assert "text/plain" in page(f"/assets/{receipt.assets[0]}").text
    assert "text/plain" in page("/").text


def test_the_look_up_field_opens_a_passport(page, recorded):
    digits = recorded.assets[0].removeprefix("sha256:")[:12]
    assert recorded.assets[0] in page(f"/assets?ref={digits}").text
    page("/assets?ref=%2Fetc%2Fpasswd", status=422)


def test_matches_of_each_kind_stand_apart(registry, client, generation, picture):
    source = picture(5)
    data = generation(5).outputs[0].data
    receipt = registry.record(generation(5))
    same = Page(client.post("/verify", files={"file": ("a.png", data)}).text)
    assert "This file is on record." in same.text

    repacked = io.BytesIO()
    source.save(repacked, "PNG", compress_level=0)
    pixels = Page(client.post("/verify", files={"file": ("b.png", repacked.getvalue())}).text)
    assert "The same file 0" in pixels.text
    assert "The same pixels 1" in pixels.text

    softer = io.BytesIO()
    source.save(softer, "JPEG", quality=60)
    alike = Page(client.post("/verify", files={"file": ("c.jpg", softer.getvalue())}).text)
    assert "The same file 0" in alike.text
    assert "The same pixels 0" in alike.text
    assert "Looks similar 1" in alike.text
    assert "Not on record, but something on record looks like it." in alike.text
    for found in (same, pixels, alike):
        assert any(receipt.assets[0] in (a.get("href") or "") for a in found.all("a"))


def test_a_match_says_what_where_and_how_sure_in_plain_words(
    registry, client, generation, picture, tmp_path
):
    whole = picture(5, 640)
    buffer = io.BytesIO()
    whole.save(buffer, "PNG")
    output = Output(buffer.getvalue(), "image/png", width=640, height=640)
    receipt = registry.record(generation(5, outputs=(output,)))
    registry.banks.create("rivals", kind="blocked", owner="<b>legal</b>")
    picture(6, 640).save(tmp_path / "rival.png")
    registry.banks.add("rivals", [tmp_path / "rival.png"], reason="theirs", source="shop")

    def look_up(image):
        sent = io.BytesIO()
        image.save(sent, "JPEG", quality=85)
        return Page(client.post("/verify", files={"file": ("a.jpg", sent.getvalue())}).text)

    mirrored = look_up(whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT))
    assert "looks like it as a whole, mirrored" in mirrored.text
    assert "gives a false match this near" in mirrored.text
    assert "must not be shipped" not in mirrored.text
    blocked = look_up(picture(6, 640))
    assert "something that must not be shipped" in blocked.text
    assert "Because: theirs. Put there by <b>legal</b>" in blocked.text
    assert "No record of this file." in blocked.text, "on record it is not"
    assert receipt.assets[0] not in blocked.text


def test_a_part_is_drawn_where_it_is(registry, client, generation):
    asset = "sha256:" + "a" * 64
    geometry = MatchGeometry(40, False, 3.2, 1.5, (0.1, 0.2, 0.6, 0.7))
    match = Match(asset, ("rec:b",), "part", 20, "probable", geometry=geometry, expected_bound=2.5)
    known = SimpleNamespace(width=1000, height=500)
    services = SimpleNamespace(registry=SimpleNamespace(get=lambda _: known))
    groups = matches.groups(services, FindResult((match,), {}), {"registered": "registered"})
    (one,) = groups[2].found
    assert one.part == matches.Drawn((1000, 500), (100, 100, 500, 250))
    assert "from 10 to 60 % across and 20 to 70 % down" in one.details
    assert "turned by 3°" in one.details
    assert one.chance == "Up to 2 false matches this near are to be expected."
    rare = matches.chance(replace(match, expected_bound=1 / 948, extrapolated=True))
    assert rare.startswith("At most one in 900 look-ups gives a false match this near. That is ex")


def test_no_match_does_not_mean_not_ai(client, generation):
    found = Page(client.post("/verify", files={"file": generation(77).outputs[0].data}).text)
    assert "No record of this file." in found.text
    assert "No record does not mean not AI" in found.text


def test_a_broken_picture_is_explained_on_the_form(client):
    answer = client.post("/verify", files={"file": b"GIF89a"})
    assert answer.status_code == 415
    found = Page(answer.text)
    assert found.all("form")
    assert any(p.get("role") == "alert" for p in found.all("p"))


def test_the_log_page_shows_the_head_and_the_newest_records(registry, page, crowd):
    head = registry.log.head()
    text = page("/log").text
    assert head.root.hex() in text
    for word in (registry.settings.origin, "generation", "taint", "decision", "trust"):
        assert word in text, word


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/assets/deadbeef", 404), ("/assets/x", 422), ("/?page=0", 422)],
)
def test_errors_are_pages_too(page, path, status):
    found = page(path, status)
    assert len(found.all("h1")) == 1
    assert any(a.get("href") == "/" for a in found.all("a"))
