"""Lists of PDQ hashes as other tools write them: text, tables, and ThreatExchange's JSON.

Reads lines and gives entries, or says what is wrong with a line. Opens no file.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

from registry.core.bank_lines import (
    PDQ_LISTED,
    BadLine,
    Line,
    Listed,
    Read,
    UnfitError,
    bad_list,
    decoded,
    object_of,
)
from registry.core.banks import hash_only_digest
from registry.core.fingerprint import FingerprintValue
from registry.errors import FormatError

_PDQ_HEX = 64
_HASH_COLUMNS = ("hash", "pdq", "pdq_hash", "hash_pdq", "value", "indicator", "raw_indicator")
_TAG_COLUMNS = ("tags", "tag", "labels")
_MOST_TAGS = 1000
"""Most characters of tags that are kept."""


def read_text(lines: Iterable[Line]) -> Iterator[Read]:
    """Read a hash a line, or a signal type and a hash as `threatexchange` keeps them in files."""
    for number, line in lines:
        if line.lstrip().startswith(b"#"):
            continue
        try:
            yield _pdq(number, _word(decoded(line)))
        except UnfitError as error:
            yield BadLine(number, str(error))


def _word(line: str) -> str:
    words = line.split()
    if len(words) == 2 and words[0].lower() != "pdq":
        raise UnfitError(f"it holds a {words[0][:20]!r}, and only pdq is taken")
    if len(words) > 2:
        raise UnfitError(f"it has {len(words)} words; a hash was expected")
    return words[-1]


def read_csv(lines: Iterable[Line]) -> Iterator[Read]:
    """Read a table: by its header where it has one, else hash and maybe quality first."""
    columns: Sequence[str] | None = None
    for number, line in lines:
        try:
            cells = next(csv.reader([decoded(line)], strict=True))
            if columns is None:
                columns = _columns(cells)
                if columns is not None:
                    continue
                columns = ("hash", "quality") if len(cells) > 1 and _small(cells[1]) else ("hash",)
            row = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            yield _row(number, row)
        except (csv.Error, UnfitError) as error:
            yield BadLine(number, str(error))


def _columns(cells: Sequence[str]) -> Sequence[str] | None:
    """Return the columns that a first row names, None where it is no header."""
    names = [cell.strip().lower() for cell in cells]
    return names if any(name in _HASH_COLUMNS for name in names) else None


def _row(number: int, row: Mapping[str, str]) -> Listed:
    hashed = next((row[name] for name in _HASH_COLUMNS if name in row), "")
    if row.get("type", "pdq").lower() not in ("pdq", "hash_pdq"):
        raise UnfitError(f"it is of type {row['type'][:20]!r}, and only PDQ is taken")
    quality = row.get("quality") or "100"
    if not _small(quality):
        raise UnfitError(f"its quality {quality[:20]!r} is not a whole number from 0 to 100")
    tags = next((row[name] for name in _TAG_COLUMNS if row.get(name)), None)
    return _pdq(number, hashed, int(quality), tags)


def read_threatexchange(data: bytes, lines: Iterable[Line]) -> Iterator[Read]:
    """Read what the API of ThreatExchange answers: one document, or one descriptor a line."""
    try:
        document = json.loads(data)
    except RecursionError:
        raise bad_list("it is nested too deep") from None
    except ValueError as error:
        found = iter(lines)
        first = next(found)
        if not _is_document(first[1]):
            raise bad_list(f"it is no JSON: {error}") from None
        for number, line in chain([first], found):
            yield _read_descriptor(number, line)
        return
    items = document.get("data", [document]) if isinstance(document, dict) else document
    if not isinstance(items, list):
        raise bad_list("its data is no list")
    for number, item in enumerate(items, 1):
        yield _read_descriptor(number, item)


def _is_document(line: bytes) -> bool:
    try:
        return isinstance(object_of(line), dict)
    except (FormatError, UnfitError):
        return False


def _read_descriptor(number: int, item: Any) -> Read:
    try:
        return _descriptor(object_of(item) if isinstance(item, bytes) else item, number)
    except (FormatError, UnfitError) as error:
        return BadLine(number, str(error))


def _descriptor(item: Any, number: int) -> Listed:
    """Read one descriptor; one that was taken back there, and one of another kind, is unfit."""
    if not isinstance(item, dict):
        raise UnfitError("it is no object")
    indicator = item.get("indicator")
    nested = indicator if isinstance(indicator, dict) else {}
    kind = item.get("type", nested.get("type", "HASH_PDQ"))
    if item.get("should_delete") is True:
        raise UnfitError("it was taken back there")
    if str(kind).upper() not in ("HASH_PDQ", "PDQ"):
        raise UnfitError(f"it is of type {str(kind)[:20]!r}, and only PDQ is taken")
    hashed = item.get("raw_indicator") or nested.get("indicator") or indicator
    if not isinstance(hashed, str):
        raise UnfitError("it has no indicator")
    return _pdq(number, hashed, 100, _tags(item.get("tags")))


def _tags(said: Any) -> str | None:
    listed = said.get("data") if isinstance(said, dict) else said
    if not isinstance(listed, list):
        return None
    words = (tag.get("text") if isinstance(tag, dict) else tag for tag in listed)
    told = " ".join(word for word in words if isinstance(word, str))
    return told.encode("utf-8", "ignore").decode("utf-8")[:_MOST_TAGS] or None


def _pdq(number: int, text: str, quality: int = 100, tags: str | None = None) -> Listed:
    hashed = text.strip().lower()
    if len(hashed) != _PDQ_HEX:
        raise UnfitError(f"a PDQ has {_PDQ_HEX} hex digits, and this {len(hashed)}")
    try:
        value = bytes.fromhex(hashed)
    except ValueError:
        raise UnfitError("it is not hex") from None
    if len(value) * 2 != _PDQ_HEX:  # `fromhex` passes over blanks
        raise UnfitError("it is not hex")
    bare = FingerprintValue("0" * 64, PDQ_LISTED, value, quality)
    sha256 = hash_only_digest([bare])
    return Listed(number, sha256, (replace(bare, sha256=sha256),), tags=tags)


def _small(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 3 and int(text) <= 100
