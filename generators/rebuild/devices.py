"""Where a replay computes: the recorded device, or the one that was asked for, if it is here."""

from __future__ import annotations

import torch

from registry.errors import InputError


def check(device: str, what: str) -> str:
    """Return a device that this machine has; InputError (`replay.device`) for any other.

    `what` says who wants it, such as `component unet`.
    """
    try:
        wanted = torch.device(device)
    except RuntimeError:
        raise _missing(device, what, "it is no device that torch knows") from None
    if wanted.type == "cpu":
        return device
    if wanted.type == "cuda":
        present = torch.cuda.device_count() if torch.cuda.is_available() else 0
    elif wanted.type == "mps":
        present = int(torch.backends.mps.is_available())
    else:
        present = 0
    if (wanted.index or 0) >= present:
        found = f"{present} such devices" if present else "none"
        raise _missing(device, what, f"this machine and its torch have {found}")
    return device


def _missing(device: str, what: str, why: str) -> InputError:
    return InputError(
        f"{what} is to run on {device}, and {why}",
        code="replay.device",
        hint="Replay on a machine that has it, or with another --device: bits differ then.",
    )
