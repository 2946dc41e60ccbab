"""Sealed texts: open them for those who hold the keyring, and say where they are gone."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from registry.core.answers import TextState
from registry.core.disclosures import Disclosure, parse, sealed_pointers, unseal
from registry.core.statements import Statement
from registry.errors import ErasedError, KeyFileError, NotFoundError
from registry.signing.sealing import decrypt
from registry.store.sidecar_tables import SealedRow
from registry.store.transaction import read
from registry.store.types import table_of
from registry.workflows.services import Services

SEALED = table_of(SealedRow)


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
    if row is None:
        return OpenStatement(document, "erased")
    try:
        key = services.keyring.get(row["key_id"])
    except ErasedError:
        return OpenStatement(document, "erased")
    except (NotFoundError, KeyFileError):
        return OpenStatement(document, "locked")
    packed = decrypt(key, row["ciphertext"], aad=row["key_id"])
    disclosures = tuple(parse(text) for text in json.loads(packed))
    return OpenStatement(unseal(document, disclosures), "readable", disclosures)
