"""Keys and who may change them: rotation, revocation, compromise, proposals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from registry.workflows.services import Services

if TYPE_CHECKING:
    from registry.core.trust import TrustState
    from registry.core.trust_answers import (
        AffectedReport,
        PassphraseChanged,
        ProposalView,
        ReattestReport,
        TrustChanged,
    )
    from registry.core.trust_changes import Proposal
    from registry.signing.keys import Signer
    from registry.workflows.trust import Wish

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""


class Trust:
    """The keys that the log trusts. `key` is a key id, or 8 or more of its digits.

    Methods that change trust raise TrustError when this home's admin key may not (alone), and
    NotFoundError, AmbiguousError, InputError or ConflictError for what names no key, or a change
    that cannot be; nothing is changed then.
    """

    def __init__(self, services: Services) -> None:
        self._services = services

    def state(self) -> TrustState:
        """Return who may sign what, as the newest trust record says."""
        return self._services.reader.trust()

    def change(
        self, wish: Wish, *, reason: str | None = None, actor: str | None = None
    ) -> TrustChanged:
        """Add, rotate, revoke and disown keys, or set the threshold, all in one record."""
        from registry.workflows.trust import change

        return change(self._services, wish, reason=reason, actor=actor)

    def rotate(
        self, *roles: str, overlap_ms: int = 0, reason: str | None = None, actor: str | None = None
    ) -> TrustChanged:
        """Give roles new keys here; the windows of the old ones close `overlap_ms` later."""
        from registry.workflows.trust import Wish

        return self.change(Wish(rotate=roles, overlap_ms=overlap_ms), reason=reason, actor=actor)

    def revoke(
        self, *keys: str, reason: str | None = None, actor: str | None = None
    ) -> TrustChanged:
        """Close the windows of keys now; what they signed before stays believed."""
        from registry.workflows.trust import Wish

        return self.change(Wish(revoke=keys), reason=reason, actor=actor)

    def compromise(
        self,
        key: str,
        *,
        since_ms: int | None = None,
        reason: str,
        replace: bool = False,
        actor: str | None = None,
    ) -> TrustChanged:
        """Disown what a key signed since a log time (epoch ms), else from now on; for good.

        With `replace`, this home gets a new key for its roles in the same record.
        """
        from registry.workflows.trust import Wish

        wish = Wish(compromise=(key,), since_ms=since_ms, replace=(key,) if replace else ())
        return self.change(wish, reason=reason, actor=actor)

    def affected(
        self, key: str, *, since_ms: int | None = None, limit: int = 100, offset: int = 0
    ) -> AffectedReport:
        """Return a page of what a compromised key signed since; `since_ms` asks for another time.

        Raises InputError (`trust.not-compromised`) for a key that was not declared so.
        """
        from registry.workflows.compromise import affected

        return affected(self._services, key, since_ms=since_ms, limit=limit, offset=offset)

    def reattest(
        self, refs: Sequence[str | Path], *, reason: str, actor: str | None = None
    ) -> ReattestReport:
        """Vouch, by the reviewer's key, for records whose own key was compromised.

        Raises InputError (`reattest.sound`, `reattest.four-eyes`, `reattest.reason`).
        """
        from registry.workflows.compromise import reattest

        return reattest(self._services, [str(ref) for ref in refs], reason=reason, actor=actor)

    def reattest_all(
        self,
        key: str,
        *,
        reason: str,
        actor: str | None = None,
        progress: Progress | None = None,
    ) -> ReattestReport:
        """Vouch for all that a compromised key signed since and nobody has vouched for."""
        from registry.workflows.compromise import reattest_all

        return reattest_all(self._services, key, reason=reason, actor=actor, progress=progress)

    def propose(
        self, wish: Wish, *, reason: str | None = None, actor: str | None = None
    ) -> tuple[Proposal, ProposalView]:
        """Write a change as a proposal, signed by this home's admin key, for others to sign."""
        from registry.workflows.trust import propose

        return propose(self._services, wish, reason=reason, actor=actor)

    def review(self, proposal: Proposal) -> ProposalView:
        """Say what a proposal would change, who signed it, and how many more must."""
        from registry.workflows.trust import view

        return view(self._services, proposal)

    def sign(self, proposal: Proposal, signer: Signer | None = None) -> Proposal:
        """Add a signature to a proposal, by this home's admin key or another's.

        Raises TrustError (`trust.gap`, `trust.missing-role`).
        """
        from registry.workflows.trust import check_signable, sign_proposal

        chosen = signer or self._services.signer("admin")
        check_signable(self._services, proposal, chosen)
        return sign_proposal(proposal, chosen)

    def submit(self, proposal: Proposal) -> TrustChanged:
        """Submit a proposal that enough admins signed.

        Raises TrustError (`trust.gap` for a stale one, `trust.threshold`).
        """
        from registry.workflows.trust import submit_proposal

        return submit_proposal(self._services, proposal)

    def change_passphrase(self, new: str | None) -> PassphraseChanged:
        """Put every secret of the home under another passphrase, or under none.

        This object goes on with what it has opened; open the registry again for the rest. Raises
        KeyFileError (`key.passphrase`) when the secrets do not open: nothing is changed then.
        """
        from registry.core.trust_answers import PassphraseChanged
        from registry.signing.rekey import rekey

        settings = self._services.settings
        count = rekey(
            settings.home.keys, settings.passphrase, new, wait_s=settings.limits.lock_wait_s
        )
        return PassphraseChanged(str(settings.home.root), count, new is not None)
