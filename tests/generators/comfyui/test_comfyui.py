"""A run of a workflow is recorded node by node, and a hostile server is bounded."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from generators.comfyui.recorded import recorded_comfyui
from generators.comfyui.workflow import read_workflow
from generators.hosted.transport import Bounds
from registry.core.digests import sha256_hex
from registry.errors import FormatError, GenopsError, InputError, UnavailableError
from registry.sdk import Registry

BOUNDS = Bounds(connect_s=5, silent_s=5, total_s=20, picture_bytes=2**20, answer_bytes=2**22)


@pytest.fixture
def comfy(double: Any, registry: Registry, models: Path) -> Any:
    return recorded_comfyui(double.url, registry, models=[models], bounds=BOUNDS)


def records(registry: Registry) -> int:
    return registry.log.head().size - 1  # the first one is the trust record


def test_a_run_is_recorded_node_by_node_and_its_pictures_to_the_byte(
    comfy: Any, registry: Registry, double: Any, workflow: dict[str, Any]
) -> None:
    told: list[tuple[str, int, int]] = []
    made = comfy.run(workflow, tell=lambda *one: told.append(one))
    stored = [registry.read(asset) for asset in made.receipt.assets]
    assert stored == [
        double.files[(name, "", "output")] for name in ("alice_00001_.png", "pose_00001_.png")
    ]
    passport = registry.get(made.receipt.assets[0])
    assert passport.seed == "18446744073709551615"
    assert (passport.width, passport.media_type) == (64, "image/png")
    assert passport.parameters["prompt"] == "a red mug, embedding:glow"
    assert passport.parameters["negative_prompt"] == "blurry"
    assert passport.parameters["loras"] == [
        {"ref": "lora/10", "input": "10.lora_name", "scale": 0.8, "scale_clip": 1}
    ]
    assert passport.setup["controlnets"][0]["scale"] == 0.6
    nodes = passport.setup["nodes"]
    assert set(nodes) == set(workflow)
    sampler = nodes["3"]
    assert (sampler["class"], sampler["module"]) == ("KSampler", "nodes")
    assert sampler["inputs"]["seed"] == "18446744073709551615"
    assert sampler["inputs"]["sampler_name"] == "euler"
    assert sampler["inputs"]["model"] == {"link": ["10", 0]}
    assert nodes["10"]["inputs"]["lora_name"] == {"ref": "lora/10", "value": "brand.safetensors"}
    assert passport.internals["server"]["comfyui_version"] == "0.3.60"
    assert passport.internals["run"]["cached"] == ["4"]
    assert made.cached == ("4",)
    assert ("steps", 2, 4) in told
    assert ("nodes", 2, len(workflow)) in told
    assert double.submitted[0]["prompt"] == workflow
    assert registry.verify(passport.id).ok


def test_models_are_the_very_materials_that_other_generators_name(
    comfy: Any, registry: Registry, workflow: dict[str, Any]
) -> None:
    made = comfy.run(workflow)
    materials = {one.name: one for one in registry.get(made.receipt.assets[0]).materials}
    assert {name: one.kind for name, one in materials.items()} == {
        "model/4": "model",
        "lora/10": "lora",
        "controlnet/11": "controlnet",
        "embedding/6": "embedding",
        "input/image/12": "image",
    }
    assert materials["lora/10"].id == f"sha256:{sha256_hex(b'lora weights')}"
    registry.taint(materials["lora/10"].id, reason="made of stolen pictures")
    tainted = {one.id for one in registry.list(tainted=True)}
    assert tainted == {made.receipt.assets[0]}  # the other picture was made without it


def test_an_output_depends_on_the_nodes_above_it_alone(
    comfy: Any, registry: Registry, workflow: dict[str, Any]
) -> None:
    made = comfy.run(workflow)
    passport = registry.get(made.receipt.assets[1])
    assert [one.name for one in passport.materials] == ["input/image/12"]
    assert passport.seed is None


def test_why_a_run_cannot_be_made_again_is_said(
    comfy: Any, registry: Registry, double: Any, workflow: dict[str, Any], models: Path
) -> None:
    double.custom = {"KSampler": "custom_nodes.fast-sampler", "VAEDecode": None}
    (models / "loras" / "brand.safetensors").unlink()
    del double.files[("pose.png", "shoot", "input")]
    made = comfy.run(workflow)
    reasons = registry.get(made.receipt.assets[0]).reasons
    assert reasons == made.reasons
    assert "no part of this registry" in reasons[0]
    assert "cannot be proved" in reasons[1]
    assert set(reasons[2:]) == {
        "the file of 10.lora_name was not read",
        "the file of 12.image was not read",
        "node 3 is code of custom_nodes.fast-sampler, of no recorded version",
        "where the code of node 8 comes from is not known",
    }
    assert made.unread == ("10.lora_name", "12.image")
    assert registry.reproduce(made.receipt.assets[0]).verdict == "not-reproducible"


def test_no_text_and_no_file_name_is_in_the_open(
    comfy: Any, registry: Registry, workflow: dict[str, Any]
) -> None:
    made = comfy.run(workflow)
    evidence = json.loads(registry.evidence(made.receipt.record, texts=False))
    payload = base64.b64decode(evidence["record"]["envelope"]["payload"]).decode()
    for text in (
        "red mug",
        "blurry",
        "alice",
        "Alice",
        "brand.safe",
        "base.safe",
        "pose",
        "127.0.0.1",
    ):
        assert text not in payload, text
    assert "KSampler" in payload


def test_pictures_that_hold_the_workflow_are_counted(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, models: Path, home: Path
) -> None:
    assert comfy.run(workflow).embedded == 1
    secret = recorded_comfyui(double.url, registry, models=[models], personal=True, bounds=BOUNDS)
    made = secret.run(workflow)
    assert registry.get(made.receipt.assets[0]).encrypted
    assert registry.read(made.receipt.assets[0]) == made.data


def test_the_recorded_workflow_runs_again_as_it_was(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any
) -> None:
    made = comfy.run(workflow, values={"3.seed": 2**64 - 2, "6.text": "a blue mug"})
    text = registry.get(made.receipt.record).setup["workflow"]
    again = comfy.run(json.loads(text))
    assert double.submitted[0]["prompt"] == double.submitted[1]["prompt"]
    assert double.submitted[1]["prompt"]["3"]["inputs"]["seed"] == 2**64 - 2
    assert again.receipt.assets == made.receipt.assets
    assert again.receipt.record != made.receipt.record  # two runs, though of the same bytes


@pytest.mark.parametrize("takes_ids", [True, False])
def test_a_run_whose_end_was_missed_is_taken_up_and_recorded_once(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, takes_ids: bool
) -> None:
    double.takes_ids = takes_ids
    first = comfy.run(workflow)
    call_id = double.submitted[0]["prompt_id"]
    again = comfy.run(workflow, request_id=call_id)
    assert len(double.submitted) == (1 if takes_ids else 2)
    assert again.receipt.record == first.receipt.record
    assert not again.receipt.new
    assert records(registry) == 1


def test_pictures_that_come_over_the_socket_are_outputs(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, picture: Any
) -> None:
    workflow["9"] = {"class_type": "SaveImageWebsocket", "inputs": {"images": ["8", 0]}}
    del workflow["20"]
    double.outputs = {}
    double.events = lambda self, _id: [
        ("executing", {"node": "3"}),
        b"\0\0\0\1\0\0\0\2" + picture(50),
        ("executing", {"node": "9"}),
        b"\0\0\0\1\0\0\0\2" + picture(51),
        ("executing", {"node": None}),
    ]
    made = comfy.run(workflow)
    assert [output.data for output in made.outputs] == [picture(51)]


@pytest.mark.parametrize("where", ["event", "history"])
def test_a_node_that_fails_is_named_and_nothing_is_recorded(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, where: str
) -> None:
    error = {
        "node_id": "3", "node_type": "KSampler", "exception_type": "torch.OutOfMemoryError",
        "exception_message": "Allocation\n on device \x1b[31m", "traceback": ["x"] * 100,
    }  # fmt: skip
    if where == "event":
        double.events = lambda self, _id: [("execution_error", error)]
    else:
        double.events = lambda self, _id: [None]
        double.entry = lambda self, _id: {
            "outputs": {},
            "status": {"status_str": "error", "messages": [["execution_error", error]]},
        }
    with pytest.raises(InputError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "comfyui.failed"
    assert "node 3 (KSampler) failed: torch.OutOfMemoryError: Allocation on" in caught.value.message
    assert "\x1b" not in caught.value.message
    assert records(registry) == 0


def test_an_interrupted_run_is_said(comfy: Any, workflow: dict[str, Any], double: Any) -> None:
    double.events = lambda self, _id: [("execution_interrupted", {"node_id": "3"})]
    with pytest.raises(UnavailableError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "comfyui.interrupted"


def test_a_refused_workflow_says_which_node(
    comfy: Any, workflow: dict[str, Any], double: Any, registry: Registry
) -> None:
    double.refusal = {
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed"},
        "node_errors": {
            "4": {"errors": [{"message": "Value not in list", "details": "ckpt_name: 'x'"}]}
        },
    }
    with pytest.raises(InputError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "comfyui.refused"
    assert "Prompt outputs failed; node 4: Value not in list ckpt_name: 'x'" in caught.value.message


def test_a_socket_that_breaks_is_no_failure(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any
) -> None:
    double.events = lambda self, prompt_id: [*double.usual(prompt_id)[:3], None]
    made = comfy.run(workflow)
    assert registry.verify(made.receipt.assets[0]).ok


def test_a_run_that_the_server_forgot_is_given_up(
    comfy: Any, workflow: dict[str, Any], double: Any
) -> None:
    double.events = lambda self, _id: [None]
    double.entry = lambda self, _id: None
    with pytest.raises(UnavailableError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "comfyui.lost"


def test_a_run_without_end_is_given_up_in_time(
    registry: Registry, workflow: dict[str, Any], double: Any
) -> None:
    double.events = lambda self, prompt_id: [double.queue.append(prompt_id) or None]
    double.entry = lambda self, _id: None
    bounds = Bounds(connect_s=5, silent_s=5, total_s=1.5)
    with pytest.raises(UnavailableError) as caught:
        recorded_comfyui(double.url, registry, bounds=bounds).run(workflow)
    assert caught.value.code == "hosted.timeout"
    assert "request id" in caught.value.hint


def test_messages_of_others_and_messages_that_are_none_change_nothing(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any
) -> None:
    noise = [
        "{", "[]", "7", '"x"', "[" * 10_000, '{"type": "executing", "data": null}', b"", b"\0" * 9,
        ("execution_error", {"prompt_id": "of-somebody-else"}),
        ("executing", {"node": None, "prompt_id": "of-somebody-else"}),
        ("progress", {"value": "x", "max": []}),
        ("progress", {"value": 9, "max": 1}), ("execution_cached", {"nodes": {"a": 1}}),
        ("executing", {"node": ["9"]}), ("executing", {"node": "../../etc/passwd"}), ("odd", {}),
    ]  # fmt: skip
    double.events = lambda self, prompt_id: [*noise, *double.usual(prompt_id)]
    made = comfy.run(workflow)
    assert len(made.outputs) == 2


@pytest.mark.parametrize("kind", ["large", "many"])
def test_a_flood_of_messages_is_cut_off(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, kind: str
) -> None:
    size, count = (2**21, 1) if kind == "large" else (2**19, 200)
    double.events = lambda self, _id: [b"\0" * size] * count
    double.entry = lambda self, _id: None
    with pytest.raises(GenopsError) as caught:
        comfy.run(workflow)
    assert caught.value.code == ("comfyui.lost" if kind == "large" else "hosted.answer")
    assert records(registry) == 0


@pytest.mark.parametrize(
    "item",
    [
        {"filename": "a.png", "type": "/etc"},
        {"filename": 7},
        {"filename": ""},
        {"filename": "x" * 5000},
        {"filename": "a.png", "subfolder": ["a"]},
        "a.png",
        {"filename": "../../../etc/passwd", "subfolder": "..", "type": "output"},
    ],
)
def test_names_of_files_lead_nowhere(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, item: Any
) -> None:
    double.outputs = {"9": {"images": [item]}}
    with pytest.raises(InputError) as caught:
        comfy.run(workflow)
    # What could be a name is only sent back, and the server refuses it.
    asked = "passwd" in str(item)
    assert caught.value.code == ("hosted.refused" if asked else "hosted.answer")
    assert records(registry) == 0


@pytest.mark.parametrize(
    ("what", "answer"),
    [
        ("view", web.Response(body=b"", content_type="image/png")),
        ("view", web.Response(body=b"\x89PNG\r\n\x1a\nrest", content_type="image/png")),
        ("view", web.Response(body=b"x" * (2**20 + 1), content_type="image/png")),
        ("history", web.Response(text="<html>", content_type="text/html")),
        ("history", web.Response(text="{", content_type="application/json")),
        ("history", web.Response(text='{"a":' * 5000, content_type="application/json")),
        ("history", web.Response(text=" " * (2**22 + 1), content_type="application/json")),
    ],
)
def test_answers_that_are_none_are_refused(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any, what: str, answer: Any
) -> None:
    del workflow["12"], workflow["13"], workflow["20"]
    workflow["3"]["inputs"]["positive"] = ["6", 0]
    double.answers = {what: answer}
    with pytest.raises(FormatError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "hosted.answer"
    assert records(registry) == 0


def test_a_history_of_another_workflow_is_a_reason(
    comfy: Any, registry: Registry, workflow: dict[str, Any], double: Any
) -> None:
    def other(self: Any, prompt_id: str) -> Any:
        entry = json.loads(json.dumps(self.finished(prompt_id)))
        entry["prompt"][2]["6"]["inputs"]["text"] = "something else"
        return entry

    double.entry = other
    assert "shows another workflow" in comfy.run(workflow).reasons[-1]


def test_nothing_left_is_an_error_that_says_why(
    comfy: Any, workflow: dict[str, Any], double: Any
) -> None:
    double.outputs = {}
    with pytest.raises(FormatError) as caught:
        comfy.run(workflow)
    assert "seed" in caught.value.hint


def test_a_clip_is_kept_as_a_file(comfy: Any, workflow: dict[str, Any], double: Any) -> None:
    double.outputs = {
        "9": {"gifs": [{"filename": "a.mp4", "subfolder": "", "type": "output"}], "text": ["x"]}
    }
    double.files[("a.mp4", "", "output")] = b"\0\0\0 ftypisom"
    (output,) = comfy.run(workflow).outputs
    assert (output.media_type, output.data) == ("video/mp4", b"\0\0\0 ftypisom")


def test_nobody_there_is_said(registry: Registry, workflow: dict[str, Any]) -> None:
    comfy = recorded_comfyui("http://127.0.0.1:9", registry, bounds=Bounds(attempts=1, connect_s=2))
    with pytest.raises(UnavailableError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "hosted.unreachable"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({"nodes": [], "links": []}, "editor's own format"),
        ({}, "0 nodes"),
        ("[]", "no JSON object"),
        ("{", "not JSON"),
        ('{"1": {"class_type": "A", "inputs": {}}, "1": {}}', "twice"),
        ('{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "NaN"),
        ('{"1": {"class_type": "A", "inputs": {"x": 1e999}}}', "not finite"),
        ('{"1": {"class_type": "A", "inputs": {"x": "\\ud800"}}}', "surrogates"),
        ('{"1": {"class_type": "A", "inputs": {"x": ' + "[" * 99 + "]" * 99 + "}}}", "too deep"),
        ({"1": {"inputs": {}}}, "no class_type"),
        ({"1": {"class_type": "A"}}, "no inputs"),
        ({"1": {"class_type": "A\n", "inputs": {}}}, "no class_type"),
        ({"a b": {"class_type": "A", "inputs": {}}}, "no id"),
        ({"1": {"class_type": "A", "inputs": {"x": ["2", 0]}}}, "not there"),
        ({str(n): {"class_type": "A", "inputs": {}} for n in range(1001)}, "1001 nodes"),
    ],
)
def test_a_workflow_that_is_none_is_refused(source: Any, said: str) -> None:
    with pytest.raises(InputError) as caught:
        read_workflow(source)
    assert caught.value.code == "comfyui.workflow"
    assert said in caught.value.message


def test_links_in_a_circle_end() -> None:
    circle = {
        "1": {"class_type": "A", "inputs": {"x": ["2", 0]}},
        "2": {"class_type": "A", "inputs": {"x": ["1", 0]}},
    }
    assert read_workflow({"prompt": circle}).above("1") == ["1", "2"]


@pytest.mark.parametrize(
    "name", ["../../secret.safetensors", "/etc/passwd", "C:\\x", "a\\..\\..\\b"]
)
def test_a_model_outside_the_models_is_refused_before_anything_runs(
    comfy: Any, workflow: dict[str, Any], double: Any, name: str
) -> None:
    workflow["4"]["inputs"]["ckpt_name"] = name
    with pytest.raises(InputError) as caught:
        comfy.run(workflow)
    assert caught.value.code == "comfyui.workflow"
    assert double.submitted == []


def test_rows_of_loras_numbered_names_and_unknown_loaders_are_found(
    comfy: Any, workflow: dict[str, Any], models: Path, registry: Registry
) -> None:
    for name in ("text_encoders/l.safetensors", "ipadapter/face.bin", "loras/noir.safetensors"):
        (models / name).parent.mkdir(exist_ok=True)
        (models / name).write_bytes(name.encode())
    workflow["10"]["inputs"] |= {
        "clip_name2": "l.safetensors",
        "ipadapter_file": "face.bin",
        "lora_1": {"on": True, "lora": "noir.safetensors", "strength": 0.4},
        "lora_2": {"on": False, "lora": "off.safetensors", "strength": 1.0},
    }
    made = comfy.run(workflow)
    assert made.unread == ()
    assert made.models == 7
    rows = registry.get(made.receipt.assets[0]).parameters["loras"]
    assert [row.get("scale") for row in rows] == [0.8, 0.4]


def test_a_workflow_too_large_for_a_record_is_refused_before_it_runs(
    comfy: Any, workflow: dict[str, Any], double: Any
) -> None:
    for number in range(900):
        inputs = {f"input_{n}": "x" for n in range(20)}
        workflow[f"n{number}"] = {"class_type": "Note", "inputs": inputs}
    with pytest.raises(InputError) as caught:
        comfy.run(workflow)
    assert "of a record" in caught.value.message
    assert double.submitted == []


def test_a_value_for_no_input_is_refused(comfy: Any, workflow: dict[str, Any]) -> None:
    for name in ("3.sead", "99.seed", "seed"):
        with pytest.raises(InputError) as caught:
            comfy.run(workflow, values={name: 1})
        assert caught.value.code == "comfyui.workflow"


def test_a_folder_of_models_that_is_none_is_said(
    double: Any, registry: Registry, workflow: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(InputError) as caught:
        recorded_comfyui(double.url, registry, models=[tmp_path / "none"]).run(workflow)
    assert caught.value.code == "comfyui.models"


def test_without_websockets_the_extra_is_named(
    comfy: Any, workflow: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "websockets.sync.client", None)
    with pytest.raises(GenopsError) as caught:
        comfy.run(workflow)
    assert "genops-registry[comfyui]" in caught.value.hint
