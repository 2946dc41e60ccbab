"""Change who may sign: at once by one admin, or as a proposal that others sign first.

A change of trust is a record like any other; the log judges it. What is checked here before is
for clearer words, and so that no key is made for a change that cannot be.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from registry.core import disclosures, trust_predicates
from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, keyid, pae, spki_from_pem, spki_to_pem
from registry.core.predicates import SealedPayload, seal_statement
from registry.core.statements import Subject
from registry.core.times import format_time
from registry.core.trust import PREDICATE_TRUST_V2, ROLES, TrustKey, TrustState
from registry.core.trust_answers import NewKey, ProposalView, TrustChanged
from registry.core.trust_changes import Proposal, TrustChange, changed, describe
from registry.errors import GenopsError, InputError, TrustError, UnavailableError
from registry.log.trust_state import TrustRecord
from registry.settings import Settings
from registry.signing.keys import FileSigner, Signer, generate_key, generate_named, public_path
from registry.workflows.key_names import key_named
from registry.workflows.role_keys import chosen_file, file_keyid
from registry.workflows.services import ROLES as HOME_ROLES
from registry.workflows.services import Services
from registry.workflows.submit import check_texts, sign, submit_signed

SIGNING_ROLES = tuple(role for role in ROLES if role != "log")


@dataclass(frozen=True, slots=True)
class KeyRequest:
    """A public key that is to be trusted: its PEM, its roles, and its window (epoch ms)."""

    public_pem: str
    roles: tuple[str, ...]
    not_before_ms: int | None = None
    not_after_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Wish:
    """What is asked for, keys by their digits: see `TrustChange`.

    `rotate` are roles of this home that get a new key; the windows of their old ones close
    `overlap_ms` later. `replace` are keys in this home that get a successor in the same roles.
    """

    add: tuple[KeyRequest, ...] = ()
    rotate: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    revoke: tuple[str, ...] = ()
    compromise: tuple[str, ...] = ()
    since_ms: int | None = None
    threshold: int | None = None
    overlap_ms: int = 0


def generate(path: Path, passphrase: str | None) -> NewKey:
    """Make a signing key anywhere; it counts nowhere until a registry adds it."""
    return _new_key(generate_key(path, "p256", passphrase))


def generate_for(settings: Settings, role: str, passphrase: str | None) -> NewKey:
    """Make a signing key for a role in a home, which signs with it once the log trusts it.

    Raises InputError (`trust.role`).
    """
    _check_home_role(role)
    return _new_key(generate_named(settings.home.keys, role, passphrase))


def change(
    services: Services, wish: Wish, *, reason: str | None = None, actor: str | None = None
) -> TrustChanged:
    """Change trust at once, by this home's admin key.

    Raises TrustError (`trust.threshold` when others must sign too, `trust.unreachable`, …),
    InputError, NotFoundError, ConflictError; nothing is changed then.
    """
    newest = _newest(services)
    needed = newest.state.threshold
    if needed > 1:
        raise TrustError(
            f"a change of trust needs {needed} admins, and this home signs for one of them:"
            f" {needed - 1} more must sign",
            code="trust.threshold",
            hint="write it with `genops keys propose`, and have the others sign it",
        )
    with _Making(services, newest.state) as making:
        after = making.wanted(wish)
        sealed = _statement(services, newest, after, reason, actor)
        envelope = Envelope.parse(sign(services.signer("admin"), sealed.payload))
        receipt = submit_signed(services, envelope, sealed)
    for role in HOME_ROLES:
        services.forget_signer(role)
    return TrustChanged(
        receipt.record, receipt.index, receipt.time, describe(newest.state, after), making.keys
    )


def propose(
    services: Services, wish: Wish, *, reason: str | None = None, actor: str | None = None
) -> tuple[Proposal, ProposalView]:
    """Write a change of trust as a proposal, signed by this home's admin key.

    Raises as `change` does. Keys that were made for it count once it was submitted.
    """
    newest = _newest(services)
    with _Making(services, newest.state) as making:
        after = making.wanted(wish)
        sealed = _statement(services, newest, after, reason, actor)
        signer = services.signer("admin")
        proposal = Proposal(Envelope.parse(sign(signer, sealed.payload)), sealed.disclosures)
    return proposal, replace(view(services, proposal), keys=making.keys)


def sign_proposal(proposal: Proposal, signer: Signer) -> Proposal:
    """Return a proposal with one more signature; signing again changes nothing.

    Raises InputError (`key.kind`) for a key that cannot sign records.
    """
    if signer.kind != "p256":
        raise InputError(f"a {signer.kind} key cannot sign records", code="key.kind")
    payload = proposal.envelope.payload
    return proposal.signed(signer.keyid, signer.sign(pae(PAYLOAD_TYPE, payload)))


def check_signable(services: Services, proposal: Proposal, signer: Signer) -> None:
    """Refuse to sign what could not be submitted.

    Raises TrustError (`trust.gap` for a proposal that is stale, `trust.missing-role` for a key
    that is no admin's now).
    """
    newest = _newest(services)
    _refuse_stale(newest, proposal)
    if signer.keyid not in {key.keyid for key in newest.state.admins_at(services.now())}:
        raise TrustError(
            f"key {signer.keyid} is no admin's now",
            code="trust.missing-role",
            hint="give an admin's key by --key",
        )


def submit_proposal(services: Services, proposal: Proposal) -> TrustChanged:
    """Submit a proposal that enough admins signed.

    Raises TrustError (`trust.gap` when trust was changed meanwhile, `trust.threshold` naming how
    many signatures are missing), and what else the log refuses it for.
    """
    newest = _newest(services)
    _refuse_stale(newest, proposal)
    newest.state.apply(proposal.statement, proposal.envelope, services.now())
    sealed = SealedPayload(proposal.envelope.payload, proposal.disclosures)
    receipt = submit_signed(services, proposal.envelope, sealed)
    for role in HOME_ROLES:
        services.forget_signer(role)
    changes = describe(newest.state, proposal.state)
    return TrustChanged(receipt.record, receipt.index, receipt.time, changes)


def view(services: Services, proposal: Proposal) -> ProposalView:
    """Say what a proposal would change here, who signed it, and how many more must."""
    newest = _newest(services)
    state = newest.state
    counting = {key.keyid for key in state.admins_at(services.now())}
    signed = tuple(s.keyid for s in proposal.envelope.signatures if s.keyid in counting)
    return replace(
        plain_view(proposal),
        changes=describe(state, proposal.state),
        signed_by=signed,
        needed=state.threshold,
        missing=max(0, state.threshold - len(signed)),
        current=proposal.supersedes == newest.record,
    )


def plain_view(proposal: Proposal) -> ProposalView:
    """Say what a proposal asks for, where there is no registry to compare it with."""
    state = proposal.state
    nothing = replace(state, keys={}, compromised={}, threshold=1)
    document = disclosures.unseal(proposal.statement.document, proposal.disclosures)
    reason = document["predicate"].get("reason")
    return ProposalView(
        supersedes=proposal.supersedes,
        changes=describe(nothing, state),
        reason=reason if isinstance(reason, str) else None,
        signed_by=tuple(s.keyid for s in proposal.envelope.signatures),
        needed=None,
        missing=None,
        current=None,
    )


class _Making:
    """Turns a wish into a state, making keys on the way; they are removed if the block fails.

    A key whose change may have been committed all the same is kept.
    """

    def __init__(self, services: Services, state: TrustState) -> None:
        self._services = services
        self._state = state
        self._now = services.now()
        self._made: list[FileSigner] = []

    @property
    def keys(self) -> tuple[NewKey, ...]:
        """The keys that were made."""
        return tuple(map(_new_key, self._made))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, GenopsError) and not isinstance(error, UnavailableError):
            for signer in self._made:
                signer.path.unlink()
                public_path(signer.path).unlink()

    def wanted(self, wish: Wish) -> TrustState:
        """Return the state that a wish leads to; raises InputError when it changes nothing."""
        close = dict.fromkeys((self._named(digits) for digits in wish.revoke), self._now)
        compromise = {}
        for digits in wish.compromise:
            since = self._now if wish.since_ms is None else wish.since_ms
            compromise[self._named(digits)] = self._past(since)
        rotated = [self._rotated(role) for role in wish.rotate]
        close |= {old: self._now + wish.overlap_ms for old, _ in rotated}
        add = [self._requested(request) for request in wish.add]
        add += [new for _, new in rotated]
        add += [self._successor(digits) for digits in wish.replace]
        plan = TrustChange(tuple(add), close, compromise, wish.threshold)
        after = changed(self._state, plan)
        if not describe(self._state, after):
            raise InputError(
                "this changes nothing", code="trust.no-change", hint="see `genops keys list`"
            )
        return after

    def _named(self, digits: str) -> str:
        return key_named(self._state, digits)

    def _past(self, since_ms: int) -> int:
        if since_ms > self._now:
            raise InputError(
                f"{format_time(since_ms)} is yet to come",
                code="trust.future",
                hint="to end a key's window, revoke it",
            )
        return since_ms

    def _requested(self, request: KeyRequest) -> TrustKey:
        unknown = set(request.roles) - set(SIGNING_ROLES)
        if unknown or not request.roles:
            raise InputError(
                f"there is no role {', '.join(sorted(unknown)) or 'given'}",
                code="trust.role",
                hint=f"the roles are {', '.join(SIGNING_ROLES)}",
            )
        spki = spki_from_pem(request.public_pem)
        since = self._now if request.not_before_ms is None else request.not_before_ms
        roles = tuple(dict.fromkeys(request.roles))
        return TrustKey(keyid(spki), spki_to_pem(spki), roles, since, request.not_after_ms)

    def _rotated(self, role: str) -> tuple[str, TrustKey]:
        """Return the key that signs in a role now, and a new one for all that it may sign."""
        _check_home_role(role)
        settings = self._services.settings
        if role in settings.signers:
            raise InputError(
                f"the key of {role} is kept at {settings.signers[role].uri}",
                code="keys.managed",
                hint="make a new one there, add its public half, and name it in genops.toml",
            )
        path = chosen_file(settings.home.keys, role, lambda: self._state, self._now)
        old = self._state.keys.get(file_keyid(path))
        if old is None:
            raise TrustError(
                f"the log knows no key {file_keyid(path)}, which this home has for {role}",
                code="trust.unknown-key",
                hint="add it: `genops keys add`",
            )
        return old.keyid, self._make(role, old.roles)

    def _successor(self, digits: str) -> TrustKey:
        """Return a new key for the roles of one that this home holds."""
        old = self._state.keys[self._named(digits)]
        role = next((role for role in HOME_ROLES if role in old.roles), None)
        if role is None:
            raise InputError(f"key {old.keyid} has no role of a home", code="trust.role")
        return self._make(role, old.roles)

    def _make(self, role: str, roles: Sequence[str]) -> TrustKey:
        settings = self._services.settings
        signer = generate_named(settings.home.keys, role, settings.passphrase)
        self._made.append(signer)
        return TrustKey(signer.keyid, spki_to_pem(signer.spki_der), tuple(roles), self._now)


def _check_home_role(role: str) -> None:
    if role not in HOME_ROLES:
        raise InputError(
            f"a home has no key for the role {role!r}",
            code="trust.role",
            hint=f"it has {', '.join(HOME_ROLES)}",
        )


def _statement(
    services: Services,
    newest: TrustRecord,
    after: TrustState,
    reason: str | None,
    actor: str | None,
) -> SealedPayload:
    head = services.head(actor=actor)
    predicate = trust_predicates.trust(head, after, supersedes=newest.record, reason=reason or None)
    check_texts(services, predicate)
    subject = Subject("out/0", sha256_hex(after.origin.encode("utf-8")))
    return seal_statement([subject], PREDICATE_TRUST_V2, predicate, services.salt)


def _newest(services: Services) -> TrustRecord:
    services.reader.trust()  # raises for an empty log
    return services.reader.trust_history().records[-1]


def _refuse_stale(newest: TrustRecord, proposal: Proposal) -> None:
    if proposal.supersedes != newest.record:
        raise TrustError(
            f"the proposal builds on {proposal.supersedes}, and trust was changed since by"
            f" {newest.record}",
            code="trust.gap",
            hint="write the proposal again, and have it signed again",
        )


def _new_key(signer: FileSigner) -> NewKey:
    public = public_path(signer.path)
    return NewKey(signer.keyid, str(signer.path), str(public), spki_to_pem(signer.spki_der))
