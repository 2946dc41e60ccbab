"""What an adapter captured from one generation, as plain values.

The contract between generators and the registry: adapters build these, `workflows.record`
turns them into a signed statement. Knows nothing of files, clocks or databases.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from registry.core.fingerprint import FingerprintValue, Thumbnail


@dataclass(frozen=True, slots=True)
class Sealed:
    """A value (any JSON) that the statement holds only as a salted digest (RFC 9901)."""

    value: Any


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model folder: POSIX path relative to it, size in bytes, hex SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Blob:
    """Content by digest: hex SHA-256 for the registry, hex MD5 for DVC, size in bytes."""

    sha256: str
    md5: str
    size: int


@dataclass(frozen=True, slots=True)
class Material:
    """Something that a generation consumed.

    `name` is unique within the generation (`model/base`, `lora/brand`, `input/init`); `kind` is
    one of model, lora, vae, controlnet, embedding, prompt-template, dataset, image, mask,
    control, text, environment, code, asset. `sha256` is the digest of the bytes or, for a model
    folder, the `modelset-v1` digest, with the folder's files in `files`. `storage` says whether
    the vault holds the bytes (`vaulted`) or only names them (`referenced`). `output_of` names the
    record (`rec:<hex>`) whose output this is, where it is known.
    """

    name: str
    kind: str
    sha256: str
    uri: str = ""
    storage: str = "referenced"
    files: tuple[ModelFile, ...] = ()
    media_type: str | None = None
    output_of: str | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Output:
    """One output: its encoded bytes and what belongs to it alone.

    `pixels` is the `pixels-v1` digest of a lossless picture, else None. `seed` is a decimal
    string. `prompt` and other per-output text in `extra` may be `Sealed`. `materials` are names of
    this generation's materials that this output depends on (all of them if None), so that taint
    does not spread across a batch. `fingerprints` are those that were made while the picture was
    still at hand, and `thumbnail` goes with them; None lets the registry decode the bytes once more
    and make both.
    """

    data: bytes
    media_type: str
    seed: str | None = None
    batch_index: int = 0
    width: int | None = None
    height: int | None = None
    pixels: str | None = None
    materials: tuple[str, ...] | None = None
    fingerprints: tuple[FingerprintValue, ...] | None = None
    thumbnail: Thumbnail | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Generation:
    """A complete description of one call of a generator.

    `external` is what the caller chose, `internal` what the runtime added (dtype, device,
    determinism flags, environment); both are JSON documents in which any value may be `Sealed`.
    Integers of 2^53 and above, and every seed, are decimal strings. `reasons` says why the call
    cannot be replayed; it is empty exactly when the generation is reproducible. Times are epoch
    milliseconds, UTC.
    """

    build_type: str
    external: Mapping[str, Any]
    internal: Mapping[str, Any]
    materials: Sequence[Material]
    outputs: Sequence[Output]
    started_ms: int
    finished_ms: int
    builder_id: str
    builder_version: Mapping[str, str] = field(default_factory=dict)
    reasons: Sequence[str] = ()
    campaign: str | None = None
    invocation_id: str | None = None

    @property
    def reproducible(self) -> bool:
        """True when a replay of the record is expected to give the same outputs."""
        return not self.reasons


DRAFT = "draft"
"""The internal parameter that marks a generation whose outputs go when nobody keeps them."""


def as_draft(generation: Generation) -> Generation:
    """Return the generation marked as a draft, which its record then says."""
    return replace(generation, internal={**generation.internal, DRAFT: True})
