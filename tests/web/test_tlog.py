"""A monitor needs nothing but the tiles and the log's key."""

from __future__ import annotations

import pytest

from registry.core import checkpoints
from registry.core.entries import LogEntry
from registry.core.merkle import Frontier
from registry.core.tiles import TILE_WIDTH, decode_bundle, tile_path


@pytest.fixture
def vkey(registry):
    return (registry.settings.home.keys / "log.vkey").read_text().strip()


def test_the_signed_root_follows_from_the_entries(registry, client, generation, vkey):
    for seed in range(4):
        registry.record(generation(seed))
    answer = client.get("/tlog/checkpoint")
    head = checkpoints.verify(answer.content, vkey)
    assert head.size == 5
    bundle = client.get("/tlog/" + tile_path(None, 0, head.size))
    leaves = [LogEntry.parse(entry).leaf_hash() for entry in decode_bundle(bundle.content)]
    frontier = Frontier(0, ())
    assert frontier.extend(leaves).root() == head.root
    hashes = client.get("/tlog/" + tile_path(0, 0, head.size))
    assert hashes.content == b"".join(leaves)


def test_the_checkpoint_is_text_and_never_cached(visitor):
    headers = visitor.get("/tlog/checkpoint").headers
    assert headers["content-type"] == "text/plain; charset=utf-8"
    assert headers["cache-control"] == "no-store"


def test_the_json_checkpoint_is_the_same_head(registry, client, recorded, vkey):
    view = client.get("/api/v1/checkpoint").json()
    head = checkpoints.verify(view["note"].encode(), vkey)
    assert (view["origin"], view["size"], view["root"]) == (
        head.origin,
        head.size,
        head.root.hex(),
    )


def test_full_tiles_are_kept_for_ever_and_partial_ones_are_not(registry, client, generation):
    refs = [registry.record(generation(1)).assets[0]]
    while registry.log.head().size < TILE_WIDTH + 1:
        registry.taint(refs[0], reason="filling the log")
    for level in (0, None):
        full = client.get("/tlog/" + tile_path(level, 0))
        assert full.status_code == 200
        assert full.headers["content-type"] == "application/octet-stream"
        assert "immutable" in full.headers["cache-control"]
        part = client.get("/tlog/" + tile_path(level, 1, 1))
        assert part.status_code == 200
        assert "immutable" not in part.headers["cache-control"]


@pytest.mark.parametrize(
    "path",
    ["tile/0/000", "tile/0/000.p/2", "tile/0/001", "tile/1/000", "tile/entries/000.p/9",
     "tile/0/0", "tile/0/x000/000", "tile/64/000", "tile/-1/000", "tile/0/000.p/0",
     "tile/0/000.p/256", "tile/entries/", "tile/0/..%2F..%2Fcheckpoint"],
)  # fmt: skip
def test_tiles_beyond_the_tree_are_not_there(visitor, path):
    answer = visitor.get(f"/tlog/{path}")
    assert answer.status_code == 404
    assert answer.json()["kind"] == "NotFoundError"
