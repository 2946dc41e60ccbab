"""What is answered about campaigns: plans, what became of them, deliveries; and about reviews."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from registry.core.answers import Answer

StepState = Literal["done", "waiting", "failed", "open"]
CampaignState = Literal["complete", "waiting", "failed", "open"]


@dataclass(frozen=True, slots=True)
class ReviewView(Answer):
    """A person's verdict on an asset; `reason` is None where its text cannot be read."""

    record: str
    index: int
    time: str
    asset: str
    verdict: Literal["approved", "rejected"]
    reason: str | None
    signer: str


@dataclass(frozen=True, slots=True)
class PlannedStep(Answer):
    """One thing that a campaign makes: how, from what, with which seed and, where known, size."""

    key: str
    kind: str
    parents: tuple[str, ...]
    seed: str | None
    width: int | None
    height: int | None
    delivered: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class CampaignPlan(Answer):
    """What a brief will make. `counts` are the steps by kind.

    `seconds` is what the steps that are still open will take, from what this home measured; where
    it has not made anything of a kind yet, from what was measured elsewhere (`guessed`).
    """

    name: str
    approve: str
    combinations: int
    counts: dict[str, int]
    delivered: int
    open: int
    seconds: float
    guessed: tuple[str, ...]
    steps: tuple[PlannedStep, ...]


@dataclass(frozen=True, slots=True)
class StepStatus(Answer):
    """Where one step stands; `why` says what it waits for, or how it failed."""

    key: str
    kind: str
    state: StepState
    asset: str | None
    record: str | None
    index: int | None
    why: str


@dataclass(frozen=True, slots=True)
class CampaignStatus(Answer):
    """Where a campaign stands. `made` counts what this call made, `seconds` how long that took."""

    name: str
    state: CampaignState
    counts: dict[str, int]
    made: int
    seconds: float
    steps: tuple[StepStatus, ...]
    sheet: str | None = None


@dataclass(frozen=True, slots=True)
class Approvals(Answer):
    """Which masters were approved or rejected by one call, with the records of it."""

    name: str
    verdict: Literal["approved", "rejected"]
    reviews: tuple[dict[str, Any], ...]


@dataclass(frozen=True, slots=True)
class DeliveredFile(Answer):
    """One file of a delivery."""

    path: str
    asset: str
    record: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Delivery(Answer):
    """A delivery folder; `left_out` are {step, why} of what is not in it."""

    folder: str
    name: str
    channel: str
    policy: str | None
    manifest: str
    record: str
    files: tuple[DeliveredFile, ...]
    left_out: tuple[dict[str, str], ...]


@dataclass(frozen=True, slots=True)
class DeliveryFinding(Answer):
    """Something in a delivery that is not as its manifest says; `what` is a stable word."""

    path: str
    what: Literal["missing", "altered", "unlisted", "manifest", "evidence"]
    detail: str


@dataclass(frozen=True, slots=True)
class DeliveryCheck(Answer):
    """Whether a delivery folder is what was signed, and by whom."""

    folder: str
    ok: bool
    name: str | None
    record: str | None
    time: str | None
    signer: str | None
    files: int
    findings: tuple[DeliveryFinding, ...]
