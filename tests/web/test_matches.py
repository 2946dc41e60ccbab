"""A person's verdict on a match, over HTTP: with the file, and never by a path on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from registry.core.answers import Receipt
from registry.sdk import Registry
from tests.conftest import encode, make_picture

MATCHES = "/api/v1/matches"


def test_a_refuted_match_does_not_come_up_again(
    registry: Registry, client: TestClient, recorded: Receipt
) -> None:
    data = encode(make_picture(1).resize((96, 96)))
    (match,) = client.post("/api/v1/find", content=data).json()["matches"]
    body = {"candidate": match["id"], "verdict": "refuted", "reason": "another mug", "actor": "Ada"}
    answer = client.post(MATCHES, data=body, files={"file": data})
    assert answer.status_code == 200
    assert (answer.json()["kind"], answer.json()["bank"]) == ("perceptual", "registered")
    assert client.post("/api/v1/find", content=data).json()["matches"] == []
    assert registry.banks.verdicts()[0].reason == "another mug"
    assert match["id"] == recorded.assets[0]


REFUSED: list[tuple[dict[str, str], int, str]] = [
    ({"candidate": "1" * 64}, 404, "match.none"),
    ({"candidate": "genops.toml"}, 422, "ref.invalid"),
    ({"verdict": "rejected"}, 422, "input.invalid"),
    ({"reason": ""}, 422, "input.invalid"),
    ({"reason": " "}, 422, "match.reason"),
    ({"bank": "none"}, 422, "find.bank"),
    ({}, 422, "match.certain"),
]


def test_what_cannot_be_said_is_refused(
    registry: Registry, client: TestClient, recorded: Receipt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(registry.settings.home.root)
    assert Path("genops.toml").exists()
    said = {"candidate": recorded.assets[0], "verdict": "refuted", "reason": "r"}
    data, size = encode(make_picture(1)), registry.log.head().size
    for change, status, code in REFUSED:
        answer = client.post(MATCHES, data=said | change, files={"file": data})
        assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert client.post(MATCHES, data=said, files={"file": b""}).json()["code"] == "request.empty"
    assert client.post(MATCHES, data=said).status_code == 422
    assert registry.log.head().size == size
