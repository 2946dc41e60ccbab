"""Whether the signer of a record is believed now, whatever it could do when it signed.

A record was judged by the trust of its day, and stays in the log; here later trust records and
re-attestations are heard.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from registry.catalog import signers
from registry.core.digests import record_id
from registry.core.statements import predicate_uri
from registry.core.times import format_time
from registry.core.trust import ROLE_FOR, TrustState, compromise_error
from registry.store.transaction import read
from registry.workflows.services import Services
from registry.workflows.view import RecordView

PREDICATE_REATTESTATION = predicate_uri("reattestation")


@dataclass(frozen=True, slots=True)
class Standing:
    """What is thought now of a record's signer.

    `since_ms` is when its key was compromised, if that covers the record; `reattested_by` are the
    records, by keys that are believed, that vouch for it all the same.
    """

    keyid: str
    roles: tuple[str, ...]
    known: bool
    since_ms: int | None = None
    reattested_by: tuple[str, ...] = ()

    @property
    def trusted(self) -> bool:
        """Whether the record's signature is believed."""
        return self.known and (self.since_ms is None or bool(self.reattested_by))


def standing(services: Services, view: RecordView) -> Standing:
    """Return what is thought now of the signer of a record."""
    newest = services.reader.trust()
    keyid = _signer(services, view, newest)
    key = newest.keys.get(keyid)
    roles = tuple(sorted(key.roles)) if key is not None else ()
    if not newest.compromised:
        return Standing(keyid, roles, key is not None)
    since = newest.doubted(keyid, view.entry.time_ms)
    if since is None:
        return Standing(keyid, roles, key is not None)
    with read(services.engine) as conn:
        by = vouching(services, conn, newest, keyid, view.entry.leaf_hash())
    return Standing(keyid, roles, key is not None, since, by)


def check_standing(services: Services, view: RecordView) -> str:
    """Say why a record's signer is believed; raises TrustError (`trust.compromised`)."""
    found = standing(services, view)
    if found.since_ms is None:
        return f"key {found.keyid[:16]} is not known to be compromised"
    if not found.reattested_by:
        raise compromise_error(found.keyid, found.since_ms)
    since = format_time(found.since_ms)
    return f"compromised since {since}, re-attested by {', '.join(found.reattested_by)}"


def vouching(
    services: Services, conn: Connection, state: TrustState, keyid: str, leaf_hash: bytes
) -> tuple[str, ...]:
    """Return the re-attestations of a record that count: by another key, believed at its time.

    The projection only says where to look; each is read from the log.
    """
    record = record_id(leaf_hash.hex())
    found = []
    for index in signers.reattestations_of(conn, leaf_hash):
        view = RecordView(services, index)
        if view.statement.predicate_type != PREDICATE_REATTESTATION:
            continue
        by = view.envelope.signatures[0].keyid
        sound = by != keyid and state.doubted(by, view.entry.time_ms) is None
        if sound and view.statement.predicate["record"] == record:
            found.append(view.entry.record_id)
    return tuple(found)


def _signer(services: Services, view: RecordView, newest: TrustState) -> str:
    """Return the key that a record counts by; of several, one that is believed now."""
    signatures = view.envelope.signatures
    if len(signatures) == 1:
        return signatures[0].keyid
    before, time_ms = services.reader.trust(before=view.index), view.entry.time_ms
    role = ROLE_FOR.get(view.statement.predicate_type)
    keys = (before.keys.get(signature.keyid) for signature in signatures)
    entitled = [k.keyid for k in keys if k and role in k.roles and before.counts(k, time_ms)]
    believed = (keyid for keyid in entitled if newest.doubted(keyid, time_ms) is None)
    return next(believed, (entitled or [signatures[0].keyid])[0])
