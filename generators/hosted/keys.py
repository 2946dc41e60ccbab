"""The key of a hosted service: held, sent in one header, and kept out of everything else.

Knows no service and no record. A key comes from an environment variable or a file, never from a
command line, which every process of the machine can read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NoReturn

from registry.errors import InputError

MIN_LENGTH = 8
"""Fewest characters of a key: a shorter one could not be told from ordinary text."""
MAX_BYTES = 16 * 1024
"""Largest key file that is read."""
GONE = "[key]"
"""What stands where a service repeated the key."""


class ApiKey:
    """A secret text. It shows itself to nobody: not in a repr, a log, an error or a pickle."""

    __slots__ = ("_text",)

    def __init__(self, text: str, source: str = "the API key") -> None:
        """Take the key; `source` names where it is from in the InputError (`hosted.key`)."""
        text = text.strip()
        if len(text) < MIN_LENGTH:
            raise _unusable(source, f"has fewer than {MIN_LENGTH} characters")
        if not all("!" <= character <= "~" for character in text):
            raise _unusable(source, "has characters that no HTTP header can carry")
        self._text = text

    def __repr__(self) -> str:
        return "ApiKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an API key is not pickled")

    def headers(self) -> dict[str, str]:
        """Return the one header that carries the key."""
        return {"Authorization": f"Bearer {self._text}"}

    def is_in(self, data: bytes | str) -> bool:
        """Tell whether the key stands in some bytes or text as it is."""
        if isinstance(data, str):
            return self._text in data
        return self._text.encode("ascii") in data

    def scrub(self, text: str) -> str:
        """Return a text without the key."""
        return text.replace(self._text, GONE)


class NoKey:
    """What stands in for a key where a service needs none."""

    __slots__ = ()

    def headers(self) -> dict[str, str]:
        """Return no header."""
        return {}

    def is_in(self, data: bytes | str) -> bool:  # noqa: ARG002
        """Tell that nothing is hidden here."""
        return False

    def scrub(self, text: str) -> str:
        """Return the text."""
        return text


Key = ApiKey | NoKey


def read_key(env: str | None = None, file: str | Path | None = None) -> Key:
    """Return the key of a variable or of a file, `NoKey` without either.

    Raises InputError (`hosted.key`) for both at once, a variable that is not set, and a file that
    cannot be read.
    """
    if env is not None and file is not None:
        raise _unusable("the API key", "is to come from a variable and from a file")
    if env is not None:
        if not os.environ.get(env):
            raise _unusable(f"variable {env}", "is not set, and the API key was to be in it")
        return ApiKey(os.environ[env], f"the key in {env}")
    if file is not None:
        return ApiKey(_read(Path(file)), f"the key in {file}")
    return NoKey()


def scrub_deep(value: Any, key: Key) -> Any:
    """Return a JSON value without the key in any of its texts or names."""
    if isinstance(value, str):
        return key.scrub(value)
    if isinstance(value, dict):
        return {key.scrub(name): scrub_deep(item, key) for name, item in value.items()}
    return [scrub_deep(item, key) for item in value] if isinstance(value, list) else value


def _read(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unusable(f"key file {path}", f"cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise _unusable(f"key file {path}", f"has more than {MAX_BYTES} bytes")
    return data.decode("utf-8", "replace")


def _unusable(source: str, why: str) -> InputError:
    return InputError(
        f"{source} {why}",
        code="hosted.key",
        hint="name a variable with --key-env or a file with --key-file; neither if none is needed",
    )
