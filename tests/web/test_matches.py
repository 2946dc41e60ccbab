"""A person's verdict on a match, over HTTP: with the file, and never by a path on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"candidate": "1" * 64}, 404, "match.none"),
        ({"candidate": "genops.toml"}, 422, "ref.invalid"),
        ({"verdict": "rejected"}, 422, "input.invalid"),
        ({"reason": ""}, 422, "input.invalid"),
        ({"reason": " "}, 422, "match.reason"),
        ({"bank": "none"}, 422, "find.bank"),
    ],
)
def test_what_cannot_be_said_is_refused(
    registry: Registry,
    client: TestClient,
    recorded: Receipt,
    change: dict[str, Any],
    status: int,
    code: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(registry.settings.home.root)
    assert Path("genops.toml").exists()
    body = {"candidate": recorded.assets[0], "verdict": "refuted", "reason": "r"} | change
    size = registry.log.head().size
    answer = client.post(MATCHES, data=body, files={"file": encode(make_picture(1))})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert registry.log.head().size == size


def test_equal_bytes_are_not_refuted_and_a_file_is_needed(
    client: TestClient, recorded: Receipt
) -> None:
    body = {"candidate": recorded.assets[0], "verdict": "refuted", "reason": "r"}
    same = client.post(MATCHES, data=body, files={"file": encode(make_picture(1))})
    assert same.json()["code"] == "match.certain"
    assert client.post(MATCHES, data=body, files={"file": b""}).json()["code"] == "request.empty"
    assert client.post(MATCHES, data=body).status_code >= 400
