"""A registry as the recorder of one campaign: each record gets its step's invocation id.

The id is known before a step begins, so that a step which was recorded is never made again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from generators.recent import outputs_of
from registry.core.generation import Sealed

if TYPE_CHECKING:
    from generators.campaign.plan import Step
    from registry.core.answers import Receipt
    from registry.core.generation import Generation
    from registry.sdk import Registry


class CampaignRecorder:
    """Fits `generators.ports.Recorder`; everything else passes through to the registry."""

    def __init__(self, registry: Registry, campaign: str, project: str | None) -> None:
        self._registry = registry
        self._campaign = campaign
        self._project = project
        self._step: Step | None = None
        self._invocation = ""

    def begin(self, step: Step, invocation: str) -> None:
        """Say which step the next record is of."""
        self._step, self._invocation = step, invocation

    def remember(self, receipt: Receipt) -> None:
        """Note what an earlier run recorded, so that later inputs name the record they are from."""
        outputs_of(self).remember(receipt)

    def record(
        self,
        generation: Generation,
        *,
        blobs: Iterable[bytes | Path] = (),
        project: str | None = None,
        actor: str | None = None,
        **options: Any,
    ) -> Receipt:
        """Record the step's generation; what is said of the step is sealed.

        Of several records of one step, the first has the step's id. Further options are the
        registry's.
        """
        if self._step is not None:
            generation = replace(
                generation,
                external={**generation.external, "campaign": Sealed(dict(self._step.told))},
                invocation_id=self._invocation,
                campaign=self._campaign,
            )
            self._step = None
        else:
            generation = replace(generation, campaign=self._campaign)
        return self._registry.record(
            generation,
            blobs=blobs,
            project=project or self._project,
            actor=actor,
            **options,
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)
