"""Seeds and torch generators: checked, recorded as decimal strings, restored.

A generator that was drawn from before the call is more than its seed: its state is kept as well.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from registry.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

MAX_SEED = 2**64 - 1
FRESH_BITS = 48
"""Bits of a seed that we draw: collisions are out of sight, and a person can still type it."""


def fresh_seed() -> int:
    """Draw a seed for an image that the caller gave none."""
    return secrets.randbits(FRESH_BITS)


def check_seed(value: object) -> int:
    """Return a usable seed; InputError (`input.seed`) for floats, booleans and out-of-range ones.

    A negative seed stands for "any" in some tools and would be recorded as what was not used.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise _seed_error(f"seed {value!r} is not an integer")
    if not 0 <= value <= MAX_SEED:
        raise _seed_error(f"seed {value} is outside 0 to 2^64-1")
    return value


def parse_seed(text: object) -> int:
    """Read a seed from a record or an override: a decimal string or an integer."""
    if isinstance(text, str):
        if not (text.isascii() and text.isdigit() and len(text) <= 20):
            raise _seed_error(f"seed {text!r} is not a decimal number")
        return check_seed(int(text))
    return check_seed(text)


def consecutive(first: int, count: int) -> list[int]:
    """Return `count` seeds from `first` on, starting over at 0 after the largest."""
    return [(first + step) % (MAX_SEED + 1) for step in range(count)]


def generator_for(seed: object) -> torch.Generator:
    """Return a CPU generator with this seed; it draws the same numbers for every device."""
    import torch

    return torch.Generator("cpu").manual_seed(check_seed(seed))


def describe(given: torch.Generator | Sequence[torch.Generator]) -> dict[str, Any]:
    """Describe the generator(s) of a call as JSON.

    `generators` lists each distinct one, `uses` their indices image by image, or None when one
    generator draws for the whole batch.
    """
    if not isinstance(given, Sequence):
        return {"generators": [_describe_one(given)], "uses": None}
    distinct = {id(generator): generator for generator in given}
    order = list(distinct)
    return {
        "generators": [_describe_one(generator) for generator in distinct.values()],
        "uses": [order.index(id(generator)) for generator in given],
    }


def restore(described: Mapping[str, Any]) -> torch.Generator | list[torch.Generator]:
    """Make the generator(s) of `describe` again, each in the state it had."""
    made = [_restore_one(one) for one in described["generators"]]
    uses = described["uses"]
    return made[0] if uses is None else [made[index] for index in uses]


def seed_of(described: Mapping[str, Any], index: int) -> str | None:
    """Return the seed that alone decides image `index`; None where a state beyond it counts.

    A generator that several images of a batch share counts with its seed: the batch is replayed
    as a whole.
    """
    uses = described["uses"]
    one = described["generators"][0 if uses is None else uses[index % len(uses)]]
    return None if "state" in one else one["seed"]


def _describe_one(generator: torch.Generator) -> dict[str, Any]:
    import torch

    seed, state = generator.initial_seed(), generator.get_state()
    described = {"seed": str(seed), "device": str(generator.device)}
    fresh = torch.Generator(generator.device).manual_seed(seed)
    if not torch.equal(state, fresh.get_state()):
        described["state"] = base64.b64encode(state.numpy().tobytes()).decode("ascii")
    return described


def _restore_one(described: Mapping[str, Any]) -> torch.Generator:
    import torch

    generator = torch.Generator(described["device"])
    generator.manual_seed(parse_seed(described["seed"]))
    if "state" in described:
        state = bytearray(base64.b64decode(described["state"]))
        generator.set_state(torch.frombuffer(state, dtype=torch.uint8))
    return generator


def _seed_error(message: str) -> InputError:
    return InputError(message, code="input.seed", hint="Use an integer from 0 to 2^64-1.")
