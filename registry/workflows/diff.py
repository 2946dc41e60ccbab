"""Two assets or records side by side: what was asked, from what, where, and what came out."""

from __future__ import annotations

import difflib
import io
import mimetypes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy import RowMapping

from registry.core.answers import TextState
from registry.core.digests import asset_id, record_id, sha256_hex
from registry.core.disclosures import sealed_digest
from registry.core.replay_answers import DiffPixels, DiffReport, DiffSide, SideBySide
from registry.core.statements import PREDICATE_GENERATION, Statement
from registry.errors import GenopsError, InputError, NotFoundError
from registry.similarity.compare import pixel_profile
from registry.similarity.decode import open_image
from registry.store.transaction import read
from registry.workflows import refs
from registry.workflows.inspect import ARGUMENTS, materials
from registry.workflows.personal import read_row
from registry.workflows.replay.environs import recorded_environment
from registry.workflows.replay.triptych import triptych
from registry.workflows.services import Services
from registry.workflows.texts import open_statement
from registry.workflows.view import RecordView

MOST_TEXT_BYTES = 1024 * 1024
MOST_LINES = 2000
"""Texts with more lines are told apart, but not line by line: that grows with the square."""
_UNREADABLE: Mapping[TextState, str] = {"erased": "(erased)", "locked": "(sealed)"}
_TEXTS = ("text/", "application/json", "application/xml", "application/yaml")


@dataclass(frozen=True, slots=True)
class _Side:
    """One side: its content, and its record where it has one."""

    side: DiffSide
    data: bytes | None
    row: RowMapping | None = None
    statement: Statement | None = None
    document: Mapping[str, Any] = field(default_factory=dict)

    @property
    def generated(self) -> bool:
        return self.side.kind == "generated"


def diff(services: Services, first: str, second: str, *, out: Path | None = None) -> DiffReport:
    """Compare two assets, records or files; `out` receives a picture of both and what differs.

    A file that the registry does not know is compared by its content alone. Raises NotFoundError,
    AmbiguousError or InputError for what names nothing, InputError (`diff.no-picture`) where a
    picture is asked for and there are no two.
    """
    a, b = _side(services, first), _side(services, second)
    found = _Found(a.side.text, b.side.text)
    notes = [*_missing(a), *_missing(b)]
    if a.generated and b.generated:
        _compare_records(a, b, found)
    else:
        notes += [f"{s.side.named}: {_why_no_record(s)}" for s in (a, b) if not s.generated]
    pictures = _pictures(services, a, b)
    pixels, lines, more = _compare_content(a, b, pictures)
    return DiffReport(
        first=a.side,
        second=b.side,
        same=a.side.id == b.side.id,
        seed=_seeds(a, b),
        parameters=tuple(found.parameters),
        materials=_materials(services, a, b),
        internals=tuple(found.internals),
        environment=tuple(found.environment),
        unknown=tuple(found.unknown),
        pixels=pixels,
        lines=lines,
        notes=(*notes, *more),
        picture=None if out is None else _write_picture(pictures, out),
    )


def _side(services: Services, text: str) -> _Side:
    try:
        with read(services.engine) as conn:
            row = refs.output(conn, text)
    except NotFoundError:
        if not Path(text).is_file():
            raise
        return _file(Path(text))
    statement = RecordView(services, row["record_idx"]).statement
    opened = open_statement(services, row["record_idx"], statement)
    try:
        data = read_row(services, row)
    except GenopsError:
        data = None
    side = DiffSide(
        named=text,
        id=asset_id(row["sha256"].hex()),
        record=record_id(row["leaf_hash"].hex()),
        kind="generated" if statement.predicate_type == PREDICATE_GENERATION else "ingested",
        text=opened.state,
        media_type=row["media_type"],
        size=row["size"],
    )
    return _Side(side, data, row, statement, opened.document)


def _file(path: Path) -> _Side:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", code="file.unreadable") from error
    kind = mimetypes.guess_type(path.name)[0]
    side = DiffSide(str(path), asset_id(sha256_hex(data)), None, "file", "none", kind, len(data))
    return _Side(side, data)


def _missing(side: _Side) -> Iterator[str]:
    if side.data is None:
        yield f"{side.side.named}: its bytes are not here any more, or cannot be read"


def _why_no_record(side: _Side) -> str:
    if side.side.kind == "file":
        return "a file without a record: only its content is compared"
    return "taken in as a file, not generated here: only its content is compared"


class _Found:
    """The fields that differ, by part; what cannot be told, apart."""

    def __init__(self, first: TextState, second: TextState) -> None:
        self._hidden = (_UNREADABLE.get(first, "(sealed)"), _UNREADABLE.get(second, "(sealed)"))
        self.parameters: list[SideBySide] = []
        self.internals: list[SideBySide] = []
        self.environment: list[SideBySide] = []
        self.unknown: list[SideBySide] = []

    def compare(self, into: list[SideBySide], first: Any, second: Any, where: str = "") -> None:
        """Put the leaves that differ into a part, by dotted path, in key order."""
        hidden = [sealed_digest(value) is not None for value in (first, second)]
        if any(hidden):
            shown = [
                word if hide else value
                for word, hide, value in zip(self._hidden, hidden, (first, second), strict=True)
            ]
            self.unknown.append(SideBySide(where, *shown))
        elif isinstance(first, Mapping) and isinstance(second, Mapping):
            for key in sorted({*first, *second}):
                inner = f"{where}.{key}" if where else str(key)
                self.compare(into, first.get(key), second.get(key), inner)
        elif _are_lists(first, second):
            for number, pair in enumerate(zip(first, second, strict=True)):
                self.compare(into, *pair, f"{where}[{number}]")
        elif first != second:
            into.append(SideBySide(where, first, second))


def _are_lists(first: Any, second: Any) -> bool:
    both = isinstance(first, (list, tuple)) and isinstance(second, (list, tuple))
    return both and len(first) == len(second)


def _compare_records(a: _Side, b: _Side, found: _Found) -> None:
    found.compare(found.parameters, _asked(a), _asked(b))
    found.compare(found.internals, _internals(a), _internals(b))
    first, second = recorded_environment(a.document), recorded_environment(b.document)
    found.compare(found.environment, first, second)


def _definition(side: _Side) -> Mapping[str, Any]:
    definition: Mapping[str, Any] = side.document["predicate"]["buildDefinition"]
    return definition


def _asked(side: _Side) -> dict[str, Any]:
    """Return what the caller chose: arguments by their own names, LoRAs by theirs, the rest."""
    external = dict(_definition(side)["externalParameters"])
    arguments = external.pop(ARGUMENTS, {})
    loras = external.pop("loras", None) or []
    external |= {"build type": _definition(side)["buildType"]}
    # The seed has a place of its own, and a generator's state says no more to a reader.
    external.pop("generator", None)
    own = {name: value for name, value in arguments.items() if name not in {"generator", "seed"}}
    own |= {name: value for name, value in external.items() if name != "seed"}
    named = {_adapter(entry): entry for entry in loras if isinstance(entry, Mapping)}
    return own | ({"loras": named} if named else {})


def _adapter(entry: Mapping[str, Any]) -> str:
    return str(entry.get("ref") or entry.get("adapter"))


def _internals(side: _Side) -> dict[str, Any]:
    internal = dict(_definition(side)["internalParameters"])
    internal.pop("environment", None)
    return internal


def _seeds(a: _Side, b: _Side) -> SideBySide | None:
    first, second = (side.row["seed"] if side.row is not None else None for side in (a, b))
    both = a.generated and b.generated
    return SideBySide("seed", first, second) if both and first != second else None


def _materials(services: Services, a: _Side, b: _Side) -> tuple[SideBySide, ...]:
    """Compare what the two were made from, by name."""
    if a.statement is None or b.statement is None or a.row is None or b.row is None:
        return ()
    first, second = (
        {m.name: m.id for m in materials(services, statement, row["position"])}
        for statement, row in ((a.statement, a.row), (b.statement, b.row))
    )
    return tuple(
        SideBySide(name, first.get(name), second.get(name))
        for name in sorted({*first, *second})
        if first.get(name) != second.get(name)
    )


def _pictures(services: Services, a: _Side, b: _Side) -> tuple[bytes, bytes] | None:
    """Return both contents as PNG, decoded with care; None unless both are pictures."""
    shown = [_as_png(services, side.data) for side in (a, b) if side.data is not None]
    first, second = (*shown, None, None)[:2]
    return None if first is None or second is None else (first, second)


def _as_png(services: Services, data: bytes) -> bytes | None:
    stream = io.BytesIO()
    try:
        picture = open_image(data, services.settings.limits)
        picture.save(stream, "PNG", compress_level=1)
    except (GenopsError, OSError):
        return None
    return stream.getvalue()


def _compare_content(
    a: _Side, b: _Side, pictures: tuple[bytes, bytes] | None
) -> tuple[DiffPixels | None, tuple[str, ...], tuple[str, ...]]:
    """Compare what came out: as pictures, as texts, or only byte for byte."""
    if a.data is None or b.data is None:
        return None, (), ()
    if pictures is not None:
        profile = pixel_profile(*pictures)
        if profile is None:
            return None, (), ("the pictures have two sizes: no distance was measured",)
        apart = profile.distance
        return (
            DiffPixels(apart.max_level, profile.mean_level, apart.fraction, profile.box),
            (),
            (),
        )
    if all((side.side.media_type or "").startswith(_TEXTS) for side in (a, b)):
        lines, note = _unified(a, b, a.data, b.data)
        return None, tuple(lines), note
    same = a.side.id == b.side.id
    return None, (), () if same else ("neither two pictures nor two texts: only bytes compared",)


def _unified(
    a: _Side, b: _Side, first: bytes, second: bytes
) -> tuple[Sequence[str], tuple[str, ...]]:
    if len(first) + len(second) > MOST_TEXT_BYTES:
        return (), ("the texts are too long to be compared line by line",)
    try:
        left, right = first.decode("utf-8").splitlines(), second.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        return (), ("a text is not UTF-8: only the bytes are compared",)
    if max(len(left), len(right)) > MOST_LINES:
        return (), ("the texts have too many lines to be compared line by line",)
    names = (a.side.named, b.side.named)
    return list(difflib.unified_diff(left, right, *names, lineterm="")), ()


def _write_picture(pictures: tuple[bytes, bytes] | None, out: Path) -> str:
    sheet = None if pictures is None else triptych(*pictures, ("first", "second"))
    if sheet is None:
        raise InputError(
            "there are no two pictures to show side by side",
            code="diff.no-picture",
            hint="leave --out away",
        )
    try:
        out.write_bytes(sheet)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror}", code="file.unwritable") from error
    return str(out)
