"""Sealed texts: open them for those who hold the keyring, and say where they are gone."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import RowMapping, func, select

from registry.core.answers import TextState
from registry.core.disclosures import Disclosure, parse, sealed_pointers, unseal
from registry.core.statements import Statement
from registry.errors import ErasedError, InputError, IntegrityError, KeyFileError, NotFoundError
from registry.signing.sealing import decrypt
from registry.store.catalog_tables import ErasureRow
from registry.store.leaves import ENTRIES, spoken_of
from registry.store.sidecar_tables import SealedRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.services import Services

SEALED = table_of(SealedRow)
_ERASURES = table_of(ErasureRow)
_ERASED = spoken_of(_ERASURES)
_PAGE = 500

Progress = Callable[[int, int], None]
"""Called with what is done and what there is in all."""
Matches = Callable[[str], bool]
"""Tells whether a text is looked for."""


@dataclass(frozen=True, slots=True)
class OpenStatement:
    """A statement's document with its texts back in place, as far as their key still exists."""

    document: dict[str, Any]
    state: TextState
    disclosures: tuple[Disclosure, ...] = ()


def open_statement(services: Services, index: int, statement: Statement) -> OpenStatement:
    """Return the statement of record `index` with its texts, where they can be read.

    Raises IntegrityError when a stored disclosure does not fit the statement.
    """
    document = dict(statement.document)
    if not sealed_pointers(document):
        return OpenStatement(document, "none")
    with read(services.engine) as conn:
        row = conn.execute(select(SEALED).where(SEALED.c.record_idx == index)).mappings().first()
        erased = conn.execute(_ERASED.where(ENTRIES.c.idx == index)).first() is not None
    if erased:  # by the log, even if its key came back with a backup
        return OpenStatement(document, "erased")
    if row is None:  # a copy of the registry may have been made without texts
        return OpenStatement(document, "locked")
    try:
        key = services.keyring.get(row["key_id"])
    except ErasedError:
        return OpenStatement(document, "erased")
    except (NotFoundError, KeyFileError):
        return OpenStatement(document, "locked")
    disclosures = _opened(key, row)
    return OpenStatement(unseal(document, disclosures), "readable", disclosures)


def every_text(
    services: Services, progress: Progress | None = None
) -> Iterator[tuple[int, tuple[Disclosure, ...] | None]]:
    """Yield each record that has sealed texts: its index and its texts, opened.

    None where the key is not here, or does not open them; records whose key was destroyed are left
    out. Raises KeyFileError when there is no keyring.
    """
    with read(services.engine) as conn:
        total = conn.scalar(select(func.count()).select_from(SEALED)) or 0
    last, done = -1, 0
    while rows := _page(services, last):
        keys = services.keyring.get_many(row["key_id"] for row in rows)
        for row in rows:
            if row["key_id"] not in keys:
                yield row["record_idx"], None
            elif (key := keys[row["key_id"]]) is not None:
                yield row["record_idx"], _readable(key, row)
        last, done = rows[-1]["record_idx"], done + len(rows)
        if progress is not None:
            progress(done, total)


def found_in(disclosures: Sequence[Disclosure], matches: Matches) -> tuple[str, ...]:
    """Return the JSON Pointers of the sealed fields in which a text is."""
    return tuple(d.name for d in disclosures if says(d.value, matches))


def says(value: Any, matches: Matches) -> bool:
    """Tell whether any string of a JSON value, a key or not, is looked for."""
    if isinstance(value, str):
        return matches(value)
    if isinstance(value, Mapping):
        return any(matches(key) or says(item, matches) for key, item in value.items())
    return isinstance(value, (list, tuple)) and any(says(item, matches) for item in value)


def containing(text: str, *, ignore_case: bool = False) -> Matches:
    """Look for a text as it stands, or in any case. Raises InputError for an empty one."""
    if not text.strip():
        raise InputError("there is no text to look for", code="text.empty")
    if not ignore_case:
        return lambda value: text in value
    folded = text.casefold()
    return lambda value: folded in value.casefold()


def naming(person: str) -> Matches:
    """Look for a person's name: in any case, with any spaces, and as whole words only.

    Compatibility forms of letters count as the same (NFKC). Raises InputError for an empty name.
    """
    words = _folded(person).split()
    if not words:
        raise InputError("there is no name to look for", code="text.empty")
    pattern = re.compile(r"(?<!\w)" + r"\s+".join(map(re.escape, words)) + r"(?!\w)")
    return lambda value: pattern.search(_folded(value)) is not None


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def _page(services: Services, after: int) -> Sequence[RowMapping]:
    query = select(SEALED).where(SEALED.c.record_idx > after).order_by(SEALED.c.record_idx)
    with read(services.engine) as conn:
        return conn.execute(query.limit(_PAGE)).mappings().all()


def _opened(key: bytes, row: RowMapping) -> tuple[Disclosure, ...]:
    packed = decrypt(key, row["ciphertext"], aad=row["key_id"])
    return tuple(parse(text) for text in json.loads(packed))


def _readable(key: bytes, row: RowMapping) -> tuple[Disclosure, ...] | None:
    """Return a record's texts, or None for altered ones: they must not stop a search."""
    try:
        return _opened(key, row)
    except IntegrityError:
        return None
