"""Witnesses as a library: cosignatures of this log, and cosigning others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.core.witness_answers import (
    CosignedHead,
    ExportedTiles,
    Followed,
    LogConsistency,
    Witnesses,
    WitnessKey,
)
from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.workflows.witness import WitnessReply

Progress = Callable[[int, int], None]
"""Called with the tiles done and the tiles in all."""


class Witnessing:
    """Who vouches for this log, and for which logs this registry does (`registry.witness`)."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def head(self, *, at_least: int = 0, verify: bool = True) -> CosignedHead:
        """Return the newest tree head with the cosignatures that were kept of it.

        Raises TrustError (`witness.too-few`) when fewer than `at_least` witnesses cosigned it.
        """
        from registry.workflows import cosigning

        found = cosigning.head(self._services, verify=verify)
        cosigning.require(found, at_least)
        return found

    def cosigned_head(self, at_least: int = 1) -> CosignedHead:
        """Return the newest head that `at_least` witnesses cosigned; NotFoundError for none."""
        from registry.workflows.cosigning import cosigned_head

        return cosigned_head(self._services, at_least)

    def list(self) -> Witnesses:
        """Return the witnesses that count here and the logs that are cosigned here."""
        from registry.workflows.cosigning import overview

        return overview(self._services)

    def key(self) -> WitnessKey:
        """Return this registry's own key as a witness, made when it is first asked for."""
        from registry.workflows.witness_keys import WITNESS_VKEY, own_key

        key, _ = own_key(self._services)
        path = self._services.settings.home.keys / WITNESS_VKEY
        return WitnessKey(key.name, key.key_id.hex(), str(key), str(path))

    def add(self, vkey: str) -> WitnessKey:
        """Let a witness's cosignatures count, by its vkey (type 0x04)."""
        from registry.workflows.witness_keys import add_witness

        key, path = add_witness(self._services, vkey)
        return WitnessKey(key.name, key.key_id.hex(), str(key), str(path))

    def add_log(self, vkey: str) -> WitnessKey:
        """Let another log be followed and cosigned here, by its vkey (type 0x01)."""
        from registry.workflows.witness_keys import add_log

        key, path = add_log(self._services, vkey)
        return WitnessKey(key.name, key.key_id.hex(), str(key), str(path))

    def follow(
        self, where: str | Path, vkeys: Sequence[str] = (), *, token: str | None = None
    ) -> Followed:
        """Fetch another log's checkpoint, check that it goes on from the last, and cosign it.

        `where` is a registry's home, a folder of static tiles or an http(s) prefix. Raises
        IntegrityError (`witness.forked`, `witness.rolled-back`) for one that does not.
        """
        from registry.workflows.witness import follow

        return follow(self._services, str(where), vkeys, token=token)

    def add_checkpoint(self, body: bytes) -> WitnessReply:
        """Answer another log's request for a cosignature (C2SP tlog-witness)."""
        from registry.workflows.witness import add_checkpoint

        return add_checkpoint(self._services, body)

    def submit(self, url: str) -> CosignedHead:
        """Ask the witness at `url` (C2SP tlog-witness) to cosign the newest checkpoint."""
        from registry.workflows.cosigning import submit

        return submit(self._services, url)

    def keep(self, note: bytes) -> CosignedHead:
        """Keep the cosignatures on a checkpoint of this log, which came by any way."""
        from registry.workflows.cosigning import keep

        return keep(self._services, note)

    def consistency(self, old: int, new: int | None = None) -> LogConsistency:
        """Return the proof that the log of `new` records (now) goes on from that of `old`."""
        from registry.workflows.consistency import consistency

        return consistency(self._services, old, new)

    def consistency_since(self, note: bytes) -> LogConsistency:
        """Return the proof that today's log goes on from a kept checkpoint; RollbackError."""
        from registry.workflows.consistency import consistency_since

        return consistency_since(self._services, note)

    def export_tiles(self, folder: str | Path, progress: Progress | None = None) -> ExportedTiles:
        """Write the log into a folder as static C2SP tlog-tiles, or bring it up to date."""
        from registry.workflows.tiles import export_tiles

        return export_tiles(self._services, Path(folder), progress)
