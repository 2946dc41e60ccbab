"""Trust: who may sign what and when, and how that may change."""

from __future__ import annotations

from typing import Any

import pytest

from registry.core.dsse import Envelope, Signature
from registry.core.statements import (
    PREDICATE_DECISION,
    PREDICATE_GENERATION,
    PREDICATES,
    Statement,
    predicate_uri,
)
from registry.core.trust import ROLE_FOR, ROLES, TrustKey, TrustState
from registry.errors import FormatError, TrustError

NOW = 1_795_172_820_000
TAINT = predicate_uri("taint")
UNKNOWN_CURVE = """\
-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQgDQgAEjlM7b6C/e0YluzBmfAH7YH75+Lio
D+9bMAYocDGHsqNz6x294DMYNm0Gn4Om9ZAAU8c2M8sEGyHFXhqGwfQAtA==
-----END PUBLIC KEY-----
"""


def genesis(book: Any) -> TrustState:
    return TrustState.genesis(Statement.parse(book.envelopes[0].payload), book.envelopes[0])


def applied(state: TrustState, sealed: Any, *signers: Any, at: int = NOW) -> TrustState:
    first, *others = signers
    envelope = first.envelope(sealed.payload, *others)
    return state.apply(Statement.parse(envelope.payload), envelope, at)


def refused(code: str, call: Any, *args: Any) -> None:
    with pytest.raises((TrustError, FormatError)) as error:
        call(*args)
    assert error.value.code == code


def test_every_predicate_has_a_role() -> None:
    assert ROLE_FOR.keys() == PREDICATES
    assert set(ROLE_FOR.values()) <= set(ROLES)
    assert ROLE_FOR[PREDICATE_GENERATION] == "generator"
    assert ROLE_FOR[PREDICATE_DECISION] == "policy"
    admin = {uri for uri, role in ROLE_FOR.items() if role == "admin"}
    assert admin == {predicate_uri("trust"), predicate_uri("trust", 2), predicate_uri("erasure")}


def test_a_key_counts_with_its_role_and_within_its_window(book: Any, keys: Any) -> None:
    admin, maker = book.admin, book.maker
    until = NOW + 5000
    sealed = book.trust(admin.trusted("admin"), maker.trusted("reviewer", until=until))
    envelope = admin.envelope(sealed.payload)
    state = TrustState.genesis(Statement.parse(sealed.payload), envelope)
    signed = maker.envelope(b"{}")
    for at in (NOW, until - 1):
        assert state.authorize(signed, TAINT, at).keyid == maker.keyid
    for at in (NOW - 1, until):
        refused("trust.outside-window", state.authorize, signed, TAINT, at)
    refused("trust.missing-role", state.authorize, signed, PREDICATE_GENERATION, NOW)
    refused("trust.missing-role", state.authorize, admin.envelope(b"{}"), TAINT, NOW)
    refused("trust.unknown-key", state.authorize, keys(9).envelope(b"{}"), TAINT, NOW)
    refused("trust.unknown-predicate", state.authorize, signed, "https://example.org/x", NOW)


def test_a_signature_by_a_known_key_must_cover_the_payload(book: Any) -> None:
    state, maker, admin = genesis(book), book.maker, book.admin
    forged = Envelope(b"{}", (maker.signature(b"other"),))
    refused("trust.bad-signature", state.authorize, forged, TAINT, NOW)
    borrowed = Envelope(b"{}", (Signature(admin.keyid, maker.signature(b"{}").sig),))
    refused("trust.bad-signature", state.authorize, borrowed, TAINT, NOW)
    half = Envelope(b"{}", (maker.signature(b"{}"), admin.signature(b"other")))
    refused("trust.bad-signature", state.authorize, half, TAINT, NOW)


def test_signatures_by_strangers_neither_help_nor_harm(book: Any, keys: Any) -> None:
    state = genesis(book)
    both = keys(9).envelope(b"{}", book.maker)
    assert state.authorize(both, TAINT, NOW).keyid == book.maker.keyid
    junk = Envelope(b"{}", (Signature("00" * 32, b"junk"), book.maker.signature(b"{}")))
    assert state.authorize(junk, TAINT, NOW).keyid == book.maker.keyid


def test_genesis_is_signed_by_an_admin_inside_it(book: Any, keys: Any) -> None:
    admin, maker = book.admin, book.maker
    sealed = book.trust(admin.trusted("admin"), maker.trusted("generator"))
    statement = Statement.parse(sealed.payload)
    assert TrustState.genesis(statement, admin.envelope(sealed.payload)).keys.keys() == {
        admin.keyid,
        maker.keyid,
    }
    refused("trust.missing-role", TrustState.genesis, statement, maker.envelope(sealed.payload))
    refused("trust.unknown-key", TrustState.genesis, statement, keys(9).envelope(sealed.payload))
    forged = Envelope(sealed.payload, (admin.signature(b"other"),))
    refused("trust.bad-signature", TrustState.genesis, statement, forged)
    later = book.trust(admin.trusted("admin"), supersedes="rec:" + "00" * 32)
    signed = admin.envelope(later.payload)
    refused("trust.invalid", TrustState.genesis, Statement.parse(later.payload), signed)


def test_the_statement_must_be_the_one_that_was_signed(book: Any, keys: Any) -> None:
    mine = book.trust(keys(9).trusted("admin"), supersedes=book.entries[0].record_id)
    honest = book.trust(book.admin.trusted("admin"), supersedes=book.entries[0].record_id)
    envelope = book.admin.envelope(honest.payload)
    refused("trust.invalid", genesis(book).apply, Statement.parse(mine.payload), envelope, NOW)


def test_a_later_state_needs_an_admin_of_the_state_before(book: Any, keys: Any) -> None:
    state, first = genesis(book), book.entries[0].record_id
    usurper = keys(9)
    coup = book.trust(usurper.trusted("admin"), supersedes=first)
    refused("trust.unknown-key", applied, state, coup, usurper)
    refused("trust.missing-role", applied, state, coup, book.maker)
    handed_over = applied(state, coup, book.admin)
    assert handed_over.keys.keys() == {usurper.keyid}
    back = book.trust(book.admin.trusted("admin"), supersedes=first)
    refused("trust.unknown-key", applied, handed_over, back, book.admin)


def test_a_revoked_key_stops_counting_from_the_next_record_on(book: Any) -> None:
    state = genesis(book)
    without = book.trust(book.admin.trusted("admin"), supersedes=book.entries[0].record_id)
    later = applied(state, without, book.admin)
    signed = book.maker.envelope(b"{}")
    assert state.authorize(signed, TAINT, NOW)
    refused("trust.unknown-key", later.authorize, signed, TAINT, NOW)


def test_an_expired_admin_cannot_change_trust(book: Any) -> None:
    sealed = book.trust(book.admin.trusted("admin", until=NOW + 10))
    state = TrustState.genesis(Statement.parse(sealed.payload), book.admin.envelope(sealed.payload))
    longer = book.trust(book.admin.trusted("admin"), supersedes=book.entries[0].record_id)
    assert applied(state, longer, book.admin, at=NOW + 9)
    with pytest.raises(TrustError) as error:
        applied(state, longer, book.admin, at=NOW + 10)
    assert error.value.code == "trust.outside-window"


def test_the_origin_never_changes_and_a_gap_shows(book: Any) -> None:
    state, first, admin = genesis(book), book.entries[0].record_id, book.admin
    vkey = str(book.vkey).replace("test/", "best/")
    moved = book.trust(admin.trusted("admin"), supersedes=first, origin="best/x", log_vkey=vkey)
    refused("vkey.invalid", applied, state, moved, admin)
    nameless = book.trust(admin.trusted("admin"))
    refused("trust.invalid", applied, state, nameless, admin)
    other = type(book)(admin, book.maker, origin="other/1")
    elsewhere = other.trust(admin.trusted("admin"), supersedes=first)
    refused("trust.origin", applied, state, elsewhere, admin)


@pytest.mark.parametrize(
    "change",
    [
        lambda p: p.pop("keys"),
        lambda p: p.update(keys=[]),
        lambda p: p.update(keys=p["keys"] * 2),
        lambda p: p.update(keys=p["keys"][1:]),
        lambda p: p.update(log={}),
        lambda p: p.update(origin="other"),
        lambda p: p["keys"][0].update(keyid="00" * 32),
        lambda p: p["keys"][0].update(algorithm="rsa"),
        lambda p: p["keys"][0].update(roles=[]),
        lambda p: p["keys"][0].update(roles=["admin", "root"]),
        lambda p: p["keys"][0].update(roles=["admin", ["admin"]]),
        lambda p: p["keys"][0].update(roles={"admin": 1}),
        lambda p: p["keys"][0].update(roles="admin"),
        lambda p: p["keys"][0].update(keyid=[]),
        lambda p: p["keys"][0].update(publicKeyPem=UNKNOWN_CURVE),
        lambda p: p["keys"][0].update(publicKeyPem=["a"]),
        lambda p: p["log"].update(vkey=7),
        lambda p: p["log"].update(vkey=["a"]),
        lambda p: p["keys"][0].update(notBefore="soon"),
        lambda p: p["keys"][0].update(publicKeyPem="-----BEGIN PUBLIC KEY-----\n"),
        lambda p: p["keys"][0].pop("roles"),
        lambda p: p["keys"].insert(0, "key"),
    ],
)
def test_a_malformed_state_is_refused(book: Any, change: Any) -> None:
    from registry.core import jsonio

    predicate = dict(jsonio.loads(book.envelopes[0].payload, max_bytes=10**6)["predicate"])
    assert TrustState.from_predicate(predicate).origin == book.origin
    change(predicate)
    with pytest.raises(FormatError):
        TrustState.from_predicate(predicate)


def test_keys_round_trip(book: Any) -> None:
    for key in (book.admin.trusted("admin"), book.maker.trusted("generator", until=NOW + 1)):
        assert TrustKey.from_document(key.to_document()) == key
