"""What the registry answers: the values behind the SDK, `--json` and the HTTP interface.

Plain frozen values, so that the same answer is printed, served, parsed again by the client and
described by a JSON Schema. Ids are `sha256:<hex>` for assets and materials and `rec:<hex>` for
records; times are RFC 3339, UTC, milliseconds.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

AssetKind = Literal["generated", "ingested"]
TextState = Literal["readable", "erased", "locked", "none"]
Verdict = Literal[
    "identical", "identical-pixels", "equivalent", "different", "not-reproducible", "erased"
]
GateVerdict = Literal["pass", "fail", "error"]


class Answer:
    """Base of everything that can be printed as JSON."""

    __slots__ = ()

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready fields."""
        return asdict(self)  # type: ignore[call-overload, no-any-return]  # subclasses are dataclasses


@dataclass(frozen=True, slots=True)
class Receipt(Answer):
    """A durable acknowledgement: the record is in the log at `index`.

    `new` is False when the same statement had been recorded before.
    """

    record: str
    index: int
    time: str
    assets: tuple[str, ...]
    new: bool = True


@dataclass(frozen=True, slots=True)
class Ingested(Receipt):
    """A receipt of a file that was taken in; `warnings` say what looks like a mistake."""

    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AssetSummary(Answer):
    """One line of a listing: one output of one record. `path` is the stored file, or None."""

    id: str
    record: str
    index: int
    kind: AssetKind
    path: str | None
    project: str
    campaign: str | None
    media_type: str | None
    width: int | None
    height: int | None
    time: str
    reproducible: bool | None
    tainted: bool


@dataclass(frozen=True, slots=True)
class MaterialView(Answer):
    """Something that an asset was made from, with what is declared about it."""

    name: str
    kind: str
    id: str
    uri: str
    storage: str
    licence: str | None
    approved: bool
    tainted: bool
    output_of: str | None = None


@dataclass(frozen=True, slots=True)
class TaintView(Answer):
    """A standing taint that reaches an asset; `direct` when it names the asset itself."""

    id: str
    name: str
    severity: str
    record: str
    direct: bool
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Event(Answer):
    """Another record that speaks of an asset: a decision, taint, reproduction or erasure."""

    record: str
    index: int
    time: str
    predicate: str
    summary: str


@dataclass(frozen=True, slots=True)
class Passport(Answer):
    """All that is known of one output of one record.

    `parameters` holds the arguments of the call and its LoRAs, texts readable where their key
    still exists; otherwise a text stays `{"sealed": {...}}` and `text` says `erased`, or `locked`
    when the keyring is not here. `setup` is the rest of what was chosen (pipeline, scheduler,
    components), `internals` what the runtime added. `events` are the other records that speak of
    the same bytes. An `encrypted` asset is personal: its digest and size are the ciphertext's.
    `draft` says what became of one that was recorded as a draft: draft, kept or expired.
    """

    id: str
    kind: AssetKind
    record: str
    index: int
    time: str
    project: str
    campaign: str | None
    path: str | None
    media_type: str | None
    width: int | None
    height: int | None
    size: int | None
    pixels: str | None
    seed: str | None
    build_type: str | None
    actor: dict[str, Any]
    signer: dict[str, Any]
    reproducible: bool | None
    reasons: tuple[str, ...]
    text: TextState
    parameters: dict[str, Any]
    setup: dict[str, Any]
    internals: dict[str, Any]
    materials: tuple[MaterialView, ...]
    taints: tuple[TaintView, ...]
    events: tuple[Event, ...]
    log: dict[str, Any]
    encrypted: bool = False
    draft: str | None = None


@dataclass(frozen=True, slots=True)
class Check(Answer):
    """One named check, such as signature, inclusion, checkpoint, schema or blob."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True, slots=True)
class Verification(Answer):
    """Every check of one output's record, in the order in which they were made."""

    id: str
    record: str
    ok: bool
    checks: tuple[Check, ...]


@dataclass(frozen=True, slots=True)
class LineageNode(Answer):
    """A node of the graph: an output of a record, or a material. `depth` counts hops.

    `hands` says what people contributed to it, as its record states.
    """

    node: int
    id: str
    kind: str
    name: str
    record: str | None
    depth: int
    tainted: bool
    hands: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LineageEdge(Answer):
    """`child` was made from `parent`, called `name` in the child's record."""

    child: int
    parent: int
    name: str


@dataclass(frozen=True, slots=True)
class Lineage(Answer):
    """A part of the lineage graph around one asset; `complete` is False when depth cut it."""

    root: str
    direction: str
    complete: bool
    nodes: tuple[LineageNode, ...]
    edges: tuple[LineageEdge, ...]


@dataclass(frozen=True, slots=True)
class Impact(Answer):
    """The blast radius of a digest: how many outputs derive from it, and a page of them."""

    target: str
    name: str
    count: int
    by_project: dict[str, int]
    by_campaign: dict[str, int]
    assets: tuple[AssetSummary, ...]


@dataclass(frozen=True, slots=True)
class RuleOutcome(Answer):
    """What one rule said of one asset."""

    rule: str
    severity: str
    outcome: str
    message: str


@dataclass(frozen=True, slots=True)
class GateDecision(Answer):
    """The gate's verdict on one asset; `record` is its signed decision on the log."""

    id: str
    verdict: GateVerdict
    record: str | None
    rules: tuple[RuleOutcome, ...]


@dataclass(frozen=True, slots=True)
class GateReport(Answer):
    """The gate's verdict on a set of assets: the worst of its decisions."""

    policy: str
    policy_digest: str
    tree_size: int
    verdict: GateVerdict
    decisions: tuple[GateDecision, ...]


@dataclass(frozen=True, slots=True)
class Difference(Answer):
    """One field that differs between the record and its replay, or between two environments."""

    where: str
    recorded: Any
    replayed: Any


@dataclass(frozen=True, slots=True)
class Reproduction(Answer):
    """The outcome of replaying one record.

    `pixels` holds the largest channel difference and the fraction of pixels that differ, where
    both pictures could be decoded, and `bounds` what another environment explains of each;
    `calibration` is the record that says so, None for the defaults. `record` is the signed verdict
    on the log; `comparison` is the file with both pictures and what lies between them.
    """

    id: str
    of_record: str
    verdict: Verdict
    record: str | None
    original: str
    reproduced: str | None
    reasons: tuple[str, ...] = ()
    inputs: tuple[Difference, ...] = ()
    environment: tuple[Difference, ...] = ()
    pixels: dict[str, float] | None = None
    path: str | None = None
    bounds: dict[str, float] | None = None
    calibration: str | None = None
    comparison: str | None = None


@dataclass(frozen=True, slots=True)
class LogFinding(Answer):
    """Something that does not fit, at the record with this index or in the log as a whole."""

    index: int | None
    what: str
    detail: str


@dataclass(frozen=True, slots=True)
class LogReport(Answer):
    """The outcome of re-verifying the whole log.

    `findings` are in log order, those of the log as a whole last, and `problems` the same as
    lines; `found` counts also those that were too many to be kept. `first_bad` is the lowest index
    of a record that does not fit. `resumed_at` is where an interrupted check went on. Texts are
    `locked` where the keyring could not be opened.
    """

    origin: str
    size: int
    root: str
    ok: bool
    problems: tuple[str, ...] = ()
    first_bad: int | None = None
    findings: tuple[LogFinding, ...] = ()
    found: int = 0
    resumed_at: int | None = None
    blobs: Literal["checked", "skipped"] = "skipped"
    texts: Literal["checked", "locked", "skipped"] = "skipped"


@dataclass(frozen=True, slots=True)
class MirrorReport(Answer):
    """What was sent to one mirror, and what is still waiting."""

    target: str
    sent: int
    failed: int
    pending: int
    error: str = ""


@dataclass(frozen=True, slots=True)
class DoctorReport(Answer):
    """What `doctor` found: one check per part of the installation and the home."""

    ok: bool
    checks: tuple[Check, ...] = field(default_factory=tuple)
