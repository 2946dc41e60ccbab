"""in-toto Statement v1: the payload of every record.

Names the predicate and build types; what a predicate says is the duty of its builder and schema.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from registry.core import jsonio
from registry.core.digests import is_sha256
from registry.core.dsse import MAX_PAYLOAD_BYTES
from registry.errors import FormatError

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_GENERATION = "https://slsa.dev/provenance/v1"
PREDICATE_DECISION = "https://slsa.dev/verification_summary/v1"
OWN_PREDICATES = (
    "trust",
    "ingest",
    "claim",
    "reproduction",
    "review",
    "taint",
    "waiver",
    "publication",
    "release",
    "erasure",
    "hold",
    "incident",
    "bank-entry",
    "match-verdict",
    "calibration",
    "model",
    "reattestation",
    "audit",
    "draft",
    "bank",
)
MAX_LIST_ITEMS = 256
"""Most items of a list in a statement; a longer one goes into a blob named by digest."""

_PREDICATE_BASE = "https://w3id.org/genops/predicate/"
_BUILD_BASE = "https://w3id.org/genops/build/"
_LATER_VERSIONS = {
    "trust": (2,),
    "ingest": (2,),
    "bank-entry": (2,),
    "match-verdict": (2,),
    "calibration": (2,),
}
_STATEMENT_FIELDS = {"_type", "subject", "predicateType", "predicate"}
_SUBJECT_FIELDS = {"name", "digest", "mediaType", "annotations"}


def predicate_uri(name: str, version: int = 1) -> str:
    """Return the type URI of one of our own predicates, such as `taint`."""
    return f"{_PREDICATE_BASE}{name}/v{version}"


def build_uri(name: str) -> str:
    """Return the build type URI of a generator, such as `diffusers`."""
    return f"{_BUILD_BASE}{name}/v1"


_SCHEMAS = {
    PREDICATE_GENERATION: ("generation", 1),
    PREDICATE_DECISION: ("decision", 1),
    **{
        predicate_uri(name, version): (name, version)
        for name in OWN_PREDICATES
        for version in (1, *_LATER_VERSIONS.get(name, ()))
    },
}
PREDICATES: frozenset[str] = frozenset(_SCHEMAS)
"""Every predicate type that this version reads, older versions too."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What a statement is about: `out/<n>`, hex SHA-256, media type and annotations."""

    name: str
    sha256: str
    media_type: str | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def to_document(self) -> dict[str, Any]:
        """Return the subject as an in-toto ResourceDescriptor."""
        document: dict[str, Any] = {"name": self.name, "digest": {"sha256": self.sha256}}
        if self.media_type is not None:
            document["mediaType"] = self.media_type
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


@dataclass(frozen=True, slots=True)
class Statement:
    """A parsed statement; `document` is the whole of it as parsed JSON, not to be changed."""

    subjects: tuple[Subject, ...]
    predicate_type: str
    predicate: Mapping[str, Any]
    document: Mapping[str, Any] = field(repr=False)

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """Read a payload; raises FormatError (`statement.invalid`, or a code under `json.`).

        Takes 1 to 256 subjects, called `out/0`, `out/1`, … in order, each with a `sha256` digest
        and no other. Unknown predicate types are taken: only their schema can judge them.
        """
        document = jsonio.loads(payload, max_bytes=MAX_PAYLOAD_BYTES)
        if not isinstance(document, dict) or document.keys() != _STATEMENT_FIELDS:
            raise _invalid("it does not have exactly _type, subject, predicateType and predicate")
        if document["_type"] != STATEMENT_TYPE:
            raise _invalid(f"its type is not {STATEMENT_TYPE}")
        kind, predicate = document["predicateType"], document["predicate"]
        if not isinstance(kind, str) or not isinstance(predicate, dict):
            raise _invalid("its predicate is not an object with a type")
        return cls(_subjects(document["subject"]), kind, predicate, document)


def build(subjects: Sequence[Subject], predicate_type: str, predicate: Mapping[str, Any]) -> bytes:
    """Serialise a statement, once: these bytes are signed, stored and verified.

    Raises FormatError for values that JSON cannot carry, for subjects that are not numbered
    `out/0`, `out/1`, …, and for a payload over 1 MiB.
    """
    payload = jsonio.dumps(document_of(subjects, predicate_type, predicate))
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise _invalid(f"it has {len(payload)} bytes, over {MAX_PAYLOAD_BYTES}")
    return payload


def document_of(
    subjects: Sequence[Subject], predicate_type: str, predicate: Mapping[str, Any]
) -> dict[str, Any]:
    """Return a statement as a JSON document; raises FormatError for unfit subjects."""
    listed = [subject.to_document() for subject in subjects]
    _subjects(listed)
    return {
        "_type": STATEMENT_TYPE,
        "subject": listed,
        "predicateType": predicate_type,
        "predicate": predicate,
    }


def invocation_id(statement: Statement) -> str:
    """Return the UUIDv7 of the call that made the statement; raises FormatError without one.

    Generation: `runDetails.metadata.invocationId`; decision: `genops_invocation_id`; ours:
    `invocationId`.
    """
    place: Any = statement.predicate
    for step in _INVOCATION_PATHS.get(statement.predicate_type, ("invocationId",)):
        place = place.get(step) if isinstance(place, dict) else None
    if not isinstance(place, str) or not place:
        raise _invalid("it has no invocation id")
    return place


def predicate_name(predicate_type: str) -> str | None:
    """Return the short name of a known predicate type (`generation`, `taint`, …), else None."""
    found = _SCHEMAS.get(predicate_type)
    return None if found is None else found[0]


def schema_key(predicate_type: str) -> str | None:
    """Return the schema of a known predicate type (`taint/v1`), else None."""
    found = _SCHEMAS.get(predicate_type)
    return None if found is None else f"{found[0]}/v{found[1]}"


_INVOCATION_PATHS = {
    PREDICATE_GENERATION: ("runDetails", "metadata", "invocationId"),
    PREDICATE_DECISION: ("genops_invocation_id",),
}


def _subjects(listed: Any) -> tuple[Subject, ...]:
    if not isinstance(listed, list) or not 1 <= len(listed) <= MAX_LIST_ITEMS:
        raise _invalid(f"it does not have 1..{MAX_LIST_ITEMS} subjects")
    return tuple(_subject(item, f"out/{number}") for number, item in enumerate(listed))


def _subject(item: Any, name: str) -> Subject:
    if not isinstance(item, dict) or not item.keys() <= _SUBJECT_FIELDS:
        raise _invalid(f"subject {name} has unknown fields")
    if item.get("name") != name:
        raise _invalid(f"a subject is not called {name}")
    digest = item.get("digest")
    hex_digest = digest.get("sha256") if isinstance(digest, dict) and len(digest) == 1 else None
    if not isinstance(hex_digest, str) or not is_sha256(hex_digest):
        raise _invalid(f"subject {name} does not have exactly a sha256 digest")
    media_type, annotations = item.get("mediaType"), item.get("annotations", {})
    if not isinstance(media_type, (str, type(None))) or not isinstance(annotations, dict):
        raise _invalid(f"subject {name} has a malformed media type or annotations")
    return Subject(name, hex_digest, media_type, annotations)


def _invalid(why: str) -> FormatError:
    return FormatError(f"statement cannot be used: {why}", code="statement.invalid")
