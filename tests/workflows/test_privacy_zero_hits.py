"""After an erasure no byte of a text is left anywhere; and the search that says so can find.

The search reads every file: raw bytes in several encodings, what zlib streams hold, and each value
of each database. It is first shown to find the texts wherever they can be read.
"""

from __future__ import annotations

import base64
import io
import json
import os
import random
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from PIL import Image, PngImagePlugin
from starlette.testclient import TestClient

from generators import recorded_callable
from registry.core.evidence import verify_evidence
from registry.factory import create_registry
from registry.sdk import Registry
from registry.similarity.prints import prints_of
from registry.web.app import create_app
from registry.workflows.leftovers import replay_folder

MODULE = "genops_zero_hits_studio"
SOURCE = '''
"""A generator that draws by chance from its seed, whatever the prompt says."""
import random
from PIL import Image

def draw(prompt: str, negative_prompt: str = "", seed: int = 0) -> Image.Image:
    draw = random.Random(seed)
    image = Image.new("RGB", (48, 48))
    image.putdata([(draw.randrange(256), draw.randrange(256), x % 256) for x in range(48 * 48)])
    return image
'''

PROMPT = "Žofie Quokkahuber-7391 riding a zebra through Brüggen-on-Sea"
NEGATIVE = "no Wombatowski-5527, no blurry Schnürsenkel"
NOTE = "handed in by Xanthippe Grünwald-8846 herself"
FILE_NAME = "xanthippe-grünwald-holiday-1138.png"
ACTOR = "Ægir Þórsson-4410"
TEXTS = (PROMPT, NEGATIVE, NOTE, FILE_NAME, ACTOR)
SHOWN = (PROMPT, NEGATIVE)
"""What the record that is replayed, rendered and handed out says."""

_ZLIB_HEADS = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


def base64_forms(data: bytes) -> Iterator[bytes]:
    """Yield what base64 makes of bytes inside others: three alignments, both alphabets."""
    for shift in range(3):
        first, end = -(-shift * 8 // 6), (shift + len(data)) * 8 // 6
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            yield encode(b"\0" * shift + data)[first:end]


def forms(text: str) -> set[bytes]:
    """Return every way in which a text may stand in a file; a part of it is enough."""
    found: set[bytes] = set()
    for part in (text, text[len(text) // 3 :]):
        escaped = json.dumps(part)[1:-1]
        raw = {part.encode("utf-8"), part.encode("utf-16-le"), part.encode("utf-16-be"),
               escaped.encode(), escaped.upper().replace("\\U", "\\u").encode(),
               repr(part)[1:-1].encode()}  # fmt: skip
        found |= raw | {form for data in raw for form in base64_forms(data)}
        found |= {data.hex().encode() for data in raw} | {
            data.hex().upper().encode() for data in raw
        }
    return found


FORMS = {text: forms(text) for text in TEXTS}


def in_bytes(data: bytes, wanted: set[bytes]) -> bool:
    return any(form in data for form in wanted)


def inflated(data: bytes) -> Iterator[bytes]:
    """Yield what the zlib streams inside other bytes hold."""
    for head in _ZLIB_HEADS:
        place = data.find(head)
        while place >= 0:
            with suppress(zlib.error):
                yield zlib.decompressobj().decompress(data[place : place + 2**20])
            place = data.find(head, place + 1)


def logical(path: Path) -> bytes:
    """Return every value of a SQLite database: a long one is cut up by the pages that hold it."""
    found: list[bytes] = []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as conn:
        tables = [
            row[0] for row in conn.execute("SELECT name FROM sqlite_master WHERE type='table'")
        ]
        for table in tables:
            for row in conn.execute(f'SELECT * FROM "{table}"'):
                found += [v if isinstance(v, bytes) else str(v).encode("utf-8") for v in row]
    return b"\n".join(found)


def hits(folder: Path, wanted: set[bytes]) -> list[str]:
    """Return the files below a folder that hold one of the forms, in content or in name."""
    found = []
    for path in sorted(folder.rglob("*")):
        if in_bytes(os.fsencode(path.name), wanted):
            found.append(f"name of {path}")
        if not path.is_file():
            continue
        data = path.read_bytes()
        parts = [data, *inflated(data)]
        if data.startswith(b"SQLite format 3\0"):
            parts.append(logical(path))
        if any(in_bytes(part, wanted) for part in parts):
            found.append(path.relative_to(folder).as_posix())
    return found


@dataclass(frozen=True, slots=True)
class Scene:
    """A registry with mirrors, and what was found before and after its erasure."""

    registry: Registry
    place: Path
    records: tuple[str, ...]
    keys: dict[str, tuple[bytes, bytes]]


def dvc(folder: Path, *arguments: str) -> None:
    environment = os.environ | {"DVC_SITE_CACHE_DIR": str(folder.parent / "dvc-site")}
    done = subprocess.run(
        [sys.executable, "-m", "dvc", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Record, mirror, push: records of every kind, each text in at least one of them."""
    place = tmp_path_factory.mktemp("zero")
    modules, elsewhere = place / "modules", tmp_path_factory.mktemp("source")
    modules.mkdir()
    (modules / f"{MODULE}.py").write_text(SOURCE)
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(modules)
    patch.setenv("PYTHONPATH", f"{modules}{os.pathsep}{Path(__file__).parents[2]}")
    patch.setenv("GENOPS_ACTOR", "studio")
    with create_registry(place / "home", name="zero", project="brand") as registry:
        import importlib

        draw = recorded_callable(importlib.import_module(MODULE).draw, registry)
        _, first = draw.with_receipt(PROMPT, negative_prompt=NEGATIVE, seed=7)
        with registry_as(registry, ACTOR):
            _, second = draw.with_receipt("a plain mug", seed=8)
        picture = elsewhere / FILE_NAME
        Image.effect_noise((64, 64), 90).convert("RGB").save(picture)
        third = registry.ingest(picture, note=NOTE)
        fourth = registry.ingest(picture, note="a portrait", personal=True)
        hidden = recorded_callable(importlib.import_module(MODULE).draw, Personal(registry))
        shown, fifth = hidden.with_receipt("a face", seed=10)
        assert registry.read(fifth.record) != Path(registry.get(fifth.record).path).read_bytes()
        assert Image.open(io.BytesIO(registry.read(fifth.record))).tobytes() == shown.tobytes()
        replayed = registry.reproduce(fifth.record)
        assert (replayed.verdict, replayed.reproduced) == ("identical", None)
        _, kept = draw.with_receipt("a teapot that stays", seed=9)
        records = tuple(r.record for r in (first, second, third, fourth, fifth, kept))
        assert registry.reproduce(first.record).verdict == "identical"
        registry.sync_mirrors()
        dvc(registry.settings.home.vault, "remote", "add", "-d", "backup", str(place / "remote"))
        dvc(registry.settings.home.vault, "push")
        yield Scene(registry, place, records, sealing_keys(registry, records))
    patch.undo()


@dataclass(frozen=True, slots=True)
class Personal:
    """A registry that records every generation as personal."""

    registry: Registry

    def record(self, *arguments: Any, **options: Any) -> Any:
        return self.registry.record(*arguments, personal=True, **options)


class registry_as:  # noqa: N801  # reads like a verb in a with statement
    """Let an open registry act for somebody."""

    def __init__(self, registry: Registry, actor: str) -> None:
        self._settings, self._actor = registry.settings, actor

    def __enter__(self) -> None:
        self._before = self._settings.actor
        object.__setattr__(self._settings, "actor", self._actor)

    def __exit__(self, *_: object) -> None:
        object.__setattr__(self._settings, "actor", self._before)


def sealing_keys(registry: Registry, records: tuple[str, ...]) -> dict[str, tuple[bytes, bytes]]:
    """Return each record's key, as it is and as the keyring stores it."""
    services = registry._services
    wrapping = services.keyring._wrapping_key()
    keys = {}
    for record in records:
        view = registry.log.envelope(registry.log.index_of(bytes.fromhex(record[4:])))
        key = services.keyring.get(view.payload_sha256)
        keys[record] = key, aes_key_wrap(wrapping, key)
    return keys


def client(registry: Registry) -> TestClient:
    app = create_app(registry, registry.settings)
    return TestClient(app, base_url="http://127.0.0.1:8765", raise_server_exceptions=False)


def _png(path: Path, text: str) -> None:
    notes = PngImagePlugin.PngInfo()
    notes.add_itxt("parameters", text, zip=True)
    Image.new("RGB", (4, 4)).save(path, "PNG", pnginfo=notes)


PLANTS: dict[str, Callable[[Path, str], None]] = {
    "utf-8": lambda path, text: path.write_text(f"<{text}>", "utf-8"),
    "utf-16": lambda path, text: path.write_text(f"<{text}>", "utf-16"),
    "escaped": lambda path, text: path.write_text(json.dumps({"x": text}), "ascii"),
    "base64": lambda path, text: path.write_bytes(base64.b64encode(b"ab" + text.encode())),
    "base64 of json": lambda path, text: path.write_bytes(
        base64.b64encode(b"a" + json.dumps([text], ensure_ascii=False).encode())
    ),
    "urlsafe": lambda path, text: path.write_bytes(base64.urlsafe_b64encode(text.encode())),
    "zlib": lambda path, text: path.write_bytes(b"head" + zlib.compress(text.encode()) + b"tail"),
    "png": _png,
    "name": lambda path, text: path.with_name(text.replace("/", "_")).touch(),
}


@pytest.mark.parametrize("how", PLANTS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_search_finds_what_is_planted(tmp_path: Path, how: str, text: str) -> None:
    assert hits(tmp_path, FORMS[text]) == []
    PLANTS[how](tmp_path / "planted", text)
    assert hits(tmp_path, FORMS[text]) != []


def test_the_search_finds_deleted_rows_of_a_database_that_does_not_wipe(tmp_path: Path) -> None:
    path = tmp_path / "scratch.db"
    for secure, expected in ((False, True), (True, False)):
        path.unlink(missing_ok=True)
        with closing(sqlite3.connect(path)) as conn:
            conn.execute(f"PRAGMA secure_delete = {'ON' if secure else 'OFF'}")
            conn.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, value TEXT)")
            conn.executemany(
                "INSERT INTO texts VALUES (?, ?)",
                [(n, random.randbytes(40).hex()) for n in range(0, 200, 2)],
            )
            conn.execute("INSERT INTO texts VALUES (101, ?)", (PROMPT,))
            conn.commit()
            conn.execute("DELETE FROM texts WHERE id = 101")
            conn.commit()
        assert bool(hits(tmp_path, FORMS[PROMPT])) is expected


def test_no_byte_of_an_erased_text_is_left(scene: Scene, tmp_path: Path) -> None:
    registry, place = scene.registry, scene.place
    erased, kept = scene.records[:5], scene.records[5]
    vkey = (registry.settings.home.keys / "log.vkey").read_text()
    browser = client(registry)

    # Before: the texts are found wherever they can be read, and nowhere else.
    shown = repr([registry.get(record) for record in erased])
    assert all(in_bytes(shown.encode("utf-8"), FORMS[text]) for text in TEXTS)
    page = browser.get(f"/assets/{scene.records[0]}").content
    assert all(in_bytes(page, FORMS[text]) for text in SHOWN[:1])
    previews = [f"/assets/{registry.resolve(record)}/thumbnail" for record in scene.records[3:5]]
    assert [browser.get(preview).status_code for preview in previews] == [200, 200]
    handed_out = tmp_path / "handed-out"
    handed_out.mkdir()
    for number, record in enumerate(erased):
        (handed_out / f"{number}.json").write_bytes(registry.evidence(record))
    assert all(hits(handed_out, FORMS[text]) for text in TEXTS)
    left_behind(registry, scene.records[0])
    assert {text: bool(hits(place, FORMS[text])) for text in TEXTS} == {
        text: text in SHOWN for text in TEXTS
    }
    for raw, wrapped in scene.keys.values():
        assert hits(place, {raw}) == []
        assert hits(place, {wrapped}) != []
    assert all(hits(place, {look}) for look in looks(registry, scene.records[2]))
    hidden = looks(registry, scene.records[4])
    assert hits(place, hidden) == []

    # The erasure.
    registry.privacy.erase(list(erased), reason="request 2026-114", actor="dpo")

    # After: nothing anywhere, keys included; what stays can still be read.
    assert {text: hits(place, FORMS[text]) for text in TEXTS} == {text: [] for text in TEXTS}
    assert hits(place, hidden) == []
    for record in erased:
        assert hits(place, set(scene.keys[record])) == [], record
        assert registry.verify(record).ok
        assert verify_evidence(registry.evidence(record), log_vkey=vkey).ok
        assert registry.get(record).text == "erased"
    assert hits(place, {scene.keys[kept][1]}) == ["home/keyring.db"]
    assert registry.get(kept).parameters["prompt"] == "a teapot that stays"
    page = browser.get(f"/assets/{scene.records[0]}").content
    assert not any(in_bytes(page, FORMS[text]) for text in TEXTS)
    assert [browser.get(preview).status_code for preview in previews] == [410, 410]
    assert registry.check_log().ok
    assert registry.check_mirror() == ()
    assert registry.reproduce(scene.records[4]).verdict == "erased"
    assert registry.reproduce(scene.records[0]).verdict == "erased"
    assert registry.get(scene.records[0]).events[-1].summary == "erased"
    for number, record in enumerate(erased):  # handed out is handed out, and still proves
        data = (handed_out / f"{number}.json").read_bytes()
        assert verify_evidence(data, log_vkey=vkey).ok, record

    # And after all of it was mirrored again, and pushed.
    registry.sync_mirrors()
    dvc(registry.settings.home.vault, "push")
    assert {text: hits(place, FORMS[text]) for text in TEXTS} == {text: [] for text in TEXTS}


def looks(registry: Registry, record: str) -> set[bytes]:
    """Return what an output could be recognised by: its fingerprints, and most of its thumbnail."""
    made = prints_of(registry.read(record), registry.settings.limits)
    assert made.thumbnail is not None
    return {value.value for value in made.values} | {made.thumbnail[200:]}


def left_behind(registry: Registry, record: str) -> None:
    """Leave what a replay that was killed leaves: a work folder with what it had written."""
    run = replay_folder(registry._services, bytes.fromhex(record[4:]))
    with run as folder:
        kept: dict[str, Any] = {"prompt": PROMPT, "negative_prompt": NEGATIVE}
        left = folder.with_name(folder.name + "-killed")
        left.mkdir()
        (left / "out-0").write_text(json.dumps(kept))
