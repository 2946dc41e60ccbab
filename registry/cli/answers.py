"""Answers that only the command line gives; the others are in `registry.core.answers`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from registry.core.answers import Answer, Check, Verification


@dataclass(frozen=True, slots=True)
class ErrorBody(Answer):
    """A stable code, what went wrong and where, and what to do about it."""

    code: str
    message: str
    hint: str


@dataclass(frozen=True, slots=True)
class ErrorReport(Answer):
    """What `--json` prints instead of an answer when a verb fails."""

    error: ErrorBody


@dataclass(frozen=True, slots=True)
class HomeView(Answer):
    """A registry's folder and the identity that its log has for good."""

    home: str
    name: str
    uuid: str
    origin: str
    project: str
    log_key: str


@dataclass(frozen=True, slots=True)
class KeyView(Answer):
    """A signing key: what it may sign and when; `path` is its private half, if it is here.

    Since `compromised_since` its signatures are not believed.
    """

    keyid: str
    algorithm: str
    roles: tuple[str, ...]
    not_before: str
    not_after: str | None
    path: str | None
    public_key: str
    compromised_since: str | None = None


@dataclass(frozen=True, slots=True)
class VerificationReport(Answer):
    """The checks of several assets; `ok` when all of them hold."""

    ok: bool
    verifications: tuple[Verification, ...]


@dataclass(frozen=True, slots=True)
class LogProof(Answer):
    """A proof that a record is in the log; `proof` is in the form c2sp.org/tlog-proof."""

    record: str
    index: int
    proof: str


@dataclass(frozen=True, slots=True)
class LogRecord(Answer):
    """One record as it was signed: its place, its time and its in-toto statement."""

    record: str
    index: int
    time: str
    statement: dict[str, Any]


@dataclass(frozen=True, slots=True)
class ModelView(Answer):
    """A declared model, LoRA or other source: what it is called and whether it may be used."""

    id: str
    name: str
    kind: str
    licence: str
    approved: bool
    record: str
    time: str


@dataclass(frozen=True, slots=True)
class EvidenceCheckView(Answer):
    """One check of an evidence file: passed, failed, or skipped because an earlier one failed."""

    name: str
    state: Literal["passed", "failed", "skipped"]
    detail: str


@dataclass(frozen=True, slots=True)
class EvidenceView(Answer):
    """What an evidence file proves; the values are None unless their checks passed.

    `withheld` are JSON Pointers of fields whose text the file does not disclose.
    """

    ok: bool
    record: str | None
    index: int | None
    time: str | None
    tree_size: int | None
    signer: str | None
    checks: tuple[EvidenceCheckView, ...]
    withheld: tuple[str, ...]
    statement: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class EvidenceFileView(Answer):
    """One file of a ZIP of evidence, and what it proves."""

    file: str
    evidence: EvidenceView


@dataclass(frozen=True, slots=True)
class EvidenceBundleView(Answer):
    """What a ZIP of evidence proves; `checks` are those of the ZIP itself."""

    ok: bool
    checks: tuple[EvidenceCheckView, ...]
    files: tuple[EvidenceFileView, ...]


@dataclass(frozen=True, slots=True)
class CatalogCheck(Answer):
    """Whether the catalog is what the log gives; each table that differs as one line."""

    ok: bool
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rebuilt(Answer):
    """How many records the catalog was rebuilt from."""

    records: int


@dataclass(frozen=True, slots=True)
class MirrorCheck(Answer):
    """Whether a mirror's copies are what the log says; each difference as one line."""

    target: str
    ok: bool
    differences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PolicyLint(Answer):
    """A policy bundle that parses and lints; `digest` identifies its content."""

    policy: str
    version: str
    digest: str
    rules: int


@dataclass(frozen=True, slots=True)
class RuleCoverageView(Answer):
    """In how many cases a rule held and failed; `ok` when both ways were seen."""

    rule: str
    passed: int
    failed: int
    ok: bool


@dataclass(frozen=True, slots=True)
class PolicyTest(Answer):
    """The outcome of a policy bundle's own test cases, and which rules they exercise."""

    policy: str
    ok: bool
    cases: tuple[Check, ...]
    coverage: tuple[RuleCoverageView, ...]


@dataclass(frozen=True, slots=True)
class Claim(Answer):
    """Something that the demo says, and whether it was found to be so."""

    step: str
    text: str
    holds: bool


@dataclass(frozen=True, slots=True)
class DemoReport(Answer):
    """What the demo claimed; `ok` when something was claimed and every claim held."""

    ok: bool
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Served(Answer):
    """Where a registry is being served."""

    url: str
    home: str


@dataclass(frozen=True, slots=True)
class PassageView(Answer):
    """A passage that a text was given to draw on: its file and byte there, its role and score."""

    file: str
    offset: int
    role: str
    score: float
    text: str


@dataclass(frozen=True, slots=True)
class WrittenText(Answer):
    """A text that a model wrote, and what a validator says of it.

    `document` is the text as JSON; `failures` are the places in the schema that it breaks.
    """

    id: str
    record: str
    index: int
    seed: str
    text: str
    document: Any
    valid: bool
    finished: bool
    failures: tuple[str, ...]
    passages: tuple[PassageView, ...]


@dataclass(frozen=True, slots=True)
class Written(Answer):
    """An asset's bytes in a file; `size` is theirs, decrypted."""

    id: str
    path: str
    size: int
