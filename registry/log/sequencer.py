"""The one writer of the log: it orders submissions, and makes each durable before it answers.

The order of a commit: keys of sealed texts → database (log, projection, sidecars, signed head in
one transaction) → checkpoint file. After a crash between two of these steps, the next commit
finishes the rest. What the projector writes is not known here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sqlalchemy import Connection, Engine

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.notes import VerifierKey
from registry.core.schemas import SchemaSet
from registry.core.trust import TrustState
from registry.errors import HomeError, KeyFileError, RollbackError, UnavailableError
from registry.log.append import append_log, append_sidecars
from registry.log.group import GroupCommit
from registry.log.head import StoredHead, lock_head, read_head, write_head
from registry.log.judge import Judge, Judgement, known_invocations
from registry.log.locking import FairLock
from registry.log.outside import CheckpointFile
from registry.log.prepare import Prepared, prepare
from registry.log.submission import LogReceipt, Projector, Submission
from registry.log.tree import TreeHashes
from registry.log.trust_state import TrustCache
from registry.settings import Limits
from registry.signing.keys import Signer, note_key
from registry.signing.sealing import Keyring
from registry.store.transaction import read, refuse_read_only, write

OUTBOX_TARGETS = ("mlflow", "vault")
"""Mirrors that every record is sent to."""

_WHOLE_BATCH = (HomeError, KeyFileError, RollbackError, UnavailableError)
"""Errors that no submission of a batch is the cause of."""


class Sequencer:
    """Appends submissions to the log. Safe for threads, and beside other processes on one home.

    `submit` is durable on return and idempotent by payload; concurrent callers share commits.
    `log_signer` opens the log's Ed25519 key when the first commit needs it; `clock` gives epoch
    milliseconds.
    """

    def __init__(  # noqa: PLR0913  # all by keyword; one factory puts the parts together
        self,
        *,
        engine: Engine,
        keyring: Keyring,
        log_signer: Callable[[], Signer],
        vkey: VerifierKey,
        lock_path: Path,
        checkpoint_path: Path,
        schemas: SchemaSet,
        projector: Projector,
        clock: Callable[[], int],
        limits: Limits,
        outbox_targets: Sequence[str] = OUTBOX_TARGETS,
    ) -> None:
        self._engine = engine
        self._keyring = keyring
        self._open_signer = log_signer
        self._signer: Signer | None = None
        self._vkey = vkey
        self._lock = FairLock(lock_path, limits.lock_wait_s)
        self._outside = CheckpointFile(checkpoint_path, vkey)
        self._schemas = schemas
        self._projector = projector
        self._clock = clock
        self._targets = tuple(outbox_targets)
        self._trust = TrustCache(vkey)
        self._group = GroupCommit[Submission, LogReceipt](self._submit_all, limits.commit_batch)

    def submit(self, submission: Submission) -> LogReceipt:
        """Append a submission; durable on return. The log's first must be its trust record.

        The same payload again gives the same receipt, with `new` False. Raises FormatError and
        SchemaError for what cannot be read, TrustError for a signer without authority at the log
        time, ConflictError for an invocation id of another payload, HomeError (`home.read-only`),
        RollbackError for a database older than the checkpoint file, KeyFileError for the log's
        key, UnavailableError when nothing can be stored now: then submit again.
        """
        refuse_read_only(self._engine)
        return self._group.submit(submission)

    def _submit_all(self, batch: Sequence[Submission]) -> Sequence[LogReceipt | Exception]:
        """Prepare a batch before the log is locked, and commit what can be.

        One thread does it for all: threads that prepare at once only wrest the interpreter from
        each other, and from the commit before theirs.
        """
        prepared = self._prepare(batch)
        fit = [item for item in prepared if isinstance(item, Prepared)]
        outcomes = iter(self._commit(fit) if fit else ())
        return [next(outcomes) if isinstance(p, Prepared) else p for p in prepared]

    def _prepare(self, batch: Sequence[Submission]) -> list[Prepared | Exception]:
        if self._trust.history.newest is None:
            self._warm_up()
        trust, now_ms = self._trust.history.newest, self._clock()
        return [self._prepared(submission, trust, now_ms) for submission in batch]

    def _prepared(
        self, submission: Submission, trust: TrustState | None, now_ms: int
    ) -> Prepared | Exception:
        try:
            return prepare(submission, self._schemas, trust, now_ms)
        except Exception as error:  # noqa: BLE001  # of one submission, told to its caller
            return error

    def _warm_up(self) -> None:
        with read(self._engine) as conn:
            self._trust.refresh(conn, read_head(conn).size)

    def _commit(self, batch: Sequence[Prepared]) -> Sequence[LogReceipt | Exception]:
        """Commit a batch; where a submission spoils it, commit the halves."""
        try:
            with self._lock.hold():
                return self._commit_locked(batch)
        except _WHOLE_BATCH:
            raise
        except Exception as error:  # noqa: BLE001  # whatever a projector may raise
            if len(batch) == 1:
                return [error]
        middle = len(batch) // 2
        return [*self._commit_part(batch[:middle]), *self._commit_part(batch[middle:])]

    def _commit_part(self, batch: Sequence[Prepared]) -> Sequence[LogReceipt | Exception]:
        """Commit a half; its failure is not that of the other half, which may be committed."""
        try:
            return self._commit(batch)
        except _WHOLE_BATCH as error:
            return [error] * len(batch)

    def _commit_locked(self, batch: Sequence[Prepared]) -> Sequence[LogReceipt | Exception]:
        with write(self._engine) as conn:
            head = lock_head(conn)
            outside = self._outside.read()
            root_at = self._root_of(conn, head)
            self._outside.refuse_rollback(outside, head.size, root_at, head.time_ms)
            judgement = self._judge(conn, head, batch)
            if judgement.accepted:
                head = self._append(conn, head, judgement)
        self._trust.keep(judgement.history)
        if head.size and (outside is None or outside.size < head.size):
            self._outside.publish(head.note)
        return judgement.outcomes

    def _judge(self, conn: Connection, head: StoredHead, batch: Sequence[Prepared]) -> Judgement:
        history = self._trust.refresh(conn, head.size)
        if history.size != head.size:
            raise RollbackError(
                f"the database went back from {history.size} to {head.size} records while in use",
                hint="restore the newest database",
            )
        time_ms = max(self._clock(), head.time_ms)
        judge = Judge(history, self._vkey, known_invocations(conn, batch), time_ms)
        return judge.judge(batch)

    def _append(self, conn: Connection, head: StoredHead, judgement: Judgement) -> StoredHead:
        batch = judgement.accepted
        records = [record for record, _ in batch]
        frontier = head.frontier.extend(record.leaf_hash for record in records)
        note = self._sign(Checkpoint(self._vkey.name, frontier.size, frontier.root()))
        self._keyring.put_many(
            {
                item.payload_sha256.hex(): item.seal_key
                for _, item in batch
                if item.seal_key is not None
            }
        )
        append_log(conn, batch)
        append_sidecars(conn, batch, self._targets)
        self._projector(conn, records)
        grown = StoredHead(frontier, note, records[-1].time_ms)
        write_head(conn, grown)
        return grown

    def _sign(self, checkpoint: Checkpoint) -> bytes:
        if self._signer is None:
            signer = self._open_signer()
            if note_key(signer, self._vkey.name) != self._vkey:
                raise KeyFileError(
                    "the log's private key does not belong to its verifier key",
                    code="key.mismatch",
                    hint="restore keys/log.pem and keys/log.vkey from one backup",
                )
            self._signer = signer
        return checkpoints.sign(checkpoint, self._vkey, self._signer.sign)

    @staticmethod
    def _root_of(conn: Connection, head: StoredHead) -> Callable[[int], bytes]:
        def root_at(size: int) -> bytes:
            return head.frontier.root() if size == head.size else TreeHashes(conn).root(size)

        return root_at
