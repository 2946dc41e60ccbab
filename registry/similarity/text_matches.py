"""Texts that say nearly what a query says, as matches of a look-up.

No E: how often different texts are this alike was never counted.
"""

from __future__ import annotations

from collections.abc import Container

from registry.core.digests import asset_id
from registry.core.look_up import Match
from registry.similarity.shelves import Holder
from registry.similarity.text_index import TextMatch
from registry.similarity.texts import MINHASH


def text_match(
    bank: str, one: TextMatch, holder: Holder, confirmed: Container[tuple[str, str]]
) -> Match:
    """Return a text of a bank as a match; `confirmed` are (hex SHA-256, kind)."""
    sure = (one.sha256, "text") in confirmed
    return Match(
        asset_id(one.sha256),
        holder.records,
        "text",
        None,
        "match" if sure else one.verdict,
        "part of a longer text" if one.part else "",
        bank=bank,
        expected=None,
        expected_bound=None,
        fingerprint=MINHASH,
        similarity=one.similarity,
        similarity_error=one.error,
        state="confirmed" if sure else "",
        entry=holder.entry,
    )
