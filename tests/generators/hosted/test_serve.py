"""Chat against a real server of the protocol: `transformers serve` with a tiny model of ours."""

from __future__ import annotations

import base64
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from generators.hosted.client import recorded_client
from registry.errors import GenopsError
from registry.sdk import Registry

START_S = 180.0


def make_model(folder: Path) -> None:
    """Write a model of one layer that knows bytes, and a tokenizer with a template for chats."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    inner = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(letters)}, merges=[]))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="<end>", pad_token="<pad>"
    )
    tokenizer.chat_template = (
        "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant: "
    )
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=64, num_hidden_layers=1,
        num_attention_heads=2, eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The URL of a running server, and the name of its model, which is a path."""
    pytest.importorskip("openai", reason="`transformers serve` needs openai, an extra of `dev`")
    folder = tmp_path_factory.mktemp("tiny") / "model-of-alice"
    environ = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    make_model(folder)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder.parent / "log").open("wb")
    words = ["serve", str(folder), "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"]
    server = subprocess.Popen(
        [str(Path(sys.executable).with_name("transformers")), *words],
        stdout=log, stderr=log, env=environ, start_new_session=True,
    )  # fmt: skip
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(f"{url}/health", server, folder.parent / "log")
        yield f"{url}/v1", str(folder)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(20)
        log.close()


def wait_for(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        assert server.poll() is None, log.read_text()[-2000:]
        try:
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    pytest.fail(f"no server after {START_S:.0f} s: {log.read_text()[-2000:]}")


def test_a_served_model_writes_and_its_text_is_recorded(
    served: tuple[str, str], registry: Registry
) -> None:
    url, model = served
    client = recorded_client(url, registry)
    said = client.chat("Hello", model=model, max_tokens=12, seed=7, temperature=0.0)
    assert len(said.text) > 0
    assert said.claims.usage["completion_tokens"] == 12
    assert said.claims.finish == ("length",)
    passport = registry.get(said.receipt.record)
    assert registry.read(passport.id) == said.data
    assert passport.parameters["messages"] == [{"role": "user", "content": "Hello"}]
    assert passport.parameters["max_tokens"] == 12
    assert model in passport.internals["answer"]["model"]  # sealed: it is a path
    evidence = json.loads(registry.evidence(passport.record, texts=False))
    assert b"alice" not in base64.b64decode(evidence["record"]["envelope"]["payload"])
    assert not passport.reproducible
    assert registry.verify(passport.id).ok


def test_what_the_server_refuses_is_said_in_its_words(
    served: tuple[str, str], registry: Registry
) -> None:
    url, model = served
    with pytest.raises(GenopsError) as caught:
        recorded_client(url, registry).chat("Hello", model=model, sparkle=2)
    assert caught.value.code in {"hosted.refused", "hosted.failed"}
    assert "sparkle" in caught.value.message
    assert registry.log.head().size == 1
