"""Procedural product copy: all the text that the copy model ever sees.

Pure drawing from a random source. A sample is a brief and the copy that answers it; the brief's
facts and the notes of the house (its slogan, its call to action) come back in the copy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from generators.demo_model.scenes import COLORS, SUBJECTS
from generators.text.prompts import CALL, SLOGAN, Brief

if TYPE_CHECKING:
    import random

TONES = ("bold", "calm", "elegant", "playful", "warm")
MANNERS = ("busy", "curious", "young", "thoughtful", "restless", "happy", "proud", "careful")
PEOPLE = (
    "students",
    "families",
    "travellers",
    "designers",
    "gardeners",
    "early risers",
    "home cooks",
    "office teams",
    "collectors",
    "neighbours",
)
BENEFITS: Mapping[str, Sequence[str]] = {
    "mug": (
        "It keeps coffee hot and mornings slow",
        "It holds the first sip and the last",
        "It turns any desk into a café",
    ),
    "bottle": (
        "It carries water through the longest day",
        "It goes where you go and never leaks",
        "It keeps cold things cold",
    ),
    "box": (
        "It gives small things a place of their own",
        "It keeps a room in order",
        "It closes softly and stacks well",
    ),
    "ball": (
        "It bounces back, whatever the day brings",
        "It rolls well and grips better",
        "It makes every yard a playground",
    ),
    "lamp": (
        "It lights the page and spares the eyes",
        "It fills a corner with soft light",
        "It glows long after sunset",
    ),
    "vase": (
        "It makes one flower look like ten",
        "It stands well, full or empty",
        "It brings the garden indoors",
    ),
}
HEADLINES: Mapping[str, Sequence[str]] = {
    "bold": ("{Product}. No excuses.", "Own the day with the {product}", "Go {colour} or go home"),
    "calm": ("A quiet {object}", "Slow down with the {product}", "{Product}, nothing more"),
    "elegant": ("The {product}, refined", "Grace in {colour}", "A {object} of good taste"),
    "playful": ("Hello, {product}!", "Meet your new {object}", "{Colour} is the new fun"),
    "warm": ("A {object} that feels like home", "Come home to {colour}", "Made for you: {product}"),
}
OPENINGS: Mapping[str, Sequence[str]] = {
    "bold": ("Built for {audience}, the {product} does not wait", "The {product} means business"),
    "calm": ("For {audience}, the {product} takes its time", "The {product} asks for nothing"),
    "elegant": (
        "The {product} is drawn for {audience}",
        "Every line of the {product} has a reason",
    ),
    "playful": ("The {product} loves {audience}", "Guess who the {product} came to see"),
    "warm": ("We made the {product} for {audience}", "The {product} is glad to see you"),
}
CALLS: Mapping[str, Sequence[str]] = {
    "bold": ("Get yours now", "Take it today"),
    "calm": ("See it in your own time", "Take a closer look"),
    "elegant": ("Discover the collection", "Request yours"),
    "playful": ("Grab one and smile", "Come and play"),
    "warm": ("Bring it home", "Find yours with us"),
}
VERBS = ("Visit", "Try", "See", "Order", "Ask for", "Choose", "Collect", "Unwrap", "Reserve")
THINGS = (
    "our shop",
    "it online",
    "the spring line",
    "yours this week",
    "one for a friend",
    "the whole set",
    "it at the fair",
    "your colour",
    "it before Friday",
)
MANNER = ("Made", "Built", "Shaped", "Drawn", "Meant", "Kept", "Thought out", "Finished")
PURPOSE = (
    "to stay",
    "by hand",
    "for life",
    "with care",
    "for every day",
    "to last",
    "near the sea",
    "without waste",
    "for good company",
)
STUFFS = ("recycled glass", "local clay", "solid oak", "brushed steel", "soft rubber", "linen")
TRAITS = ("dishwasher safe", "hand-glazed", "easy to clean", "repairable", "free of plastic")
UNUSED_NOTES = (
    "Write short sentences.",
    "Never compare with another maker.",
    "Say what it does before how it looks.",
    "No exclamation marks in print.",
    "Use the metric system.",
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A brief, and the copy that answers it."""

    brief: Brief
    copy: Mapping[str, str]


def sample(rng: random.Random) -> Sample:
    """Draw a sample; every field of the brief but the product may be missing.

    Copy without a tone in its brief has one all the same: any.
    """
    thing, colour = rng.choice(list(SUBJECTS)), rng.choice([*COLORS, ""])
    tone = rng.choice(TONES)
    slogan = f"{rng.choice(MANNER)} {rng.choice(PURPOSE)}" if rng.random() < 0.4 else ""
    call = f"{rng.choice(VERBS)} {rng.choice(THINGS)}" if rng.random() < 0.4 else ""
    audience = _audience(rng) if rng.random() < 0.7 else ""
    facts = tuple(_fact(rng) for _ in range(rng.choice((0, 1, 1, 2))))
    brief = Brief(
        product=f"{colour} {thing}".strip(),
        audience=audience,
        tone=tone,
        facts=tuple(dict.fromkeys(facts)),
        notes=_notes(rng, slogan, call),
    )
    answer = _answer(rng, brief, thing, slogan, call)
    return Sample(replace(brief, tone="") if rng.random() < 0.1 else brief, answer)


def _answer(
    rng: random.Random, brief: Brief, thing: str, slogan: str, call: str
) -> Mapping[str, str]:
    colour = brief.product.removesuffix(thing).strip() or "bright"
    words = {
        "product": brief.product,
        "Product": brief.product[:1].upper() + brief.product[1:],
        "object": thing,
        "colour": colour,
        "Colour": colour.capitalize(),
        "audience": brief.audience or "everyone",
    }
    opening = OPENINGS[brief.tone][0] if brief.audience else rng.choice(OPENINGS[brief.tone])
    sentences = [opening.format(**words), rng.choice(BENEFITS[thing])]
    if brief.facts:
        sentences.append("It is " + " and ".join(brief.facts))
    if slogan:
        sentences.append(slogan)
    return {
        "headline": rng.choice(HEADLINES[brief.tone]).format(**words),
        "body": ". ".join(sentences) + ".",
        "call_to_action": call or rng.choice(CALLS[brief.tone]),
    }


def _audience(rng: random.Random) -> str:
    people = rng.choice(PEOPLE)
    return f"{rng.choice(MANNERS)} {people}" if rng.random() < 0.6 else people


def _fact(rng: random.Random) -> str:
    kind = rng.randrange(4)
    if kind == 0:
        return f"made of {rng.choice(STUFFS)}"
    if kind == 1:
        return f"{rng.randrange(5, 60)} cm tall"
    if kind == 2:
        return f"{rng.randrange(2, 99) * 10} g light"
    return rng.choice(TRAITS)


def _notes(rng: random.Random, slogan: str, call: str) -> tuple[str, ...]:
    """Mix what counts with notes of the house that change nothing."""
    notes = [rng.choice(UNUSED_NOTES)] if rng.random() < 0.4 else []
    notes += [f"{SLOGAN}: {slogan}."] if slogan else []
    notes += [f"{CALL}: {call}."] if call else []
    rng.shuffle(notes)
    return tuple(notes)
