"""What every wrapper of a model does with a generation: refuse it when strict, or hand it over.

Knows the recorder's side alone; what a call was is the adapters' business.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from generators import lock
from generators.files import DIGESTS
from generators.recent import outputs_of
from registry.errors import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from generators.ports import Recorder
    from registry.core.answers import Receipt
    from registry.core.generation import Generation


def hand_over(
    recorder: Recorder,
    generation: Generation,
    blobs: Iterable[bytes | Path],
    *,
    project: str | None,
    actor: str | None,
    draft: bool = False,
) -> Receipt:
    """Record; a file or lock goes once a recorder, as hashing it again would outweigh the rest."""
    recent = outputs_of(recorder)
    given = list(blobs)
    lasting = {blob: digest for blob in given if (digest := _lasting(blob))}
    receipt = recorder.record(
        generation,
        blobs=[blob for blob in given if lasting.get(blob) not in recent.handed_over],
        project=project,
        actor=actor,
        **({"draft": True} if draft else {}),  # recorders need not know of drafts
    )
    recent.handed_over.update(lasting.values())
    recent.remember(receipt)
    return receipt


def refusal(reasons: Sequence[str]) -> CaptureError:
    """Return what a strict wrapper raises before it runs what could not be replayed."""
    return CaptureError(
        f"this call could not be replayed: {'; '.join(reasons)}",
        hint="Remove the causes, or record without strict=True and with these reasons.",
    )


def _lasting(blob: bytes | Path) -> str | None:
    """Return the digest of a content that calls share: a file, or the environment's lock."""
    if isinstance(blob, Path):
        return DIGESTS.describe(blob, blob.name).sha256
    return lock.material().sha256 if blob is lock.lock() else None
