"""What a call cost, by a price table of the user's own; without a price, nothing is guessed.

Amounts are decimal, never floats. Knows no service.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from registry.errors import InputError

MAX_BYTES = 1024 * 1024
"""Largest price table that is read, bytes."""
PER_TOKENS = 1_000_000
"""How many tokens a rate is for."""
_RATES = ("input", "cached", "output", "picture")


@dataclass(frozen=True, slots=True)
class Prices:
    """Rates by model: `input`, `cached` and `output` for a million tokens, `picture` for one."""

    currency: str
    models: Mapping[str, Mapping[str, Decimal]]

    def cost(
        self, models: tuple[str, ...], usage: Mapping[str, Any], pictures: int
    ) -> dict[str, Any] | None:
        """Return the cost of one answer as JSON, by the first of `models` that has a price.

        None where no model has one, or the service did not say what a rate needs.
        """
        name = next((one for one in models if one in self.models), None)
        if name is None:
            return None
        amount = _amount(self.models[name], usage, pictures)
        if amount is None:
            return None
        return {
            "amount": _text(amount),
            "currency": self.currency,
            "model": name,
            "rates": {rate: _text(value) for rate, value in self.models[name].items()},
            "by": "the caller's price table",
        }


def read_prices(source: str | Path | Mapping[str, Any]) -> Prices:
    """Read a price table from a YAML or JSON file, or from a mapping.

    Raises InputError (`hosted.prices`): `currency` is a text, `models` maps names to rates.
    """
    document = source if isinstance(source, Mapping) else _load(Path(source))
    if not isinstance(document, Mapping) or document.keys() - {"currency", "models"}:
        raise _wrong("it holds `currency` and `models`, and nothing else")
    currency, models = document.get("currency"), document.get("models")
    if not isinstance(currency, str) or not currency.isalpha() or len(currency) != 3:
        raise _wrong("`currency` is a code of three letters, such as USD")
    if not isinstance(models, Mapping):
        raise _wrong("`models` maps the names of models to their rates")
    return Prices(currency, {str(name): _rates(str(name), rates) for name, rates in models.items()})


def tokens(usage: Mapping[str, Any], *names: str) -> int | None:
    """Return the first of some counts that a service gave."""
    found = (usage.get(name) for name in names)
    return next(
        (n for n in found if isinstance(n, int) and not isinstance(n, bool) and n >= 0), None
    )


def _amount(
    rates: Mapping[str, Decimal], usage: Mapping[str, Any], pictures: int
) -> Decimal | None:
    total = rates.get("picture", Decimal(0)) * pictures
    details = usage.get("prompt_tokens_details") or usage.get("input_tokens_details") or {}
    cached = tokens(details, "cached_tokens") if isinstance(details, Mapping) else None
    cached = (cached or 0) if "cached" in rates else 0
    given = tokens(usage, "prompt_tokens", "input_tokens")
    made = tokens(usage, "completion_tokens", "output_tokens")
    for rate, count in (
        ("input", None if given is None else max(0, given - cached)),
        ("cached", cached),
        ("output", made),
    ):
        if rate not in rates:
            continue
        if count is None:
            return None
        total += rates[rate] * count / PER_TOKENS
    return total


def _rates(name: str, rates: Any) -> dict[str, Decimal]:
    if not isinstance(rates, Mapping) or not rates or rates.keys() - set(_RATES):
        raise _wrong(f"the rates of {name} are some of {', '.join(_RATES)}")
    return {rate: _decimal(name, value) for rate, value in rates.items()}


def _decimal(name: str, value: Any) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        number = Decimal("NaN")
    if isinstance(value, bool) or not number.is_finite() or not 0 <= number < 10**9:
        raise _wrong(f"a rate of {name} is {str(value)[:40]!r}, not an amount")
    return number


def _text(amount: Decimal) -> str:
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _load(path: Path) -> Any:
    import yaml

    try:
        if path.stat().st_size > MAX_BYTES:
            raise _wrong(f"{path} has more than {MAX_BYTES} bytes")
        return yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise _wrong(f"{path} cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError):
        raise _wrong(f"{path} is not YAML") from None


def _wrong(why: str) -> InputError:
    return InputError(
        f"the price table cannot be used: {why}",
        code="hosted.prices",
        hint="docs/hosted.md shows one",
    )
