"""Hosted answers are recorded as they came, once, and without the key."""

from __future__ import annotations

import base64
import json
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from generators.hosted.transport import Bounds
from registry.core.digests import sha256_hex
from registry.errors import (
    ConflictError,
    FormatError,
    GenopsError,
    InputError,
    UnavailableError,
)
from registry.sdk import Registry

Connect = Callable[..., Any]  # see conftest
PRICES = {
    "currency": "USD",
    "models": {"tiny-chat-2026-05-01": {"input": "0.15", "output": 0.6}, "m": {"picture": "0.04"}},
}


def records(registry: Registry) -> int:
    return registry.log.head().size - 1  # the first one is the trust record


def failed(registry: Registry, asset: str) -> set[str]:
    """Return the rules that the default gate finds an asset to break."""
    (decision,) = registry.gate([asset], record=False).decisions
    return {rule.rule for rule in decision.rules if rule.outcome != "pass"}


def test_a_hosted_picture_is_stored_to_the_byte_and_says_why_it_cannot_be_made_again(
    connect: Connect, registry: Registry, pictures: Callable[[int], bytes]
) -> None:
    made = connect().image("a red mug", model="m", size="1024x1024", n=2, seed=2**60)
    assert [output.data for output in made.outputs] == [pictures(10), pictures(11)]
    asset = made.receipt.assets[0]
    assert registry.read(asset) == pictures(10)
    passport = registry.get(asset)
    assert (passport.width, passport.height, passport.media_type) == (64, 64, "image/png")
    assert passport.reproducible is False
    assert "not held here" in passport.reasons[0]
    assert registry.reproduce(asset).verdict == "not-reproducible"
    assert registry.verify(asset).ok
    assert passport.parameters["prompt"] == "a red mug"
    assert passport.parameters["size"] == "1024x1024"
    assert passport.parameters["seed"] == str(2**60)
    assert passport.parameters["output"]["revised_prompt"] == "a redder mug"
    assert passport.internals["answer"]["headers"]["x-request-id"] == "req_5d1f"
    assert passport.internals["answer"]["usage"]["output_tokens"] == 1056
    assert "cost" not in passport.internals


def test_texts_of_a_call_are_nowhere_in_the_record_itself(
    connect: Connect, registry: Registry, double: Any
) -> None:
    made = connect().chat(
        "the secret launch", model="m", system="be brief", user="alice", stop=["x"]
    )
    evidence = json.loads(registry.evidence(made.receipt.record, texts=False))
    payload = base64.b64decode(evidence["record"]["envelope"]["payload"]).decode()
    for text in ("secret", "brief", "alice", "Reply", "127.0.0.1", "redder"):
        assert text not in payload, text
    for text in ("chat/completions", "tiny-chat-2026-05-01", "fp_44709d6fcb", "chatcmpl-1"):
        assert text in payload, text
    opened = registry.get(made.receipt.record)
    assert opened.parameters["messages"][1] == {"role": "user", "content": "the secret launch"}
    assert opened.setup["service"] == double.url


def test_a_chat_answer_is_a_text_with_what_the_service_claims_and_what_it_cost(
    connect: Connect, registry: Registry
) -> None:
    said = connect(prices=PRICES).chat("Hello", model="alias", temperature=0.2)
    assert said.text == "Reply 1"
    assert said.claims.model == "tiny-chat-2026-05-01"
    assert said.cost is not None
    # 12 * 0.15 / 10^6 + 3 * 0.60 / 10^6
    assert (said.cost["amount"], said.cost["currency"]) == ("0.0000036", "USD")
    internals = registry.get(said.receipt.record).internals
    assert internals["cost"]["rates"] == {"input": "0.15", "output": "0.6"}
    assert internals["answer"]["system_fingerprint"] == "fp_44709d6fcb"
    assert internals["answer"]["finish_reasons"] == ["stop"]


def test_pictures_have_a_price_each_and_no_price_is_guessed(connect: Connect) -> None:
    client = connect(prices=PRICES)
    assert client.image("two mugs", model="m", n=2).cost["amount"] == "0.08"
    assert client.image("a mug", model="m-2").cost is None


def test_a_claimed_model_can_be_approved_and_tainted_like_any_other(
    connect: Connect, registry: Registry
) -> None:
    client = connect()
    asset = client.image("a mug", model="gpt-image-1").receipt.assets[0]
    (material,) = registry.get(asset).materials
    assert material.kind == "model"
    assert "approved-base-model" in failed(registry, asset)
    registry.register_model(
        material.id, name="gpt-image-1", kind="model", licence="LicenseRef-terms", approved=True
    )
    assert "approved-base-model" not in failed(registry, asset)
    registry.taint(material.id, reason="trained on what it must not")
    assert client.image("another", model="gpt-image-1").receipt.assets[0] in {
        one.id for one in registry.list(tainted=True)
    }


def test_a_model_named_by_a_path_is_sealed_and_stands_for_nothing(
    connect: Connect, registry: Registry, double: Any
) -> None:
    double.changes = {"model": "/home/alice/model@main"}
    made = connect().chat("Hello", model="/home/alice/model")
    evidence = json.loads(registry.evidence(made.receipt.record, texts=False))
    assert "alice" not in base64.b64decode(evidence["record"]["envelope"]["payload"]).decode()
    passport = registry.get(made.receipt.record)
    assert passport.materials == ()
    assert passport.internals["answer"]["model"] == "/home/alice/model@main"


def test_an_edit_keeps_what_was_sent_and_names_the_record_that_made_it(
    connect: Connect, registry: Registry, double: Any, tmp_path: Path, pictures: Any
) -> None:
    client = connect()
    first = client.image("a mug", model="m")
    mask = tmp_path / "mask-of-alice.png"
    mask.write_bytes(pictures(99))
    made = client.edit(first.receipt.assets[0], "make it blue", model="m", mask=mask)
    sent = double.seen[-1]
    assert sent.path == "/v1/images/edits"
    assert first.data in sent.body
    assert pictures(99) in sent.body
    assert b"alice" not in sent.body
    passport = registry.get(made.receipt.record)
    by_name = {one.name: one for one in passport.materials}
    assert by_name["input/image/0"].output_of == first.receipt.record
    assert by_name["input/mask"].kind == "mask"
    above = {node.id for node in registry.lineage(made.receipt.assets[0]).nodes}
    assert first.receipt.assets[0] in above


def test_a_picture_behind_a_url_is_fetched_and_its_signature_forgotten(
    connect: Connect, registry: Registry, double: Any, pictures: Any, home: Path
) -> None:
    double.as_url = True
    made = connect().image("a mug", model="m")
    assert made.data == pictures(10)
    passport = registry.get(made.receipt.record)
    assert passport.internals["body"]["data"][0]["url"].endswith("/files/10.png")
    assert "secret-of-the-url" not in json.dumps(passport.to_dict())


def test_the_key_goes_to_the_service_alone(
    connect: Connect, double: Any, other: Any, key: str, pictures: Any
) -> None:
    double.changes = {"data": [{"url": f"{other.origin}/files/7.png"}]}
    other.files["/files/7.png"] = pictures(7)
    assert connect().image("a mug", model="m").data == pictures(7)
    assert double.seen[0].headers["authorization"] == f"Bearer {key}"
    assert "authorization" not in other.seen[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_to_another_host_is_refused_before_anything_is_sent_there(
    connect: Connect, double: Any, other: Any, reply: Any, registry: Registry, status: int
) -> None:
    double.script = [reply(status, b"", {"Location": f"{other.url}/images/generations"})]
    with pytest.raises(InputError) as caught:
        connect().image("a mug", model="m")
    assert caught.value.code == "hosted.redirect"
    assert other.seen == []
    assert records(registry) == 0


def test_a_redirect_within_the_service_is_followed_but_not_for_ever(
    connect: Connect, double: Any, reply: Any
) -> None:
    moved = reply(307, b"", {"Location": "/v1/moved/images/generations"})
    double.script = [moved]
    assert connect().image("a mug", model="m").data
    double.script = [moved] * 10
    with pytest.raises(InputError) as caught:
        connect().image("a mug", model="m")
    assert caught.value.code == "hosted.redirect"
    assert len(double.script) == 6


@pytest.mark.parametrize(
    ("status", "body", "said"),
    [
        (400, b'{"error": {"message": "Invalid size", "code": "bad"}}', "Invalid size"),
        (401, b'{"error": {"message": "Incorrect key KEY provided"}}', "Incorrect key [key] prov"),
        (404, b'{"detail": "no such model"}', "no such model"),
        (422, b'{"detail": [{"loc": ["body"], "msg": "field required"}]}', "field required"),
        (403, b"<html>nope\x1b[31m</html>", "nope [31m"),
        (429, b'{"error": {"message": "No credit", "code": "insufficient_quota"}}', "No credit"),
    ],
)
def test_a_refusal_says_what_the_service_said_and_is_not_tried_again(
    connect: Connect, double: Any, reply: Any, clock: Any, key: str,
    status: int, body: bytes, said: str,
) -> None:  # fmt: skip
    double.script = [reply(status, body.replace(b"KEY", key.encode()))] * 9
    with pytest.raises(GenopsError) as caught:
        connect().image("a mug", model="m")
    assert said in caught.value.message
    assert f" {status}:" in caught.value.message
    assert caught.value.code in {"hosted.refused", "hosted.busy"}
    assert (len(double.seen), clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("headers", "slept"),
    [
        ({"Retry-After": "7"}, [7.0]),
        ({"Retry-After": "0.5"}, [0.5]),
        ({"retry-after-ms": "250", "Retry-After": "9"}, [0.25]),
        ({"Retry-After": "Mon, 21 Sep 2026 14:13:30 GMT"}, [10.0]),
        ({"Retry-After": "soon"}, [1.0]),
        ({"Retry-After": "-3"}, [1.0]),
        ({"Retry-After": "nan"}, [1.0]),
        ({}, [1.0]),
    ],
)
def test_a_busy_service_is_asked_again_when_it_says(
    connect: Connect, double: Any, reply: Any, clock: Any, registry: Registry,
    headers: dict[str, str], slept: list[float],
) -> None:  # fmt: skip
    double.script = [reply(429, b'{"error": {"message": "slow down"}}', headers)]
    made = connect().image("a mug", model="m")
    assert clock.slept == pytest.approx(slept)
    assert made.attempts == ("429", "200")
    assert registry.get(made.receipt.record).internals["attempts"] == ["429", "200"]


def test_a_wait_beyond_the_bounds_is_not_waited(
    connect: Connect, double: Any, reply: Any, clock: Any
) -> None:
    double.script = [reply(429, b"", {"Retry-After": "86400"})]
    with pytest.raises(UnavailableError) as caught:
        connect().image("a mug", model="m")
    assert caught.value.code == "hosted.busy"
    assert "86400" in caught.value.message
    assert clock.slept == []


@pytest.mark.parametrize("status", [500, 502, 503, 504, 529])
def test_a_failing_service_is_given_up_after_so_many_attempts(
    connect: Connect, double: Any, reply: Any, clock: Any, status: int, registry: Registry
) -> None:
    double.script = [reply(status, b"{}")] * 50
    with pytest.raises(UnavailableError) as caught:
        connect().image("a mug", model="m")
    assert caught.value.code == ("hosted.busy" if status in {503, 529} else "hosted.failed")
    assert len(double.seen) == 4
    assert clock.slept == [1, 2, 4]
    assert len({one.headers["idempotency-key"] for one in double.seen}) == 1
    assert records(registry) == 0


def test_waits_end_with_the_time_of_the_whole_call(
    connect: Connect, double: Any, reply: Any, clock: Any
) -> None:
    double.script = [reply(503, b"{}", {"Retry-After": "40"})] * 50
    bounds = Bounds(total_s=100, attempts=40, connect_s=2, silent_s=5)
    with pytest.raises(UnavailableError):
        connect(bounds=bounds).image("a mug", model="m")
    assert clock.slept == [40, 40]


def test_an_answer_that_breaks_off_is_asked_for_again_and_recorded_once(
    connect: Connect, double: Any, reply: Any, registry: Registry
) -> None:
    double.script = [reply(cut=100)]
    made = connect().image("a mug", model="m")
    assert made.attempts == ("cut off", "200")
    assert double.made == 1  # the service knew the key of the lost answer
    assert records(registry) == 1


def test_a_silent_service_times_out(connect: Connect, double: Any, reply: Any) -> None:
    double.script = [reply(silent=True)] * 2
    bounds = Bounds(connect_s=2, silent_s=0.2, attempts=2)
    with pytest.raises(UnavailableError) as caught:
        connect(bounds=bounds).image("a mug", model="m")
    assert caught.value.code == "hosted.timeout"
    assert "request id" in caught.value.hint


def test_nobody_there_is_said(connect: Connect, double: Any) -> None:
    double.close()
    with pytest.raises(UnavailableError) as caught:
        connect().image("a mug", model="m")
    assert caught.value.code == "hosted.unreachable"


@pytest.mark.parametrize("where", ["answer", "picture"])
def test_an_answer_without_end_is_cut_by_its_size(
    connect: Connect, double: Any, reply: Any, registry: Registry, where: str
) -> None:
    bounds = Bounds(answer_bytes=2**20, picture_bytes=2**18, connect_s=2, silent_s=5)
    double.as_url = True
    double.script = [*([reply()] if where == "picture" else []), reply(endless=True, body=b"{")]
    with pytest.raises(FormatError) as caught:
        connect(bounds=bounds).image("a mug", model="m")
    assert f"more than {2**18 if where == 'picture' else 2**20} bytes" in caught.value.message
    assert records(registry) == 0


PNG = base64.b64encode(b"\x89PNG\r\n\x1a\nnot really").decode()


@pytest.mark.parametrize(
    ("body", "media_type"),
    [
        (b"<html>", "text/html"),
        (b"{}", "text/plain"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"data": NaN}', "application/json"),
        (b'{"data": ' + b"[" * 200_000, "application/json"),
        (b'{"data": ' + b"9" * 5000 + b"}", "application/json"),
        (b'{"data": []}', "application/json"),
        (b'{"data": [1]}', "application/json"),
        (b'{"data": [{}]}', "application/json"),
        (b'{"data": [{"b64_json": "***"}]}', "application/json"),
        (b'{"data": [{"b64_json": "aGVsbG8="}]}', "application/json"),
        (f'{{"data": [{{"b64_json": "{PNG}"}}]}}'.encode(), "application/json"),
        (json.dumps({"data": [{"b64_json": PNG}] * 300}).encode(), "application/json"),
        (b'{"data": [{"url": "file:///etc/passwd"}]}', "application/json"),
        (b'{"data": [{"url": "http://[::1"}]}', "application/json"),
    ],
)
def test_an_answer_that_is_no_picture_is_refused_whole(
    connect: Connect, double: Any, reply: Any, registry: Registry, body: bytes, media_type: str
) -> None:
    double.script = [reply(200, body, media_type=media_type)]
    with pytest.raises(InputError) as caught:
        connect().image("a mug", model="m")
    assert caught.value.code in {"hosted.answer", "hosted.picture-url"}
    assert records(registry) == 0


def test_an_error_that_comes_as_an_answer_is_said_without_the_key(
    connect: Connect, double: Any, reply: Any, key: str
) -> None:
    double.script = [reply(200, json.dumps({"error": {"message": f"no {key}"}}).encode())]
    with pytest.raises(FormatError) as caught:
        connect().chat("Hello", model="m")
    assert "'no [key]'" in caught.value.message


@pytest.mark.parametrize(
    "message", [{}, {"content": None}, {"content": ""}, {"refusal": "no"}, {"tool_calls": [{}]}, 7]
)
def test_a_chat_answer_without_text_is_refused(
    connect: Connect, double: Any, registry: Registry, message: Any
) -> None:
    double.changes = {"choices": [{"message": message}]}
    with pytest.raises(FormatError):
        connect().chat("Hello", model="m")
    assert records(registry) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"id": "x" * 10_000, "model": 7, "usage": "many", "created": "now"},
        {"id": 2**70, "usage": {"prompt_tokens": 2**70, "a b": 1, "d": {"x": True}}},
        {"model": "m" * 4000, "system_fingerprint": ["a"], "choices_": "\ud800"},
    ],
)
def test_odd_claims_are_left_out_and_the_answer_is_recorded(
    connect: Connect, double: Any, registry: Registry, changes: dict[str, Any]
) -> None:
    double.changes = changes
    made = connect().chat("Hello", model="m")
    assert registry.verify(made.receipt.assets[0]).ok
    answer = registry.get(made.receipt.record).internals["answer"]
    assert "system_fingerprint" not in answer or answer["system_fingerprint"] == "fp_44709d6fcb"


@pytest.mark.parametrize(
    "options",
    [{"stream": True}, {"a b": 1}, {"seed": float("nan")}, {"x": object()}, {"y": "\ud800"}],
)
def test_an_argument_that_cannot_be_sent_is_refused_before(
    connect: Connect, double: Any, options: dict[str, Any]
) -> None:
    with pytest.raises(InputError) as caught:
        connect().image("a mug", model="m", **options)
    assert caught.value.code == "hosted.argument"
    assert double.seen == []


def test_the_same_call_again_gives_the_record_that_it_has(
    connect: Connect, registry: Registry, double: Any
) -> None:
    client = connect()
    first = client.image("a mug", model="m")
    again = client.image("a mug", model="m", request_id=first.request_id)
    assert again.receipt.record == first.receipt.record
    assert (first.receipt.new, again.receipt.new) == (True, False)
    assert records(registry) == 1


def test_the_same_personal_answer_again_is_known_though_its_digest_is_another(
    connect: Connect, registry: Registry
) -> None:
    client = connect(personal=True)
    first = client.image("a portrait", model="m", n=2)
    again = client.image("a portrait", model="m", n=2, request_id=first.request_id)
    assert again.receipt.record == first.receipt.record
    assert set(again.receipt.assets) == set(first.receipt.assets)
    assert records(registry) == 1


def test_another_answer_to_the_same_call_is_another_record(
    connect: Connect, registry: Registry, double: Any
) -> None:
    double.remembers = False
    client = connect()
    first = client.image("a mug", model="m")
    again = client.image("a mug", model="m", request_id=first.request_id)
    assert again.receipt.record != first.receipt.record
    assert again.receipt.new
    assert records(registry) == 2


class Failing:
    """A registry that fails so many times, before or after it takes a record."""

    def __init__(self, registry: Registry, times: int, *, taken: bool) -> None:
        self.registry = registry
        self.times = times
        self.taken = taken

    def record(self, *args: Any, **options: Any) -> Any:
        if self.times and not self.taken:
            self.times -= 1
            raise UnavailableError("gone", code="registry.unreachable")
        receipt = self.registry.record(*args, **options)
        if self.times:
            self.times -= 1
            raise UnavailableError("gone", code="registry.unreachable")
        return receipt

    def get(self, ref: str) -> Any:
        return self.registry.get(ref)


def test_a_registry_that_takes_a_record_and_fails_to_say_so_has_it_once(
    connect: Connect, registry: Registry
) -> None:
    client = connect()
    client._recorder = Failing(registry, 1, taken=True)
    receipt = client.chat("Hello", model="m").receipt
    assert not receipt.new
    assert records(registry) == 1
    assert registry.get(receipt.record).id == receipt.assets[0]


def test_an_answer_that_no_registry_took_can_be_recorded_later(
    connect: Connect, registry: Registry, double: Any
) -> None:
    client = connect()
    client._recorder = Failing(registry, 2, taken=False)
    with pytest.raises(UnavailableError):
        client.chat("Hello", model="m")
    ((call_id, _),) = client.unrecorded.items()
    receipt = client.record_again(call_id)
    assert registry.read(receipt.assets[0]) == b"Reply 1"
    assert client.unrecorded == {}
    assert (records(registry), double.made) == (1, 1)


def test_a_conflict_that_names_no_record_is_passed_on(connect: Connect) -> None:
    class Stubborn:
        def record(self, *args: Any, **options: Any) -> Any:
            raise ConflictError("no")

    client = connect()
    client._recorder = Stubborn()
    with pytest.raises(ConflictError):
        client.chat("Hello", model="m")


@pytest.mark.parametrize(
    "url",
    [
        "https://user:word1234@api.example/v1",
        "https://api.example/v1?key=abc",
        "https://api.example/v1#x",
        "ftp://api.example",
        "api.example/v1",
        "https://",
        "https://api.example:99999/v1",
        "https://ex ample/v1",
        "http://api.example/v1",  # would carry the key in the clear
    ],
)
def test_a_url_that_is_none_or_tells_too_much_is_refused(connect: Connect, url: str) -> None:
    with pytest.raises(InputError) as caught:
        connect(url)
    assert caught.value.code == "hosted.url"
    assert "word1234" not in caught.value.message
    assert "abc" not in caught.value.message


def test_a_public_service_cannot_send_us_into_our_own_network() -> None:
    from generators.hosted.urls import refuse_own_network

    for url in (
        "http://127.0.0.1/x",
        "http://169.254.169.254/meta",
        "http://[::1]/",
        "http://10.1.1.1",
    ):
        with pytest.raises(InputError) as caught:
            refuse_own_network(url)
        assert caught.value.code == "hosted.picture-url"
    refuse_own_network("https://8.8.8.8/picture.png")


def planted(home: Path, text: bytes) -> list[Path]:
    """Return the files below a home that hold some bytes."""
    return [file for file in home.rglob("*") if file.is_file() and text in file.read_bytes()]


def test_the_key_is_nowhere_in_the_home_the_logs_the_errors_or_the_reprs(
    connect: Connect, registry: Registry, double: Any, reply: Any, home: Path, key: str,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    client = connect()
    double.changes = {"id": key, "note": f"your key is {key}", key: 1}
    made = client.chat("Hello", model="m")
    double.script = [reply(401, json.dumps({"error": {"message": f"bad {key}"}}).encode())]
    with pytest.raises(InputError) as caught:
        client.image("a mug", model="m")
    shown = [
        repr(client), repr(client._transport), repr(client._transport.key), repr(made),
        str(made.claims), caught.value.message, caught.value.hint, repr(caught.value),
        repr(caught.value.__cause__), repr(caught.value.__context__), caplog.text,
        *capfd.readouterr(),
    ]  # fmt: skip
    assert [text for text in shown if key in text] == []
    assert registry.get(made.receipt.record).internals["body"]["note"] == "your key is [key]"
    with pytest.raises(TypeError):
        pickle.dumps(client._transport.key)
    registry.close()
    assert double.seen[0].headers["authorization"].endswith(key)
    trap = home / "work" / "trap"
    trap.parent.mkdir(exist_ok=True)
    trap.write_bytes(b"..." + key.encode() + b"...")
    assert planted(home, key.encode()) == [trap]  # the search finds what is there
    trap.unlink()
    assert planted(home, key.encode()) == []


def test_a_key_in_the_prompt_or_in_the_answer_is_refused(
    connect: Connect, double: Any, registry: Registry, key: str, pictures: Any
) -> None:
    client = connect()
    with pytest.raises(InputError) as caught:
        client.chat(f"my key is {key}", model="m")
    assert caught.value.code == "hosted.key"
    with pytest.raises(InputError):
        client.edit(pictures(1) + key.encode(), "x", model="m")
    assert double.seen == []
    double.changes = {"choices": [{"message": {"content": f"it is {key}"}}]}
    with pytest.raises(FormatError):
        client.chat("what is my key?", model="m")
    assert records(registry) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"key_env": "NOT_SET_AT_ALL"}, "is not set"),
        ({"key_env": None, "key_file": "missing.key"}, "cannot be read"),
        ({"key_file": "both"}, "from a variable and from a file"),
    ],
)
def test_a_key_that_cannot_be_had_is_said(
    connect: Connect, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError) as caught:
        connect(**options)
    assert caught.value.code == "hosted.key"
    assert said in caught.value.message


def test_a_key_comes_from_a_file_and_a_service_may_need_none(
    connect: Connect, double: Any, tmp_path: Path, key: str
) -> None:
    file = tmp_path / "key"
    file.write_text(f"{key}\n")
    connect(key_env=None, key_file=file).chat("Hello", model="m")
    connect(key_env=None).chat("Hello", model="m")
    assert double.seen[0].headers["authorization"] == f"Bearer {key}"
    assert "authorization" not in double.seen[1].headers


@pytest.mark.parametrize(
    "table",
    [
        [],
        {"currency": "dollars", "models": {}},
        {"currency": "USD", "models": []},
        {"currency": "USD", "models": {"m": {}}},
        {"currency": "USD", "models": {"m": {"input": "free"}}},
        {"currency": "USD", "models": {"m": {"input": -1}}},
        {"currency": "USD", "models": {"m": {"inputs": 1}}},
        {"currency": "USD", "models": {"m": {"input": True}}},
        {"currency": "USD", "models": {"m": {"input": "1e99999"}}},
    ],
)
def test_a_price_table_that_is_none_is_refused(
    connect: Connect, table: Any, tmp_path: Path
) -> None:
    file = tmp_path / "prices.yaml"
    file.write_text(json.dumps(table))
    with pytest.raises(InputError) as caught:
        connect(prices=file)
    assert caught.value.code == "hosted.prices"


def test_cached_tokens_have_a_price_of_their_own() -> None:
    from generators.hosted.prices import read_prices

    prices = read_prices(
        {"currency": "EUR", "models": {"m": {"input": "2", "cached": "0.5", "output": "8"}}}
    )
    usage = {
        "prompt_tokens": 1000,
        "completion_tokens": 100,
        "prompt_tokens_details": {"cached_tokens": 600},
    }
    cost = prices.cost(("m",), usage, 0)
    assert cost is not None
    assert cost["amount"] == "0.0019"  # 400 * 2 + 600 * 0.5 + 100 * 8, by a million
    assert prices.cost(("m",), {"prompt_tokens": 5}, 0) is None


def test_personal_outputs_are_stored_encrypted(
    connect: Connect, registry: Registry, home: Path, pictures: Any
) -> None:
    made = connect(personal=True).image("a portrait", model="m")
    assert registry.get(made.receipt.record).encrypted
    assert registry.read(made.receipt.record) == made.data == pictures(10)
    assert planted(home, b"signed credentials") == []
    assert sha256_hex(made.data) not in made.receipt.assets[0]
