"""Instants as RFC 3339 text and as epoch milliseconds; never reads a clock."""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime, timedelta

from registry.errors import FormatError, InputError

MAX_TIME_MS = 253_402_300_799_999
"""The last instant that four-digit years can name: 9999-12-31T23:59:59.999Z."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_SHAPE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z")


@functools.lru_cache(maxsize=256)  # records that are committed together have one log time
def format_time(epoch_ms: int) -> str:
    """Return UTC text with milliseconds, such as `2026-11-20T11:07:00.000Z` (RFC 3339).

    Raises InputError before 1970 and after the year 9999.
    """
    if not 0 <= epoch_ms <= MAX_TIME_MS:
        raise InputError(f"time {epoch_ms} ms is out of range", code="time.invalid")
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"


@functools.lru_cache(maxsize=256)
def parse_time(text: str) -> int:
    """Return epoch milliseconds; takes only what `format_time` writes, else raises FormatError."""
    if _SHAPE.fullmatch(text) is None:
        raise _invalid(text)
    try:
        epoch_ms = (datetime.fromisoformat(text) - _EPOCH) // _MILLISECOND
        same = format_time(epoch_ms) == text
    except (ValueError, InputError):
        raise _invalid(text) from None
    if not same:  # later Pythons read 24:00 as the next midnight
        raise _invalid(text)
    return epoch_ms


def read_time(text: str) -> int:
    """Return epoch milliseconds of a time as people write it (ISO 8601; UTC unless it says else).

    Takes a day alone, too. Raises InputError (`time.invalid`).
    """
    try:
        moment = datetime.fromisoformat(text.strip())
        aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
        epoch_ms = (aware - _EPOCH) // _MILLISECOND
        format_time(epoch_ms)
    except (ValueError, OverflowError, InputError):
        raise InputError(
            f"{text[:40]!r} is not a time",
            code="time.invalid",
            hint="write it like 2026-11-20T11:07Z, or 2026-11-20",
        ) from None
    return epoch_ms


def _invalid(text: str) -> FormatError:
    return FormatError(
        f"{text[:40]!r} is not a time",
        code="time.invalid",
        hint="write UTC with milliseconds, such as 2026-11-20T11:07:00.000Z",
    )
