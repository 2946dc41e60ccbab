"""The parts of one open registry, handed to every workflow; and time, chance and identity."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import Engine

from registry.core import predicates
from registry.core.ids import uuid7
from registry.core.predicates import Head
from registry.core.schemas import SchemaSet
from registry.log.reader import LogReader
from registry.resources import schema_set
from registry.settings import Settings
from registry.signing.keys import Signer
from registry.signing.protected import read_protected
from registry.signing.sealing import Keyring
from registry.store.transaction import refuse_read_only
from registry.vault.blobs import BlobIndex
from registry.vault.store import Vault
from registry.workflows.role_keys import open_role

if TYPE_CHECKING:
    from registry.log.sequencer import Sequencer

ROLES = ("generator", "policy", "reviewer", "admin")
"""Roles that a home has a signing key of its own for; the log's key is apart."""
PSEUDONYM_KEY = "pseudonym.key"


def clock_ms() -> int:
    """Return the time, epoch milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Services:
    """One open registry; `now` and `entropy` are where time and chance come in."""

    settings: Settings
    engine: Engine
    vault: Vault
    blobs: BlobIndex
    keyring: Keyring
    reader: LogReader
    open_sequencer: Callable[[], Sequencer]
    now: Callable[[], int] = clock_ms
    entropy: Callable[[int], bytes] = secrets.token_bytes
    _opening: threading.Lock = field(default_factory=threading.Lock)
    _sequencer: list[Sequencer] = field(default_factory=list)
    _signers: dict[str, Signer] = field(default_factory=dict)
    _secrets: dict[str, bytes] = field(default_factory=dict, repr=False)

    @property
    def sequencer(self) -> Sequencer:
        """The door to the log, opened when something is first written."""
        with self._opening:
            if not self._sequencer:
                self._sequencer.append(self.open_sequencer())
        return self._sequencer[0]

    @property
    def schemas(self) -> SchemaSet:
        """The schemas of every record, read when they are first needed."""
        return schema_set()

    def signer(self, role: str) -> Signer:
        """Return the home's signer for a role; raises KeyFileError when it cannot be opened."""
        if role not in self._signers:
            return self.fresh_signer(role)
        return self._signers[role]

    def fresh_signer(self, role: str) -> Signer:
        """Return the signer for a role as the log has it now: another one after a rotation."""
        signer = open_role(self.settings, role, self.reader.trust, self.now())
        self._signers[role] = signer
        return signer

    def forget_signer(self, role: str) -> None:
        """Choose the role's key anew when it is next needed: trust was changed."""
        self._signers.pop(role, None)

    def salt(self) -> bytes:
        """Return 128 fresh random bits for a disclosure (RFC 9901)."""
        return self.entropy(16)

    def head(self, project: str | None = None, actor: str | None = None) -> Head:
        """Begin a record: a fresh UUIDv7, the project, and who acts (a pseudonym, name sealed).

        Raises HomeError (`home.read-only`) before anything of the record is written.
        """
        refuse_read_only(self.engine)
        invocation = uuid7(self.now(), self.entropy(10))
        return Head(invocation, project or self.settings.project, self._actor(actor))

    def pseudonym(self, person: str) -> str:
        """Return the keyed pseudonym under which this registry's records know a person."""
        key = self._secret(PSEUDONYM_KEY)
        mac = hmac.new(key, person.encode("utf-8", "surrogatepass"), hashlib.sha256)
        return mac.hexdigest()[:32]

    def secret_for(self, purpose: str) -> bytes:
        """Return a secret of this home (32 bytes) for one purpose, which no pseudonym gives away.

        Raises KeyFileError in a home without keys.
        """
        message = b"\xff" + purpose.encode("utf-8")  # 0xff begins no person's name in UTF-8
        return hmac.new(self._secret(PSEUDONYM_KEY), message, hashlib.sha256).digest()

    def _secret(self, name: str) -> bytes:
        """Return a secret of the home; opened once, since a passphrase takes its time."""
        if name not in self._secrets:
            path = self.settings.home.keys / name
            self._secrets[name] = read_protected(path, self.settings.passphrase)
        return self._secrets[name]

    def _actor(self, name: str | None) -> dict[str, Any]:
        person = name or self.settings.actor
        return predicates.actor(self.pseudonym(person), "key", person)
