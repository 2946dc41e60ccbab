"""The answers about witnesses: who cosigned this log, and which logs this registry cosigns."""

from __future__ import annotations

from dataclasses import dataclass

from registry.core.answers import Answer


@dataclass(frozen=True, slots=True)
class CosignatureView(Answer):
    """A verified cosignature: the witness's name and key id (hex), and when it signed."""

    witness: str
    key_id: str
    time: str


@dataclass(frozen=True, slots=True)
class CosignedHead(Answer):
    """A signed tree head and the witnesses that cosigned it.

    `checkpoint` is the signed note (C2SP): the log's signature, then the kept cosignatures.
    """

    origin: str
    size: int
    root: str
    checkpoint: str
    cosignatures: tuple[CosignatureView, ...]


@dataclass(frozen=True, slots=True)
class WitnessKey(Answer):
    """A witness's public key (C2SP vkey, type 0x04); `path` is where it lies."""

    witness: str
    key_id: str
    vkey: str
    path: str


@dataclass(frozen=True, slots=True)
class WitnessView(Answer):
    """A witness whose cosignatures count here; `size` and `time` are of its newest, or None."""

    witness: str
    key_id: str
    vkey: str
    size: int | None
    time: str | None


@dataclass(frozen=True, slots=True)
class FollowedLog(Answer):
    """A log that this registry may cosign; `size` and `root` (hex) are what it cosigned last.

    `vkeys` are the keys that the log may sign by; none when it was only followed with `--key`.
    """

    origin: str
    vkeys: tuple[str, ...]
    size: int | None
    root: str | None


@dataclass(frozen=True, slots=True)
class Witnesses(Answer):
    """Both sides: `own` is this registry's key as a witness, None until it is made."""

    own: str | None
    witnesses: tuple[WitnessView, ...]
    logs: tuple[FollowedLog, ...]


@dataclass(frozen=True, slots=True)
class Followed(Answer):
    """A checkpoint of another log that was found to go on from the last one, and cosigned.

    `last_size` is the size cosigned before, None the first time. `checkpoint` is the note with the
    log's signature and ours, `cosignature` our line alone. `handed_back` says that the log's own
    home kept it; None where there is none at hand.
    """

    origin: str
    size: int
    root: str
    last_size: int | None
    time: str
    checkpoint: str
    cosignature: str
    handed_back: bool | None


@dataclass(frozen=True, slots=True)
class ExportedTiles(Answer):
    """The log as static files: how many were written, were there already, and were removed."""

    path: str
    origin: str
    size: int
    root: str
    written: int
    present: int
    removed: int


@dataclass(frozen=True, slots=True)
class LogConsistency(Answer):
    """A proof that the log of `new` records goes on from that of `old`.

    Roots are hex; `proof` is base64, a hash an item (RFC 9162, 2.1.4.1).
    """

    origin: str
    old: int
    new: int
    old_root: str
    new_root: str
    proof: tuple[str, ...]
