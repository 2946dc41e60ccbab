"""What a home derived from its log and keeps in a file, so that it need not derive it again.

Authenticated under a secret of the home: a file that this home did not write, or that was made
about something else, is as good as none.
"""

from __future__ import annotations

import hashlib
import hmac
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from registry.core import jsonio
from registry.errors import GenopsError


class KeptFile:
    """One file. `key` is for this kind of file alone; `subject` names what its body depends on."""

    def __init__(self, path: Path, key: bytes, subject: str) -> None:
        self._path = path
        self._key = key
        self._subject = subject

    def load(self, max_bytes: int) -> Any:
        """Return the body, None when there is none, or none that is genuine."""
        try:
            document = jsonio.loads(self._path.read_bytes(), max_bytes=max_bytes)
            body, mac = document["body"], document["mac"]
            return body if hmac.compare_digest(self._mac(body), mac) else None
        except (OSError, GenopsError, LookupError, TypeError, ValueError):
            return None

    def save(self, body: Any) -> bool:
        """Put a body in place in one step; tell whether that could be done."""
        data = jsonio.dumps({"body": body, "mac": self._mac(body)})
        scratch = self._path.with_name(f"{self._path.name}.{os.urandom(8).hex()}")
        try:
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            scratch.write_bytes(data)
            scratch.replace(self._path)
        except OSError:  # a full disk or a home that is only read: whoever derives it goes on
            with suppress(OSError):
                scratch.unlink(missing_ok=True)
            return False
        return True

    def clear(self) -> None:
        """Forget what was kept."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _mac(self, body: Any) -> str:
        said = jsonio.dumps({"subject": self._subject, "body": body})
        return hmac.new(self._key, said, hashlib.sha256).hexdigest()
