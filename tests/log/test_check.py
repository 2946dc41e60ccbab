"""A check finds every change to the log, and names where it is."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import pytest

from registry.core import checkpoints
from registry.core.checkpoints import Checkpoint
from registry.core.digests import sha256_hex
from registry.core.dsse import PAYLOAD_TYPE, Envelope, Signature, pae
from registry.core.entries import LogEntry
from registry.core.merkle import Frontier, leaf_hash
from registry.core.tiles import TILE_WIDTH
from registry.log.check import CheckReport, check_log
from registry.resources import schema_set
from tests.log.conftest import START_MS, Lab, generation_of

SIZE = TILE_WIDTH + 20


@pytest.fixture(scope="module")
def pattern(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A sound log of more than one tile, which each test copies."""
    lab = Lab(tmp_path_factory.mktemp("pattern"))
    lab.fill(SIZE)
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
