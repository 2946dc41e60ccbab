"""From a brief to the prompt that a model answers: one form for training and for use.

Pure; knows no model.
"""

from __future__ import annotations

from dataclasses import dataclass

SLOGAN = "Slogan"
CALL = "Call to action"
"""Notes that begin so, with a colon, are what the copy model takes over word for word."""


@dataclass(frozen=True, slots=True)
class Brief:
    """What copy is asked for; `notes` are passages of the house, the most telling first."""

    product: str
    audience: str = ""
    tone: str = ""
    facts: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def prompt_of(brief: Brief) -> str:
    """Return the prompt: one line for each field that says something, `Copy:` at last."""
    fields = (
        ("Product", brief.product),
        ("Audience", brief.audience),
        ("Tone", brief.tone),
        ("Facts", "; ".join(brief.facts)),
        ("Notes", " ".join(_one_line(note) for note in brief.notes)),
    )
    lines = [f"{name}: {_one_line(text)}" for name, text in fields if text.strip()]
    return "\n".join([*lines, "Copy:"])


def _one_line(text: str) -> str:
    return " ".join(text.split())
