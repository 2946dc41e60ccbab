"""Copy for a product: a brief, the house's passages that bear on it, a headline, body and call.

What `genops write` and campaigns share. The model is loaded once a folder; every call of it is
recorded.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.seeds import fresh_seed
from generators.text.model import WEIGHTS
from generators.text.prompts import CALL, SLOGAN, Brief, prompt_of
from registry.errors import GenopsError, InputError, MissingExtraError

if TYPE_CHECKING:
    from generators.text.corpus import Retrieval
    from generators.text.recorded import Written
    from generators.text.session import Session
    from registry.core.answers import Receipt
    from registry.sdk import Registry

BRAND = Path(__file__).parent / "brand"
"""The corpus of the demo's brand: guidelines, and copy of the year before."""
PASSAGES = 2
"""As many as the copy model has learnt to follow; past copy beside them confuses it."""
SCHEMA_BYTES = 256 * 1024
COPY_SCHEMA: Mapping[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "headline": {"type": "string", "minLength": 1, "maxLength": 80},
        "body": {"type": "string", "minLength": 1, "maxLength": 400},
        "call_to_action": {"type": "string", "minLength": 1, "maxLength": 60},
    },
    "required": ["headline", "body", "call_to_action"],
    "additionalProperties": False,
}
SAMPLING: Mapping[str, Any] = {
    "max_new_tokens": 512,
    "do_sample": True,
    "temperature": 0.7,
    "top_k": 0,
    "top_p": 0.95,
}


@dataclass(frozen=True, slots=True)
class CopyBrief:
    """What copy is asked for; `corpus` is a folder of the house's texts, `seed` 0 to 2^64-1."""

    product: str
    audience: str = ""
    tone: str = ""
    facts: Sequence[str] = ()
    corpus: Path | None = None
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Copy:
    """Copy that follows `COPY_SCHEMA`, and the receipt of the call that wrote it."""

    document: Mapping[str, Any]
    receipt: Receipt


def write_copy(
    registry: Registry,
    brief: CopyBrief,
    *,
    project: str | None = None,
    campaign: str | None = None,
    model: Path | None = None,
) -> Copy:
    """Write and record copy; without `model` (a transformers folder) the copy model writes.

    Raises InputError for a brief, corpus or model that cannot be used, MissingExtraError without
    transformers, llguidance or bm25s, and GenopsError (`copy.invalid`) for copy that breaks its
    schema, which is recorded all the same.
    """
    written, _ = write_with_passages(
        registry, brief, project=project, campaign=campaign, model=model
    )
    verdict = written.verdicts[0]
    if not verdict.valid:
        raise GenopsError(
            f"the copy of {written.receipt.assets[0]} breaks its schema: "
            f"{', '.join(verdict.failures)}",
            code="copy.invalid",
            hint="Try another seed; the record holds what was written.",
        )
    return Copy(verdict.document, written.receipt)


def write_with_passages(
    registry: Registry,
    brief: CopyBrief,
    *,
    project: str | None = None,
    campaign: str | None = None,
    model: Path | None = None,
) -> tuple[Written, Retrieval | None]:
    """Write and record copy; return it, valid or not, and what was found in the corpus."""
    if not brief.product.strip():
        raise InputError("a brief names a product", code="input.brief", hint='Such as "red mug".')
    context = None if brief.corpus is None else _look_up(brief, brief.corpus)
    notes = () if context is None else tuple(passage.text for passage in context.passages)
    asked = prompt_of(Brief(brief.product, brief.audience, brief.tone, tuple(brief.facts), notes))
    written = ask(
        registry,
        asked,
        COPY_SCHEMA,
        model=model,
        seed=brief.seed,
        context=context,
        project=project,
        campaign=campaign,
    )
    return written, context


def ask(
    registry: Registry,
    prompt: str,
    schema: Mapping[str, Any],
    *,
    model: Path | None = None,
    seed: int | None = None,
    context: Retrieval | None = None,
    project: str | None = None,
    campaign: str | None = None,
) -> Written:
    """Let a model of a folder answer one prompt, kept to a schema; record and return it.

    A model with a chat template gets the prompt as a user's message.
    """
    from generators.diffusers import Context
    from generators.text.recorded import RecordedText

    session = load(model or WEIGHTS)
    templated = getattr(session.tokenizer, "chat_template", None) is not None
    if templated:
        message = [{"role": "user", "content": prompt}]
        prompt = session.tokenizer.apply_chat_template(
            message, tokenize=False, add_generation_prompt=True
        )
    write = RecordedText(session, registry, Context(project=project, campaign=campaign))
    return write(
        prompt,
        schema=schema,
        seed=seed,
        context=context,
        add_special_tokens=not templated,  # the template wrote them
        **SAMPLING,
    )


def read_schema(path: Path) -> Mapping[str, Any]:
    """Read a JSON Schema; InputError (`text.schema`) for a file that holds none."""
    from registry.core.jsonio import loads

    try:
        document = loads(path.read_bytes(), max_bytes=SCHEMA_BYTES)
    except OSError as error:
        raise InputError(
            f"cannot read {path}: {error.strerror}",
            code="text.schema",
            hint="Give a file with a JSON Schema.",
        ) from None
    if not isinstance(document, dict):
        raise InputError(
            f"{path} holds no JSON Schema",
            code="text.schema",
            hint="A schema is a JSON object.",
        )
    return document


_LOADED: dict[Path, Session] = {}
_LOADING = threading.Lock()


def load(folder: Path) -> Session:
    """Load a model and its tokenizer in single precision; those of the last folder stay loaded.

    Raises InputError (`model.unusable`) for a folder that is no language model's, and
    MissingExtraError without transformers.
    """
    place = folder.absolute()
    with _LOADING:
        if place not in _LOADED:
            _LOADED.clear()  # never two models in memory
            _LOADED[place] = _load(place)
        return _LOADED[place]


def _load(folder: Path) -> Session:
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
    except ImportError as error:
        raise MissingExtraError(
            "writing needs transformers and torch, which are not installed",
            hint="pip install 'genops-registry[text]'",
        ) from error
    from generators.capture.references import quiet_loading
    from generators.studio import readable
    from generators.text.session import Session

    if not (folder / "config.json").is_file():
        raise InputError(
            f"{folder} is not a transformers model folder",
            code="model.unusable",
            hint="it must hold a config.json, as `save_pretrained` writes it",
        )
    with readable("model", folder), quiet_loading():
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    return Session(model.eval(), tokenizer, {}, fresh_seed)


def _look_up(brief: CopyBrief, folder: Path) -> Retrieval:
    from generators.text.corpus import retrieve

    words = [brief.product, brief.audience, brief.tone, *brief.facts, SLOGAN, CALL]
    return retrieve(folder, " ".join(words), limit=PASSAGES)
