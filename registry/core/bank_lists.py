"""Lists of fingerprints as they are exchanged: our own form, JSON lines, and how to tell forms.

Reads bytes and gives entries, or says what is wrong with a line; and writes ours. Opens no file.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any

from registry.core.bank_lines import (
    MAX_LABEL,
    MAX_SOURCE,
    BadLine,
    Form,
    Line,
    Listed,
    Read,
    UnfitError,
    bad_list,
    label,
    object_of,
)
from registry.core.bank_predicates import entry_fields
from registry.core.banks import MAX_PRINTS, hash_only_digest
from registry.core.digests import asset_id, is_sha256
from registry.core.fingerprint import FingerprintValue
from registry.core.pdq_lists import read_csv, read_text, read_threatexchange
from registry.core.times import format_time, parse_time
from registry.errors import FormatError, InputError

FORMAT = "genops-bank/v1"
"""What the first line of our own lists says."""
MIN_QUALITY = 50
"""Least quality of a PDQ that is taken, of 100: below it, unlike pictures share hashes."""

_FLAT_ONES = 64
"""A PDQ has half of its bits set; with fewer than so many, or more than the rest, it is flat."""
_BOM = b"\xef\xbb\xbf"


def form_of(first: bytes) -> Form:
    """Return the form of a list by its first line that is not blank."""
    start = first.lstrip()
    if start[:1] in (b"{", b"["):
        ours = (FORMAT.encode("ascii"), b'"fingerprints"')
        return "genops" if any(word in start for word in ours) else "threatexchange"
    return "csv" if b"," in start else "text"


def read_list(data: bytes, form: Form | None = None, *, force: bool = False) -> Iterator[Read]:
    """Yield the entries of a list, and the lines that are none, in order; blank lines are nothing.

    Without a `form` it is told by the first line. With `force`, a low quality is taken. Raises
    InputError (`bank.list`) for a list that as a whole is not what its form says.
    """
    data = data.removeprefix(_BOM)
    lines = ((n, line) for n, line in enumerate(_lines(data), 1) if line.strip())
    first = next(lines, None)
    if first is None:
        return
    form = form or form_of(first[1])
    everything = chain([first], lines)
    if form == "threatexchange":
        found = read_threatexchange(data, everything)
    else:
        found = {"genops": _ours, "text": read_text, "csv": read_csv}[form](everything)
    for read in found:
        yield read if force or isinstance(read, BadLine) else _good_enough(read)


def _lines(data: bytes) -> Iterator[bytes]:
    start = 0
    while start < len(data):
        end = data.find(b"\n", start) + 1 or len(data)
        yield data[start:end]
        start = end


def header(bank: str, kind: str, origin: str, exported_ms: int) -> str:
    """Return the first line of a list of ours."""
    said = {"format": FORMAT, "bank": bank, "kind": kind, "origin": origin}
    return json.dumps(said | {"exported": format_time(exported_ms)}, ensure_ascii=False)


def line_of(entry: Listed) -> str:
    """Return an entry as a line of a list of ours."""
    reason = {} if entry.reason is None else {"reason": entry.reason}
    said = {"id": asset_id(entry.sha256)} | entry_fields(entry) | reason
    return json.dumps(said, ensure_ascii=False)


def _ours(lines: Iterable[Line]) -> Iterator[Read]:
    for number, line in lines:
        try:
            document = object_of(line)
            if "format" in document and "fingerprints" not in document:
                if document["format"] != FORMAT:
                    raise bad_list(f"its format is {str(document['format'])[:40]!r}")
                continue
            yield _our_entry(number, document)
        except (FormatError, UnfitError) as error:
            yield BadLine(number, str(error))


def _our_entry(number: int, said: Mapping[str, Any]) -> Listed:
    prints = said.get("fingerprints")
    if not isinstance(prints, dict) or len(prints) > MAX_PRINTS:
        raise UnfitError(f"it does not have an object of at most {MAX_PRINTS} fingerprints")
    values = tuple(_print(name, value) for name, value in prints.items())
    hash_only = said.get("hashOnly", True)
    if hash_only is not False and not values:
        raise UnfitError("it has no fingerprint, and no picture is named")
    sha256 = hash_only_digest(values)
    if hash_only is False or "id" in said:
        sha256 = _named_digest(said.get("id"), sha256 if hash_only else None)
    pixels, expires = said.get("pixels"), said.get("expires")
    if pixels is not None and not (isinstance(pixels, str) and is_sha256(pixels)):
        raise UnfitError("its pixels are no hex SHA-256")
    return Listed(
        number,
        sha256,
        tuple(replace(value, sha256=sha256) for value in values),
        hash_only=hash_only is not False,
        pixels=pixels,
        owner=_label(said, "owner", MAX_LABEL),
        source=_label(said, "source", MAX_SOURCE),
        expires_ms=None if expires is None else parse_time(str(expires)),
        reason=_string(said, "reason"),
    )


def _good_enough(entry: Listed) -> Read:
    """Refuse hashes by which unlike pictures are taken for each other."""
    for value in entry.prints:
        if not value.name.startswith("pdq"):
            continue
        if value.quality < MIN_QUALITY:
            why = f"its quality is {value.quality}, under {MIN_QUALITY}: it matches unlike pictures"
            return BadLine(entry.line, f"{why}; --force takes it")
        ones = int.from_bytes(value.value).bit_count()
        if not _FLAT_ONES <= ones <= 8 * len(value.value) - _FLAT_ONES:
            why = f"{ones} of its {8 * len(value.value)} bits are set, as in a flat picture"
            return BadLine(entry.line, f"{why}; --force takes it")
    return entry


def _print(name: Any, said: Any) -> FingerprintValue:
    if not isinstance(said, dict) or not isinstance(said.get("value"), str):
        raise UnfitError(f"fingerprint {str(name)[:40]!r} has no value")
    quality = said.get("quality", 100)
    if not 1 <= len(name) <= MAX_SOURCE or type(quality) is not int:
        raise UnfitError(f"fingerprint {str(name)[:40]!r} has no usable name or quality")
    text = said["value"]
    if text != text.lower() or not text.isalnum():
        raise UnfitError(f"the value of {name[:40]!r} is not lower-case hex")
    try:
        return FingerprintValue("0" * 64, name, bytes.fromhex(text), quality)
    except ValueError:
        raise UnfitError(f"the value of {name[:40]!r} is not hex") from None
    except InputError as error:
        raise UnfitError(error.message) from None


def _named_digest(said: Any, expected: str | None) -> str:
    digest = said.removeprefix("sha256:") if isinstance(said, str) else ""
    if not is_sha256(digest):
        raise UnfitError("its id is not sha256:<hex>")
    if expected is not None and digest != expected:
        raise UnfitError("its id is not that of its fingerprints")
    return digest


def _label(said: Mapping[str, Any], field: str, most: int) -> str | None:
    text = _string(said, field)
    try:
        return None if text is None else label(text, most)
    except InputError as error:
        raise UnfitError(f"its {field}: {error.message}") from None


def _string(said: Mapping[str, Any], field: str) -> str | None:
    text = said.get(field)
    if text is not None and not isinstance(text, str):
        raise UnfitError(f"its {field} is no text")
    return text
