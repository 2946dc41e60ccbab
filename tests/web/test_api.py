"""The interface for programs gives the façade's answers, and refuses what it must."""

from __future__ import annotations

import json

import pytest

from registry import errors
from registry.core.evidence import verify_evidence
from registry.core.generation import Output
from registry.errors import GenopsError
from registry.settings import Limits
from registry.web.errors import error_body, status_of

API = "/api/v1"


def without_paths(answer):
    """Return an answer as the service gives it: JSON, and no path on its machine."""
    if isinstance(answer, dict):
        return {k: None if k == "path" else without_paths(v) for k, v in answer.items()}
    if isinstance(answer, (list, tuple)):
        return [without_paths(item) for item in answer]
    return answer


def served(answer):
    return without_paths(json.loads(json.dumps(answer.to_dict())))


def test_answers_over_http_are_those_of_the_facade(registry, client, recorded):
    ref = recorded.assets[0]
    for part, answer in [
        ("", registry.get(ref)),
        ("/verification", registry.verify(ref)),
        ("/lineage?direction=both", registry.lineage(ref, direction="both")),
        ("/impact", registry.impact(ref)),
    ]:
        assert client.get(f"{API}/assets/{ref}{part}").json() == served(answer), part
    assert client.get(f"{API}/assets").json() == [served(a) for a in registry.list()]


@pytest.mark.parametrize("spelling", ["{0}", "{1}", "{2}", "SHA256:{2}", "{3}"])
def test_an_asset_answers_to_every_spelling_of_its_id(client, recorded, spelling):
    digits = recorded.assets[0].removeprefix("sha256:")
    ref = spelling.format(recorded.assets[0], digits, digits[:10], recorded.record)
    assert client.get(f"{API}/assets/{ref}").json()["id"] == recorded.assets[0]


def test_a_listing_is_filtered_and_paged(registry, client, generation):
    for seed in range(5):
        registry.record(generation(seed, campaign="a" if seed % 2 else "b"))
    registry.taint(registry.list(limit=1)[0].id, reason="why")
    names = [a["id"] for a in client.get(f"{API}/assets").json()]
    assert len(names) == 5
    paged = [client.get(f"{API}/assets?limit=2&offset={n}").json() for n in (0, 2, 4)]
    assert [a["id"] for page in paged for a in page] == names
    assert {a["campaign"] for a in client.get(f"{API}/assets?campaign=a").json()} == {"a"}
    assert [a["id"] for a in client.get(f"{API}/assets?tainted=true").json()] == names[:1]
    assert [a["id"] for a in client.get(f"{API}/assets?tainted=false").json()] == names[1:]
    assert client.get(f"{API}/assets?kind=ingested").json() == []


@pytest.mark.parametrize(
    "query",
    ["limit=0", "limit=-1", "limit=1001", "limit=x", "offset=-1", "kind=stolen", "tainted=perhaps",
     f"offset={2**70}"],
)  # fmt: skip
def test_a_malformed_listing_is_refused(visitor, query):
    answer = visitor.get(f"{API}/assets?{query}")
    assert answer.status_code == 422
    assert set(answer.json()) == {"code", "message", "hint", "kind"}


@pytest.mark.parametrize(
    "ref",
    ["%2Fetc%2Fpasswd", "..%2F..%2Fgenops.toml", "genops.toml", "~",
     "file:%2F%2F%2Fetc%2Fpasswd", "abc", "sha256:", "rec:xyz", "%00", "sha256:" + "g" * 64,
     "a" * 200],
)  # fmt: skip
@pytest.mark.parametrize("part", ["", "/verification", "/lineage", "/impact", "/evidence", "/blob"])
def test_a_path_on_this_machine_is_no_reference(visitor, still, ref, part, monkeypatch):
    monkeypatch.chdir(still.settings.home.root)
    answer = visitor.get(f"{API}/assets/{ref}{part}")
    assert answer.status_code in {404, 422}
    assert answer.json()["code"] in {"ref.invalid", "page.unknown", "input.invalid"}


def test_writes_take_no_path_either(visitor, still, monkeypatch):
    monkeypatch.chdir(still.settings.home.root)
    gate = visitor.post(f"{API}/gate", json={"refs": ["genops.toml"]})
    taint = visitor.post(f"{API}/taints", json={"ref": "genops.toml", "reason": "x"})
    assert [gate.status_code, taint.status_code] == [422, 422]
    assert gate.json()["code"] == taint.json()["code"] == "ref.invalid"


@pytest.mark.parametrize("policy", ["../default", "/etc", "a/b", "", ".", "Default", "x" * 65])
def test_a_gate_takes_the_name_of_a_policy_never_a_path(visitor, policy):
    answer = visitor.post(f"{API}/gate", json={"refs": ["deadbeef"], "policy": policy})
    assert answer.status_code == 422
    assert answer.json()["code"] == "policy.name"


def test_no_answer_names_a_path_of_the_server(registry, client, recorded):
    root = str(registry.settings.home.root)
    ref = recorded.assets[0]
    for part in ("", f"/{ref}", f"/{ref}/verification", f"/{ref}/lineage", f"/{ref}/impact"):
        assert root not in client.get(f"{API}/assets{part}").text


def test_what_is_not_there_is_404_in_json(visitor):
    answer = visitor.get(f"{API}/assets/deadbeef")
    assert answer.status_code == 404
    assert answer.json()["kind"] == "NotFoundError"
    assert visitor.get(f"{API}/nothing").json()["code"] == "page.unknown"
    assert visitor.put(f"{API}/assets").status_code == 405


def test_evidence_from_the_service_verifies_offline(registry, client, recorded):
    answer = client.get(f"{API}/assets/{recorded.record}/evidence")
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["content-disposition"].startswith("attachment; filename=")
    vkey = (registry.settings.home.keys / "log.vkey").read_text().strip()
    assert verify_evidence(answer.content, log_vkey=vkey).ok
    bare = client.get(f"{API}/assets/{recorded.record}/evidence?texts=false")
    assert verify_evidence(bare.content, log_vkey=vkey).ok
    assert len(bare.content) < len(answer.content)


def test_a_picture_goes_out_as_its_bytes_and_can_do_nothing(registry, client, recorded, generation):
    answer = client.get(f"{API}/assets/{recorded.assets[0]}/blob")
    assert answer.content == generation(1).outputs[0].data
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-disposition"].startswith("inline")
    assert "sandbox" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("media_type", ["text/html", "application/pdf", "application/xhtml+xml"])
def test_active_content_is_only_ever_a_download(registry, client, generation, media_type):
    data = b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>"
    receipt = registry.record(generation(1, outputs=(Output(data, media_type),)))
    answer = client.get(f"{API}/assets/{receipt.assets[0]}/blob")
    assert answer.content == data
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")


def test_altered_bytes_are_not_served(registry, client, recorded):
    path = registry.blob(recorded.assets[0])
    path.chmod(0o644)
    path.write_bytes(b"other")
    answer = client.get(f"{API}/assets/{recorded.assets[0]}/blob")
    assert answer.status_code == 500
    assert answer.json()["kind"] == "IntegrityError"
    checks = client.get(f"{API}/assets/{recorded.assets[0]}/verification").json()
    assert not checks["ok"]


def test_a_picture_is_found_raw_and_as_a_form(registry, client, recorded, generation):
    data = generation(1).outputs[0].data
    raw = client.post(f"{API}/find", content=data, headers={"Content-Type": "image/png"})
    form = client.post(f"{API}/find", files={"file": ("a.png", data, "image/png")})
    assert raw.status_code == form.status_code == 200
    assert raw.json() == form.json()
    assert recorded.assets[0] in {match["id"] for match in raw.json()["matches"]}


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\nbroken", b"GIF89a"])
def test_a_broken_picture_is_415(visitor, data):
    answer = visitor.post(f"{API}/find", content=data)
    assert answer.status_code == 415
    assert answer.json()["kind"] == "InputError"


def test_a_form_without_a_file_is_refused(visitor):
    assert visitor.post(f"{API}/find", data={"file": "x"}).status_code == 415
    assert visitor.post(f"{API}/find", files={"other": b"x"}).status_code == 422
    assert visitor.post(f"{API}/find", content=b"").status_code == 422


def test_an_upload_over_the_limit_is_413_however_it_is_sent(visit):
    client = visit(limits=Limits(upload_bytes=100_000))
    big = b"x" * 400_000

    def chunks():
        for start in range(0, len(big), 10_000):
            yield big[start : start + 10_000]

    answers = [
        client.post(f"{API}/find", content=big),
        client.post(f"{API}/find", content=chunks()),
        client.post(f"{API}/find", files={"file": big}),
        client.post("/verify", files={"file": big}),
        client.post(f"{API}/gate", json={"refs": ["x" * 2_000_000]}),
    ]
    assert [answer.status_code for answer in answers] == [413] * 5
    assert answers[0].json()["code"] == "request.too-large"


def test_a_gate_over_http_is_on_the_log(registry, client, recorded):
    answer = client.post(f"{API}/gate", json={"refs": [recorded.assets[0]]}).json()
    assert answer["verdict"] in {"pass", "fail"}
    events = registry.get(recorded.assets[0]).events
    assert answer["decisions"][0]["record"] in {event.record for event in events}


def test_a_gate_can_be_tried_without_a_record(registry, client, recorded):
    before = registry.log.head().size
    body = {"refs": [recorded.assets[0]], "record": False}
    assert client.post(f"{API}/gate", json=body).status_code == 200
    assert registry.log.head().size == before


def test_a_taint_is_set_and_cleared(registry, client, recorded):
    ref = recorded.assets[0]
    answer = client.post(f"{API}/taints", json={"ref": ref, "reason": "why", "severity": "low"})
    assert answer.status_code == 200
    assert registry.get(ref).taints[0].severity == "low"
    client.post(f"{API}/taints", json={"ref": ref, "reason": "was wrong", "action": "clear"})
    assert not registry.get(ref).taints


@pytest.mark.parametrize(
    "body",
    [{}, [], {"ref": "deadbeef"}, {"ref": "deadbeef", "reason": ""}, {"ref": 1, "reason": "x"},
     {"ref": "deadbeef", "reason": "x", "severity": "fatal"},
     {"ref": "deadbeef", "reason": "x", "more": 1}],
)  # fmt: skip
def test_a_malformed_taint_is_refused(visitor, body):
    assert visitor.post(f"{API}/taints", json=body).status_code == 422


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b"NaN", b"null"])
def test_a_broken_body_is_the_callers_error(visitor, body):
    answer = visitor.post(f"{API}/gate", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in {400, 422}
    assert set(answer.json()) == {"code", "message", "hint", "kind"}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NotFoundError("x"), 404),
        (errors.AmbiguousError("x"), 409),
        (errors.ConflictError("x"), 409),
        (errors.ErasedError("x"), 410),
        (errors.InputError("x", code="request.too-large"), 413),
        (errors.InputError("x", code="image.unreadable"), 415),
        (errors.SchemaError("x"), 422),
        (errors.PolicyError("x"), 422),
        (errors.TrustError("x"), 403),
        (errors.UnavailableError("x"), 503),
        (errors.RollbackError("x"), 503),
        (errors.HomeError("x", code="home.read-only"), 503),
        (errors.IntegrityError("x"), 500),
        (errors.MissingExtraError("x"), 501),
        (GenopsError("x"), 500),
    ],
)
def test_each_class_of_error_has_its_status(error, status):
    assert status_of(error) == status
    assert error_body(error)["kind"] == type(error).__name__


def test_the_interface_describes_itself_with_the_registrys_own_answers(visitor):
    document = visitor.get("/openapi.json").json()
    assert {"Passport", "Verification", "Lineage", "Impact", "GateReport", "Receipt", "FindResult",
            "AssetSummary", "Problem"} <= set(document["components"]["schemas"])  # fmt: skip
    shown = document["paths"]["/api/v1/assets/{ref}"]["get"]["responses"]["200"]
    assert shown["content"]["application/json"]["schema"]["$ref"].endswith("/Passport")
    assert not any(path.startswith("/assets") for path in document["paths"])
    assert visitor.get("/docs").status_code == 404  # it would load scripts from elsewhere
