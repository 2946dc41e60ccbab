"""Text models: what a record of a call holds, what it says cannot be replayed, and replays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from generators.text import recorded_text
from generators.text.copy import COPY_SCHEMA, SAMPLING, load
from generators.text.corpus import retrieve
from generators.text.model import WEIGHTS
from registry.core.digests import sha256_hex
from registry.core.generation import Generation, Sealed
from registry.errors import CaptureError, InputError, MaterialError

from .conftest import Memory, job, replay_afresh, statement_of

PROMPT = "Product: red mug\nTone: warm\nCopy:"
OTHER = "Product: teal bottle\nAudience: busy students\nTone: bold\nFacts: free of plastic\nCopy:"
SHORT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "word": {"type": "string", "minLength": 1, "maxLength": 6},
        "count": {"type": "integer", "minimum": 0, "maximum": 99},
        "kind": {"enum": ["mug", "vase"]},
    },
    "required": ["word", "count", "kind"],
    "additionalProperties": False,
}
FEW = {"do_sample": True, "temperature": 1.0, "top_k": 0, "max_new_tokens": 64}


@pytest.fixture(scope="module")
def parts() -> tuple[Any, Any]:
    """The copy model and its tokenizer."""
    session = load(WEIGHTS)
    return session.model, session.tokenizer


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Another model, by folder: a larger Llama with random weights, stored in bfloat16."""
    folder = tmp_path_factory.mktemp("stranger")
    words = AutoTokenizer.from_pretrained(WEIGHTS, local_files_only=True)
    torch.manual_seed(11)
    config = LlamaConfig(
        vocab_size=len(words) + 24,  # padded, as large models' vocabularies are
        hidden_size=192,
        intermediate_size=384,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        eos_token_id=words.eos_token_id,
        pad_token_id=words.pad_token_id,
        bos_token_id=None,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "corpus"
    (folder / "guidelines").mkdir(parents=True)
    (folder / "guidelines" / "voice.md").write_text(
        "# Voice\n\nSlogan: Made to last.\n\nWrite of mugs as of friends.\n", "utf-8"
    )
    (folder / "past").mkdir()
    (folder / "past" / "spring.txt").write_text("The vase of last spring.\n", "utf-8")
    return folder


def plain_job(memory: Memory, generation: Generation, folder: Path, **options: Any) -> Any:
    """A replay job as the registry lays it out: without what a record only quotes."""
    read = [m for m in generation.materials if not m.annotations.get("quoted")]
    made = job(memory, replace(generation, materials=read), folder, **options)
    made.statement = statement_of(generation)
    return made


def digests(generation: Generation) -> list[str]:
    return [sha256_hex(output.data) for output in generation.outputs]


def test_a_record_holds_the_call_completely(parts: tuple[Any, Any], memory: Memory) -> None:
    write = recorded_text(*parts, memory, campaign="mugs")
    written = write(PROMPT, schema=COPY_SCHEMA, seed=7, **SAMPLING)
    made = memory.last
    assert made.reasons == ()
    assert made.campaign == "mugs"
    arguments = made.external["arguments"]
    assert arguments["prompt"] == Sealed(PROMPT)
    assert (arguments["temperature"], arguments["top_p"]) == (0.7, 0.95)
    assert made.internal["defaults"]["repetition_penalty"] == 1.0
    assert not arguments.keys() & made.internal["defaults"].keys()
    assert made.external["generator"] == {
        "generators": [{"seed": "7", "device": "cpu"}],
        "uses": None,
    }
    by_name = {material.name: material for material in made.materials}
    assert {"model/model", "input/schema", "environment/lock"} == set(by_name)
    assert "model.safetensors" in {file.path for file in by_name["model/model"].files}
    assert json.loads(memory.contents[by_name["input/schema"].sha256]) == COPY_SCHEMA
    assert made.internal["environment"]["guidance"]["llguidance"]
    assert made.outputs[0].seed == "7"
    assert made.outputs[0].extra["prompt"] == Sealed(PROMPT)
    assert made.outputs[0].extra["verdict"] == {"valid": True, "finished": True, "failures": []}
    assert made.outputs[0].media_type == "application/json"
    assert json.loads(made.outputs[0].data) == written.verdicts[0].document
    assert list(written.verdicts[0].document) == list(COPY_SCHEMA["properties"])


def test_no_text_of_a_call_is_in_the_clear(
    parts: tuple[Any, Any], memory: Memory, corpus: Path
) -> None:
    context = retrieve(corpus, "Slogan of mugs")
    write = recorded_text(*parts, memory)
    write(PROMPT, seed=1, context=context, bad_words_ids=[[99, 98]], **FEW)
    seen = json.dumps(_unsealed(memory.last), default=str)
    texts = ("red mug", "Made to last", "friends", "voice.md", str(corpus), "99, 98")
    assert [text for text in texts if text in seen] == []
    passages = memory.last.external["context"]["passages"]
    assert passages.value[0]["text"] == "Slogan: Made to last."  # the search would find it


def _unsealed(generation: Generation) -> Any:
    """All that a record shows to everybody."""

    def shown(value: Any) -> Any:
        if isinstance(value, Sealed):
            return "sealed"
        if isinstance(value, dict) or hasattr(value, "items"):
            return {key: shown(item) for key, item in value.items()}
        return [shown(item) for item in value] if isinstance(value, (list, tuple)) else value

    return shown(
        {
            "external": generation.external,
            "internal": generation.internal,
            "reasons": generation.reasons,
            "outputs": [output.extra for output in generation.outputs],
            "materials": [
                (m.name, m.uri, m.annotations, [file.path for file in m.files])
                for m in generation.materials
            ],
        }
    )


def test_torch_s_random_state_is_left_as_it_was(parts: tuple[Any, Any], memory: Memory) -> None:
    before = torch.get_rng_state()
    written = recorded_text(*parts, memory)(PROMPT, seed=3, **FEW)
    assert torch.equal(before, torch.get_rng_state())
    torch.randn(5)
    assert recorded_text(*parts, memory)(PROMPT, seed=3, **FEW).texts == written.texts


@pytest.mark.parametrize("chosen", [{}, {"top_k": None}, {"top_p": 0.5, "repetition_penalty": 1.3}])
def test_a_seed_means_what_it_means_to_the_model_itself(
    chosen: dict[str, Any], parts: tuple[Any, Any], memory: Memory
) -> None:
    model, words = parts
    settings = FEW | {"temperature": 3.0} | chosen  # hot, so that a lost setting would show
    written = recorded_text(*parts, memory)(PROMPT, seed=5, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        ids = words(PROMPT, return_tensors="pt")
        tokens = model.generate(ids.input_ids, attention_mask=ids.attention_mask, **settings)
    bare = words.decode(tokens[0, ids.input_ids.shape[1] :], skip_special_tokens=True)
    assert written.text == bare


def test_a_batch_answers_each_prompt_as_if_it_were_alone(
    parts: tuple[Any, Any], memory: Memory
) -> None:
    """Greedily: what is sampled depends on the rows beside it."""
    write = recorded_text(*parts, memory)
    alone = [write(prompt, max_new_tokens=24).text for prompt in (PROMPT, OTHER)]
    assert list(write([PROMPT, OTHER], max_new_tokens=24).texts) == alone


def test_a_generator_of_the_caller_goes_on_from_call_to_call(
    parts: tuple[Any, Any], memory: Memory
) -> None:
    write = recorded_text(*parts, memory)
    generator = torch.Generator().manual_seed(5)
    texts = [write(PROMPT, generator=generator, **FEW).text for _ in range(2)]
    first, second = memory.generations
    assert texts[0] != texts[1]
    assert "state" not in first.external["generator"]["generators"][0]
    assert "state" in second.external["generator"]["generators"][0]
    assert (first.outputs[0].seed, second.outputs[0].seed) == ("5", None)


def test_without_a_seed_a_fresh_one_is_drawn_and_recorded(
    parts: tuple[Any, Any], memory: Memory
) -> None:
    write = recorded_text(*parts, memory)
    write(PROMPT, **FEW)
    write(PROMPT, **FEW)
    seeds = [int(made.outputs[0].seed or "") for made in memory.generations]
    assert seeds[0] != seeds[1]


def _hook(model: Any) -> Callable[[], None]:
    handle = model.lm_head.register_forward_hook(lambda *given: None)
    return handle.remove


def _train(model: Any) -> Callable[[], None]:
    model.model.layers[1].train()
    return lambda: model.eval() and None


def _nudge(model: Any) -> Callable[[], None]:
    weight = model.model.layers[0].mlp.up_proj.weight
    with torch.no_grad():
        before = weight[0, 0].item()
        weight.data[0, 0] += 1

    def undo() -> None:
        weight.data[0, 0] = before

    return undo


def _patch(model: Any) -> Callable[[], None]:
    whole = type(model).generate
    model.generate = lambda *args, **options: whole(model, *args, **options)
    return lambda: delattr(model, "generate")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (_hook, "forward hooks"),
        (_train, "training mode"),
        (_nudge, "weights of model differ"),
        (_patch, "model.generate was replaced"),
    ],
)
def test_a_changed_model_is_a_reason(
    change: Callable[[Any], Callable[[], None]],
    reason: str,
    parts: tuple[Any, Any],
    memory: Memory,
) -> None:
    undo = change(parts[0])
    try:
        recorded_text(*parts, memory)(PROMPT, seed=1, **FEW)
        with pytest.raises(CaptureError, match=reason):
            recorded_text(*parts, memory, strict=True)(PROMPT, seed=1, **FEW)
    finally:
        undo()
    assert any(reason in one for one in memory.last.reasons)
    assert len(memory.generations) == 1
    recorded_text(*parts, memory)(PROMPT, seed=1, **FEW)
    assert memory.last.reasons == ()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_time": 600.0}, "by the clock"),
        ({"logits_processor": [lambda ids, scores: scores]}, "logits_processor decides the text"),
    ],
)
def test_settings_that_no_record_can_hold_are_reasons(
    settings: dict[str, Any], reason: str, parts: tuple[Any, Any], memory: Memory
) -> None:
    recorded_text(*parts, memory)(PROMPT, seed=1, **FEW, **settings)
    assert any(reason in one for one in memory.last.reasons)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"prompt": ""}, "input.text"),
        ({"prompt": []}, "input.text"),
        ({"prompt": "\ud800"}, "input.text"),
        ({"seed": -1}, "input.seed"),
        ({"temprature": 1.0}, "input.argument"),
        ({"temperature": -1.0, "do_sample": True}, "text.settings"),
        ({"schema": {"type": "strang"}}, "text.schema"),
        ({"schema": {"not": {}}}, "text.schema"),
        ({"schema": {"$ref": "https://example.org/schema.json"}}, "text.schema"),
        ({"schema": SHORT, "num_beams": 2}, "text.schema"),
    ],
)
def test_what_cannot_be_asked_is_refused_and_nothing_recorded(
    options: dict[str, Any], code: str, parts: tuple[Any, Any], memory: Memory
) -> None:
    write = recorded_text(*parts, memory)
    with pytest.raises(InputError) as refused:
        write(**{"prompt": PROMPT, "max_new_tokens": 4} | options)
    assert (refused.value.code, memory.generations) == (code, [])


def test_a_schema_that_refers_elsewhere_is_refused_before_anybody_could_fetch_it(
    parts: tuple[Any, Any], memory: Memory
) -> None:
    schema = {"anyOf": [{"type": "string"}, {"$ref": "https://example.org/schema.json"}]}
    with pytest.raises(InputError, match="refers to another document"):
        recorded_text(*parts, memory)(PROMPT, schema=schema, max_new_tokens=4)


def test_any_model_of_a_folder_keeps_to_a_schema(stranger: Path, memory: Memory) -> None:
    """Random weights would write anything: that all answers are valid is the guide's work."""
    other = load(stranger)
    write = recorded_text(other.model, other.tokenizer, memory)
    written = write([PROMPT, OTHER, "?"] * 4, schema=SHORT, seed=2, **FEW)
    assert len(set(written.texts)) == 12
    for text, verdict in zip(written.texts, written.verdicts, strict=True):
        jsonschema.validate(json.loads(text), SHORT)
        assert (verdict.valid, verdict.finished) == (True, True)
    assert memory.last.reasons == ()


def test_a_text_that_was_cut_is_recorded_as_not_valid(
    parts: tuple[Any, Any], memory: Memory
) -> None:
    written = recorded_text(*parts, memory)(
        PROMPT, schema=COPY_SCHEMA, seed=1, **SAMPLING | {"max_new_tokens": 9}
    )
    assert written.verdicts[0].to_dict() == {
        "valid": False,
        "finished": False,
        "failures": ["not JSON"],
    }
    assert memory.last.outputs[0].extra["verdict"] == written.verdicts[0].to_dict()
    assert memory.last.outputs[0].media_type.startswith("text/plain")


def test_replays_in_a_fresh_process_give_the_recorded_bytes(
    parts: tuple[Any, Any], stranger: Path, corpus: Path, memory: Memory, tmp_path: Path
) -> None:
    write = recorded_text(*parts, memory)
    write(PROMPT, schema=COPY_SCHEMA, seed=7, **SAMPLING)
    write([PROMPT, OTHER], seed=7, num_return_sequences=2, **FEW)  # a batch, left-padded
    write(PROMPT, context=retrieve(corpus, "slogan"), top_k=None, max_new_tokens=16)  # greedy
    generator = torch.Generator().manual_seed(5)
    torch.randn(3, generator=generator)
    write(OTHER, generator=generator, **FEW)
    other = load(stranger)
    recorded_text(other.model, other.tokenizer, memory)(
        [PROMPT, OTHER], schema=SHORT, seed=9, **FEW
    )
    (corpus / "past" / "spring.txt").write_text("Another spring.\n", "utf-8")
    jobs = [
        plain_job(memory, made, tmp_path / str(number))
        for number, made in enumerate(memory.generations)
    ]
    assert all(made.reasons == () for made in memory.generations)
    assert replay_afresh(jobs, tmp_path) == [digests(made) for made in memory.generations]
    assert [len(made.outputs) for made in memory.generations] == [1, 4, 1, 1, 2]
    assert len({sha for made in memory.generations for sha in digests(made)}) == 9


def test_a_replay_follows_overrides_and_refuses_another_model(
    parts: tuple[Any, Any], memory: Memory, tmp_path: Path
) -> None:
    from generators.text.recorded import adapter

    write = recorded_text(*parts, memory)
    write(PROMPT, seed=7, **FEW)
    write(PROMPT, seed=8, **FEW)
    other_seed = plain_job(memory, memory.generations[0], tmp_path / "a", overrides={"seed": "8"})
    assert [sha256_hex(out.data) for out in adapter.replay(other_seed)] == digests(memory.last)
    damaged = plain_job(memory, memory.last, tmp_path / "b")
    file = damaged.materials["model/model"] / "model.safetensors"
    data = bytearray(file.read_bytes())
    data[-100] ^= 1
    file.write_bytes(data)
    damaged.statement["predicate"]["buildDefinition"]["resolvedDependencies"][0]["digest"] = {
        "sha256": "0" * 64  # another folder, as far as the desk can tell: it loads anew
    }
    with pytest.raises(MaterialError) as refused:
        adapter.replay(damaged)
    assert refused.value.code == "material.differs"


def test_a_changed_corpus_is_seen_and_the_text_is_the_same(
    parts: tuple[Any, Any], corpus: Path, memory: Memory, tmp_path: Path
) -> None:
    from generators.text.recorded import adapter

    recorded_text(*parts, memory)(PROMPT, seed=7, context=retrieve(corpus, "slogan"), **FEW)
    recorded = memory.last.internal["environment"]["corpus"]

    def replayed(name: str) -> tuple[list[str], str]:
        asked = plain_job(memory, memory.last, tmp_path / name)
        made = [sha256_hex(output.data) for output in adapter.replay(asked)]
        return made, adapter.environment()["corpus"]

    assert replayed("same") == (digests(memory.last), recorded)
    (corpus / "past" / "spring.txt").write_text("Another spring.\n", "utf-8")
    made, found = replayed("changed")
    assert (made, found != recorded) == (digests(memory.last), True)
