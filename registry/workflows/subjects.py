"""A person's request: find all that is held on them, export it, erase it, and certify that.

On the log a person is a keyed pseudonym. An erasure that a request asks for says that pseudonym
in its sealed reason, so that a certificate finds it when no text names the person any more.
"""

from __future__ import annotations

import io
import json
import mimetypes
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from registry.catalog.holds import PREDICATE_ERASURE
from registry.core.certificates import Certificate, name_digest, to_bytes
from registry.core.disclosures import sealed_digest
from registry.core.dsse import Envelope
from registry.core.evidence import EvidenceItem
from registry.core.jsonio import escape_pointer
from registry.core.privacy import Certified, ErasureReport, Mention, SubjectExport, SubjectReport
from registry.core.statements import Statement, predicate_name
from registry.core.times import format_time
from registry.errors import InputError, NotFoundError
from registry.workflows import choose, erase
from registry.workflows.choose import Reason
from registry.workflows.holds import standing_on
from registry.workflows.inspect import text_of
from registry.workflows.personal import is_personal, personal_outputs, read_output, write_new
from registry.workflows.services import Services
from registry.workflows.submit import sign
from registry.workflows.texts import Matches, Progress, naming, open_statement
from registry.workflows.view import RecordView

_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_README = """\
What this registry holds on {pseudonym} (a person's pseudonym on its log).

index.json   every record, and where the name stands: JSON Pointers into its statement
records/     each record that can be read, its texts in their places
outputs/     pictures and files that were stored encrypted because they are personal
"""


def find(services: Services, name: str, progress: Progress | None = None) -> SubjectReport:
    """Return every record that concerns a person: as actor, in sealed texts, or in plain sight.

    Opens every text that can be opened. Raises InputError for an empty name.
    """
    matches = naming(name)
    choice = choose.by_person(services, name, progress)
    plain = dict(_in_plain_sight(services, matches, progress))
    for index in plain:
        choice.reasons.setdefault(index, Reason(("plain",)))
    indices = sorted(choice.reasons)
    holds = standing_on(services, indices)
    mentions = [
        _mention(services, index, choice.reasons[index], plain.get(index, ()), holds.get(index, ()))
        for index in indices
    ]
    readable = sum(mention.text == "readable" for mention in mentions)
    return SubjectReport(services.pseudonym(name), readable, tuple(mentions), choice.unread)


def export(
    services: Services, name: str, out: Path, progress: Progress | None = None
) -> SubjectExport:
    """Write a ZIP (0600) of all that is held on a person; raises InputError where `out` exists.

    Records are written with every text that can be read, other persons' included: read it before
    it is handed out.
    """
    report = find(services, name, progress)
    if not report.mentions:
        raise _nothing(name)
    files = dict(_files(services, report))
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(files.items()):
            archive.writestr(zipfile.ZipInfo(path, _ZIP_DATE), content, zipfile.ZIP_DEFLATED)
    write_new(out, data.getvalue())
    count = {top: sum(path.startswith(top) for path in files) for top in ("records/", "outputs/")}
    return SubjectExport(str(out), report.pseudonym, count["records/"], count["outputs/"])


def erase_person(
    services: Services,
    name: str,
    *,
    reason: str,
    actor: str | None = None,
    progress: Progress | None = None,
) -> ErasureReport:
    """Erase every record that concerns a person; what is held is left, and reported.

    Raises InputError for a reason or an actor that would say the name again, NotFoundError when
    there is nothing to erase.
    """
    erase.refuse_to_repeat(services, naming(name), reason, actor)
    if not reason.strip():
        raise InputError("an erasure needs a reason", code="erase.reason", hint='--reason "…"')
    choice = choose.by_person(services, name, progress)
    tagged = f"{reason} {_tag(services.pseudonym(name))}"
    return erase.erase_all(services, choice, reason=tagged, actor=actor, progress=progress)


def certify(
    services: Services, name: str, out: Path, progress: Progress | None = None
) -> Certificate:
    """Write a signed certificate of what was erased of a person, and what is held and why.

    Raises NotFoundError (`subject.unknown`) when there is neither, InputError where `out` exists.
    """
    erase.finish_erasures(services)
    lines = tuple(_certified(services, name, progress))
    if not lines:
        raise _nothing(name)
    size = services.reader.head().size
    salt = services.salt()
    certificate = Certificate(
        origin=services.settings.origin,
        made_ms=services.now(),
        pseudonym=services.pseudonym(name),
        salt=salt,
        name_digest=name_digest(salt, name),
        tree_size=size,
        lines=lines,
    )
    envelope = Envelope.parse(sign(services.signer("admin"), certificate.payload()))
    named = sorted({_index(services, r) for x in lines for r in (x.erasure, *x.held_by) if r})
    trust = [index for index in services.reader.trust_indices() if index < size]
    items = {i: _item(services, i, size) for i in {*named, *trust}}
    proofs, trusted = [items[i] for i in named], [items[i] for i in trust]
    write_new(out, to_bytes(envelope, lines, proofs, trusted))
    return certificate


def _in_plain_sight(
    services: Services, matches: Matches, progress: Progress | None
) -> Iterator[tuple[int, tuple[str, ...]]]:
    """Yield the records that name a person outside sealed texts, and where."""
    total = services.reader.head().size
    for index, _, envelope in services.reader.records():
        text = envelope.payload.decode("utf-8")
        if matches(text) or "\\" in text:  # an escape may hide it
            found = tuple(_pointers(Statement.parse(envelope.payload).document, matches))
            if found:
                yield index, found
        if progress is not None:
            progress(index + 1, total)


def _pointers(value: Any, matches: Matches, where: str = "") -> Iterator[str]:
    if isinstance(value, str):
        if matches(value):
            yield where
    elif isinstance(value, Mapping):
        if sealed_digest(value) is not None:
            return
        for key, item in value.items():
            inner = f"{where}/{escape_pointer(key)}"
            if matches(key):
                yield inner
            yield from _pointers(item, matches, inner)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _pointers(item, matches, f"{where}/{number}")


def _mention(
    services: Services,
    index: int,
    reason: Reason,
    plain: tuple[str, ...],
    held_by: tuple[str, ...],
) -> Mention:
    view = RecordView(services, index)
    statement = view.statement
    kind = statement.predicate_type
    return Mention(
        record=view.entry.record_id,
        index=index,
        time=format_time(view.entry.time_ms),
        predicate=predicate_name(kind) or kind,
        because=reason.because,
        found_in=reason.found_in,
        plain=plain,
        personal=personal_outputs(statement),
        text=open_statement(services, index, statement).state,
        held_by=held_by,
    )


def _files(services: Services, report: SubjectReport) -> Iterator[tuple[str, bytes]]:
    yield "README.txt", _README.format(pseudonym=report.pseudonym).encode("utf-8")
    yield "index.json", _json(report.to_dict())
    for mention in report.mentions:
        if mention.text != "readable":
            continue
        view = RecordView(services, mention.index)
        name = mention.record.removeprefix("rec:")
        opened = open_statement(services, mention.index, view.statement)
        place = {"record": mention.record, "index": mention.index, "time": mention.time}
        yield f"records/{name}.json", _json({**place, "statement": opened.document})
        for position, subject in enumerate(view.statement.subjects):
            if is_personal(subject):
                suffix = mimetypes.guess_extension(subject.media_type or "") or ".bin"
                path = f"outputs/{name}-{position}{suffix}"
                yield path, read_output(services, view, position)


def _certified(services: Services, name: str, progress: Progress | None) -> Iterator[Certified]:
    """Yield a line for each record that was erased, and for each that a hold keeps."""
    choice = choose.by_person(services, name, progress)
    erased = dict(_erased_for(services, services.pseudonym(name)))
    rows = choose.rows(services, choice.reasons)
    known = choose.erasures_of(services, [row["leaf_hash"] for row in rows])
    for row in known.values():
        view = RecordView(services, row["idx"])
        erased.setdefault(view.statement.predicate["record"], view)
    for record, view in sorted(erased.items(), key=lambda item: item[1].index):
        yield Certified(record, format_time(view.entry.time_ms), view.entry.record_id)
    holds = standing_on(services, [row["idx"] for row in rows if row["leaf_hash"] not in known])
    for index, held_by in sorted(holds.items()):
        view = RecordView(services, index)
        time = format_time(view.entry.time_ms)
        why = tuple(_why(services, hold, naming(name)) for hold in held_by)
        yield Certified(view.entry.record_id, time, None, held_by, why)


def _why(services: Services, hold: str, matches: Matches) -> str:
    """Return the reason of a hold; one that names the person is withheld."""
    reason = text_of(services, _index(services, hold), "reason")
    if reason is None:
        return "the reason was erased"
    return "a reason that names the person" if matches(reason) else reason


def _erased_for(services: Services, pseudonym: str) -> Iterator[tuple[str, RecordView]]:
    """Yield the erasures whose reason says that a person's request asked for them."""
    for index in choose.of_type(services, PREDICATE_ERASURE):
        if (text_of(services, index, "reason") or "").endswith(_tag(pseudonym)):
            view = RecordView(services, index)
            yield view.statement.predicate["record"], view


def _tag(pseudonym: str) -> str:
    return f"[subject {pseudonym}]"


def _item(services: Services, index: int, size: int) -> EvidenceItem:
    view = RecordView(services, index)
    return EvidenceItem(view.envelope, view.entry, services.reader.inclusion(index, size=size))


def _index(services: Services, record: str) -> int:
    return services.reader.index_of(bytes.fromhex(record.removeprefix("rec:")))


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode("utf-8")


def _nothing(name: str) -> NotFoundError:
    return NotFoundError(
        f"nothing here concerns {name}",
        code="subject.unknown",
        hint="try the name as it was given to GENOPS_ACTOR, or in prompts",
    )
