"""A record of every kind, and every file that is handed out, mean what they meant, for ever.

The files are never made again: a failure here means that what others hold can no longer be read.
"""

from __future__ import annotations

import json
import lzma
import shutil
import tarfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import yaml

from generators.campaign.brief import load_brief
from generators.campaign.checking import check_delivery
from generators.campaign.plan import expand
from registry.core import jsonio
from registry.core.bank_lists import form_of, read_list
from registry.core.certificates import verify_certificate
from registry.core.digests import sha256_hex
from registry.core.dsse import Envelope
from registry.core.evidence import verify_evidence
from registry.core.evidence_zip import verify_bundle
from registry.core.statements import PREDICATES, Statement, schema_key
from registry.core.tiles import decode_bundle
from registry.errors import GenopsError, IntegrityError, KeyFileError
from registry.factory import import_registry, open_home
from registry.policy.cases import load_cases, run_cases
from registry.policy.decide import decide
from registry.policy.loader import load_bundle
from registry.resources import schema_set
from registry.sdk import Registry
from registry.store.transaction import read
from registry.workflows.calibration import bounds_for
from registry.workflows.look_up import calibration
from registry.workflows.maintain import PROJECTION
from registry.workflows.view import RecordView
from tests.golden import test_v1

FOLDER = Path(__file__).parent / "kinds"
PASSPHRASE = "test-only"
FINGERPRINT = "phash256-draft512-white-lanczos64-gap2-v2"
EXPECTED: dict[str, Any] = json.loads((FOLDER / "expected.json").read_text("ascii"))
VKEY = EXPECTED["vkey"]
ASSETS = EXPECTED["assets"]
HANDED_OUT = {
    "brief/v1": "brief.yaml",
    "delivery/v1": "delivery/manifest.json",
    "evidence/v1": "delivery/manifest.evidence.json",
    "policy-case/v1": "policy/tests/cases.yaml",
    "policy-facts/v1": "facts-v1.json",
    "policy-list/v1": "policy/lists/licences.yaml",
    "policy/v1": "policy/policy.yaml",
    "retention/v1": "retention.yaml",
}
"""The file of each schema of which a document is a file."""
EXPORT = lzma.decompress((FOLDER / "export.tar.xz").read_bytes())


def members() -> dict[str, bytes]:
    """Return the files of the export by path."""
    with tarfile.open(fileobj=BytesIO(EXPORT)) as archive:
        found = {info.name: archive.extractfile(info) for info in archive if info.isreg()}
        return {name: stream.read() for name, stream in found.items() if stream is not None}


FILES = members()
ENVELOPES = {name: data for name, data in FILES.items() if name.startswith("envelopes/")}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """The export, imported with the keys of the backup; nobody writes to it."""
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "export.tar").write_bytes(EXPORT)
    import_registry(
        folder / "export.tar",
        folder / "home",
        keys=FOLDER / "keys.backup",
        log_key=VKEY,
        passphrase=lambda: PASSPHRASE,
    )
    with open_home(folder / "home") as opened:
        yield opened


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_every_kind_of_statement_has_a_record_here_or_in_the_first_log() -> None:
    payloads = [Envelope.parse(data).payload for data in ENVELOPES.values()]
    payloads += [test_v1.envelope(index).payload for index in test_v1.INDICES]
    assert {Statement.parse(payload).predicate_type for payload in payloads} == PREDICATES


FACTS = [
    json.loads(data)
    for name, data in FILES.items()
    if name.startswith("blobs/") and b'"ancestors"' in data[:4000]
]


def documents() -> dict[str, list[Any]]:
    """Return what is here of every schema that is not one of statements."""
    entries = [data for name, data in FILES.items() if name.startswith("tile/entries/")]
    lines = (FOLDER / "bank.jsonl").read_bytes().splitlines()
    found = {k: [yaml.safe_load((FOLDER / name).read_bytes())] for k, name in HANDED_OUT.items()}
    return found | {
        "bank-list/v1": [json.loads(line) for line in lines],
        "policy-facts/v2": FACTS,
        "entry/v1": [json.loads(one) for data in entries for one in decode_bundle(data)],
    }


def test_there_is_a_document_of_every_other_schema_and_it_fits() -> None:
    schemas, found = schema_set(), documents()
    statements = {schema_key(uri) for uri in PREDICATES}
    assert schemas.documents.keys() == found.keys() | statements | {"common/v1"}
    for key, several in found.items():
        for document in several:
            schemas.check(key, document)


@pytest.mark.parametrize("name", ENVELOPES)
def test_statements_are_written_and_fit_their_schemas_as_then(name: str) -> None:
    envelope = Envelope.parse(ENVELOPES[name])
    assert envelope.to_bytes() == ENVELOPES[name]
    assert envelope.sha256 == Path(name).stem
    statement = Statement.parse(envelope.payload)
    assert jsonio.dumps(statement.document) == envelope.payload
    schema_set().check_statement(statement.document)


def test_signatures_and_proofs_verify_and_the_log_is_that_of_then(registry: Registry) -> None:
    report = registry.check_log(blobs=True)
    assert report.problems == ()
    assert registry.log.checkpoint().decode("utf-8") == EXPECTED["checkpoint"]


@pytest.mark.parametrize("table", EXPECTED["rows"])
def test_records_are_read_as_then(registry: Registry, table: str) -> None:
    """Whatever the catalog knows of them by now, what it knew then it says still."""
    (found,) = [one for one in PROJECTION if one.name == table]
    wanted = EXPECTED["rows"][table]
    with read(registry._services.engine) as conn:
        rows = conn.execute(found.select().order_by(*found.primary_key)).mappings().all()
    plain = [{k: v.hex() if isinstance(v, bytes) else v for k, v in row.items()} for row in rows]
    assert [
        {name: row.get(name) for name in old} for row, old in zip(plain, wanted, strict=True)
    ] == wanted


def test_texts_open_and_what_was_erased_does_not(registry: Registry) -> None:
    assert registry.get(ASSETS["shot"]).parameters["prompt"] == EXPECTED["prompt"]
    assert registry.get(ASSETS["edited"]).parameters["contributions"] == ["typography", "logo"]
    assert registry.get(ASSETS["gone"]).text == "erased"
    reasons = [one.reason for one in registry.banks.verdicts()]
    assert reasons == ["as in the first version", "another mug", "our mug"]


def test_calibrations_say_what_was_counted_and_bound(registry: Registry) -> None:
    counted = calibration(registry._services)[0].fingerprints[FINGERPRINT]
    found = [counted.pairs, counted.sources, list(counted.hits), list(counted.effective)]
    assert found == EXPECTED["counted"]
    shot = RecordView(registry._services, registry.get(ASSETS["shot"]).index)
    bounds = bounds_for(registry._services, shot.statement.document)
    assert (bounds.levels, bounds.fraction) == (4, 0.01)


def test_decisions_are_made_again_from_their_facts(registry: Registry) -> None:
    bundle = load_bundle(FOLDER / "policy", schema_set())
    assert bundle.digest == EXPECTED["bundle"]
    indices = {f"rec:{row['leaf_hash']}": row["idx"] for row in EXPECTED["rows"]["records"]}
    for record, said in EXPECTED["decisions"].items():
        statement = RecordView(registry._services, indices[record]).statement
        blob = registry._services.blobs.get(statement.predicate["genops_facts"]["sha256"])
        assert blob is not None
        facts = json.loads(registry._services.vault.read(blob))
        schema_set().check("policy-facts/v2", facts)
        again = decide(bundle, facts)
        assert again.verdict == said["verdict"]
        assert [[r.rule, r.outcome, r.message] for r in again.results] == said["rules"]
        assert statement.predicate["genops_bundle"]["sha256"] == bundle.digest


def test_facts_of_the_first_version_are_judged_still() -> None:
    facts = json.loads((FOLDER / "facts-v1.json").read_bytes())
    schema_set().check("policy-facts/v1", facts)
    results = decide(load_bundle(FOLDER / "policy", schema_set()), facts).results
    assert [(r.rule, r.outcome) for r in results] == [
        ("not-blocked", "error"),
        ("licensed", "pass"),
    ]


def test_the_cases_of_a_policy_come_out_as_then() -> None:
    bundle, cases = (load(FOLDER / "policy", schema_set()) for load in (load_bundle, load_cases))
    assert run_cases(bundle, cases).ok  # type: ignore[arg-type]


def test_lists_of_a_bank_are_written_and_read_as_then(registry: Registry, tmp_path: Path) -> None:
    ours, pdq = ((FOLDER / f"bank.{name}").read_bytes() for name in ("jsonl", "pdq.txt"))
    registry.banks.export("rivals", tmp_path / "ours", reasons=True)
    registry.banks.export("rivals", tmp_path / "pdq", form="text")
    assert (tmp_path / "pdq").read_bytes() == pdq
    assert (tmp_path / "ours").read_bytes().splitlines()[1:] == ours.splitlines()[1:]
    listed: list[Any] = list(read_list(ours))
    assert [one.hash_only for one in listed].count(True) == 2
    assert {one.sha256 for one in listed} == {
        row["sha256"]
        for row in EXPECTED["rows"]["bank_entries"]
        if row["bank"] == "rivals" and row["added"]
    }
    assert (form_of(ours), form_of(pdq)) == ("genops", "text")
    hashes: list[Any] = list(read_list(pdq))
    assert [one.prints[0].value.hex() for one in hashes] == pdq.decode("ascii").splitlines()


def test_a_certificate_holds_and_means_the_person() -> None:
    data = (FOLDER / "certificate.json").read_bytes()
    found = verify_certificate(data, log_vkey=VKEY, name=EXPECTED["person"])
    assert (found.problems, found.named) == ((), True)
    spelled = "\uff2aAN\u0045\u0301  DOE"  # full width, an accent of its own, two spaces
    assert verify_certificate(data, log_vkey=VKEY, name=spelled).named is True
    assert verify_certificate(data, log_vkey=VKEY, name="John Doe").named is False


def test_handed_out_evidence_verifies() -> None:
    report = verify_bundle((FOLDER / "evidence.zip").read_bytes(), log_vkey=VKEY)
    assert report.ok
    assert len(report.files) == 2


def test_evidence_by_a_key_that_was_disowned_does_not_hold() -> None:
    data = (FOLDER / "disowned.evidence.json").read_bytes()
    report = verify_evidence(data, log_vkey=VKEY)
    assert [check.name for check in report.failed] == ["signer"]


def test_a_delivery_is_what_was_signed() -> None:
    found = check_delivery(FOLDER / "delivery", VKEY)
    assert (found.findings, found.files, found.name) == ((), 2, "spring")


def test_a_brief_makes_the_same_steps_from_the_same_seeds() -> None:
    steps = expand(load_brief(FOLDER / "brief.yaml"))
    assert [[step.key, step.seed] for step in steps] == EXPECTED["steps"]


def test_rules_of_retention_are_read_as_then(registry: Registry) -> None:
    shutil.copy(FOLDER / "retention.yaml", registry.settings.home.retention)
    rules = registry.privacy.retention().to_dict()["rules"]
    assert json.loads(json.dumps(rules)) == EXPECTED["retention"]


def holds_certificate(data: bytes) -> bool:
    return not verify_certificate(data, log_vkey=VKEY).problems


def holds_bundle(data: bytes) -> bool:
    return verify_bundle(data, log_vkey=VKEY).ok


@pytest.mark.parametrize(
    ("name", "holds"), [("certificate.json", holds_certificate), ("evidence.zip", holds_bundle)]
)
def test_no_byte_of_what_was_handed_out_can_be_changed(
    name: str, holds: Callable[[bytes], bool]
) -> None:
    data = (FOLDER / name).read_bytes()
    assert holds(data)
    for at in range(0, len(data), len(data) // 60):
        try:
            assert not holds(flipped(data, at)), at
        except GenopsError:
            continue


@pytest.mark.parametrize("name", ["manifest.json", "manifest.evidence.json", "red/shot.jpg"])
def test_no_byte_of_a_delivery_can_be_changed(name: str, tmp_path: Path) -> None:
    folder = shutil.copytree(FOLDER / "delivery", tmp_path / "delivery")
    data = (folder / name).read_bytes()
    for at in range(0, len(data), len(data) // 10):
        (folder / name).write_bytes(flipped(data, at))
        try:
            assert not check_delivery(folder, VKEY).ok, at
        except GenopsError:
            continue


def repacked(files: dict[str, bytes]) -> bytes:
    """Return an export of these files whose own sums are right."""
    sums = "".join(
        f"{sha256_hex(data)}  {name}\n"
        for name, data in sorted(files.items())
        if name not in {"SHA256SUMS", "manifest.json"}
    ).encode("ascii")
    manifest = json.loads(files["manifest.json"]) | {"sums_sha256": sha256_hex(sums)}
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":")).encode() + b"\n"
    stream = BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, data in (files | {"SHA256SUMS": sums, "manifest.json": text}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, BytesIO(data))
    return stream.getvalue()


def taken(data: bytes, folder: Path) -> None:
    (folder / "all.tar").write_bytes(data)
    import_registry(folder / "all.tar", folder / "home", log_key=VKEY)


@pytest.mark.parametrize("kind", ["envelopes/", "tile/entries/", "checkpoint", "blobs/"])
def test_a_changed_byte_of_an_export_is_refused_though_its_sums_fit(
    kind: str, tmp_path: Path
) -> None:
    name = max((name for name in FILES if name.startswith(kind)), key=lambda n: len(FILES[n]))
    forged = FILES | {name: flipped(FILES[name], len(FILES[name]) // 2)}
    with pytest.raises(GenopsError):
        taken(repacked(forged), tmp_path)
    assert not (tmp_path / "home").exists()


def test_an_export_that_is_packed_anew_is_taken(tmp_path: Path) -> None:
    taken(repacked(FILES), tmp_path)


def test_a_changed_backup_of_the_keys_does_not_open(tmp_path: Path) -> None:
    data = (FOLDER / "keys.backup").read_bytes()
    (tmp_path / "keys").write_bytes(flipped(data, len(data) // 2))
    (tmp_path / "all.tar").write_bytes(EXPORT)
    with pytest.raises((IntegrityError, KeyFileError)):
        import_registry(
            tmp_path / "all.tar",
            tmp_path / "home",
            keys=tmp_path / "keys",
            passphrase=lambda: PASSPHRASE,
        )
