"""Textual inversions: which file taught a text encoder and its tokenizer which tokens.

Where a file was loaded from is kept by the text encoder, so that pipelines which share it share
the knowledge. Whether it still is what it taught is seen by comparing with a fresh pair.
"""

from __future__ import annotations

import inspect
import weakref
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from diffusers.loaders import TextualInversionLoaderMixin
from safetensors import SafetensorError, safe_open
from torch.nn import Module

from generators.capture import loras
from generators.capture.additions import Addition, Additions
from generators.capture.references import quiet_loading
from generators.files import DIGESTS, Content, file_material
from registry.errors import MaterialError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from generators.capture.origins import Place

DEFAULT_FILE = "learned_embeds.safetensors"


@dataclass(frozen=True, slots=True)
class Inversion:
    """A file as it was loaded: its path and hex SHA-256; "" if it came from none that is known.

    `tokens` are what it taught, one for each vector; the first is the word of prompts.
    """

    tokens: tuple[str, ...]
    path: Path
    sha256: str
    tokenizer: weakref.ref[Any]


_SOURCES: weakref.WeakKeyDictionary[Module, list[Inversion]] = weakref.WeakKeyDictionary()


class _Loader(TextualInversionLoaderMixin):  # type: ignore[misc]
    """Diffusers' loader without a pipeline around it."""

    hf_device_map = None

    def __init__(self) -> None:
        self.components: dict[str, Any] = {}


def put(tokenizer: Any, encoder: Module, file: Path, token: str) -> None:
    """Teach a tokenizer and its text encoder a token from a safetensors file."""
    with torch.random.fork_rng(devices=[]):  # new rows are drawn before they are written
        _Loader().load_textual_inversion(
            str(file),
            token=token,
            tokenizer=tokenizer,
            text_encoder=encoder,
            use_safetensors=True,
            local_files_only=True,
        )


def load(pipe: Any, args: tuple[Any, ...], options: Mapping[str, Any]) -> Any:
    """Call a pipeline's `load_textual_inversion` and remember what it loaded from where."""
    loader = pipe.load_textual_inversion
    given = inspect.signature(loader).bind(*args, **options).arguments
    tokenizer = given.get("tokenizer") or getattr(pipe, "tokenizer", None)
    encoder = given.get("text_encoder") or getattr(pipe, "text_encoder", None)
    if tokenizer is None or encoder is None:
        return loader(*args, **options)  # which refuses
    before = set(tokenizer.get_added_vocab())
    result = loader(*args, **options)
    added = tokenizer.get_added_vocab()
    new = sorted(added.keys() - before, key=lambda token: added[token])
    known = _SOURCES.setdefault(encoder, [])
    known[:] = [source for source in known if not set(source.tokens) & set(new)]  # were unloaded
    for token, path in _files(given):
        tokens = _taught(path, token)
        if tokens and set(tokens) <= set(new):
            sha256 = DIGESTS.describe(path, path.name).sha256
            known.append(Inversion(tokens, path, sha256, weakref.ref(tokenizer)))
            new = [other for other in new if other not in tokens]
    if new:
        known.append(Inversion(tuple(new), Path(), "", weakref.ref(tokenizer)))
    return result


def _files(given: Mapping[str, Any]) -> Iterator[tuple[str | None, Path]]:
    """Yield the safetensors files behind a call of the loader, with the token that it gave each."""
    sources, tokens = given["pretrained_model_name_or_path"], given.get("token")
    sources = sources if isinstance(sources, list) else [sources]
    tokens = tokens if isinstance(tokens, list) else [tokens] * len(sources)
    options = dict(given.get("kwargs", {}))
    options["weight_name"] = options.get("weight_name") or DEFAULT_FILE
    for source, token in zip(sources, tokens, strict=False):
        path = loras.resolve(source, options)
        if path is not None and path.suffix == ".safetensors" and path.is_file():
            yield token, path


def _taught(file: Path, token: str | None) -> tuple[str, ...]:
    """Return the tokens that a file teaches, as the loader names them; none if it is no such."""
    try:
        with safe_open(file, framework="pt") as stored:
            (key,) = stored.keys()
            shape = stored.get_slice(key).get_shape()
    except (OSError, SafetensorError, ValueError):
        return ()
    word = token or key
    vectors = shape[0] if len(shape) > 1 else 1
    return (word, *(f"{word}_{number}" for number in range(1, vectors)))


def describe(components: Mapping[str, Any], places: Mapping[str, Place]) -> Additions:
    """Describe the inversions that the components hold, and how to load them again."""
    described = Additions()
    names = {id(component): name for name, component in components.items()}
    for name, component in components.items():
        held = list(_held(component, names)) if isinstance(component, Module) else []
        usable = [one for one in held if _entry(name, *one, described)]
        # The tokens of one tokenizer: an encoder has no other.
        for tokenizer in {tokenizer for _, tokenizer in usable}:
            if name in places and tokenizer in places:
                sources = [source for source, other in usable if other == tokenizer]
                cls = type(components[tokenizer])
                _add(name, tokenizer, cls, sources, places[tokenizer], described)
    return described


def _held(encoder: Module, names: Mapping[int, str]) -> Iterator[tuple[Inversion, str]]:
    """Yield the inversions that were not unloaded, each with the name of its tokenizer."""
    for source in _SOURCES.get(encoder, ()):
        tokenizer = source.tokenizer()
        name = names.get(id(tokenizer))
        if tokenizer is None or name is None:
            continue
        if set(source.tokens) <= set(tokenizer.get_added_vocab()):
            yield source, name


def _entry(name: str, source: Inversion, tokenizer: str, described: Additions) -> bool:
    """Add an inversion to the record; tell whether it can be loaded again."""
    material = f"embedding/{source.tokens[0]}"
    entries = described.entries.setdefault("embeddings", [])
    entry = {"tokens": list(source.tokens), "tokenizer": tokenizer, "text_encoder": name}
    entries.append(entry)
    if not source.sha256:
        described.reasons.append(f"{material} of {name} was not loaded from a file that is known")
        return False
    try:
        content = file_material(material, "embedding", source.path)
    except MaterialError as error:
        described.reasons.append(error.message)
        return False
    if content.material.sha256 != source.sha256:
        described.reasons.append(f"the file of {material} was changed after loading")
        return False
    entry["ref"] = _keep(content, name, described)
    return True


def _keep(content: Content, encoder: str, described: Additions) -> str:
    """Keep a file once; two of a name, for two encoders, are told apart by the encoder."""
    one = content.material
    digests = [c.material.sha256 for c in described.contents if c.material.name == one.name]
    if one.sha256 in digests:
        return one.name
    if digests:
        one = replace(one, name=f"{one.name}/{encoder}")
    described.contents.append(Content(one, content.paths))
    return one.name


def _add(
    encoder: str,
    tokenizer: str,
    cls: Any,
    sources: Sequence[Inversion],
    place: Place,
    described: Additions,
) -> None:
    files = [(source.sha256, *source.tokens) for source in sources]
    tokens = [token for source in sources for token in source.tokens]
    described.by_component[tokenizer] = Addition.of(files, partial(_add_tokens, tokens))
    teach = partial(_teach, cls, place.folder, sources)
    described.by_component[encoder] = Addition.of([place.version, files], teach)


def _add_tokens(tokens: Sequence[str], tokenizer: Any) -> None:
    for token in tokens:
        tokenizer.add_tokens(token)


def _teach(cls: Any, folder: Path, sources: Sequence[Inversion], encoder: Module) -> None:
    with quiet_loading():
        tokenizer = cls.from_pretrained(folder, local_files_only=True)
    for source in sources:
        put(tokenizer, encoder, source.path, source.tokens[0])
