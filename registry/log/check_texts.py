"""Opening every sealed text that this home has the key of, and comparing it with its digest.

A text that nobody may read any more is no finding: its erasure is a record. What the keyring says
must fit the log: a key that was destroyed without a record, or is still there after one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from registry.core import disclosures
from registry.errors import ErasedError, GenopsError, KeyFileError, NotFoundError
from registry.log.check_page import Judged, Page, Row
from registry.log.findings import Finding
from registry.signing.sealing import Keyring, decrypt


class TextsCheck:
    """Checks the texts of page after page; `locked` once the keyring could not be opened."""

    def __init__(self, keyring: Keyring) -> None:
        self._keyring = keyring
        self.locked = False

    def page(self, page: Page, judged: Judged) -> list[Finding]:
        """Return what does not fit about the texts of a page's records."""
        found: list[Finding] = []
        try:
            for index, pointers in judged.texts.items():
                if problem := self._text(page.rows[index], pointers):
                    found.append(Finding(index, "text", problem))
            for index, payload in judged.erased.items():
                if problem := self._erased(payload):
                    found.append(Finding(index, "erasure", problem))
        except KeyFileError:
            self.locked = True
        return found

    def _text(self, row: Row, pointers: Mapping[str, str]) -> str:
        """Say what is wrong with the sealed texts of one record; "" when nothing is."""
        key_id = bytes(row.payload_sha256).hex()
        try:
            key = self._keyring.get(key_id)
        except KeyFileError:
            raise
        except ErasedError:
            gone = row.ciphertext is None
            return "" if gone else "its key was destroyed, and the encrypted texts are still there"
        except NotFoundError:
            return "" if row.ciphertext is None else "the keyring holds no key for its texts"
        except GenopsError as error:
            return error.message
        if row.ciphertext is None:
            return "its texts are gone, and their key is not destroyed"
        return _opened(key, row, key_id, pointers)

    def _erased(self, payload: str) -> str:
        try:
            self._keyring.get(payload)
        except ErasedError:
            return ""
        except NotFoundError:
            return "the keyring does not know that the key was destroyed: it is an older one"
        except KeyFileError:
            raise
        except GenopsError as error:
            return error.message
        return "the key of what it erased is still there"


def _opened(key: bytes, row: Row, key_id: str, pointers: Mapping[str, str]) -> str:
    """Decrypt a record's texts and compare each with its digest in the statement."""
    try:
        packed = decrypt(key, bytes(row.ciphertext), aad=key_id)
        texts = [disclosures.parse(text) for text in json.loads(packed)]
    except (GenopsError, TypeError, ValueError) as error:
        return error.message if isinstance(error, GenopsError) else "its texts are malformed"
    unfit = [text.name for text in texts if pointers.get(text.name) != text.digest()]
    return f"the text at {unfit[0]} is not the one that was sealed" if unfit else ""
