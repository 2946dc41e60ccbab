"""A check finds every change to the log, and names where it is."""

from __future__ import annotations

import re
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.cosignatures import CosignerKey
from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from registry.core.entries import LogEntry
from registry.core.merkle import Frontier, leaf_hash
from registry.core.notes import SignedNote
from registry.core.tiles import TILE_WIDTH
from registry.log import check as check_module
from registry.log import check_pool
from registry.log.check import CheckOptions, CheckReport, Progress, check_log
from registry.log.check_state import StateFile
from registry.resources import schema_set
from registry.store.bulk import insert_rows
from registry.store.sidecar_tables import CosignatureRow
from registry.store.transaction import write
from registry.store.types import table_of
from tests.log.conftest import ROLES, START_MS, Lab, generation_of, in_threads

ROOT = Path(__file__).parent.parent.parent
SIZE = TILE_WIDTH + 20
NEW_TRUST = 200


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A sound log of more than one tile, which each test copies.

    From record NEW_TRUST on, a second trust record lets the policy's key sign generations too.
    """
    lab = Lab(tmp_path_factory.mktemp("pattern"))
    sequencer = lab.sequencer()
    lab.fill(NEW_TRUST, sequencer)
    first = LogEntry.parse(lab.reader().entry(0)).record_id
    keys = [lab.key(role) for role in ROLES if role != "policy"]
    keys.append(lab.key("policy", "policy", "generator"))
    sequencer.submit(lab.trust(keys, supersedes=first))
    rest = [lab.generation(by="policy") for _ in range(SIZE - NEW_TRUST - 1)]
    in_threads(sequencer.submit, rest, 16)
    lab.engine.dispose()
    return lab


@pytest.fixture
def copy(pattern: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    root = tmp_path_factory.mktemp("copy")
    (root / "keys").symlink_to(pattern.home.keys)
    source = sqlite3.connect(pattern.home.database)
    target = sqlite3.connect(root / "registry.db")
    source.backup(target)
    target.close()
    return Lab(root)


def check(lab: Lab) -> CheckReport:
    return check_log(lab.reader(), schema_set())


def what(report: CheckReport) -> set[tuple[int | None, str]]:
    return {(finding.index, finding.what) for finding in report.findings}


def hexed(data: bytes) -> str:
    return f"x'{data.hex()}'"


def flipped(data: bytes, position: int) -> bytes:
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def stored(lab: Lab, query: str) -> bytes:
    value: bytes = sqlite3.connect(lab.home.database).execute(query).fetchone()[0]
    return value


def test_a_sound_log_has_no_findings_and_the_root_of_its_head(copy: Lab) -> None:
    steps: list[tuple[int, int]] = []
    report = check_log(
        copy.reader(), schema_set(), progress=lambda done, total: steps.append((done, total))
    )
    head = copy.reader().head()
    assert (report.ok, report.problems, report.first_bad) == (True, (), None)
    assert (report.origin, report.size, report.root) == (head.origin, SIZE, head.root.hex())
    assert steps == [(TILE_WIDTH, SIZE), (SIZE, SIZE)]


def test_an_empty_log_is_sound(tmp_path_factory: pytest.TempPathFactory) -> None:
    report = check(Lab(tmp_path_factory.mktemp("empty")))
    assert (report.ok, report.size) == (True, 0)


ROWS = [
    ("log_entries", "entry", "idx = 100", 60, (100, "entry")),
    ("log_entries", "entry", "idx = 100", 0, (100, "entry")),
    ("log_entries", "leaf_hash", "idx = 100", 5, (100, "entry")),
    ("log_entries", "payload_sha256", "idx = 100", 5, (100, "entry")),
    ("log_entries", "envelope_sha256", "idx = 100", 5, (100, "entry")),
    ("tile_hashes", "hash", "level = 1", 31, (None, "tile")),
    ("log_head", "checkpoint", "id = 1", 4, (None, "checkpoint")),
    ("log_head", "checkpoint", "id = 1", 20, (None, "checkpoint")),
    ("log_head", "checkpoint", "id = 1", -3, (None, "checkpoint")),
    ("log_head", "frontier", "id = 1", 0, (None, "frontier")),
    ("log_head", "frontier", "id = 1", -1, (None, "frontier")),
]


@pytest.mark.parametrize(("table", "column", "where", "position", "found"), ROWS)
def test_one_flipped_bit_is_found_where_it_is(
    copy: Lab, table: str, column: str, where: str, position: int, found: tuple[int | None, str]
) -> None:
    data = stored(copy, f"SELECT {column} FROM {table} WHERE {where}")
    changed = flipped(data, position % len(data))
    copy.tamper(f"UPDATE {table} SET {column} = {hexed(changed)} WHERE {where}")
    report = check(copy)
    assert found in what(report)
    assert report.first_bad == found[0]


@pytest.mark.parametrize("position", [0, 40, 700, -8])
def test_one_flipped_bit_of_an_envelope_is_found(copy: Lab, position: int) -> None:
    digest = stored(copy, "SELECT envelope_sha256 FROM log_entries WHERE idx = 100")
    data = copy.reader().envelope_bytes(100)
    changed = hexed(flipped(data, position % len(data)))
    copy.tamper(f"UPDATE envelopes SET data = {changed} WHERE sha256 = {hexed(digest)}")
    report = check(copy)
    assert what(report) == {(100, "envelope")}
    assert "record 100: envelope" in report.problems[0]


@pytest.mark.parametrize(
    ("statement", "found"),
    [
        ("DELETE FROM log_entries WHERE idx = 100", (100, "missing")),
        (f"DELETE FROM log_entries WHERE idx = {SIZE - 1}", (SIZE - 1, "missing")),
        (("DELETE FROM envelopes WHERE sha256 = "
         "(SELECT envelope_sha256 FROM log_entries WHERE idx = 100)"), (100, "envelope")),
        ("INSERT INTO log_entries VALUES (276, x'00', x'01', x'02', x'03')", (SIZE, "extra")),
        ("DELETE FROM tile_hashes", (None, "tile")),
        ("INSERT INTO tile_hashes VALUES (1, 1, x'00')", (None, "tile")),
        ("INSERT INTO tile_hashes VALUES (2, 0, x'00')", (None, "tile")),
        ("DELETE FROM log_head", (0, "extra")),
        ("UPDATE log_head SET size = size - 1", (None, "frontier")),
        ("UPDATE log_head SET frontier = x'00'", (None, "frontier")),
        ("UPDATE log_head SET checkpoint = x''", (None, "checkpoint")),
        ("UPDATE log_head SET time_ms = time_ms + 1", (None, "head")),
        ("UPDATE invocations SET idx = 99 WHERE idx = 100", (100, "invocation")),
        ("DELETE FROM invocations WHERE idx = 100", (100, "invocation")),
        ("INSERT INTO invocations VALUES ('x', 100)", (None, "invocation")),
        ("DELETE FROM trust_records", (0, "trust-index")),
        ("INSERT INTO trust_records VALUES (100)", (100, "trust-index")),
    ],
)  # fmt: skip
def test_rows_that_went_came_or_changed_are_found(
    copy: Lab, statement: str, found: tuple[int | None, str]
) -> None:
    copy.tamper(statement)
    assert found in what(check(copy))


@pytest.mark.parametrize("size", [SIZE - 1, SIZE])
def test_a_checkpoint_of_another_tree_is_found_though_the_log_signed_it(
    copy: Lab, size: int
) -> None:
    checkpoint = Checkpoint(copy.vkey.name, size, bytes(32))
    note = checkpoints.sign(checkpoint, copy.vkey, copy.log_signer().sign)
    copy.tamper(f"UPDATE log_head SET checkpoint = {hexed(note)}")
    assert what(check(copy)) == {(None, "checkpoint")}


class Forger:
    """Rewrites a log as who holds the database and the log's key could: the tree stays right."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self.statements: list[str] = []

    def replace(self, index: int, envelope: bytes, time_ms: int = START_MS) -> None:
        parsed = Envelope.parse(envelope)
        sha256 = parsed.sha256
        entry = LogEntry(time_ms, parsed.payload_sha256, sha256)
        leaf, data = entry.leaf_hash(), entry.to_bytes()
        self.statements += [
            (
                "DELETE FROM envelopes WHERE sha256 ="
                f" (SELECT envelope_sha256 FROM log_entries WHERE idx = {index})"
            ),
            (
                f"UPDATE log_entries SET entry = {hexed(data)}, leaf_hash = {hexed(leaf)},"
                f" payload_sha256 = x'{parsed.payload_sha256}', envelope_sha256 = x'{sha256}'"
                f" WHERE idx = {index}"
            ),
            f"INSERT INTO envelopes VALUES (x'{sha256}', {hexed(envelope)})",
        ]

    def finish(self) -> CheckReport:
        """Make tiles, right edge and checkpoint fit, so that only the records can tell."""
        self._lab.tamper(*self.statements)
        conn = sqlite3.connect(self._lab.home.database)
        entries = [row[0] for row in conn.execute("SELECT entry FROM log_entries ORDER BY idx")]
        leaves = [leaf_hash(entry) for entry in entries]
        conn.close()
        self._lab.tamper(*self._tree(leaves))
        return check(self._lab)

    def _tree(self, leaves: Sequence[bytes]) -> list[str]:
        tile = Frontier().extend(leaves[:TILE_WIDTH]).root()
        frontier = Frontier().extend(leaves)
        vkey = self._lab.vkey
        checkpoint = Checkpoint(vkey.name, frontier.size, frontier.root())
        note = checkpoints.sign(checkpoint, vkey, self._lab.log_signer().sign)
        return [
            f"UPDATE tile_hashes SET hash = {hexed(tile)}",
            (
                f"UPDATE log_head SET frontier = {hexed(frontier.to_bytes())},"
                f" checkpoint = {hexed(note)}"
            ),
        ]


def test_a_rewritten_log_that_fits_itself_is_found_by_what_it_says(copy: Lab) -> None:
    forger = Forger(copy)
    sealed = generation_of()
    forger.replace(100, copy.envelope(sealed.payload, by="reviewer"))
    report = forger.finish()
    assert what(report) == {(100, "trust")}
    assert report.first_bad == 100


def test_an_envelope_that_its_signer_did_not_sign_is_found(copy: Lab) -> None:
    original = copy.reader().envelope(100)
    other = copy.reader().envelope(101)
    forger = Forger(copy)
    forger.replace(100, Envelope(original.payload, other.signatures).to_bytes())
    assert what(forger.finish()) == {(100, "trust")}


def test_a_document_that_does_not_fit_its_schema_is_found(copy: Lab) -> None:
    payload = copy.reader().envelope(100).payload.replace(b'"brand"', b"7")
    forger = Forger(copy)
    forger.replace(100, copy.envelope(payload, by="generator"))
    report = forger.finish()
    assert what(report) == {(100, "schema")}
    assert "genops_project" in report.problems[0]


def test_a_payload_that_is_no_statement_is_found(copy: Lab) -> None:
    forger = Forger(copy)
    forger.replace(100, copy.envelope(b'{"a":1}', by="generator"))
    assert what(forger.finish()) == {(100, "statement")}


def test_an_envelope_that_is_none_is_found(copy: Lab) -> None:
    digest = stored(copy, "SELECT envelope_sha256 FROM log_entries WHERE idx = 100").hex()
    parsed = LogEntry.parse(copy.reader().entry(100))
    data = copy.reader().envelope_bytes(100) + b" "
    sha256 = sha256_hex(data)
    entry = LogEntry(parsed.time_ms, parsed.payload_sha256, sha256)
    forger = Forger(copy)
    forger.statements = [
        (
            f"UPDATE log_entries SET entry = {hexed(entry.to_bytes())},"
            f" leaf_hash = {hexed(entry.leaf_hash())}, envelope_sha256 = x'{sha256}'"
            " WHERE idx = 100"
        ),
        (
            f"UPDATE envelopes SET sha256 = x'{sha256}', data = {hexed(data)}"
            f" WHERE sha256 = x'{digest}'"
        ),
    ]
    assert what(forger.finish()) == {(100, "envelope")}


def test_an_entry_that_names_another_payload_is_found(copy: Lab) -> None:
    parsed = LogEntry.parse(copy.reader().entry(100))
    entry = LogEntry(parsed.time_ms, "ab" * 32, parsed.envelope_sha256)
    forger = Forger(copy)
    forger.statements = [
        (
            f"UPDATE log_entries SET entry = {hexed(entry.to_bytes())},"
            f" leaf_hash = {hexed(entry.leaf_hash())}, payload_sha256 = x'{'ab' * 32}'"
            " WHERE idx = 100"
        )
    ]
    assert what(forger.finish()) == {(100, "payload")}


def test_time_that_goes_back_is_found(copy: Lab) -> None:
    forger = Forger(copy)
    forger.replace(100, resigned(copy, 100), time_ms=START_MS + 5000)
    report = forger.finish()
    assert (101, "time") in what(report)


def test_a_log_that_does_not_begin_with_trust_is_found(copy: Lab) -> None:
    forger = Forger(copy)
    payload = copy.reader().envelope(100).payload
    forger.statements = ["UPDATE invocations SET idx = 0 WHERE idx = 100"]
    forger.replace(0, copy.envelope(payload.replace(b'"steps":20', b'"steps":21'), by="generator"))
    report = forger.finish()
    assert (0, "trust") in what(report)
    assert report.first_bad == 0


def test_a_rewritten_log_does_not_drown_its_reader_in_findings(copy: Lab) -> None:
    copy.tamper("UPDATE log_entries SET payload_sha256 = randomblob(32)")
    assert len(check(copy).findings) == 100


def resigned(lab: Lab, index: int) -> bytes:
    """Return an envelope of the same payload with a fresh signature."""
    payload = lab.reader().envelope(index).payload
    signer = lab.signers["generator"]
    signature = Signature(signer.keyid, signer.sign(pae(PAYLOAD_TYPE, payload)))
    return Envelope(payload, (signature,)).to_bytes()


class StoppedError(Exception):
    """Ends a check before its time."""


def stop_after(records: int) -> Progress:
    def report(done: int, total: int) -> None:
        if done >= records:
            raise StoppedError

    return report


def state_file(lab: Lab, secret: bytes = b"secret", subject: str = "this") -> StateFile:
    return StateFile(lab.root / "work" / "state.json", secret, subject)


def resumed(lab: Lab, state: StateFile, oldest_ms: int = 0) -> CheckReport:
    options = CheckOptions(state=state, oldest_ms=oldest_ms, now_ms=7)
    return check_log(lab.reader(), schema_set(), options=options)


def interrupted(lab: Lab) -> StateFile:
    """Check the first page only, and keep that."""
    state = state_file(lab)
    options = CheckOptions(state=state, now_ms=7)
    with pytest.raises(StoppedError):
        check_log(lab.reader(), schema_set(), progress=stop_after(1), options=options)
    return state


def test_an_interrupted_check_goes_on_where_it_stopped(copy: Lab) -> None:
    steps: list[int] = []
    options = CheckOptions(state=interrupted(copy))
    report = check_log(
        copy.reader(), schema_set(), progress=lambda done, _: steps.append(done), options=options
    )
    assert (report.ok, report.resumed_at, steps) == (True, TILE_WIDTH, [SIZE])
    assert report.root == check(copy).root


def test_what_an_interrupted_check_found_is_kept(copy: Lab) -> None:
    copy.tamper("UPDATE log_entries SET payload_sha256 = x'00' WHERE idx = 100")
    whole = check(copy)
    report = resumed(copy, interrupted(copy))
    assert (report.resumed_at, report.findings) == (TILE_WIDTH, whole.findings)
    assert (report.first_bad, report.found) == (100, whole.found)


def test_trust_that_was_given_before_an_interruption_counts_after_it(copy: Lab) -> None:
    copy.tamper(f"DELETE FROM trust_records WHERE idx = {NEW_TRUST}")
    report = resumed(copy, interrupted(copy))
    assert what(report) == {(NEW_TRUST, "trust-index")}


def test_a_state_that_this_home_did_not_write_is_not_believed(copy: Lab) -> None:
    copy.tamper("UPDATE log_entries SET payload_sha256 = x'00' WHERE idx = 100")
    interrupted(copy)
    path = copy.root / "work" / "state.json"
    data = path.read_bytes()
    forged = re.sub(rb'"found":\[.*?\]', b'"found":[]', data)
    assert forged != data
    path.write_bytes(forged)
    report = resumed(copy, state_file(copy))
    assert (report.resumed_at, report.first_bad) == (None, 100)


@pytest.mark.parametrize(
    ("secret", "subject", "oldest_ms", "goes_on"),
    [
        (b"secret", "this", 7, True),
        (b"secret", "this", 8, False),
        (b"another", "this", 0, False),
        (b"secret", "another version", 0, False),
    ],
)
def test_only_a_young_state_of_the_same_check_is_continued(
    copy: Lab, secret: bytes, subject: str, oldest_ms: int, goes_on: bool
) -> None:
    interrupted(copy)
    report = resumed(copy, state_file(copy, secret, subject), oldest_ms)
    assert report.resumed_at == (TILE_WIDTH if goes_on else None)


@pytest.mark.parametrize("position", range(0, 600, 37))
def test_a_flipped_bit_in_the_state_makes_a_check_begin_anew(copy: Lab, position: int) -> None:
    state = interrupted(copy)
    path = copy.root / "work" / "state.json"
    data = path.read_bytes()
    path.write_bytes(flipped(data, position % len(data)))
    assert state.load(0) is None


def test_a_killed_check_goes_on_where_it_last_kept_its_state(copy: Lab) -> None:
    script = f"""
import os, signal
from pathlib import Path
from registry.log import check
from registry.log.check_state import StateFile
from registry.resources import schema_set
from tests.log.conftest import Lab

check._SAVE_EVERY = 1
check.PAGE = 64
state = StateFile(Path({str(copy.root)!r}) / "work" / "state.json", b"secret", "this")
options = check.CheckOptions(state=state, now_ms=7)

def kill(done, total):
    if done >= 192:
        os.kill(os.getpid(), signal.SIGKILL)

reader = Lab(Path({str(copy.root)!r})).reader()
check.check_log(reader, schema_set(), progress=kill, options=options)
"""
    ended = subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=False)
    assert ended.returncode == -signal.SIGKILL
    report = resumed(copy, state_file(copy))
    assert (report.problems, report.resumed_at) == ((), 192)


def test_a_grown_log_is_checked_on_from_an_older_check(copy: Lab) -> None:
    options = CheckOptions(state=state_file(copy), now_ms=7)
    check_log(copy.reader(), schema_set(), options=options)
    copy.sequencer().submit(copy.generation())
    report = resumed(copy, state_file(copy))
    assert (report.ok, report.size, report.resumed_at) == (True, SIZE + 1, SIZE)


def test_a_log_that_shrank_below_an_older_check_is_checked_from_its_beginning(copy: Lab) -> None:
    options = CheckOptions(state=state_file(copy), now_ms=7)
    check_log(copy.reader(), schema_set(), options=options)
    leaves = [leaf_hash(copy.reader().entry(index)) for index in range(SIZE - 1)]
    frontier = hexed(Frontier().extend(leaves).to_bytes())
    copy.tamper(f"UPDATE log_head SET size = size - 1, frontier = {frontier}")
    report = resumed(copy, state_file(copy))
    assert report.resumed_at is None
    assert (SIZE - 1, "extra") in what(report)


ALTERED = (
    "UPDATE log_entries SET payload_sha256 = x'00' WHERE idx = 3",
    "DELETE FROM log_entries WHERE idx = 270",
    "UPDATE invocations SET idx = 99 WHERE idx = 271",
    f"DELETE FROM trust_records WHERE idx = {NEW_TRUST}",
    "INSERT INTO trust_records VALUES (100)",
)


def test_the_number_of_processes_does_not_change_what_is_found(
    copy: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_pool, "FEWEST_RECORDS", 0)
    monkeypatch.setattr(check_module, "PAGE", 32)
    copy.tamper(*ALTERED)
    one, two = (
        check_log(copy.reader(), schema_set(), options=CheckOptions(jobs=jobs)) for jobs in (1, 2)
    )
    assert one == two
    assert {(3, "entry"), (270, "missing"), (271, "invocation")} <= what(one)
    assert {(NEW_TRUST, "trust-index"), (100, "trust-index")} <= what(one)
    assert not any(finding.what == "trust" for finding in one.findings)


def test_the_checkpoint_file_is_compared(copy: Lab, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    options = CheckOptions(outside=path)

    def found(note: bytes) -> set[tuple[int | None, str]]:
        path.write_bytes(note)
        return what(check_log(copy.reader(), schema_set(), options=options))

    assert found(copy.reader().checkpoint()) == set()
    assert found(signed(copy, 100)) == set()
    other = Checkpoint(copy.vkey.name, 100, bytes(32))
    newer = Checkpoint(copy.vkey.name, SIZE + 1, bytes(32))
    for wrong in (other, newer):
        note = checkpoints.sign(wrong, copy.vkey, copy.log_signer().sign)
        assert found(note) == {(None, "checkpoint-file")}
    assert found(flipped(copy.reader().checkpoint(), 30)) == {(None, "checkpoint-file")}


def signed(lab: Lab, size: int) -> bytes:
    leaves = [leaf_hash(lab.reader().entry(index)) for index in range(size)]
    checkpoint = Checkpoint(lab.vkey.name, size, Frontier().extend(leaves).root())
    return checkpoints.sign(checkpoint, lab.vkey, lab.log_signer().sign)


class Witness:
    """A witness with a key of its own, which cosigns whatever it is given."""

    def __init__(self, name: str = "witness.example/1") -> None:
        self._private = Ed25519PrivateKey.generate()
        self.key = CosignerKey(name, self._private.public_key().public_bytes_raw())

    def row(self, note: bytes, size: int, **changes: Any) -> dict[str, Any]:
        line = self.key.cosign(SignedNote.parse(note).text, 1_700_000_000, self._private.sign)
        row = {"size": size, "name": self.key.name, "key_id": self.key.key_id}
        return row | {"time_s": 1_700_000_000, "signature": line.sig, "note": note} | changes


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, False),
        ({"time_s": 1_700_000_001}, True),
        ({"name": "another.example/1"}, True),
        ({"key_id": b"1234"}, True),
        ({"signature": bytes(72)}, True),
        ({"size": 101}, True),
        ({"size": SIZE + 1}, True),
        ({"note": b"no note"}, True),
    ],
)
def test_kept_cosignatures_are_of_this_tree_and_by_their_witness(
    copy: Lab, changes: dict[str, Any], found: bool
) -> None:
    witness = Witness()
    with write(copy.engine) as conn:
        insert_rows(conn, table_of(CosignatureRow), [witness.row(signed(copy, 100), 100) | changes])
    options = CheckOptions(witnesses=[witness.key])
    report = check_log(copy.reader(), schema_set(), options=options)
    assert what(report) == ({(None, "cosignature")} if found else set())


def test_a_cosigned_fork_is_found_though_its_witness_is_not_known(copy: Lab) -> None:
    forked = Checkpoint(copy.vkey.name, 100, bytes(32))
    note = checkpoints.sign(forked, copy.vkey, copy.log_signer().sign)
    with write(copy.engine) as conn:
        insert_rows(conn, table_of(CosignatureRow), [Witness().row(note, 100)])
    assert what(check(copy)) == {(None, "cosignature")}


def test_sealed_texts_belong_to_a_record_that_has_some(copy: Lab) -> None:
    payload = stored(copy, "SELECT payload_sha256 FROM log_entries WHERE idx = 100").hex()
    copy.tamper(
        f"INSERT INTO sealed VALUES (100, '{payload}', x'00')",
        "INSERT INTO sealed VALUES (101, 'of another', x'00')",
        f"INSERT INTO sealed VALUES ({SIZE}, 'of none', x'00')",
    )
    report = check(copy)
    assert what(report) == {(100, "sealed"), (101, "sealed"), (None, "sealed")}


def test_a_value_of_another_type_is_found_and_never_raised(copy: Lab) -> None:
    for table, column in (
        ("log_entries", "entry"),
        ("log_entries", "leaf_hash"),
        ("envelopes", "data"),
    ):
        where = "idx = 100" if table == "log_entries" else f"sha256 = ({DIGEST_OF_100})"
        for value in ("'text'", "9223372036854775807", "0.5"):
            kept = stored(copy, f"SELECT {column} FROM {table} WHERE {where}")
            copy.tamper(f"UPDATE {table} SET {column} = {value} WHERE {where}")
            assert check(copy).first_bad == 100
            copy.tamper(f"UPDATE {table} SET {column} = {hexed(kept)} WHERE {where}")
    for column in ("size", "frontier", "checkpoint", "time_ms"):
        for value in ("'text'", "9223372036854775807", "0.5"):
            kept = stored(copy, f"SELECT quote({column}) FROM log_head")
            copy.tamper(f"UPDATE log_head SET {column} = {value}")
            assert not check(copy).ok, (column, value)
            copy.tamper(f"UPDATE log_head SET {column} = {kept}")
    assert check(copy).ok


DIGEST_OF_100 = "SELECT envelope_sha256 FROM log_entries WHERE idx = 100"
