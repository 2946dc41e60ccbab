"""The parsers that are attacked, and what is promised of whatever they accept."""

from __future__ import annotations

import functools
import io
import json
import math
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from registry.core import (
    certificates,
    checkpoints,
    cosignatures,
    digests,
    disclosures,
    evidence_zip,
    exports,
    jsonio,
    modelsets,
    notes,
    tiles,
    times,
    witnessing,
)
from registry.core.cosignatures import CosignerKey
from registry.core.dsse import Envelope
from registry.core.entries import LogEntry
from registry.core.evidence import Evidence, verify_evidence
from registry.core.exports import Manifest
from registry.core.notes import SignedNote, VerifierKey
from registry.core.proofs import TlogProof
from registry.core.statements import Statement
from registry.core.trust import TRUST_VERSIONS, TrustState
from registry.core.trust_changes import Proposal
from registry.core.trust_predicates import trust as trust_predicate
from registry.core.witnessing import AddCheckpoint
from registry.errors import FormatError, GenopsError
from registry.log.prepare import prepare
from registry.log.submission import Submission
from registry.policy.cases import parse_cases
from registry.policy.document import parse_document
from registry.policy.loader import parse_bundle
from registry.settings import load_settings
from registry.signing import encrypted, protected
from registry.vault import segments
from registry.workflows.transfer import sidecars, sources
from tests.core.conftest import NOW
from tests.fuzz import samples
from tests.fuzz.harness import Target
from tests.fuzz.independent import fits_its_schema, strict_json
from tests.fuzz.mutate import (
    either,
    in_base64url,
    mutate_bytes,
    mutate_json,
    mutate_text,
)
from tests.fuzz.packed import mutate_tar, mutate_zip, sample_tar

BIG = 1 << 26
CHEAP = 64
"""Highest scrypt cost that is really paid here."""
SECRET = "correct horse"
TEXT = b"texts of a home" * 99


def _json(data: bytes) -> None:
    value = jsonio.loads(data, max_bytes=BIG)
    assert _same(strict_json(data), value), "another reader reads another value"
    again = jsonio.loads(jsonio.dumps(value), max_bytes=BIG)
    assert _same(again, value)
    _canonical(value)


def _canonical(value: Any) -> None:
    try:
        data = jsonio.canonical(value)
    except FormatError as error:
        assert error.code == "json.number"  # noqa: PT017  # whole floats of 2^53 and above
        return
    assert jsonio.canonical(jsonio.loads(data, max_bytes=BIG)) == data


def _envelope(data: bytes) -> None:
    envelope = Envelope.parse(data)
    assert envelope.to_bytes() == data
    assert Envelope.from_document(envelope.to_document()) == envelope


def _statement(data: bytes) -> None:
    """Accept what the schema accepts by another validator's word, and nothing else."""
    try:
        statement = Statement.parse(data)
        samples.schemas().check_statement(statement.document)
    except GenopsError:
        assert not fits_its_schema(data), "the schema accepts it, and it was refused"
        raise
    assert fits_its_schema(data), "the schema refuses it, and it was accepted"
    assert _same(Statement.parse(jsonio.dumps(statement.document)).document, statement.document)


def _note(data: bytes) -> None:
    note = SignedNote.parse(data)
    assert note.to_bytes() == data
    lines = "".join(map(str, note.signatures)).encode()
    assert notes.parse_signatures(lines) == note.signatures


def _checkpoint(data: bytes) -> None:
    known = {
        head.to_text(): key
        for key, note in (
            (samples.EXPECTED["vkey"], samples.golden("checkpoint-10")[0]),
            (samples.EXPECTED["vkey"], samples.golden("checkpoint-3")[0]),
            (samples.world().vkey, samples.world().cosigned),
        )
        for head in [checkpoints.verify(note, key)]
    }
    parsed = checkpoints.Checkpoint.parse_text(SignedNote.parse(data).text)
    assert parsed.to_text() == SignedNote.parse(data).text
    key = (
        samples.world().vkey if parsed.origin in samples.world().vkey else samples.EXPECTED["vkey"]
    )
    head = checkpoints.verify(data, key)
    assert head == parsed
    assert head.to_text() in known, "a checkpoint that nobody signed"


def _cosigned(data: bytes) -> None:
    made = samples.world()
    note = SignedNote.parse(data)
    genuine = SignedNote.parse(made.cosigned)
    for found in cosignatures.verified(note, [made.witness]):
        assert note.text == genuine.text, "a cosignature of another text"
        assert found.line in genuine.signatures, "a second form of a cosignature"


def _vkey(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    kind = CosignerKey if "+B" in text else VerifierKey  # the type is in the first letters
    assert str(kind.parse(text)) == text.strip("\n")


def _tile_path(data: bytes) -> None:
    path = data.decode("utf-8", "replace")
    assert tiles.parse_tile_path(path).path == path


def _entry_bundle(data: bytes) -> None:
    assert tiles.encode_bundle(tiles.decode_bundle(data)) == data


def _proof(data: bytes) -> None:
    proof = TlogProof.parse(data)
    assert proof.to_bytes() == data
    made = samples.world()
    entry, key = made.book.entries[3], made.vkey
    if proof.index != 3:
        entries = tiles.decode_bundle(samples.golden("entries.bundle")[0])
        entry, key = LogEntry.parse(entries[1]), samples.EXPECTED["vkey"]
    proof.verify(entry.leaf_hash(), key)
    genuine = [TlogProof.parse(item) for item in samples.proofs()]
    assert (proof.index, proof.hashes) in [(item.index, item.hashes) for item in genuine]


def _disclosure(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parsed = disclosures.parse(text)
    assert parsed.encode() == text
    again = disclosures.parse(
        disclosures.Disclosure(parsed.salt, parsed.name, parsed.value).encode()
    )
    assert _same([again.salt, again.name, again.value], [parsed.salt, parsed.name, parsed.value])
    openers, opened = _openers()
    for opener in openers:
        try:
            found = opener(data)
        except GenopsError:
            continue
        assert jsonio.dumps(found) in opened, "a text that was never sealed"


@functools.cache
def _openers() -> tuple[tuple[Callable[[bytes], Any], ...], frozenset[bytes]]:
    openers = tuple(map(samples.opener, (1, 2)))
    opened = set()
    for opener in openers:
        for text in samples.disclosure_texts():
            try:
                opened.add(jsonio.dumps(opener(text)))
            except GenopsError:
                continue
    return openers, frozenset(opened)


def _entry(data: bytes) -> None:
    entry = LogEntry.parse(data)
    assert entry.to_bytes() == data
    samples.schemas().check("entry/v1", json.loads(data))


def _modelset(data: bytes) -> None:
    files = modelsets.parse_modelset(data)
    assert modelsets.modelset_manifest(files) == data
    assert all(type(file.size) is int and ".." not in file.path.split("/") for file in files)


def _trust_predicate(data: bytes) -> None:
    statement = Statement.parse(data)
    version = TRUST_VERSIONS.get(statement.predicate_type, 1)
    state = TrustState.from_predicate(statement.predicate, version)
    said = trust_predicate(samples.world().book.head(), state)
    del said["genops_actor"]  # its name is not sealed yet
    again = TrustState.from_predicate(_plain(said), 2)
    assert (again.origin, again.keys, again.threshold) == (
        state.origin,
        state.keys,
        state.threshold,
    )
    assert dict(again.compromised) == dict(state.compromised)


def _trust_state(data: bytes) -> None:
    """Feed a change of trust that both admins signed to the state before it, and a first one."""
    statement = Statement.parse(data)
    envelope = samples.ADMIN.envelope(data, samples.SECOND)
    try:
        TrustState.genesis(statement, envelope)
    except GenopsError:
        before = _state_before()
        after = before.apply(statement, envelope, NOW + 10_000)
        assert after.origin == before.origin
        assert after.version >= before.version
        assert all(after.compromised[key] <= since for key, since in before.compromised.items())


@functools.cache
def _state_before() -> TrustState:
    book = samples.world().book
    return TrustState.genesis(Statement.parse(book.envelopes[0].payload), book.envelopes[0])


def _submission(data: bytes) -> None:
    """Submit a payload that an admin and a maker signed, as the sequencer takes it."""
    envelope = samples.ADMIN.envelope(data, samples.MAKER)
    made = prepare(Submission(envelope.to_bytes()), samples.schemas(), _state_before(), NOW + 5000)
    samples.schemas().check_statement(made.statement.document)
    assert len(made.invocation_id) == 36


def _evidence(data: bytes) -> None:
    """Hold a file to what was proved: only texts and the newest trust records may be left out."""
    report = verify_evidence(data, log_vkey=samples.world().vkey)
    if not report.ok:
        raise FormatError("; ".join(c.detail for c in report.failed), code=_code(report.failed[0]))
    found = Evidence.parse(data)
    genuine = next(
        one for one in map(Evidence.parse, samples.world().evidence) if one.record == found.record
    )
    assert set(_texts(found)) <= set(_texts(genuine)), "a text that nobody sealed"
    assert found.trust == genuine.trust[: len(found.trust)], "a trust record that is none"
    assert data.removesuffix(b"\n") == found.to_bytes(), "two files of one evidence"


def _texts(evidence: Evidence) -> list[str]:
    return [item.encode() for item in evidence.disclosures]


def _evidence_signed(data: bytes) -> None:
    """Verify evidence of a payload that a trusted signer and the log itself made up."""
    signer = samples.ADMIN if b"/trust/" in data or b"/erasure/" in data else samples.MAKER
    report = verify_evidence(samples.evidence_of(data, signer), log_vkey=samples.world().vkey)
    if not report.ok:
        raise FormatError("; ".join(c.detail for c in report.failed), code=_code(report.failed[0]))
    assert report.document == json.loads(data)


def _evidence_bundle(data: bytes) -> None:
    report = evidence_zip.verify_bundle(data, log_vkey=samples.world().vkey)
    if not report.ok:
        raise FormatError("refused", code="evidence.invalid")
    genuine = set(samples.world().evidence)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        held = {archive.read(name).removesuffix(b"\n") for name in report.files}
    assert held <= genuine, "a bundle verifies with a file that is no evidence"


def _certificate(data: bytes) -> None:
    view = certificates.verify_certificate(data, log_vkey=samples.world().vkey, name=samples.PERSON)
    if not view.ok:
        raise FormatError("; ".join(view.problems) or "another person", code="certificate.invalid")
    assert view == certificates.verify_certificate(
        samples.world().certificate, log_vkey=samples.world().vkey, name=samples.PERSON
    ), "a certificate says what nobody signed"


def _certificate_signed(data: bytes) -> None:
    made = samples.certificate_of(data)
    view = certificates.verify_certificate(made, log_vkey=samples.world().vkey)
    if not view.ok:
        raise FormatError("; ".join(view.problems), code="certificate.invalid")


def _proposal(data: bytes) -> None:
    proposal = Proposal.parse(data)
    assert Proposal.parse(proposal.to_bytes()) == proposal
    assert proposal.state.threshold >= 1
    assert proposal.supersedes


def _add_checkpoint(data: bytes) -> None:
    request = AddCheckpoint.parse(data)
    assert request.to_bytes() == data
    checkpoint = checkpoints.Checkpoint.parse_text(SignedNote.parse(request.note).text)
    last = checkpoints.Checkpoint.parse_text(
        SignedNote.parse(samples.world().book.checkpoint(2)).text
    )
    witnessing.check_growth(last, checkpoint, request.proof)
    assert checkpoint.size > last.size or not request.proof


def _witness_size(data: bytes) -> None:
    assert b"%d\n" % witnessing.parse_size(data) == data


def _segment_pointer(data: bytes) -> None:
    pointer = _scratch() / "0-9.dvc"
    pointer.write_bytes(data)
    out, meta = segments._parse_pointer(pointer)
    assert segments._MANIFEST.fullmatch(out["md5"])
    assert meta["format"] == segments.FORMAT


def _segment_manifest(data: bytes) -> None:
    listed = segments._parse_manifest(Path("0-9.dvc"), data)
    assert all(segments._MD5.fullmatch(md5) for md5 in listed.values())


def _segment_sums(data: bytes) -> None:
    assert all(map(digests.is_sha256, segments._parse_sums(data).values()))


def _export_manifest(data: bytes) -> None:
    manifest = Manifest.parse(data)
    assert Manifest.parse(manifest.to_bytes()) == manifest


def _export_sums(data: bytes) -> None:
    sums = exports.parse_sums(data)
    assert exports.encode_sums(sums) == data
    for path in sums:
        assert not path.startswith("/")
        assert ".." not in PurePosixPath(path).parts


def _backup(data: bytes) -> None:
    _, _, cost = encrypted._read_header(io.BytesIO(data))
    if cost > CHEAP:
        raise FormatError("too dear to try here", code="backup.invalid")
    reader = encrypted.DecryptingReader(io.BytesIO(data), SECRET)
    plain = reader.read()
    reader.finish()
    assert plain == TEXT
    assert data == _backup_sample(), "two files of one backup"


@functools.cache
def _backup_sample() -> bytes:
    target = io.BytesIO()
    with encrypted.EncryptingWriter(target, SECRET, n=2) as writer:
        writer.write(TEXT)
    return target.getvalue()


def _secret(data: bytes) -> None:
    if not protected.is_protected(data):
        raise FormatError("a plain secret", code="key.unusable")
    try:
        _, _, cost, _ = protected._parse(data)
    except FormatError:
        cost = 2
    if cost <= CHEAP:
        assert protected.unprotect(data, SECRET, Path("sealing.key")) == TEXT


@functools.cache
def _secret_sample() -> bytes:
    return protected.protect(TEXT, SECRET, "sealing.key", n=2)


def _tar(data: bytes) -> None:
    """Unpack a tar that claims to be an export; nothing may come to lie outside of the folder."""
    with tempfile.TemporaryDirectory(dir=_scratch()) as folder:
        source, inside = Path(folder) / "export.tar", Path(folder) / "scratch"
        source.write_bytes(data)
        with sources.open_export(source, inside, lambda: None) as export:
            for path in export.sums:
                export.read(path)
        assert sorted(Path(folder).iterdir()) == [source], "unpacked outside, or left behind"


def _sidecars(data: bytes) -> None:
    for name in (
        "blobs",
        "cosignatures",
        "fingerprints",
        "mirror-state",
        "thumbnails",
        "witnessed-logs",
    ):
        try:
            sidecars.parse(name, data)
        except GenopsError:
            continue
        return
    for line in data.splitlines():
        sidecars._waiting(line, 10)


def _yaml(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    document = parse_document(text, "policy.yaml")
    jsonio.dumps(_finite(document.value))


def _policy(data: bytes) -> None:
    bundle = parse_bundle(data.decode("utf-8", "replace"), samples.schemas(), banned="- a\n")
    assert bundle.name.isprintable()
    assert len({rule.id for rule in bundle.rules}) == len(bundle.rules)


def _cases(data: bytes) -> None:
    parse_cases(data.decode("utf-8", "replace"), samples.schemas())


def _config(data: bytes) -> None:
    (_scratch() / "genops.toml").write_bytes(data)
    settings = load_settings(_scratch(), environ={})
    assert isinstance(settings.name, str)


def _typed(data: bytes) -> None:
    """Read what people type: ids and times."""
    text = data.decode("utf-8", "replace")
    if text[:1].isdigit() and "-" in text:
        at = times.read_time(text)
        assert times.parse_time(times.format_time(at)) == at
    else:
        assert digests.parse_ref(text).hex in text.lower()


@functools.cache
def _scratch() -> Path:
    """Return a folder of this process; the system clears it."""
    folder = tempfile.TemporaryDirectory(prefix="fuzz-")
    _KEEP.append(folder)
    return Path(folder.name)


_KEEP: list[tempfile.TemporaryDirectory[str]] = []


def _code(check: Any) -> str:
    """Return the code that a failed check's detail begins with."""
    return str(check.detail).partition(":")[0]


def _plain(value: Any) -> Any:
    return json.loads(jsonio.dumps(value))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_finite(item) for item in value]
    odd = isinstance(value, (int, float)) and (not math.isfinite(value) or abs(value) >= 2**53)
    return None if odd else value


def _same(one: Any, other: Any) -> bool:
    """Compare as JSON does: 1, 1.0 and true differ, and so do 0.0 and -0.0."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def _all() -> list[Target]:
    made = samples.world()
    statements = samples.statements()
    trusts = tuple(text for text in statements if b"/predicate/trust/" in text)
    own = tuple(envelope.payload for envelope in made.book.envelopes)
    texts = samples.disclosure_texts()
    lines = either(mutate_text, mutate_bytes)
    policies = samples.ROOT / "policies"
    return [
        Target(
            "json", (*statements[:8], *samples.examples(valid=False)[:20]), _json, mutate_json, 1
        ),
        Target("envelope", samples.golden("record-*.dsse.json"), _envelope, mutate_json, 2),
        Target("statement", statements, _statement, mutate_json, 0.5),
        Target("note", samples.notes(), _note, lines, 2),
        Target("checkpoint", samples.notes(), _checkpoint, lines, 0.5),
        Target("cosignature", (made.cosigned,), _cosigned, lines, 1),
        Target("vkey", samples.vkeys(), _vkey, lines, 2),
        Target(
            "tile path",
            (b"tile/0/x001/067.p/8", b"tile/entries/000", b"tile/63/x999/999.p/255"),
            _tile_path,
            lines,
            2,
        ),
        Target("entry bundle", samples.golden("entries.bundle"), _entry_bundle, mutate_bytes, 2),
        Target("proof", samples.proofs(), _proof, lines, 1),
        Target("disclosure", texts, _disclosure, in_base64url(mutate_json), 1),
        Target(
            "entry",
            (made.book.entries[0].to_bytes(),),
            _entry,
            either(mutate_json, mutate_bytes),
            2,
        ),
        Target("modelset", samples.golden("modelset.json"), _modelset, mutate_json, 2),
        Target("trust predicate", (*trusts, own[0], own[3]), _trust_predicate, mutate_json, 1),
        Target("trust state", (own[0], own[3]), _trust_state, mutate_json, 0.5),
        Target("submission", (*statements, *own), _submission, mutate_json, 0.5),
        Target("evidence", made.evidence, _evidence, mutate_json, 1),
        Target("evidence, signed", own[1:], _evidence_signed, mutate_json, 0.2),
        Target("evidence bundle", (made.bundle,), _evidence_bundle, mutate_zip, 0.3),
        Target("certificate", (made.certificate,), _certificate, mutate_json, 0.3),
        Target("certificate, signed", (own[2],), _certificate_signed, mutate_json, 0.1),
        Target("proposal", (made.proposal,), _proposal, mutate_json, 0.5),
        Target("add-checkpoint", (made.request,), _add_checkpoint, lines, 1),
        Target("witness's answer", (b"12\n", b"0\n"), _witness_size, mutate_bytes, 1),
        Target("segment pointer", (samples.POINTER,), _segment_pointer, lines, 0.1),
        Target("segment manifest", (samples.SEGMENT_MANIFEST,), _segment_manifest, mutate_json, 1),
        Target("segment sums", (samples.SEGMENT_SUMS,), _segment_sums, lines, 1),
        Target("export manifest", (samples.manifest(),), _export_manifest, mutate_json, 2),
        Target("export sums", samples.sums(), _export_sums, lines, 1),
        Target("backup", (_backup_sample(),), _backup, either(mutate_bytes, mutate_text), 0.5),
        Target("secret", (_secret_sample(),), _secret, either(mutate_bytes, mutate_text), 0.5),
        Target("tar of an export", (sample_tar(),), _tar, mutate_tar, 0.05),
        Target("sidecar rows", samples.ROWS, _sidecars, mutate_json, 1),
        Target("yaml", samples.files_of(policies, "*/policy.yaml"), _yaml, lines, 0.03),
        Target("policy", (samples.POLICY,), _policy, lines, 0.05),
        Target(
            "policy cases", samples.files_of(policies, "*/tests/*.yaml")[:2], _cases, lines, 0.02
        ),
        Target("settings", (samples.CONFIG,), _config, lines, 0.2),
        Target(
            "typed ids and times",
            (
                b"sha256:" + b"ab" * 32,
                b"rec:0123456789",
                b"inc-0123456789abcdef",
                b"2026-11-20T11:07Z",
            ),
            _typed,
            lines,
            2,
        ),
    ]


TARGETS = _all()
