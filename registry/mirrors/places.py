"""Where traces go in MLflow: the experiment of a project, and the run of a campaign.

MLflow makes the ids of both. Experiments have unique names; runs do not, so the registry remembers
their ids, and finds them again by a tag when that memory was lost.
"""

from __future__ import annotations

import hashlib

from registry.errors import GenopsError
from registry.mirrors.state import MirrorState
from registry.mirrors.trace import MAX_TAG_CHARS, Group
from registry.mirrors.tracking import Tracking

KEY_TAG = "genops.campaign_key"
MAX_RUN_NAME = 250
"""Longest name of a run, characters."""


class Places:
    """Finds or makes experiments and runs.

    Asks MLflow each time, since anyone may delete either at any moment, and MLflow would go on
    linking traces to a run that is gone. Safe to use from several processes: whoever registers a
    campaign's run first wins, and the others delete theirs.
    """

    def __init__(self, tracking: Tracking, state: MirrorState, uri: str) -> None:
        self._tracking = tracking
        self._state = state
        self._scope = hashlib.sha256(uri.encode("utf-8")).hexdigest()[:16]

    def experiment(self, group: Group) -> str:
        """Return the id of the project's experiment; raises GenopsError if it was deleted."""
        name = group.experiment
        found = self._tracking.experiment(name) or self._tracking.create_experiment(name)
        if not found.active:
            raise GenopsError(
                f"MLflow experiment {name!r} was deleted",
                code="mirror.experiment-deleted",
                hint=f"bring it back: mlflow experiments restore -x {found.id}",
            )
        return found.id

    def run(self, group: Group, experiment_id: str, time_ms: int) -> str:
        """Return the id of the campaign's run; a new one starts at `time_ms`."""
        key = f"mlflow/{self._scope}/run/{group.key}"
        known = self._state.get(key)
        if known is not None and self._tracking.is_active_run(known):
            return known
        found = self._tracking.find_run(experiment_id, KEY_TAG, group.key)
        if found is not None:
            return self._state.claim(key, found, stale=known)
        made = self._create_run(group, experiment_id, time_ms)
        standing = self._state.claim(key, made, stale=known)
        if standing != made:
            self._tracking.delete_run(made)
        return standing

    def _create_run(self, group: Group, experiment_id: str, time_ms: int) -> str:
        campaign = group.campaign or ""
        tags = {
            KEY_TAG: group.key,
            "genops.campaign": campaign[:MAX_TAG_CHARS],
            "genops.project": group.project,
        }
        return self._tracking.create_run(experiment_id, campaign[:MAX_RUN_NAME], tags, time_ms)
