"""The registry as a library: one typed object behind the command line, the service and scripts.

A thin face over the workflows: every method opens nothing of its own and returns a frozen answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from registry.catalog.queries import ListFilter
from registry.core.answers import (
    AssetSummary,
    GateReport,
    Impact,
    Ingested,
    Lineage,
    LogReport,
    MirrorReport,
    Passport,
    Receipt,
    Reproduction,
    Verification,
)
from registry.core.digests import asset_id
from registry.core.generation import Generation
from registry.sdk.folders import Folders
from registry.sdk.look_ups import LookUps
from registry.store.transaction import read
from registry.workflows import inspect, refs, trace
from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.search_answers import SearchReport
    from registry.log.reader import LogReader
    from registry.sdk.banks import Banks
    from registry.sdk.drafts import Drafts
    from registry.sdk.privacy import Privacy
    from registry.sdk.recovery import Recovery
    from registry.sdk.releasing import Releasing
    from registry.sdk.replays import Replays
    from registry.sdk.searches import Searches
    from registry.sdk.trust import Trust
    from registry.sdk.upkeep import Upkeep
    from registry.sdk.witness import Witnessing
    from registry.settings import Settings
    from registry.workflows.reproduce import How

Progress = Callable[[int, int], None]
"""Called with the records done and the records in all."""


class Registry(Folders, LookUps):
    """One open registry home; use it as a context manager, from any number of threads.

    Every reference `ref` is an asset id (`sha256:<hex>`), a record id (`rec:<hex>`), a unique
    prefix of 8 or more hex digits, or a path to a file with the same bytes. Methods that take one
    raise NotFoundError, AmbiguousError or InputError when it names nothing, or more than one
    thing. Made by `open_registry`.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the database and the keyring."""
        self._services.keyring.close()
        self._services.engine.dispose()

    @property
    def settings(self) -> Settings:
        """How this registry behaves, and where it lives."""
        return self._services.settings

    @property
    def upkeep(self) -> Upkeep:
        """Exports and backups."""
        from registry.sdk.upkeep import Upkeep

        return Upkeep(self._services)

    @property
    def privacy(self) -> Privacy:
        """Erasures, legal holds, retention, and the requests of persons."""
        from registry.sdk.privacy import Privacy

        return Privacy(self._services)

    @property
    def drafts(self) -> Drafts:
        """Outputs that go when nobody keeps them."""
        from registry.sdk.drafts import Drafts

        return Drafts(self._services)

    @property
    def banks(self) -> Banks:
        """Named banks of fingerprints, and what people say of matches."""
        from registry.sdk.banks import Banks

        return Banks(self._services)

    @property
    def searches(self) -> Searches:
        """Saved searches; `search` makes one."""
        from registry.sdk.searches import Searches

        return Searches(self._services)

    @property
    def trust(self) -> Trust:
        """The keys that the log trusts, and how they change."""
        from registry.sdk.trust import Trust

        return Trust(self._services)

    @property
    def replays(self) -> Replays:
        """Audits of many replays, the bounds they are judged by, and two assets side by side."""
        from registry.sdk.replays import Replays

        return Replays(self._services)

    @property
    def recovery(self) -> Recovery:
        """How fresh this registry is, and what its mirrors are to be sent again."""
        from registry.sdk.recovery import Recovery

        return Recovery(self._services)

    @property
    def releasing(self) -> Releasing:
        """Reviews and releases, and what a campaign has on the log."""
        from registry.sdk.releasing import Releasing

        return Releasing(self._services)

    @property
    def log(self) -> LogReader:
        """The transparency log: heads, entries, proofs, tiles."""
        return self._services.reader

    @property
    def witness(self) -> Witnessing:
        """Who cosigned this log, and which other logs this registry cosigns; static tiles."""
        from registry.sdk.witness import Witnessing

        return Witnessing(self._services)

    def record(
        self,
        generation: Generation,
        *,
        blobs: Iterable[bytes | Path] = (),
        project: str | None = None,
        actor: str | None = None,
        personal: bool = False,
        draft: bool = False,
    ) -> Receipt:
        """Record a generation: durable, signed and in the log when this returns.

        `blobs` are the bytes or files of materials that the vault is to keep; `personal` outputs
        are stored encrypted, and erasing the record makes them unreadable; those of a `draft` go
        when nobody keeps them (see `drafts`). Raises InputError, MaterialError, TrustError,
        ConflictError, HomeError; nothing is recorded then.
        """
        from registry.workflows.record import record

        return record(
            self._services,
            generation,
            blobs=blobs,
            project=project,
            actor=actor,
            personal=personal,
            draft=draft,
        )

    def ingest(
        self,
        path: str | Path,
        *,
        parents: Sequence[str] = (),
        note: str = "",
        contributions: Sequence[str] = (),
        project: str | None = None,
        campaign: str | None = None,
        actor: str | None = None,
        personal: bool = False,
    ) -> Ingested:
        """Register an existing file that no generator of ours made, with its known parents.

        `contributions` say what people did by hand, such as `typography`. A `personal` file is
        stored encrypted, and erasing its record makes it unreadable.
        """
        from registry.workflows.ingest import Said, ingest

        return ingest(
            self._services,
            path,
            Said(parents, note, contributions),
            project=project,
            campaign=campaign,
            actor=actor,
            personal=personal,
        )

    def list(  # the verb that users know
        self,
        *,
        project: str | None = None,
        campaign: str | None = None,
        kind: str | None = None,
        tainted: bool | None = None,
        limit: int = 100,
        offset: int = 0,
    ) -> list[AssetSummary]:
        """Return a page of outputs, newest first."""
        chosen = ListFilter(project, campaign, kind, tainted)
        return inspect.list_assets(self._services, chosen, limit=limit, offset=offset)

    def search(
        self,
        terms: str | Iterable[str] = (),
        *,
        sort: str | None = None,
        limit: int = 100,
        offset: int = 0,
        count: bool = False,
    ) -> SearchReport:
        """Return a page of the outputs that all terms are true of, such as `width:1024..`.

        A string is split as a shell does. `genops search fields` lists what there is to ask for.
        Raises InputError (`search.*`) for what is no term.
        """
        from registry.workflows.search import search

        return search(self._services, terms, sort=sort, limit=limit, offset=offset, count=count)

    def resolve(self, ref: str | Path) -> str:
        """Return the asset id that a reference names."""
        with read(self._services.engine) as conn:
            return asset_id(refs.output(conn, ref)["sha256"].hex())

    def get(self, ref: str | Path) -> Passport:
        """Return an asset's passport: its newest record, or the record named."""
        return inspect.passport(self._services, str(ref))

    def blob(self, ref: str | Path) -> Path:
        """Return the stored file of an asset, its SHA-256 checked; not of a personal one."""
        return inspect.stored_file(self._services, str(ref))

    def read(self, ref: str | Path) -> bytes:
        """Return the bytes of an asset, their SHA-256 checked; a personal one is decrypted."""
        return inspect.stored_bytes(self._services, str(ref))

    def write(self, ref: str | Path, out: str | Path) -> int:
        """Write the bytes that `read` gives into a new file (0600); return how many they are."""
        from registry.workflows.personal import write_new

        data = self.read(ref)
        write_new(Path(out), data)
        return len(data)

    def verify(self, ref: str | Path) -> Verification:
        """Check every link from an asset's bytes to the signed tree head; raises for none."""
        from registry.workflows.verify import verify

        return verify(self._services, str(ref))

    def lineage(
        self, ref: str | Path, *, direction: str = "up", depth: int | None = None
    ) -> Lineage:
        """Return the graph around an asset or material: `up`, `down` or `both`."""
        return trace.lineage(self._services, str(ref), direction=direction, depth=depth)

    def impact(self, ref: str | Path, *, limit: int = 100, offset: int = 0) -> Impact:
        """Return the blast radius of an asset or material: all that derives from it."""
        return trace.impact(self._services, str(ref), limit=limit, offset=offset)

    def taint(
        self,
        ref: str | Path,
        *,
        reason: str,
        severity: str = "high",
        actor: str | None = None,
    ) -> Receipt:
        """Taint an asset or material: the gate denies it and all that derives from it."""
        from registry.workflows.taint import taint

        return taint(
            self._services,
            str(ref),
            action="taint",
            reason=reason,
            severity=severity,
            actor=actor,
        )

    def clear_taint(self, ref: str | Path, *, reason: str, actor: str | None = None) -> Receipt:
        """Clear the taints that name an asset or material."""
        from registry.workflows.taint import taint

        return taint(self._services, str(ref), action="clear", reason=reason, actor=actor)

    def gate(
        self, assets: Sequence[str | Path], *, policy: str = "default", record: bool = True
    ) -> GateReport:
        """Decide whether assets may be released; decisions are signed and logged.

        `policy` is the name of a shipped bundle or a folder with a `policy.yaml`. Raises
        PolicyError for a bundle that cannot be used.
        """
        from registry.workflows.gate import gate

        return gate(self._services, [str(a) for a in assets], policy=policy, record=record)

    def reproduce(
        self,
        ref: str | Path,
        *,
        overrides: Mapping[str, Any] | None = None,
        how: How | None = None,
        record: bool = True,
        out: Path | None = None,
        told: Callable[[str], None] = lambda _: None,
    ) -> Reproduction:
        """Make an asset again in a fresh process, compare, and log the verdict.

        `how` says in which environment and on which device; `told` hears what takes long. Raises
        MaterialError when a material is missing or altered.
        """
        from registry.workflows.reproduce import Workplace, reproduce

        place, text = Workplace(told=told), str(ref)
        return reproduce(
            self._services, text, overrides=overrides, how=how, record=record, out=out, place=place
        )

    def erase(self, ref: str | Path, *, reason: str, actor: str | None = None) -> Receipt:
        """Destroy the key of a record's sealed texts; every proof stays valid.

        Of an asset, all records that made it or took it in. Raises HeldError under a legal hold.
        """
        from registry.workflows.erase import erase

        return erase(self._services, str(ref), reason=reason, actor=actor)

    def evidence(self, ref: str | Path, *, texts: bool = True) -> bytes:
        """Return one JSON file that proves a record offline, with or without its texts."""
        from registry.workflows.evidence import evidence

        return evidence(self._services, str(ref), texts=texts)

    def evidence_bundle(self, named: Sequence[str | Path], *, texts: bool = True) -> bytes:
        """Return a ZIP that proves the records of several assets offline; see `evidence`."""
        from registry.workflows.evidence import evidence_bundle

        return evidence_bundle(self._services, [str(ref) for ref in named], texts=texts)

    def register_model(
        self,
        source: str | Path,
        *,
        name: str,
        kind: str,
        licence: str,
        approved: bool = False,
        uri: str = "",
        actor: str | None = None,
    ) -> Receipt:
        """Declare a model or LoRA (file, folder or digest): name, SPDX licence, approval."""
        from registry.workflows.models import register_model

        return register_model(
            self._services,
            source,
            name=name,
            kind=kind,
            licence=licence,
            approved=approved,
            uri=uri,
            actor=actor,
        )

    def models(self) -> Sequence[dict[str, Any]]:
        """Return every declared model and LoRA, oldest declaration first."""
        from registry.workflows.models import list_models

        return list_models(self._services)

    def check_log(
        self,
        progress: Progress | None = None,
        *,
        blobs: bool = False,
        jobs: int = 1,
        fresh: bool = False,
        blob_progress: Progress | None = None,
    ) -> LogReport:
        """Re-verify the whole log: tree, checkpoints, envelopes, signatures, trust, schemas.

        With `blobs`, the vault's bytes and the sealed texts too. A check that was interrupted is
        continued unless `fresh`. With more than one of `jobs` a long log is checked by spawned
        processes: a script guards its own start with `if __name__ == "__main__"` then.
        """
        from registry.workflows.check import check_log

        return check_log(
            self._services,
            progress,
            blobs=blobs,
            jobs=jobs,
            fresh=fresh,
            blob_progress=blob_progress,
        )

    def rebuild_catalog(self, progress: Progress | None = None) -> int:
        """Derive the projection anew from the log; return the number of records read."""
        from registry.workflows.maintain import rebuild_catalog

        return rebuild_catalog(self._services, progress)

    def check_catalog(self, progress: Progress | None = None) -> tuple[str, ...]:
        """Compare the projection with what the log gives; return each table that differs."""
        from registry.workflows.maintain import check_catalog

        return check_catalog(self._services, progress)

    def sync_mirrors(self, targets: Sequence[str] = ("mlflow", "vault")) -> Sequence[MirrorReport]:
        """Send what is due to MLflow and into vault segments; a mirror that is down is reported."""
        from registry.workflows.mirror import sync

        return sync(self._services, targets)

    def mirror_status(self) -> Sequence[MirrorReport]:
        """Tell what waits for each mirror."""
        from registry.workflows.mirror import status

        return status(self._services)

    def check_mirror(self, target: str = "mlflow") -> tuple[str, ...]:
        """Compare a mirror's copies with the log; return each difference as a line."""
        from registry.workflows.mirror import check

        return check(self._services, target)
