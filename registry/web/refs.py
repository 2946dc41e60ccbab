"""Ids as they arrive from the network: never a path on this machine.

The façade also takes paths to files; a caller from outside must not reach those.
"""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Path

from registry.core.digests import ASSET_HEAD, RECORD_HEAD, Ref, parse_ref
from registry.errors import InputError

_POLICY = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")

RefPath = Annotated[
    str,
    Path(
        description="Asset id `sha256:<hex>`, record id `rec:<hex>`, or 8 or more hex digits",
        max_length=128,
    ),
]


def checked_ref(text: str) -> str:
    """Return an id in normal form; raises InputError (`ref.invalid`) for anything else."""
    return _spelled(parse_ref(text))


def checked_policy(name: str) -> str:
    """Return the name of a shipped policy; raises InputError (`policy.name`) for a path."""
    if _POLICY.fullmatch(name) is None:
        raise InputError(
            f"{name!r} is not the name of a policy",
            code="policy.name",
            hint="over HTTP a gate takes the name of a shipped policy, such as `default`",
        )
    return name


def _spelled(ref: Ref) -> str:
    if ref.kind == "incident":
        return f"inc-{ref.hex}"
    heads = {"asset": ASSET_HEAD, "record": RECORD_HEAD, None: ""}
    return heads[ref.scope] + ref.hex
