"""Makes what a brief asks for, step by step, and says where each step stands.

The log is asked first: what is on it is not made again, so a run that was killed goes on where it
was. A step that fails is remembered, and the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from generators.campaign import state as states
from generators.campaign.plan import Step, expand
from generators.campaign.recorder import CampaignRecorder
from registry.core.answers import Receipt
from registry.core.campaigns import CampaignState, StepState
from registry.errors import (
    GenopsError,
    HomeError,
    IntegrityError,
    KeyFileError,
    MissingExtraError,
    TrustError,
    UnavailableError,
)

if TYPE_CHECKING:
    from generators.campaign.brief import Brief
    from generators.campaign.painting import Painter
    from registry.core.campaigns import ReviewView
    from registry.sdk import Registry

Progress = Callable[["Standing", int, int], None]
"""Called after each step with where it stands, how many are behind, and how many there are."""
AUTOMATIC = "approved automatically, as the campaign's brief asks; nobody looked at it"

_FATAL = (HomeError, IntegrityError, KeyFileError, TrustError, UnavailableError)
"""What is wrong with the home and not with a step: the run ends."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a step stands; `receipt` is what it became, `why` what it waits for or how it failed.

    Of an approval, `receipt` is of the take that was approved, and `review` the record of that.
    """

    step: Step
    state: StepState
    receipt: Receipt | None = None
    why: str = ""
    review: str | None = None
    made: bool = False

    @property
    def asset(self) -> str | None:
        """The id of what was made."""
        return None if self.receipt is None else self.receipt.assets[0]


@dataclass(frozen=True, slots=True)
class Outcome:
    """Where every step of a campaign stands, by key, and what this call took."""

    brief: Brief
    standings: Mapping[str, Standing]
    seconds: float

    @property
    def state(self) -> CampaignState:
        """The worst of all steps."""
        found = {one.state for one in self.standings.values()}
        if "failed" in found:
            return "failed"
        if "open" in found:
            return "open"
        return "waiting" if "waiting" in found else "complete"

    @property
    def delivered(self) -> list[Standing]:
        """The steps whose results are delivered."""
        return [one for one in self.standings.values() if one.step.delivered]


def survey(registry: Registry, brief: Brief) -> Outcome:
    """Say where every step stands, by the log; makes nothing."""
    return _Run(registry, brief, states.find(registry.settings.home.root, brief.name)).go()


def run(registry: Registry, brief: Brief, progress: Progress | None = None) -> Outcome:
    """Make every step that is open and can be made; durable step by step.

    What failed before is tried again. Raises ConflictError while another process runs the same
    campaign, and what is wrong with the home; what is wrong with a step is its standing.
    """
    home = registry.settings.home.root
    with states.alone(home, brief.name):
        state = states.begin(home, brief.name)
        return _Run(registry, brief, state, makes=True).go(progress)


class _Run:
    """One walk over the steps of a campaign."""

    def __init__(
        self, registry: Registry, brief: Brief, state: states.State | None, *, makes: bool = False
    ) -> None:
        self._registry = registry
        self._brief = brief
        self._state = state
        self._makes = makes
        self._recorder = CampaignRecorder(registry, brief.name, brief.project)
        self._recorded = registry.releasing.recorded(brief.name) if state is not None else {}
        self._timings = states.Timings(registry.settings.home.root)
        self._standings: dict[str, Standing] = {}
        self._painter: Painter | None = None

    def go(self, progress: Progress | None = None) -> Outcome:
        began = time.monotonic()
        steps = expand(self._brief)
        try:
            for number, step in enumerate(steps, start=1):
                standing = self._approval(step) if step.kind == "approval" else self._stand(step)
                self._standings[step.key] = standing
                if progress is not None:
                    progress(standing, number, len(steps))
        finally:
            if self._makes:
                self._timings.save()
        return Outcome(self._brief, self._standings, time.monotonic() - began)

    def _stand(self, step: Step) -> Standing:
        """Return where a step stands, made now if it is open and can be."""
        blocked = self._blocked(step)
        if blocked is not None:
            return blocked
        if self._state is None:
            return Standing(step, "open")
        parents = [self._standings[key] for key in step.parents]
        asked = [
            step.kind,
            None if step.seed is None else str(step.seed),
            decided_by(step.parameters),
            [parent.asset for parent in parents],
        ]
        invocation = self._state.invocation(step.key, asked)
        known = self._recorded.get(invocation)
        if known is not None:
            return self._known(step, known)
        if self._makes:
            return self._make(step, invocation, parents)
        failed = self._state.errors.get(step.key, {})
        if failed.get("invocation") == invocation:  # else the brief has changed since
            return Standing(step, "failed", why=_told(failed))
        return Standing(step, "open")

    def _known(self, step: Step, receipt: Receipt) -> Standing:
        """Return where a step stands that is on the log; copy may be there and of no use."""
        if step.kind == "copy":
            from generators.text.copy import COPY_SCHEMA
            from generators.text.verdicts import judge

            text = self._registry.read(receipt.record).decode("utf-8", "replace")
            if not judge(text, COPY_SCHEMA, finished=True).valid:
                return Standing(
                    step,
                    "failed",
                    why="[copy.invalid] what was written breaks its schema; "
                    "change the copy's part of the brief, or the seed",
                )
        self._recorder.remember(receipt)
        return Standing(step, "done", receipt)

    def _blocked(self, step: Step) -> Standing | None:
        for key in step.parents:
            parent = self._standings[key]
            if parent.state != "done":
                why = f"waits for {key}" + (", which failed" if parent.state == "failed" else "")
                return Standing(step, "waiting", why=why)
        return None

    def _make(self, step: Step, invocation: str, parents: Iterable[Standing]) -> Standing:
        """Make a step; what goes wrong is remembered, unless nothing could go right."""
        assert self._state is not None  # noqa: S101  # `run` began it
        began = time.monotonic()
        self._recorder.begin(step, invocation)
        try:
            receipt = self._result(step, [self._registry.read(p.asset or "") for p in parents])
        except _FATAL:
            raise
        except Exception as error:  # noqa: BLE001  # libraries raise whatever they trip over
            fields = _fields(error)
            self._state.errors[step.key] = {**fields, "invocation": invocation}
            self._state.save()
            return Standing(step, "failed", why=_told(fields))
        self._timings.add(step.kind, time.monotonic() - began)
        if self._state.errors.pop(step.key, None):
            self._state.save()
        return Standing(step, "done", receipt, made=True)

    def _result(self, step: Step, parents: list[bytes]) -> Receipt:
        if step.kind == "convert":
            return self._convert(step, parents[0])
        if step.kind == "upscale":
            return self._upscale(step, parents[0])
        if step.kind == "copy":
            return self._copy(step)
        if self._painter is None:
            from generators.campaign.painting import Painter

            self._painter = Painter(self._recorder)
        return self._painter.paint(step, parents[0] if parents else None)

    def _convert(self, step: Step, parent: bytes) -> Receipt:
        from generators.conversions import convert

        profile = step.parameters.get("profile")
        return convert(
            self._recorder,
            parent,
            step.parameters["operation"],
            step.parameters["arguments"],
            profile=None if profile is None else Path(profile),
        )

    def _upscale(self, step: Step, parent: bytes) -> Receipt:
        from generators import recorded_callable
        from generators.demo_model import UPSCALER
        from generators.upscale import enlarge
        from registry.similarity.decode import open_image

        picture = open_image(parent, self._registry.settings.limits)
        factor = step.parameters["factor"]
        doubles = factor & (factor - 1) == 0  # all that the network can
        weights = UPSCALER if doubles and UPSCALER.is_file() else None
        larger = recorded_callable(enlarge, self._recorder, inputs={"weights": "model"})
        _, receipt = larger.with_receipt(picture, factor=factor, weights=weights)
        return receipt

    def _copy(self, step: Step) -> Receipt:
        try:
            from generators.text.copy import CopyBrief, write_copy
        except ImportError as error:
            raise MissingExtraError(
                "writing copy needs a language model's libraries, which are not installed",
                hint="pip install 'genops-registry[generate]', or leave `copy` out of the brief",
            ) from error
        asked = dict(step.parameters)
        corpus = asked.pop("corpus")
        brief = CopyBrief(
            **{**asked, "facts": tuple(asked["facts"])},
            corpus=None if corpus is None else Path(corpus),
            seed=step.seed or 0,
        )
        recorder = cast("Registry", self._recorder)  # which it stands for
        written = write_copy(recorder, brief, campaign=self._brief.name)
        receipt: Receipt = written.receipt
        return receipt

    def _approval(self, step: Step) -> Standing:
        """Return which take of a master is approved: the one whose approval is the newest."""
        takes = [self._standings[key] for key in step.parents]
        ready = [take for take in takes if take.state == "done"]
        if not ready:
            failed = any(take.state == "failed" for take in takes)
            why = "no take of it was made" + (": it failed" if failed else "")
            return Standing(step, "waiting", why=why)
        newest = [(take, self._newest_review(take)) for take in ready]
        approved = [
            (r.index, n) for n, (_, r) in enumerate(newest) if r and r.verdict == "approved"
        ]
        if approved:
            take, review = newest[max(approved)[1]]
            assert review is not None  # noqa: S101  # it is among the approved
            return Standing(step, "done", take.receipt, review=review.record)
        unseen = [take for take, review in newest if review is None]
        if not unseen:
            why = "every take was rejected: raise `takes`, or change the brief"
            return Standing(step, "waiting", why=why)
        if self._brief.approve == "automatic":
            return self._approve(step, unseen[0])
        return Standing(step, "waiting", why="waits for a review: `genops campaign approve`")

    def _newest_review(self, take: Standing) -> ReviewView | None:
        found = self._registry.releasing.reviews(take.asset or "")
        return found[0] if found else None

    def _approve(self, step: Step, take: Standing) -> Standing:
        if not self._makes:
            return Standing(step, "open")
        done = self._registry.releasing.review(
            take.asset or "", verdict="approved", reason=AUTOMATIC
        )
        return Standing(step, "done", take.receipt, review=done.record, made=True)


def decided_by(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with the digests of files and folders among them: others are new."""
    from generators.demo_model import STYLES, lora_file

    files = [
        lora_file(source) if source in STYLES else Path(source)
        for source in parameters.get("loras", {})
    ]
    files += [
        Path(parameters[name]) for name in ("profile", "corpus", "model") if parameters.get(name)
    ]
    return {"asked": dict(parameters), "files": [_digest(file) for file in files]}


def _digest(place: Path) -> str | None:
    """Return the digest of a file, or of all that is below a folder; None where it is not there."""
    from generators.files import DIGESTS, files_below
    from registry.core.modelsets import modelset_digest
    from registry.errors import MaterialError

    files = files_below(place) if place.is_dir() else [place]
    try:
        found = [DIGESTS.describe(f, f.relative_to(place.parent).as_posix()) for f in files]
        return modelset_digest(found)
    except MaterialError:
        return None  # making the step will say so


def _fields(error: Exception) -> dict[str, str]:
    if isinstance(error, GenopsError):
        return {"code": error.code, "message": error.message, "hint": error.hint}
    lines = str(error).strip().splitlines() or [""]
    return {"code": "step.failed", "message": f"{type(error).__name__}: {lines[0]}", "hint": ""}


def _told(fields: Mapping[str, str]) -> str:
    return f"[{fields['code']}] {fields['message']}"
