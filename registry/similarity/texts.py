"""What identifies a text beyond its bytes: MinHash over the runs of its words.

After Broder, "On the resemblance and containment of documents" (1997), and Li and König, "b-Bit
Minwise Hashing" (2010). Computes; neither stores nor compares.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from registry.core.digests import sha256_hex
from registry.core.fingerprint import FingerprintValue
from registry.core.jsonio import loads
from registry.errors import FormatError

MINHASH = "minhash128x16-words3-nfkc-casefold-sha1-affine32-seed1-v1"
"""128 minima of `datasketch.MinHash`, of each the low 16 bits, big-endian: 256 bytes.

The set is that of the runs of three words of a text that was brought into NFKC and case-folded,
without punctuation. Of JSON, the words of its strings in their order.
"""
PERMUTATIONS = 128
NOT_COMPARABLE = "only the bytes were compared: as a text it is too short, too long or no UTF-8"
MIN_SHINGLES = 8
"""Fewest different runs of words of a text that gets a value: one could guess a slogan from its."""
MAX_BYTES = 1024 * 1024
"""Longest text that gets a value."""

_WIDTH = 3
_CHANCE = 2.0**-16
"""How often the low 16 bits of two different minima are equal."""
_MARKED = ("text/plain", "text/markdown")
_JSON = "application/json"
_IDEOGRAPHS = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_IDEOGRAPHS}]|[^\W_{_IDEOGRAPHS}]+")
_APOSTROPHE = re.compile(r"(?<=\w)['\u2019](?=\w)")
_STEPS = 8
"""Steps of a quality for each doubling of the number of shingles."""


def text_print(data: bytes, media_type: str | None) -> FingerprintValue | None:
    """Return the fingerprint of a text; None for what is no text, or too short or long for one.

    Its quality tells the number of its shingles, in eighths of a doubling: 24 for 8, 80 for 1024.
    """
    words = words_of(data, media_type)
    return None if words is None else print_of(sha256_hex(data), words)


def is_text(media_type: str | None) -> bool:
    """Tell whether assets of a media type are compared as texts."""
    kind = _kind(media_type)
    return kind in _MARKED or kind == _JSON or kind.endswith("+json")


def text_type_of(data: bytes) -> str:
    """Return the media type of a text that has no name to tell it: JSON where it is some."""
    if data.lstrip()[:1] not in {b"{", b"["} or len(data) > MAX_BYTES:
        return _MARKED[0]
    try:
        loads(data, max_bytes=MAX_BYTES)
    except FormatError:
        return _MARKED[0]
    return _JSON


def words_of(data: bytes, media_type: str | None) -> list[str] | None:
    """Return the words of a text as they are compared; None where it is none, or too long."""
    if not is_text(media_type) or len(data) > MAX_BYTES:
        return None
    if _kind(media_type) in _MARKED:
        text = _decoded(data)
        return None if text is None else _words(text)
    try:
        return _words("\n".join(_strings(loads(data, max_bytes=MAX_BYTES))))
    except FormatError:
        return None


def print_of(sha256: str, words: Sequence[str]) -> FingerprintValue | None:
    """Return the fingerprint of an asset's words; None where they are too few."""
    shingles = {" ".join(words[n : n + _WIDTH]) for n in range(len(words) - _WIDTH + 1)}
    if len(shingles) < MIN_SHINGLES:
        return None
    quality = min(100, round(_STEPS * math.log2(len(shingles))))
    return FingerprintValue(sha256, MINHASH, _minima(shingles), quality)


def size_of(quality: int) -> float:
    """Return about how many shingles a text has, by the quality of its fingerprint."""
    return float(2 ** (quality / _STEPS))


def similarity(equal: int) -> tuple[float, float]:
    """Return the estimated Jaccard similarity and its standard error, for so many equal minima.

    Corrected for chance equality of 16 bits. The error is that of a binomial with one success and
    one failure added, so that it is never 0: of 128 trials none can tell that.
    """
    share = equal / PERMUTATIONS
    likely = (equal + 1) / (PERMUTATIONS + 2)
    error = math.sqrt(likely * (1 - likely) / PERMUTATIONS) / (1 - _CHANCE)
    return max(0.0, (share - _CHANCE) / (1 - _CHANCE)), error


def _minima(shingles: set[str]) -> bytes:
    from datasketch import MinHash  # noqa: PLC0415  # heavy: only with a text

    made = MinHash(num_perm=PERMUTATIONS, seed=1, scheme="affine32")
    made.update_batch([shingle.encode("utf-8") for shingle in sorted(shingles)])
    return bytes((made.hashvalues & 0xFFFF).astype(">u2").tobytes())


def _kind(media_type: str | None) -> str:
    return (media_type or "").partition(";")[0].strip().lower()


def _decoded(data: bytes) -> str | None:
    encoding = "utf-16" if data[:2] in {b"\xff\xfe", b"\xfe\xff"} else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _words(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return _WORD.findall(_APOSTROPHE.sub("", plain))


def _strings(value: Any) -> Iterator[str]:
    """Yield the strings of a JSON value in order, without those that are names or digests."""
    waiting = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, str):
            if not _is_name(item):
                yield item
        elif isinstance(item, dict):
            waiting += reversed(item.values())
        elif isinstance(item, list):
            waiting += reversed(item)


def _is_name(text: str) -> bool:
    """Tell a file name, id or digest from words: no white space, and a digit."""
    return not any(map(str.isspace, text)) and any(map(str.isdigit, text))
