"""A double of ComfyUI's protocol on loopback: HTTP and WebSocket on one port, as documented."""

from __future__ import annotations

import asyncio
import copy
import io
import json
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, web
from PIL import Image, PngImagePlugin

from registry.sdk import Registry

WORKFLOW: dict[str, Any] = {
    "3": {
        "class_type": "KSampler",
        "inputs": {
            "seed": 18446744073709551615, "steps": 4, "cfg": 7.5, "sampler_name": "euler",
            "scheduler": "normal", "denoise": 1.0, "model": ["10", 0], "positive": ["13", 0],
            "negative": ["7", 0], "latent_image": ["5", 0],
        },
    },
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/base.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}},
    "6": {
        "class_type": "CLIPTextEncode",
        "inputs": {"text": "a red mug, embedding:glow", "clip": ["10", 1]},
        "_meta": {"title": "What Alice wants"},
    },
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry", "clip": ["10", 1]}},
    "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
    "9": {"class_type": "SaveImage", "inputs": {"filename_prefix": "alice", "images": ["8", 0]}},
    "10": {
        "class_type": "LoraLoader",
        "inputs": {
            "lora_name": "brand.safetensors", "strength_model": 0.8, "strength_clip": 1,
            "model": ["4", 0], "clip": ["4", 1],
        },
    },
    "11": {"class_type": "ControlNetLoader", "inputs": {"control_net_name": "edges.safetensors"}},
    "12": {"class_type": "LoadImage", "inputs": {"image": "shoot/pose.png"}},
    "13": {
        "class_type": "ControlNetApply",
        "inputs": {
            "conditioning": ["6", 0], "control_net": ["11", 0], "image": ["12", 0], "strength": 0.6,
        },
    },
    "20": {"class_type": "SaveImage", "inputs": {"filename_prefix": "pose", "images": ["12", 0]}},
}  # fmt: skip
MODELS = {
    "checkpoints/sd/base.safetensors": b"base weights",
    "loras/brand.safetensors": b"lora weights",
    "controlnet/edges.safetensors": b"control weights",
    "embeddings/glow.pt": b"embedding weights",
}


def png(number: int, **texts: str) -> bytes:
    """Return a picture; texts go into its metadata, as ComfyUI does with workflows."""
    picture = Image.linear_gradient("L").resize((64, 64)).convert("RGB")
    picture.putpixel((number % 64, 0), (255, 0, 0))
    info, stream = PngImagePlugin.PngInfo(), io.BytesIO()
    for name, text in texts.items():
        info.add_text(name, text)
    picture.save(stream, "PNG", pnginfo=info)
    return stream.getvalue()


class Double:
    """The server. `events` and `entry` let a test change what it says; see their defaults."""

    def __init__(self) -> None:
        self.submitted: list[dict[str, Any]] = []
        self.asked: list[str] = []
        self.histories: dict[str, Any] = {}
        self.queue: list[str] = []
        self.sockets: dict[str, web.WebSocketResponse] = {}
        self.files = {
            ("alice_00001_.png", "", "output"): png(1, prompt='{"6": "a red mug"}'),
            ("pose_00001_.png", "", "output"): png(2),
            ("pose.png", "shoot", "input"): png(3),
        }
        self.custom: dict[str, str | None] = {}
        self.takes_ids = True
        self.refusal: dict[str, Any] | None = None
        self.events: Callable[[Double, str], list[Any]] = Double.usual
        self.entry: Callable[[Double, str], Any] = Double.finished
        self.answers: dict[str, web.Response] = {}
        self.cached = ["4"]
        self.outputs: dict[str, Any] = {
            "9": {"images": [{"filename": "alice_00001_.png", "subfolder": "", "type": "output"}]},
            "20": {"images": [{"filename": "pose_00001_.png", "subfolder": "", "type": "output"}]},
        }
        self.loop = asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        assert self.ready.wait(20)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def usual(self, prompt_id: str) -> list[Any]:
        """What a good run says: texts, bytes as they are, and None where the line goes dead."""
        told: list[Any] = [
            ("execution_start", {}),
            ("execution_cached", {"nodes": self.cached}),
            ("executing", {"node": "3"}),
            ("progress", {"value": 2, "max": 4, "node": "3"}),
            b"\0\0\0\1\0\0\0\2" + png(9),  # a preview
            ("progress", {"value": 4, "max": 4, "node": "3"}),
            ("executing", {"node": "9"}),
            ("executed", {"node": "9", "output": self.outputs.get("9")}),
            ("execution_success", {}),
            ("executing", {"node": None}),
        ]
        return told

    def finished(self, prompt_id: str) -> Any:
        """What the history keeps of a good run."""
        (request,) = [one for one in self.submitted if one["id"] == prompt_id]
        return {
            "prompt": [0, prompt_id, request["prompt"], {}, ["9", "20"]],
            "outputs": self.outputs,
            "status": {
                "status_str": "success",
                "completed": True,
                "messages": [["execution_cached", {"nodes": self.cached}]],
            },
        }

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        app = web.Application(client_max_size=2**26)
        app.add_routes([
            web.get("/ws", self.on_socket),
            web.post("/prompt", self.on_prompt),
            web.get("/queue", self.on_queue),
            web.get("/history/{id}", self.on_history),
            web.get("/object_info/{name}", self.on_info),
            web.get("/system_stats", self.on_stats),
            web.get("/view", self.on_view),
        ])  # fmt: skip
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self.loop.run_until_complete(runner.setup())
        site = web.TCPSite(runner, "127.0.0.1", 0)
        self.loop.run_until_complete(site.start())
        self.port = runner.addresses[0][1]
        self.ready.set()
        try:
            self.loop.run_forever()
        finally:
            self.loop.run_until_complete(runner.cleanup())
            self.loop.close()

    async def on_socket(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        client = request.query["clientId"]
        self.sockets[client] = socket
        await socket.send_json({"type": "status", "data": {"status": {}, "sid": client}})
        async for message in socket:
            if message.type == WSMsgType.ERROR:
                break
        return socket

    async def on_prompt(self, request: web.Request) -> web.Response:
        body = json.loads(await request.text())
        if self.refusal is not None:
            return web.json_response(self.refusal, status=400)
        prompt_id = body["prompt_id"] if self.takes_ids else str(uuid.uuid4())
        self.submitted.append(body | {"id": prompt_id})
        asyncio.get_running_loop().create_task(self.play(body["client_id"], prompt_id))
        return web.json_response({"prompt_id": prompt_id, "number": 1, "node_errors": {}})

    async def play(self, client: str, prompt_id: str) -> None:
        await asyncio.sleep(0.01)  # the answer to the submission comes first
        socket = self.sockets[client]
        for event in self.events(self, prompt_id):
            if event is None:
                await socket.close()
                break
            if isinstance(event, bytes):
                await socket.send_bytes(event)
            elif isinstance(event, str):
                await socket.send_str(event)
            else:
                kind, data = event
                await socket.send_json({"type": kind, "data": {"prompt_id": prompt_id} | data})
        self.histories[prompt_id] = self.entry(self, prompt_id)

    async def on_queue(self, _request: web.Request) -> web.Response:
        running = [[0, one, {}, {}, []] for one in self.queue]
        return web.json_response({"queue_running": running, "queue_pending": []})

    async def on_history(self, request: web.Request) -> web.Response:
        prompt_id = request.match_info["id"]
        self.asked.append(prompt_id)
        if "history" in self.answers:
            return copy.copy(self.answers["history"])
        entry = self.histories.get(prompt_id)
        return web.json_response({} if entry is None else {prompt_id: entry})

    async def on_info(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        module = self.custom.get(name, "nodes")
        return web.json_response({} if module is None else {name: {"python_module": module}})

    async def on_stats(self, _request: web.Request) -> web.Response:
        system = {
            "os": "posix", "comfyui_version": "0.3.60", "pytorch_version": "2.8.0+cu128",
            "python_version": "3.12.3 (main) \n[GCC 13.2.0]", "argv": ["main.py", "/home/alice"],
        }  # fmt: skip
        device = {"name": "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync", "type": "cuda"}
        return web.json_response({"system": system, "devices": [device]})

    async def on_view(self, request: web.Request) -> web.Response:
        if "view" in self.answers:
            return copy.copy(self.answers["view"])
        query = request.query
        data = self.files.get((query["filename"], query["subfolder"], query["type"]))
        if data is None:
            return web.Response(status=404)
        return web.Response(body=data, content_type="image/png")


@pytest.fixture
def double() -> Iterator[Double]:
    server = Double()
    yield server
    server.close()


@pytest.fixture
def workflow() -> dict[str, Any]:
    return copy.deepcopy(WORKFLOW)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    root = tmp_path / "models-of-alice"
    for name, data in MODELS.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return root


@pytest.fixture
def registry(copied: Registry) -> Registry:
    return copied


@pytest.fixture
def picture() -> Callable[..., bytes]:
    return png
