"""Mutators: from well-formed bytes to bytes that are nearly so.

A mutator takes bytes, a source of chance and other samples of the same kind. JSON is edited as a
tree and spelled anew, text by its lines, whatever is in base64 from within; bytes are what is left.
"""

from __future__ import annotations

import base64
import binascii
import copy
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

Mutator = Callable[[bytes, Random, Sequence[bytes]], bytes]

_RAW = "\x01raw\x02"  # stands for text that no serialiser would write
_RAW_SPOT = re.compile(r'"\\u0001raw\\u0002([0-9]+)"')
_KEY = re.compile(r'"([^"\\]{1,80})":')
_WORD = re.compile(rb"[A-Za-z0-9+/=_-]{4,}")
_LONG = 2000

RAW_VALUES = (
    "1e400", "-1e400", "1e-400", "-0", "-0.0", "1.0", "01", "+1", "1.", ".5", "0x10", "1_0",
    "1E0",
    "NaN", "Infinity", "-Infinity", "9007199254740991", "9007199254740992", "-9007199254740993",
    "1e15", "9007199254740992.0", "4.9e-324", "9" * 400, "0." + "3" * 400, "1e" + "9" * 30,
    '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"\\u0000"', '"\\x41"', '"\t"', '"\\/"',
    "'a'", "True", "nul", "//", "/**/null", "[" * 63 + "]" * 63, "[" * 65 + "]" * 65,
    "[" * 3000, '{"a":' * 70 + "1" + "}" * 70, "[,]", "[1,]", "{,}", '{"a"}', "",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 15, 17, 255, 256, 257, 2**31, 2**32, 2**53 - 1, 2**53, 2**63,
    -(2**53), 0.5, 1.0, -0.0, 1e308, 5e-324, 1e21, "", "0", "1", " ", "\0", "\n", "\ud800",
    "\udfff",
    "\ufeff", "\u202e", "e\u0301", "\u00e9", "\u0663", "\uff41", "a" * 300, "../x", "/", "~1",
    "x" * 9000,
    [], {}, [[]], [None], {"": None}, {"sealed": {"sha-256": "A" * 43}}, ["admin"], {"admin": 1},
    "admin", "2026-02-30T00:00:00.000Z", "2026-11-20T24:00:00.000Z", "9999-12-31T23:59:59.999Z",
    "0001-01-01T00:00:00.000Z", "0" * 64, "A" * 64, "rec:" + "0" * 64, "out/0", "out/00",
    "out/256",
)  # fmt: skip
_PREDICATE = "https://w3id.org/genops/predicate/"
TYPES = (
    *(f"{_PREDICATE}{name}" for name in ("trust/v1", "trust/v2", "trust/v3", "taint/v1",
    "taint/v2")),
    *(f"{_PREDICATE}{name}" for name in ("erasure/v1", "review/v1", "Taint/v1", "taint/v1/", "")),
    "https://slsa.dev/provenance/v1", "https://slsa.dev/provenance/v2",
    "https://slsa.dev/verification_summary/v1", "https://in-toto.io/Statement/v1",
    "https://in-toto.io/Statement/v0.1",
)  # fmt: skip
CONFUSED = {
    "a": "\u0430",
    "e": "\u0435",
    "o": "\u043e",
    "i": "\u0456",
    "s": "\u0455",
    "-": "\u2010",
}
TOKENS = (
    b"\0", b"\n", b"\n\n", b"\r\n", b"\r", b" ", b"  ", b"\t", b"=", b"==", b"+", b"/", b"-",
    b"_",
    b"\xe2\x80\x94 ", b"\xe2\x80\x93 ", b"\xef\xbb\xbf", b"\xc0\x80", b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xff", b"\xc2\x85", b"\xe2\x80\xa8", b"\xd9\xa3", b"0", b"-1", b"00", b"9" * 16, b"9" * 20,
    b"9" * 5000, b"1_0", b"1e3", b"+1", b"{", b"}", b"[", b"]", b'"', b"\\", b"..", b"../",
    b"x000/",
    b"x000/" * 1500, b".p/1", b".p/256", b"PK\x03\x04", b"PK\x05\x06", b"old 0", b"index 0",
    b"extra AA==",
    b"!!int x", b"!!bool x", b"!!timestamp x", b"!!float .", b"&a ", b"*a", b"2001-99-99",
    b"0b_", b"? ", b"- ",
    b"<<: ", b"!!python/object:os.system x", b"---\n", b"%YAML 9.9\n", b"# ", b"[[]] ", b"''' ",
    b'""" ',
)  # fmt: skip


def mutate_json(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Edit a JSON document in a few places, then write it plainly or oddly."""
    roll = rng.random()
    if roll < 0.08:
        return mutate_bytes(data, rng, others)
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError):
        return mutate_bytes(data, rng, others)
    raws: list[str] = []
    if roll < 0.88:
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            tree = _edited(tree, rng, others, raws)
    text = json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=bool(raws))
    if raws:
        text = _RAW_SPOT.sub(lambda found: raws[int(found[1]) % len(raws)], text)
    if rng.random() < (0.12 if roll < 0.88 else 1):
        text = _respelled(text, rng)
    return _encoded(text, rng)


def mutate_text(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Edit lines and words, and what words hold in base64; now and then plain bytes."""
    for _ in range(rng.choice((1, 1, 2, 3))):
        roll = rng.random()
        if roll < 0.3:
            data = _edit_line(data, rng, others)
        elif roll < 0.75:
            data = _edit_word(data, rng, others)
        else:
            data = mutate_bytes(data, rng, others)
    return data


def mutate_bytes(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    """Flip, insert, delete, repeat, splice, cut, and put tokens in."""
    buffer = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(buffer) + 1)
        roll = rng.randrange(9)
        if roll == 0 and at < len(buffer):
            buffer[at] ^= 1 << rng.randrange(8)
        elif roll == 1 and at < len(buffer):
            buffer[at] = rng.randrange(256)
        elif roll == 2:
            buffer[at:at] = rng.choice(TOKENS)
        elif roll == 3:
            del buffer[at : at + rng.choice((1, 1, 2, 4, 32, _LONG))]
        elif roll == 4:
            size = rng.choice((1, 4, 16, 64))
            buffer[at:at] = buffer[at : at + size]
        elif roll == 5 and others:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            buffer[at : at + rng.choice((0, 8, _LONG))] = other[
                start : start + rng.choice((8, 64, _LONG))
            ]
        elif roll == 6:
            token = rng.choice(TOKENS)
            buffer[at : at + len(token)] = token
        elif roll == 7 and rng.random() < 0.3:
            del buffer[at:]
        else:
            width = rng.choice((1, 2, 4, 8))
            value = rng.choice(
                (0, 1, 2 ** (8 * width) - 1, 2 ** (8 * width - 1), rng.randrange(256))
            )
            buffer[at : at + width] = value.to_bytes(width, rng.choice(("big", "little")))
    return bytes(buffer)


def either(*mutators: Mutator) -> Mutator:
    """Return a mutator that is one of these each time."""
    return lambda data, rng, others: rng.choice(mutators)(data, rng, others)


def in_base64url(inner: Mutator) -> Mutator:
    """Return a mutator of unpadded base64url text, by what it holds."""

    def mutate(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
        if rng.random() < 0.2:
            text = data.decode("utf-8", "replace")
            return _respelled_base64(text, rng).encode("utf-8", "surrogatepass")
        try:
            raw = inner(base64.urlsafe_b64decode(data + b"=="), rng, ())
        except ValueError:
            return mutate_bytes(data, rng, others)
        return base64.urlsafe_b64encode(raw).rstrip(b"=")

    return mutate


def _edited(tree: Any, rng: Random, others: Sequence[bytes], raws: list[str]) -> Any:
    """Return the tree after one edit at a place that is drawn among all its places."""
    places = _places(tree)
    if not places or rng.random() < 0.01:
        return _value(tree, rng, others, raws)
    holder, key = rng.choice(places)
    roll = rng.random()
    if roll < 0.13:
        del holder[key]
    elif roll < 0.22:
        other, place = rng.choice(places)
        holder[key] = copy.deepcopy(other[place]) if place in _keys(other) else None
    elif roll < 0.30 and isinstance(holder, list):
        holder.insert(key, copy.deepcopy(holder[key]))
        if rng.random() < 0.1:
            holder *= 300 // len(holder) + 1
    elif roll < 0.38 and isinstance(holder, dict):
        holder[_other_key(key, rng)] = holder[key] if rng.random() < 0.5 else holder.pop(key)
    else:
        holder[key] = _value(holder[key], rng, others, raws)
    return tree


def _value(old: Any, rng: Random, others: Sequence[bytes], raws: list[str]) -> Any:
    roll = rng.random()
    if roll < 0.12:
        raws.append(rng.choice(RAW_VALUES))
        return f"{_RAW}{len(raws) - 1}"
    if roll < 0.35:
        return copy.deepcopy(rng.choice(VALUES))
    if isinstance(old, str):
        return rng.choice(TYPES) if roll < 0.42 else _other_text(old, rng, others)
    if isinstance(old, (int, float)):
        whole = float(old) if abs(old) < 2**63 else old
        return rng.choice((old + 1, -old, whole, str(old), old * 2, [old], bool(old)))
    choices: list[Any] = [[old], {"value": old}, json.dumps(old), list(old or ())]
    if isinstance(old, list):
        choices += [dict.fromkeys(map(str, old), 1), old[::-1], len(old)]
    return rng.choice(choices)


def _other_text(old: str, rng: Random, others: Sequence[bytes]) -> str:
    roll = rng.random()
    if roll < 0.35 and len(old) > 40:
        inner = _in_base64(old, rng, others)
        if inner is not None:
            return inner
    if roll < 0.45:
        return _respelled_base64(old, rng)
    if roll < 0.55:
        letter = rng.choice(list(CONFUSED))
        return old.replace(letter, CONFUSED[letter], 1)
    if roll < 0.65:
        return rng.choice((old.upper(), old.title(), f" {old}", f"{old}\n", f"{old}\0", old + old))
    return mutate_text(old.encode("utf-8", "surrogatepass"), rng, others).decode("utf-8", "replace")


def _in_base64(old: str, rng: Random, others: Sequence[bytes]) -> str | None:
    """Mutate what a text holds in base64, as JSON where it is some; None where it holds nothing."""
    url = "-" in old or "_" in old or len(old) % 4 != 0
    try:
        padded = old.encode("ascii") + b"=" * (-len(old) % 4)
        raw = base64.b64decode(padded, altchars=b"-_" if url else None, validate=True)
    except (ValueError, binascii.Error):
        return None
    inner = mutate_json if raw[:1] in {b"{", b"["} else mutate_bytes
    made = inner(raw, rng, ())
    if url:
        return base64.urlsafe_b64encode(made).rstrip(b"=").decode("ascii")
    return base64.b64encode(made).decode("ascii")


def _respelled_base64(text: str, rng: Random) -> str:
    """Write base64 as other decoders would take it too."""
    if not text:
        return "="
    at = rng.randrange(len(text))
    last = text.rstrip("=")
    bits = last[:-1] + chr(ord(last[-1]) + 1) if last else text
    return rng.choice(
        (
            last,
            f"{text}=",
            f"{text}====",
            text.translate(str.maketrans("+/", "-_")),
            text.translate(str.maketrans("-_", "+/")),
            bits + "=" * (len(text) - len(last)),
            f"{text[:at]}\n{text[at:]}",
            f"{text[:at]} {text[at:]}",
            f"{text[:at]}={text[at:]}",
            f"{text}\n",
            text[:-1],
        )
    )


def _other_key(key: str, rng: Random) -> str:
    for letter, other in CONFUSED.items():
        if letter in key and rng.random() < 0.3:
            return key.replace(letter, other, 1)
    return rng.choice(
        (
            key.upper(),
            key.capitalize(),
            f"{key} ",
            f"{key}\0",
            f"_{key}",
            "",
            "e\u0301",
            "__proto__",
            "$ref",
        )
    )


def _places(tree: Any) -> list[tuple[Any, Any]]:
    """Return every place of a tree as its holder and its key there."""
    found: list[tuple[Any, Any]] = []
    waiting = [tree]
    while waiting:
        holder = waiting.pop()
        for key in _keys(holder):
            found.append((holder, key))
            if isinstance(holder[key], (dict, list)):
                waiting.append(holder[key])
    return found


def _keys(holder: Any) -> list[Any]:
    if isinstance(holder, dict):
        return list(holder)
    return list(range(len(holder))) if isinstance(holder, list) else []


def _respelled(text: str, rng: Random) -> str:
    """Write JSON so that a lax reader sees the same, or sees what it likes."""
    keys = list(_KEY.finditer(text))
    roll = rng.random()
    if keys and roll < 0.45:
        key = rng.choice(keys)
        value = rng.choice(("null", "1", '""', "[]", "{}", '"x"'))
        return f'{text[: key.start()]}"{key[1]}":{value},{text[key.start() :]}'
    if keys and roll < 0.6:
        key = rng.choice(keys)
        escaped = f"\\u{ord(key[1][0]):04x}{key[1][1:]}"
        return f'{text[: key.start()]}"{escaped}":{text[key.end() :]}'
    at = rng.randrange(len(text) + 1)
    space = rng.choice((" ", "\n", "\t", "\r", "\f", "\v", "\u00a0", "\u2028", ",", "/**/"))
    return f"{text[:at]}{space}{text[at:]}"


def _encoded(text: str, rng: Random) -> bytes:
    plain = text.encode("utf-8", "surrogatepass")
    roll = rng.random()
    if roll > 0.03:
        return plain
    if roll < 0.006:
        return text.encode("utf-16", "surrogatepass")
    if roll < 0.012:
        return text.encode("utf-32-le", "surrogatepass")
    if roll < 0.018:
        return b"\xef\xbb\xbf" + plain
    if roll < 0.024:
        return plain.replace(b"/", b"\xc0\xaf", 1)
    return plain + rng.choice((b"\n", b" ", b"\0", b"{}", b"\n\n"))


def _edit_line(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    lines = data.split(b"\n")
    at = rng.randrange(len(lines))
    roll = rng.randrange(7)
    if roll == 0:
        del lines[at]
    elif roll == 1:
        lines.insert(at, lines[at])
    elif roll == 2:
        other = rng.randrange(len(lines))
        lines[at], lines[other] = lines[other], lines[at]
    elif roll == 3 and others:
        lines[at] = rng.choice(rng.choice(others).split(b"\n"))
    elif roll == 4:
        lines.insert(at, rng.choice((b"", b" ", b"\xe2\x80\x94 x AAAAAAAA", b"AAAA", b"0")))
    elif roll == 5:
        lines[at] += rng.choice((b"\r", b" ", b"\t", b"\0", b"\xc2\x85"))
    else:
        lines[at:] = [lines[at]] * rng.choice((2, 65, 300)) + lines[at:]
    return b"\n".join(lines)


def _edit_word(data: bytes, rng: Random, others: Sequence[bytes]) -> bytes:
    words = list(_WORD.finditer(data[:20_000]))
    if not words:
        return mutate_bytes(data, rng, others)
    word = rng.choice(words)
    text = word[0].decode("ascii")
    roll = rng.random()
    if roll < 0.4:
        made = _respelled_base64(text, rng)
    elif roll < 0.6:
        made = _in_base64(text, rng, others) or text[::-1]
    elif roll < 0.8:
        made = rng.choice(
            (f"0{text}", f"+{text}", f"-{text}", "9" * 17, "9" * 5000, "0", "1", "255", text * 2)
        )
    else:
        made = rng.choice(
            (text.upper(), text.swapcase(), "\u0663", f"{text}\u00a0", rng.choice(RAW_VALUES))
        )
    return data[: word.start()] + made.encode("utf-8", "surrogatepass") + data[word.end() :]
